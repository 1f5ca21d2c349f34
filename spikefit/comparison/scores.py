"""Held-out scores of several results beside each other, and how sure their differences are.

A difference is sure in proportion to how well its two scores are *paired*: two models judged on the same blocks of the same
recording err together, and the error of their difference is far smaller than that of either. Whether two results can be
paired is told from what they hold; where they cannot, the reason is a sentence in the comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikefit.comparison.pieces import paired_per_second
from spikefit.comparison.ratios import ratio_and_error
from spikefit.results import Result

# Series of `Result.history` that hold the score of every held-out block: when it starts, its bins, and its log-likelihood (the
# bound with hidden units) in nats, factorials included.
BLOCK_SERIES = ("heldout_block_start_s", "heldout_block_bins", "heldout_block_nats")
# Two fits without hidden units that differ by less than this are the same fit, solved twice.
_SAME_FIT_NATS = 1e-5


@dataclass(frozen=True)
class ScoreRow:
    """The scores of one result.

    Attributes:
        name: of the result.
        n_hidden, n_visible: units.
        bin_width_s: bin width in seconds.
        nats_per_bin, nats_per_bin_se: held-out score of one bin and its standard error.
        bits_per_spike, bits_per_spike_se: the same above constant rates.
        gain_nats_per_s, gain_nats_per_s_se: nats per second above constant rates: bits per spike times the spikes per second of
            all recorded units. It does not hang on the bin width, which nats per bin do.
        gain_over_none, gain_over_none_se: nats per bin above the fit without hidden units, paired; NaN where not known.
        converged: whether the fit met its criterion.
        elbo_per_bin: objective on the fitted bins.
    """

    name: str
    n_hidden: int
    n_visible: int
    bin_width_s: float
    nats_per_bin: float
    nats_per_bin_se: float
    bits_per_spike: float
    bits_per_spike_se: float
    gain_nats_per_s: float
    gain_nats_per_s_se: float
    gain_over_none: float
    gain_over_none_se: float
    converged: bool | None
    elbo_per_bin: float


@dataclass(frozen=True)
class ScoreDifference:
    """How much better the second of two results predicts.

    Attributes:
        value: second minus first; NaN where the scores cannot be compared.
        error: its standard error; NaN where not known.
        unit: `nats per bin`; `nats per second` where blocks are paired by time; `nats per second over constant rates` where bin widths differ and
            nothing can be paired.
        paired: whether the error is that of paired blocks.
        why: how the error was made, or why there is no comparison or no pairing.
    """

    value: float
    error: float
    unit: str
    paired: bool
    why: str


def score_row(result: Result, name: str) -> ScoreRow:
    """The scores of a result out of its metrics."""
    bits, bits_se = number(result, "heldout_bits_per_spike"), number(result, "heldout_bits_per_spike_se")
    per_s = math.log(2) * sum(row.rate_hz for row in result.unit_rows[: result.n_visible])
    gain, gain_se = number(result, "heldout_gain_nats_per_bin"), number(result, "heldout_gain_se")
    converged = result.metrics.get("converged")
    return ScoreRow(
        name=name,
        n_hidden=result.n_hidden,
        n_visible=result.n_visible,
        bin_width_s=result.bin_width_s,
        nats_per_bin=number(result, "heldout_nats_per_bin"),
        nats_per_bin_se=number(result, "heldout_nats_per_bin_se"),
        bits_per_spike=bits,
        bits_per_spike_se=bits_se,
        gain_nats_per_s=bits * per_s,
        gain_nats_per_s_se=bits_se * per_s,
        gain_over_none=gain if result.n_hidden else math.nan,
        gain_over_none_se=gain_se if result.n_hidden else math.nan,
        converged=None if converged is None else bool(converged),
        elbo_per_bin=number(result, "elbo_per_bin"),
    )


def score_difference(first: Result, second: Result) -> ScoreDifference:
    """The score of `second` above that of `first`, paired where the two hold what that needs."""
    unit = "nats per bin"
    obstacle = not_comparable(first, second)
    if obstacle:
        return ScoreDifference(math.nan, math.nan, unit, False, obstacle)
    if not math.isclose(first.bin_width_s, second.bin_width_s, rel_tol=1e-9):
        return _per_second(first, second)
    value = number(second, "heldout_nats_per_bin") - number(first, "heldout_nats_per_bin")
    blocks = _paired_blocks(first, second)
    if isinstance(blocks, ScoreDifference):
        return blocks
    own = _paired_by_a_fit_without_hidden(first, second)
    if own is not None:
        return own
    paired = paired_per_second(first, second)
    if not isinstance(paired, str):
        return ScoreDifference(paired[0], paired[1], "nats per second", True, paired[2])
    errors = number(first, "heldout_nats_per_bin_se"), number(second, "heldout_nats_per_bin_se")
    return ScoreDifference(
        value, math.hypot(*errors), unit, False, f"not paired: {blocks}; the error takes the two as independent"
    )


def not_comparable(first: Result, second: Result) -> str | None:
    """Why two results cannot be compared by their scores; None where they can."""
    known = [input_hash(result) for result in (first, second)]
    if None in known:
        return "not compared: a result does not say which recording it was made from"
    if known[0] != known[1]:
        return "not compared: the results are of different recordings"
    if set(first.unit_id[first.visible]) != set(second.unit_id[second.visible]):
        return "not compared: the results predict different units"
    if any(math.isnan(number(result, "heldout_nats_per_bin")) for result in (first, second)):
        return "not compared: a result holds no held-out score"
    parts = [_chosen_time(result) for result in (first, second)]
    if parts[0] != parts[1]:
        return "not compared: the results were fitted to different parts of the recording"
    return None


def _per_second(first: Result, second: Result) -> ScoreDifference:
    paired = paired_per_second(first, second)
    if not isinstance(paired, str):
        return ScoreDifference(paired[0], paired[1], "nats per second", True, paired[2])
    rows = score_row(first, ""), score_row(second, "")
    return ScoreDifference(
        rows[1].gain_nats_per_s - rows[0].gain_nats_per_s,
        math.hypot(rows[0].gain_nats_per_s_se, rows[1].gain_nats_per_s_se),
        "nats per second over constant rates",
        False,
        f"not paired: {paired}. The bin widths differ, so nats per bin mean different things; compared per second over constant "
        "rates, the error takes the two as independent",
    )


def _paired_blocks(first: Result, second: Result) -> ScoreDifference | str:
    """The paired difference, or why there is none."""
    if not all(key in result.history for result in (first, second) for key in BLOCK_SERIES):
        return "a result does not hold the score of each held-out block"
    (start, bins, nats), (other_start, other_bins, other_nats) = (
        [result.history[key] for key in BLOCK_SERIES] for result in (first, second)
    )
    half_bin_s = 0.5 * first.bin_width_s
    same = start.shape == other_start.shape and np.array_equal(bins, other_bins)
    if not same or np.any(np.abs(start - other_start) > half_bin_s):
        return "the held-out blocks differ (another --heldout, --seed, --window or part of the recording)"
    value, error = ratio_and_error(other_nats - nats, bins)
    return ScoreDifference(value, error, "nats per bin", True, f"paired over {bins.size} held-out blocks")


def _paired_by_a_fit_without_hidden(first: Result, second: Result) -> ScoreDifference | None:
    """A fit with hidden units carries its paired gain over the one without; where the other result is that one, it serves."""
    for none, some, sign in ((first, second, 1.0), (second, first, -1.0)):
        apart = number(none, "heldout_nats_per_bin") - number(some, "h0_heldout_nats_per_bin")
        same_bins = number(none, "n_heldout_bins") == number(some, "n_heldout_bins")
        if none.n_hidden == 0 and some.n_hidden > 0 and abs(apart) < _SAME_FIT_NATS and same_bins:
            value, error = number(some, "heldout_gain_nats_per_bin"), number(some, "heldout_gain_se")
            why = "paired over the held-out blocks: the fit with hidden units was judged beside this very fit without"
            return ScoreDifference(sign * value, error, "nats per bin", True, why)
    return None


def number(result: Result, name: str) -> float:
    """A number out of the metrics; NaN where it is not known."""
    value = result.metrics.get(name)
    return float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else math.nan


def input_hash(result: Result) -> Any:
    """The checksum of the recording that a result was made from, or of its spikes; None where it is not known."""
    known = result.provenance.get("input")
    return (known.get("sha256") or known.get("spikes_sha256")) if isinstance(known, dict) else None


def _chosen_time(result: Result) -> Any:
    """What of the configuration says which time was fitted."""
    chosen = result.config.get("recording", {})
    return [chosen.get(key) for key in ("epochs", "interval", "t_start", "t_stop")]
