"""Whole bins over the observed intervals of a recording: which bin a spike falls into, which bins a lost stretch touches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.intervals import EDGE_TOLERANCE_S, Intervals


@dataclass(frozen=True, eq=False)
class Bins:
    """Bins `[start, stop)` of equal width, laid from the start of every interval that holds a whole one.

    Attributes:
        width_s: of a bin, in seconds.
        starts_s: start of each segment; shape (n_segments,).
        per_segment: bins of each segment; shape (n_segments,).
        segment_offsets: segment `k` owns bins `segment_offsets[k]` to `segment_offsets[k + 1]`; shape (n_segments + 1,).
    """

    width_s: float
    starts_s: NDArray[np.float64]
    per_segment: NDArray[np.int64]
    segment_offsets: NDArray[np.int64]

    @classmethod
    def over(cls, intervals_s: Intervals, width_s: float, *, name: str) -> Bins:
        """Lay bins over observed intervals; the rest of an interval that no bin fills is left out.

        Args:
            intervals_s: ordered, without overlap; shape (n, 2).
            width_s: of a bin, in seconds.
            name: of the recording, for the message.

        Raises:
            UsageError: if the width is not above zero, or no interval is as long as one bin.
        """
        if not (math.isfinite(width_s) and width_s > 0):
            raise UsageError(f"the bin width must be above 0 s, got {width_s!r}.", hint="pass --bin 5ms, say")
        lengths_s = np.diff(intervals_s, axis=1).ravel()
        n_bins = np.floor((lengths_s + EDGE_TOLERANCE_S) / width_s).astype(np.int64)
        kept = n_bins > 0
        if not kept.any():
            longest = f"{lengths_s.max():g} s" if lengths_s.size else "nothing"
            raise UsageError(
                f"{name}: a bin of {width_s:g} s is wider than the recording (its longest interval: {longest}).",
                hint="pass a smaller --bin",
            )
        starts_s, n_bins = intervals_s[kept, 0], n_bins[kept]
        return cls(float(width_s), starts_s, n_bins, np.concatenate([[0], np.cumsum(n_bins)]))

    def __len__(self) -> int:
        return int(self.segment_offsets[-1])

    def index_of(self, train: NDArray[np.float64]) -> NDArray[np.int64]:
        """Index of the bin that each spike of a sorted train falls into; spikes outside every bin are left out."""
        starts = self.starts_s - EDGE_TOLERANCE_S
        if starts.size == 1:
            index = np.floor((train - starts[0]) / self.width_s).astype(np.int64)
            return np.asarray(index[(index >= 0) & (index < self.per_segment[0])])
        segment = np.searchsorted(starts, train, side="right") - 1
        inside = segment >= 0
        segment, train = segment[inside], train[inside]
        index = np.floor((train - starts[segment]) / self.width_s).astype(np.int64)
        inside = index < self.per_segment[segment]
        return np.asarray(index[inside] + self.segment_offsets[segment[inside]])

    def count(self, trains: Sequence[NDArray[np.float64]]) -> NDArray[np.unsignedinteger[Any]]:
        """Spikes of each unit's sorted train in every bin, in the smallest unsigned type that holds them; (unit, bin)."""
        counts: NDArray[np.unsignedinteger[Any]] = np.zeros((len(trains), len(self)), dtype=np.uint8)
        for row, train in enumerate(trains):
            index = self.index_of(train)
            if not index.size:
                continue
            unit_counts = np.bincount(index, minlength=len(self))
            needed = np.min_scalar_type(int(unit_counts.max()))
            if needed.itemsize > counts.dtype.itemsize:
                counts = counts.astype(needed)
            counts[row] = unit_counts
        return counts

    def touched(self, unit_ids: Sequence[str], lost_s: Mapping[str, Intervals]) -> NDArray[np.bool_] | None:
        """Bins that the lost time of a unit touches, (unit, bin); None where there are none.

        Args:
            unit_ids: of all units.
            lost_s: lost time by unit id, each inside the intervals over which the bins lie; shape (n, 2).
        """
        if not lost_s:
            return None
        lost = np.zeros((len(unit_ids), len(self)), dtype=bool)
        for unit_id, rows in lost_s.items():
            own = lost[unit_ids.index(unit_id)]
            for start_s, stop_s in rows.tolist():
                # Lost time lies inside one interval, but that may be too short for a bin.
                segment = int(np.searchsorted(self.starts_s - EDGE_TOLERANCE_S, start_s, side="right")) - 1
                if segment < 0:
                    continue
                first = math.floor((start_s - self.starts_s[segment] + EDGE_TOLERANCE_S) / self.width_s)
                last = math.ceil((stop_s - self.starts_s[segment] - EDGE_TOLERANCE_S) / self.width_s)
                n = int(self.per_segment[segment])
                offset = int(self.segment_offsets[segment])
                own[offset + min(max(first, 0), n) : offset + min(max(last, 0), n)] = True
        return lost if lost.any() else None
