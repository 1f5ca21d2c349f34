"""Sets of `[start, stop)` intervals in seconds, as arrays of shape (n, 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikefit.errors import RecordingError

Intervals = NDArray[np.float64]

# Times in files are rounded decimals: a spike this close below a bin edge was recorded on the edge. It lies far below
# any sampling period and far above the rounding of float64 over a day.
EDGE_TOLERANCE_S = 1e-9


def union_of(intervals_s: ArrayLike) -> Intervals:
    """Intervals in order with overlaps taken once; intervals that only touch stay apart."""
    rows = as_intervals(intervals_s, "intervals")
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    merged: list[list[float]] = []
    for start, stop in rows.tolist():
        if merged and start < merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], stop)
        else:
            merged.append([start, stop])
    return np.array(merged, dtype=np.float64).reshape(-1, 2)


def intersection_of(first_s: ArrayLike, second_s: ArrayLike) -> Intervals:
    """Time inside both of two ordered, non-overlapping sets of intervals; the edges of both are kept."""
    a, b = as_intervals(first_s, "intervals"), as_intervals(second_s, "intervals")
    rows = []
    i = j = 0
    while i < len(a) and j < len(b):
        start, stop = max(a[i, 0], b[j, 0]), min(a[i, 1], b[j, 1])
        if start < stop:
            rows.append((start, stop))
        if a[i, 1] <= b[j, 1]:
            i += 1
        else:
            j += 1
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def without(intervals_s: Intervals, holes_s: Intervals) -> Intervals:
    """What is left of ordered intervals when others are cut out of them."""
    if not len(holes_s):
        return intervals_s
    edges = np.concatenate([[-np.inf], holes_s.ravel(), [np.inf]]).reshape(-1, 2)
    rows = []
    for start, stop in intervals_s:
        low, high = np.maximum(edges[:, 0], start), np.minimum(edges[:, 1], stop)
        rows.append(np.stack([low, high], axis=1)[low < high])
    return np.concatenate(rows) if rows else np.empty((0, 2))


def as_intervals(rows: ArrayLike, what: str) -> Intervals:
    """Rows as an array of shape (n, 2).

    Args:
        rows: starts and stops in seconds.
        what: what to call them in a message.

    Raises:
        RecordingError: if an interval does not run forward in finite seconds.
        ValueError: if the shape is another.
    """
    intervals = np.ascontiguousarray(rows, dtype=np.float64)
    if not intervals.size:
        return np.empty((0, 2))
    if intervals.shape[-1] != 2 or intervals.ndim > 2:
        raise ValueError(f"{what} have the shape {intervals.shape}, expected (n, 2): a start and a stop each")
    intervals = intervals.reshape(-1, 2)
    bad = ~(np.isfinite(intervals).all(axis=1) & (intervals[:, 1] > intervals[:, 0]))
    if bad.any():
        start, stop = intervals[bad][0]
        raise RecordingError(
            f"{what}: {int(bad.sum())} of {len(intervals)} do not run forward in finite seconds (first: {start:g} to {stop:g}).",
            hint="each interval needs start < stop",
        )
    return intervals
