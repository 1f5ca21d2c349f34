"""Hidden units of two results matched to one another.

How they are matched is said in `spikefit.alignment`. Activity is compared over the time that both results cover, where they are
of the same recording, and effects on the recorded units in common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.alignment import correlations, match, mean_likeness
from spikefit.results import Result

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HiddenMatch:
    """A hidden unit of one result and the one of another that is most like it.

    Attributes:
        first, second: their ids; None for a unit that is left over.
        activity_correlation: of the posterior expected counts; NaN where not known.
        filter_correlation: of the couplings onto the recorded units in common.
        likeness: the mean of those that are known.
    """

    first: str | None
    second: str | None
    activity_correlation: float
    filter_correlation: float
    likeness: float


def match_hidden(
    first: Result, second: Result, unit_ids: tuple[str, ...], *, same_recording: bool
) -> list[HiddenMatch]:
    """Match the hidden units of two results, the best match first; those left over come last.

    Args:
        first: one result.
        second: the other.
        unit_ids: recorded units in common.
        same_recording: whether times of the two mean the same moments.
    """
    if not first.n_hidden or not second.n_hidden:
        return []
    filters = correlations(*_outputs(first, second, unit_ids))
    activity = np.full(filters.shape, np.nan)
    if same_recording:
        shared = _shared_activity(first, second)
        if shared is not None:
            activity = correlations(*shared)
    return matched(
        list(first.unit_id[first.hidden_units]), list(second.unit_id[second.hidden_units]), activity, filters
    )


def matched(names: list[str], others: list[str], activity: Floats, filters: Floats) -> list[HiddenMatch]:
    """Match by two tables of correlations, the best match first; those left over come last.

    Args:
        names: of the rows.
        others: of the columns.
        activity: correlations of what they did, NaN where not known.
        filters: correlations of what they do to the recorded units.
    """
    likeness = mean_likeness(activity, filters)
    rows, columns = match(likeness)
    matches = [
        HiddenMatch(names[a], others[b], float(activity[a, b]), float(filters[a, b]), float(likeness[a, b]))
        for a, b in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    matches.sort(key=lambda match: -match.likeness if math.isfinite(match.likeness) else math.inf)
    alone = (math.nan, math.nan, math.nan)
    matches += [HiddenMatch(name, None, *alone) for k, name in enumerate(names) if k not in rows]
    matches += [HiddenMatch(None, name, *alone) for k, name in enumerate(others) if k not in columns]
    return matches


def _outputs(first: Result, second: Result, unit_ids: tuple[str, ...]) -> tuple[Floats, Floats]:
    """What a spike of every hidden unit does to the units in common; (hidden, value), by lag where the lags are the same."""
    same_lags = first.lag_s.shape == second.lag_s.shape and np.allclose(first.lag_s, second.lag_s)
    out = []
    for result in (first, second):
        posts = [result.index_of(unit) for unit in unit_ids]
        if same_lags:
            values = result.coupling_filters[posts][:, result.hidden_units]
            out.append(np.moveaxis(values, 1, 0).reshape(result.n_hidden, -1).astype(np.float64))
        else:
            out.append(result.connectivity[posts][:, result.hidden_units].T.astype(np.float64))
    return out[0], out[1]


def _shared_activity(first: Result, second: Result) -> tuple[Floats, Floats] | None:
    """Posterior rates of both on the wider of the two bins, over the time that both cover; (hidden, bin)."""
    a, b = first.hidden, second.hidden
    if a is None or b is None:
        return None
    return on_shared_bins(
        (a.time_s, first.bin_width_s, a.expected_count), (b.time_s, second.bin_width_s, b.expected_count)
    )


Binned = tuple[NDArray[np.floating[Any]], float, NDArray[np.floating[Any]]]


def on_shared_bins(first: Binned, second: Binned) -> tuple[Floats, Floats] | None:
    """Two series on the wider of their bins, over the time that both cover, (row, bin); None where that is too little.

    Args:
        first: start of each bin, bin width, both in seconds, and values (bin, row).
        second: the same.
    """
    if not first[0].size or not second[0].size:
        return None
    width_s = max(first[1], second[1])
    start_s = min(float(first[0][0]), float(second[0][0]))
    sums: list[tuple[NDArray[np.int64], Floats]] = []
    for time_s, bin_width_s, values in (first, second):
        # The middle of a bin tells which wider bin it belongs to; its start may lie a rounding error before an edge.
        place = np.floor((time_s + 0.5 * bin_width_s - start_s) / width_s).astype(np.int64)
        bins, at = np.unique(place, return_inverse=True)
        summed = np.zeros((bins.size, values.shape[1]))
        np.add.at(summed, at, np.asarray(values, dtype=np.float64))
        sums.append((bins, summed))
    (bins_a, counts_a), (bins_b, counts_b) = sums
    _, at_a, at_b = np.intersect1d(bins_a, bins_b, assume_unique=True, return_indices=True)
    if at_a.size < 3:
        return None
    return counts_a[at_a].T, counts_b[at_b].T
