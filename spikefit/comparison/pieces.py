"""Fits with other bins, windows or penalties on the stretches of time that all of them held out.

Every fit keeps the log-likelihood of the spike times in each held-out piece of half a second. Pieces that all fits held out are the same
in seconds, whatever the bins, so that differences are paired; those that follow one another make a block, and errors are over blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikefit.comparison.ratios import ratio_and_error
from spikefit.marks import PIECE_S
from spikefit.results import Result

Array = NDArray[np.float64]

PIECE_SERIES = ("heldout_piece_start_s", "heldout_piece_spikes", "heldout_piece_nats", "heldout_piece_constant_nats")
SAME_START_S = 1e-4
FEWEST_BLOCKS = 5  # fewer give no standard error to go by
MOST_OTHER_SPIKES = 0.01  # share of the pieces in which a rounding may put a spike into the next one
NO_WEIGHTS = ("basis", "common_drive_decay", "common_drive_level")


@dataclass(frozen=True)
class TimeRow:
    """One result on the stretches of time that all results held out.

    Attributes:
        name: of the result.
        bin_width_s, window_s: its bins, and the length of its filters.
        n_hidden: hidden units.
        n_weights: parameters of the network, the posterior's left out.
        gain_nats_per_s, gain_nats_per_s_se: log-likelihood of the spike times above constant rates.
        behind_nats_per_s, behind_nats_per_s_se: how much the best result is better, its error paired over blocks.
        within_one_error: whether that is at most one standard error.
        chosen: whether it has the fewest weights of those.
    """

    name: str
    bin_width_s: float
    window_s: float
    n_hidden: int
    n_weights: int
    gain_nats_per_s: float
    gain_nats_per_s_se: float
    behind_nats_per_s: float
    behind_nats_per_s_se: float
    within_one_error: bool
    chosen: bool


@dataclass(frozen=True)
class SameTime:
    """Results on the stretches of time that all of them held out; `why` says why there are no rows."""

    rows: tuple[TimeRow, ...]
    seconds: float
    blocks: int
    why: str

    def sentence(self) -> str:
        """The best, and what the one-standard-error rule takes."""
        if not self.rows:
            return self.why
        best = min(self.rows, key=lambda row: row.behind_nats_per_s)
        chosen = next(row for row in self.rows if row.chosen)
        text = f"On {self.seconds:g} s that all results held out, in {self.blocks} blocks, {best.name} predicts best"
        if chosen is best:
            return f"{text}, and no result with fewer weights comes within one standard error of it."
        return f"{text}; {chosen.name} has the fewest weights of those within one standard error of it."


def same_time(results: Sequence[Result], names: Sequence[str]) -> SameTime:
    """Put results of one recording and the same units on the stretches of time that all of them held out.

    Args:
        results: two or more.
        names: of them.
    """
    found = common_pieces(results)
    if isinstance(found, str):
        return SameTime((), 0.0, 0, found)
    nats, constant, seconds, n_pieces = found
    best = int(nats.sum(axis=1).argmax())
    rows = []
    for k, (result, name) in enumerate(zip(results, names, strict=True)):
        gain, gain_se = ratio_and_error(nats[k] - constant[k], seconds)
        behind, behind_se = (0.0, 0.0) if k == best else ratio_and_error(nats[best] - nats[k], seconds)
        rows.append((name, result, gain, gain_se, behind, behind_se))
    near = [k for k, (*_, behind, error) in enumerate(rows) if behind <= error]
    chosen = min(near, key=lambda k: (n_weights(results[k]), rows[k][4]))
    made = tuple(
        TimeRow(
            name, result.bin_width_s, result.lag_s.size * result.bin_width_s, result.n_hidden, n_weights(result),
            gain, gain_se, behind, behind_se, k in near, k == chosen,
        )
        for k, (name, result, gain, gain_se, behind, behind_se) in enumerate(rows)
    )  # fmt: skip
    return SameTime(made, float(n_pieces * PIECE_S), seconds.size, "")


def common_pieces(results: Sequence[Result]) -> tuple[Array, Array, Array, int] | str:
    """Log-likelihoods of the common pieces, summed over blocks, or why there are none.

    Returns:
        Those of the results and those of constant rates, (result, block); the seconds of each block; and how many pieces there are.
    """
    if not all(key in result.history for result in results for key in PIECE_SERIES):
        return "a result does not hold its held-out scores by pieces of time (fit it anew; blocks of half a second at least are needed)"
    keys = [np.rint(result.history[PIECE_SERIES[0]] / SAME_START_S).astype(np.int64) for result in results]
    common = keys[0]
    for other in keys[1:]:
        common = np.intersect1d(common, other)
    places = [np.searchsorted(key, common) for key in keys]
    spikes = np.array([result.history[PIECE_SERIES[1]][place] for result, place in zip(results, places, strict=True)])
    equal = (spikes == spikes[0]).all(axis=0)
    if (~equal).sum() > MOST_OTHER_SPIKES * max(1, equal.size):
        return "the pieces of time do not hold the same spikes (half a second is no whole number of one result's bins)"
    common = common[equal]
    new = np.diff(common, prepend=-(10**12)) * SAME_START_S > 1.5 * PIECE_S
    block = np.cumsum(new) - 1
    n_blocks = int(block.max(initial=-1)) + 1
    if n_blocks < FEWEST_BLOCKS:
        return f"the results held out only {n_blocks} blocks of time in common (another --heldout or --seed)"
    by_block = []
    for series in PIECE_SERIES[2:]:
        rows = [result.history[series][place][equal] for result, place in zip(results, places, strict=True)]
        by_block.append(np.array([np.bincount(block, weights=row, minlength=n_blocks) for row in rows]))
    seconds: Array = np.asarray(np.bincount(block, minlength=n_blocks) * PIECE_S, dtype=np.float64)
    return by_block[0], by_block[1], seconds, int(common.size)


def n_weights(result: Result) -> int:
    """Parameters of the network that can differ from zero, those of a posterior left out."""
    return sum(
        int(np.count_nonzero(values))
        for name, values in result.parameters.items()
        if name not in NO_WEIGHTS and not name.startswith("posterior")
    )


def paired_per_second(first: Result, second: Result) -> tuple[float, float, str] | str:
    """How much better the second predicts in nats per second, its error paired over blocks, and how that was made; or why not."""
    found = common_pieces((first, second))
    if isinstance(found, str):
        return found
    nats, _, seconds, n_pieces = found
    value, error = ratio_and_error(nats[1] - nats[0], seconds)
    if not math.isfinite(error):
        return "there is no standard error"
    return value, error, f"paired over {seconds.size} blocks of time that both held out, {n_pieces * PIECE_S:g} s"
