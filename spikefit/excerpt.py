"""A short stretch of the recording that travels with a result, so that hidden activity can be seen beside the spikes."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np

from spikefit.results import Excerpt, Result
from spikefit.spikes import SpikeTrains

ResultT = TypeVar("ResultT", bound=Result)

LONGEST_S = 20.0
# Enough for a raster, and little enough that the page stays light.
MOST_SPIKES = 10_000


def with_excerpt(result: ResultT, trains: SpikeTrains) -> ResultT:
    """The result with the spikes of the stretch in which its hidden units vary most; as it is without hidden units.

    Args:
        result: the fit.
        trains: the recording it was made from, with every unit of the fit.
    """
    stretch = liveliest_stretch(result)
    if stretch is None:
        return result
    start_s, stop_s = stretch
    times, units = [], []
    for place, unit in enumerate(result.unit_id[result.visible]):
        train = trains[unit]
        inside = train[np.searchsorted(train, start_s) : np.searchsorted(train, stop_s)]
        times.append(inside)
        units.append(np.full(inside.size, place, dtype=np.int64))
    excerpt = Excerpt(start_s, stop_s, np.concatenate(times), np.concatenate(units))
    return dataclasses.replace(result, excerpt=excerpt)


def liveliest_stretch(result: Result) -> tuple[float, float] | None:
    """Start and stop, in seconds, of the stretch without a gap in which the hidden units' rates vary most.

    Every hidden unit has the same say: what counts is its variance inside the stretch over that in the whole recording.
    """
    activity = result.hidden
    if activity is None or not activity.time_s.size or not result.n_hidden:
        return None
    rate_hz = sum(row.rate_hz for row in result.unit_rows[: result.n_visible])
    length_s = min(LONGEST_S, MOST_SPIKES / max(rate_hz, 1e-9))
    n_bins = min(max(int(length_s / result.bin_width_s), 1), activity.time_s.size)
    values = np.asarray(activity.expected_count, dtype=np.float64)
    values = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-12)
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    squares = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values**2, axis=0)])
    starts = np.arange(0, activity.time_s.size - n_bins + 1, max(n_bins // 4, 1))
    mean = (sums[starts + n_bins] - sums[starts]) / n_bins
    variance = ((squares[starts + n_bins] - squares[starts]) / n_bins - mean**2).mean(axis=1)
    spans_s = activity.time_s[starts + n_bins - 1] - activity.time_s[starts]
    whole = spans_s < (n_bins - 0.5) * result.bin_width_s  # no gap inside
    if not whole.any():
        return None
    best = int(starts[np.argmax(np.where(whole, variance, -np.inf))])
    start_s = float(activity.time_s[best])
    return start_s, start_s + n_bins * result.bin_width_s
