"""Sorted spike times as plain arrays: what they must be, and the stretches of them that some intervals hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.intervals import EDGE_TOLERANCE_S, Intervals


def check_times(times: NDArray[np.float64], offsets: NDArray[np.int64], ids: tuple[str, ...], name: str) -> None:
    """Refuse times that are not finite, or not sorted within each unit.

    Args:
        times: of every spike in seconds, unit after unit; shape (n_spikes,).
        offsets: unit `k` owns `times[offsets[k]:offsets[k + 1]]`; shape (n_units + 1,).
        ids: of the units.
        name: of the recording.

    Raises:
        RecordingError: naming the first unit and where it goes wrong.
    """
    if not times.size:
        return
    broken = ~np.isfinite(times)
    if broken.any():
        first = int(np.argmax(broken))
        row = int(np.searchsorted(offsets, first, side="right")) - 1
        raise RecordingError(
            f"{name}: {int(broken.sum())} spike times are NaN or infinite (first in unit {ids[row]!r}, "
            f"spike {first - int(offsets[row])}).",
            hint="remove them, or drop that unit",
        )
    falls = np.flatnonzero(times[1:] < times[:-1]) + 1
    falls = falls[~np.isin(falls, offsets)]
    if falls.size:
        row = int(np.searchsorted(offsets, falls[0], side="right")) - 1
        raise RecordingError(
            f"{name}: spike times go back in time at {falls.size} places (first in unit {ids[row]!r}: "
            f"{times[falls[0] - 1]:g} s is followed by {times[falls[0]]:g} s).",
            hint="sort each unit's times first",
        )


def inside(train: NDArray[np.float64], intervals_s: Intervals) -> NDArray[np.float64]:
    """The spikes of a sorted train that lie in some ordered `[start, stop)` intervals."""
    return take_stretches(train, _edges(train, intervals_s).reshape(-1, 2))


def outside(train: NDArray[np.float64], holes_s: Intervals) -> NDArray[np.float64]:
    """The spikes of a sorted train that lie in none of some ordered `[start, stop)` intervals."""
    edges = _edges(train, holes_s)
    kept = np.concatenate([[0], edges, [train.size]]).reshape(-1, 2)
    return take_stretches(train, kept)


def _edges(train: NDArray[np.float64], intervals_s: Intervals) -> NDArray[np.intp]:
    """First spike at or behind every start and stop, one after the other; shape (2 · n_intervals,).

    With the tolerance that bins have: a spike on the edge between two epochs is in the later one, and in one only.
    """
    return np.searchsorted(train, intervals_s.ravel() - EDGE_TOLERANCE_S, side="left")


def take_stretches(values: NDArray[np.float64], stretches: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """The values from `a` up to `b` of every stretch (a, b), one after the other; thousands of trials cost no loop.

    Args:
        values: any values; shape (n,).
        stretches: first and behind-last index of each stretch; shape (n_stretches, 2).
    """
    sizes = np.diff(stretches, axis=1).ravel()
    shifts = stretches[:, 0] - (np.cumsum(sizes) - sizes)
    return values[np.repeat(shifts, sizes) + np.arange(int(sizes.sum()))]
