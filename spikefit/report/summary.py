"""The result in sentences: what was found, how sure it is, and what cannot be told."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.report.covariates import sentence as covariates_sentence
from spikefit.report.goodness import sentence as goodness_sentence
from spikefit.report.numbers import number, signed
from spikefit.report.stability import stability_sentence
from spikefit.results import Result

Q_LEVEL = 0.05


def sentences(result: Result, edges: NDArray[np.void]) -> list[Markup]:
    """The summary of the page, a sentence or two for each point; `edges` is the edge table."""
    points = [
        _what_was_fitted(result),
        covariates_sentence(result),
        _how_well(result),
        goodness_sentence(result),
        _hidden_or_not(result),
        _stability(result),
        _edges(result, edges),
        _doubt(result),
    ]
    return [point for point in points if point]


def metric(result: Result, name: str) -> Any:
    """A number from the metrics, or None where it is not known."""
    value = result.metrics.get(name)
    if isinstance(value, float | np.floating) and not np.isfinite(value):
        return None
    return value


def _what_was_fitted(result: Result) -> Markup:
    hidden = (
        Markup(" and {} hidden ones").format(number(result.n_hidden))
        if result.n_hidden
        else Markup(", no hidden ones,")
    )
    text = Markup("{} recorded units{} were fitted in bins of {}").format(
        number(result.n_visible), hidden, number(result.bin_width_s * 1e3, unit="ms")
    )
    if result.lag_s.size:
        text += Markup(" with a history of {}").format(number(float(result.lag_s[-1]) * 1e3, 4, unit="ms"))
    if metric(result, "n_bins") is not None:
        n_bins = int(result.metrics["n_bins"])
        text += Markup(", over {} bins ({})").format(number(n_bins), number(n_bins * result.bin_width_s, 4, unit="s"))
    n_dropped = sum(not row.kept for row in result.units)
    if not n_dropped:
        return text + "."
    verb = "was" if n_dropped == 1 else "were"
    dropped = Markup(" {} of the recording {} left out; the reasons are below.").format(_count(n_dropped, "unit"), verb)
    return text + "." + dropped


def _how_well(result: Result) -> Markup | None:
    bits, nats = metric(result, "heldout_bits_per_spike"), metric(result, "heldout_nats_per_bin")
    parts = []
    if bits is not None:
        parts.append(
            Markup("On data it had not seen, the model gives {} bits per spike over constant rates").format(
                number(bits)
            )
        )
    if nats is not None:
        lead = (
            Markup(", that is {} nats per bin")
            if parts
            else Markup("On data it had not seen, the model gives {} nats per bin")
        )
        parts.append(lead.format(number(nats, 5)))
    text = Markup("").join(parts) + ("." if parts else "")
    if result.metrics.get("converged") is False:
        text += Markup(
            " <strong>The fit did not converge</strong>: its numbers may still move, so read them with care."
        )
    elif result.metrics.get("converged") is True:
        text += Markup(" The fit converged.")
    return text or None


def _hidden_or_not(result: Result) -> Markup | None:
    gain, error = metric(result, "heldout_gain_nats_per_bin"), metric(result, "heldout_gain_se")
    if gain is None or not result.n_hidden:
        return None
    size = signed(float(gain))
    if error is not None:
        size += Markup(" ± {}").format(number(float(error)))
    base = Markup("Against a fit without hidden units the held-out score changes by {} nats per bin: ").format(size)
    if gain <= 0:
        return base + "the data do not ask for hidden units, and the simpler fit should be preferred."
    if error is not None and gain <= 2 * error:
        return base + "less than twice its standard error, so the data do not clearly ask for hidden units."
    return base + "the data speak for units that were not recorded."


def _stability(result: Result) -> Markup | None:
    text = stability_sentence(result)
    return None if text is None else escape(text)


def _edges(result: Result, table: NDArray[np.void]) -> Markup | None:
    between = table[(table["pre_kind"] == "visible") & (table["post_kind"] == "visible")]
    if not len(between) or not np.isfinite(between["weight"]).any():
        return None
    known = np.isfinite(between["q_value"])
    called = known & (between["q_value"] <= Q_LEVEL)
    # Where edges were tested, a large coupling that is none is no headline.
    among = between[called] if called.any() else between
    strongest = among[np.nanargmax(np.abs(among["weight"]))]
    named = Markup("{} → {} ({} drive per spike)").format(
        escape(strongest["pre_id"]), escape(strongest["post_id"]), signed(float(strongest["weight"]))
    )
    if known.any():
        last = (
            "The strongest of them is {}."
            if called.any()
            else "Even the largest coupling, {}, cannot be told from none."
        )
        text = Markup("{} of {} pairs of recorded units are called edges at q ≤ {}. " + last).format(
            number(int(called.sum())), number(int(known.sum())), Q_LEVEL, named
        )
        return text + _detectable(result, float(strongest["weight"]), none=not called.any()) + _null(result)
    return Markup(
        "The strongest coupling between recorded units is {}. No significance was computed: "
        "a large weight alone does not make an edge, and weights between rarely firing units are the least certain."
    ).format(named)


def _detectable(result: Result, strongest: float, *, none: bool) -> Markup:
    """How strong a coupling would have to be to be called; empty where it is not known."""
    least = metric(result, "detectable_weight")
    if least is None:
        return Markup("")
    text = Markup(" A coupling of the median pair would be called from {} drive per spike on").format(
        number(float(least), 2)
    )
    if none and abs(strongest) < least:
        text += ": this recording cannot show weaker ones with the settings of this fit"
    return text + "."


def _null(result: Result) -> Markup:
    """What the calls were held against, and what was taken off before."""
    spread, n_inputs = metric(result, "z_spread"), metric(result, "n_shared_inputs")
    if spread is None:
        return Markup("")
    if metric(result, "n_surrogates"):
        return Markup(
            " They were held against {} recordings with moved spikes ({}), refitted like this one. That shows what chance makes of pairs, not what a drive "
            "that units share makes of them."
        ).format(number(int(result.metrics["n_surrogates"])), str(result.metrics["significance"]))
    tested_on = result.metrics.get("tested_on")
    which = Markup("") if tested_on is None else Markup(" They were tested on the {}.").format(str(tested_on))
    text = which + Markup(
        " What no edge looks like was read from the pairs themselves: couplings scatter {} times as widely as their "
        "standard errors say (1 if those were right)"
    ).format(number(float(spread)))
    text += _by_type(result)
    if not n_inputs:
        return text + ", and nothing that many units share explains them."
    inputs = Markup(
        "; {} that many units share explain{} part of it and {} taken off before edges were called."
    ).format(_count(int(n_inputs), "input"), "s" if n_inputs == 1 else "", "was" if n_inputs == 1 else "were")
    return text + inputs


def _by_type(result: Result) -> Markup:
    """In between, where pairs of types have nulls of their own: how differently they scatter."""
    rows = [row for row in result.metrics.get("null_by_type") or () if isinstance(row, dict)]
    if not rows:
        return Markup("")
    by_spread = sorted(rows, key=lambda row: float(row["spread"]))
    least, most = by_spread[0], by_spread[-1]
    return Markup("; by pairs of types ({}), from {} times ({} → {}) to {} times ({} → {})").format(
        str(result.metrics.get("pair_types")),
        number(float(least["spread"])), least["pre_type"], least["post_type"],
        number(float(most["spread"])), most["pre_type"], most["post_type"],
    )  # fmt: skip


def _doubt(result: Result) -> Markup:
    text = Markup(
        "A coupling says that the spikes of one unit help to predict those of another a little later. It cannot tell a synapse "
        "from a path over neurons that were not recorded"
    )
    if result.n_hidden:
        return (
            text
            + ", and hidden units stand for whatever drives several recorded ones, not for single cells with certainty."
        )
    return text + ", and a neuron that drives two recorded ones can look like a coupling between them."


def _count(count: int, noun: str) -> Markup:
    return Markup("{} {}{}").format(number(count), noun, "" if count == 1 else "s")
