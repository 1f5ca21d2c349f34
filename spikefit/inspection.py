"""What is in a recording, what an analysis would use of it, and which bin widths suit it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from spikefit.covariates import Covariate, Covariates
from spikefit.diagnostics.significance import FEWEST_PAIRS
from spikefit.errors import RecordingError
from spikefit.intervals import EDGE_TOLERANCE_S
from spikefit.loaders.raw import NOT_A_NEURON
from spikefit.pair_types import describe_columns
from spikefit.spikes import SpikeTrains

# What people bin spike trains at, from the finest that a synapse shows in to the coarsest that still has a direction.
BIN_WIDTHS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
# Above this part of the bins with spikes that hold two or more, a bin width is too coarse to be suggested.
MOST_CROWDED = 0.1
# Bin widths are described from so many spikes at most.
SPIKES_LOOKED_AT = 1_000_000


class UnitChoice(NamedTuple):
    """Whether a unit is used, and why not."""

    id: str
    kept: bool
    reason: str


def choose_units(trains: SpikeTrains, *, units: str | None = None, min_spikes: int = 1) -> list[UnitChoice]:
    """Decide for every unit, in file order, whether it is used.

    Count spikes in the time that is to be used: restrict the recording to its epochs and intervals first.

    Args:
        trains: the recording.
        units: ids, patterns or a condition; see `spikefit.expressions`. Units that are marked as noise or unsorted are left out
            unless they are asked for here.
        min_spikes: units with fewer spikes are left out; so are units without any, always.

    Raises:
        UsageError: if `units` cannot be understood.
    """
    asked_for = None
    if units is not None:
        from spikefit.expressions import select_units  # the grammar is dear to build and seldom needed

        asked_for = select_units(units, trains)
    marks = trains.unit_columns.get(NOT_A_NEURON)
    observed_s = trains.observed_s
    choices = []
    for row, (unit_id, n_spikes) in enumerate(zip(trains.unit_ids, trains.n_spikes_per_unit.tolist(), strict=True)):
        if asked_for is not None and not asked_for[row]:
            reason = f"not chosen by --units {units}"
        elif unit_id in trains.lost_s and observed_s[row] <= EDGE_TOLERANCE_S:
            reason = "lost in all of the chosen time"
        elif n_spikes == 0:
            reason = "no spikes in the chosen time"
        elif n_spikes < min_spikes:
            reason = f"{n_spikes} spikes, fewer than {min_spikes}"
        elif asked_for is None and marks is not None and str(marks[row]):
            reason = f"{marks[row]}, not a sorted neuron"
        else:
            reason = ""
        choices.append(UnitChoice(unit_id, not reason, reason))
    return choices


def keep_chosen(trains: SpikeTrains, choices: Sequence[UnitChoice], *, at_least: int = 2) -> SpikeTrains:
    """The recording with the kept units alone.

    Args:
        trains: the recording that the choices were made for.
        choices: from `choose_units`.
        at_least: how many units the analysis needs.

    Raises:
        RecordingError: if fewer are left; the message says why the others are not.
    """
    kept = [choice.id for choice in choices if choice.kept]
    if len(kept) < at_least:
        reasons: dict[str, int] = {}
        for choice in choices:
            if not choice.kept:
                reasons[choice.reason] = reasons.get(choice.reason, 0) + 1
        told = "; ".join(f"{count} left out: {reason}" for reason, count in reasons.items())
        raise RecordingError(
            f"{trains.name}: {len(kept)} of {trains.n_units} units can be used, expected at least {at_least}"
            + (f" ({told})." if told else "."),
            hint="choose more units, a longer stretch, or look at the recording with `spikefit inspect`",
        )
    return trains.select(kept)


def inspect_recording(
    trains: SpikeTrains,
    *,
    units: str | None = None,
    min_spikes: int = 1,
    bin_widths_s: Sequence[float] = BIN_WIDTHS_S,
) -> dict[str, Any]:
    """Everything `spikefit inspect` shows, as plain values that JSON can hold; all times in seconds.

    Args:
        trains: the recording.
        units: which units an analysis would be asked to use.
        min_spikes: how many spikes a unit needs.
        bin_widths_s: bin widths to describe.

    Raises:
        UsageError: if `units` cannot be understood.
    """
    choices = choose_units(trains, units=units, min_spikes=min_spikes)
    counts, rates, observed_s = trains.n_spikes_per_unit, trains.rate_hz, trains.observed_s
    rows = []
    for row, choice in enumerate(choices):
        train = trains.spike_times_s[trains.offsets[row] : trains.offsets[row + 1]]
        rows.append(
            {
                "id": choice.id,
                "n_spikes": int(counts[row]),
                "rate_hz": float(rates[row]) if math.isfinite(rates[row]) else None,
                "first_spike_s": float(train[0]) if train.size else None,
                "last_spike_s": float(train[-1]) if train.size else None,
                "kept": choice.kept,
                "reason": choice.reason,
                "observed_s": float(observed_s[row]),
                "lost_share": float(1 - observed_s[row] / trains.duration_s) if choice.id in trains.lost_s else 0.0,
            }
        )
    kept_rows = [row for row, choice in enumerate(choices) if choice.kept]
    return {
        "format": trains.format,
        "n_units": trains.n_units,
        "n_spikes": trains.n_spikes,
        "t_start_s": trains.t_start_s,
        "t_stop_s": trains.t_stop_s,
        "intervals_s": trains.intervals_s.tolist(),
        "epochs": {name: epoch.tolist() for name, epoch in trains.epochs.items()},
        "unit_columns": describe_columns(
            trains.unit_columns, trains.unit_ids, [choice.kept for choice in choices], least=FEWEST_PAIRS
        ),
        "covariates": [_describe_covariate(covariate) for covariate in trains.covariates.values()],
        "units": rows,
        "suggested_bins": [_describe_bins(trains, kept_rows, width) for width in bin_widths_s] if kept_rows else [],
        "warnings": [*trains.warnings, *covariates_not_offered(trains)],
    }


def _describe_covariate(covariate: Covariate) -> dict[str, Any]:
    return {
        "name": covariate.name,
        "shape": list(covariate.shape),
        "columns": list(covariate.columns),
        "unit": covariate.unit,
        "description": covariate.description,
        "rate_hz": covariate.rate_hz,
        "t_start_s": covariate.start_s if math.isfinite(covariate.start_s) else None,
        "t_stop_s": covariate.stop_s if math.isfinite(covariate.stop_s) else None,
    }


def covariates_not_offered(trains: SpikeTrains) -> list[str]:
    """A sentence for each series of the recording that is not offered as a covariate."""
    left_out = trains.covariates.left_out if isinstance(trains.covariates, Covariates) else ()
    return [f"not offered as a covariate: {sentence}" for sentence in left_out]


def _describe_bins(trains: SpikeTrains, rows: Sequence[int], bin_width_s: float) -> dict[str, Any]:
    expected = trains.rate_hz[list(rows)] * bin_width_s
    n_spiking, n_crowded, spikes_seen = 0, 0, 0
    for row in rows:
        spiking, crowded, seen = _bins_with_spikes(
            trains, row, bin_width_s, limit=max(SPIKES_LOOKED_AT // len(rows), 1000)
        )
        n_spiking, n_crowded, spikes_seen = n_spiking + spiking, n_crowded + crowded, spikes_seen + seen
    crowded_share = n_crowded / n_spiking if n_spiking else 0.0
    spiking_per_spike = n_spiking / spikes_seen if spikes_seen else 0.0
    return {
        "bin_width_s": bin_width_s,
        "n_bins": int(np.floor((np.diff(trains.intervals_s, axis=1) + EDGE_TOLERANCE_S) / bin_width_s).sum()),
        "spikes_per_bin_median": float(np.median(expected)),
        "spikes_per_bin_max": float(expected.max()),
        "share_of_bins_with_two_or_more": float(expected.mean() * spiking_per_spike * crowded_share),
        "share_of_spiking_bins_with_two_or_more": crowded_share,
    }


def suggest_bin_width(suggested_bins: Sequence[dict[str, Any]]) -> float | None:
    """The widest described bin in which spikes of one unit seldom share a bin; None where nothing is described.

    In a bin with two spikes the order is lost, and a wide bin merges cause with effect; narrower bins than needed cost time
    and say no more.
    """
    if not suggested_bins:
        return None
    good = [
        float(b["bin_width_s"]) for b in suggested_bins if b["share_of_spiking_bins_with_two_or_more"] <= MOST_CROWDED
    ]
    return max(good) if good else min(float(b["bin_width_s"]) for b in suggested_bins)


def _bins_with_spikes(trains: SpikeTrains, row: int, bin_width_s: float, limit: int) -> tuple[int, int, int]:
    """How many bins hold spikes of a unit, how many of them two or more, and how many spikes were looked at."""
    train = trains.spike_times_s[trains.offsets[row] : trains.offsets[row + 1]]
    if train.size > limit:
        middle = (train.size - limit) // 2
        train = train[middle : middle + limit]
    # Bins laid from the start of the recording; what an interval's edge would shift does not matter here.
    index = np.floor((train - (trains.t_start_s - EDGE_TOLERANCE_S)) / bin_width_s)
    _, sizes = np.unique(index, return_counts=True)
    return int(sizes.size), int(np.count_nonzero(sizes >= 2)), int(train.size)
