"""Counts as windows for a Poisson VAE: with true context, and with a row that says which bins are inside the segment.

The counts of the recording are used where they lie: a fold is a set of ranges, never a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.pvae.network import PVAE
from spikefit.spikes import Counts

CORE_BINS = 250  # explained bins of a window; the context beside it is what is computed in vain
PASS_BINS = 100_000  # bins taken at once where all are passed through once


@dataclass(frozen=True, eq=False)
class LatentBatch(WindowBatch):
    """Windows, and which of their bins are inside the window's segment.

    Attributes:
        inside: 1 inside, 0 outside, where counts are 0, too.
    """

    inside: Float[Tensor, "window 1 padded_bin"] = field(kw_only=True)


class LatentWindows(Windows):
    """Windows whose batches know which bins are inside the segment."""

    def batch(self, which: Int[Tensor, " window"]) -> LatentBatch:
        """Gather the named windows."""
        found = super().batch(which)
        before, after = self.context
        bins = self._starts[which, None] + torch.arange(-before, self.core + after)
        inside = (bins >= self._lowest[which, None]) & (bins < self._highest[which, None])
        row = inside[:, None].to(found.counts)
        return LatentBatch(found.counts, found.scored, found.n_scored, inside=row)

    def batches(self, n_windows: int, order: Int[Tensor, " window"] | None = None) -> Iterator[LatentBatch]:
        """All windows, `n_windows` at a time, in the given order."""
        order = torch.arange(len(self)) if order is None else order
        for part in order.split(n_windows):
            if len(part):
                yield self.batch(part)


def windows_of(
    counts: Counts, model: PVAE, *, ranges: NDArray[np.int64] | None = None, core_bins: int = CORE_BINS
) -> LatentWindows:
    """Bins of some counts as windows for a model, on its device.

    Args:
        counts: all bins.
        model: says how much context is needed.
        ranges: `[start, stop)` bins to explain, each within one segment; no context reaches out of a range. None for all.
        core_bins: most explained bins of a window.
    """
    values = counts.counts.T
    if values.dtype != np.uint8:
        values = values.astype(np.int16 if values.max(initial=0) < 2**15 else np.int32)
    offsets = counts.segment_offsets
    if ranges is None:
        ranges = np.stack([offsets[:-1], offsets[1:]], axis=1)
    return LatentWindows(
        torch.from_numpy(np.ascontiguousarray(values)).to(model.log_prior.device),
        np.unique(np.concatenate([offsets, ranges.ravel()])),
        ranges,
        context=(model.reach, model.reach),
        core_bins=core_bins,
    )


def parts(batch: LatentBatch) -> tuple[Float[Tensor, "window unit padded"], Float[Tensor, "window 1 padded"]]:
    """Counts of a batch, and which bins are inside the segment."""
    return batch.counts, batch.inside


def moments(counts: Counts, ranges: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of every unit's count over some ranges of bins; (unit,) each."""
    n_bins = int(np.diff(ranges, axis=1).sum())
    total, square = np.zeros(counts.n_units), np.zeros(counts.n_units)
    for values in _passes(counts, ranges):
        total += values.sum(axis=0)
        square += np.square(values).sum(axis=0)
    mean = total / n_bins
    # Whole numbers add up without error in float64, so nothing is lost in the difference.
    return mean, np.sqrt(np.maximum(square / n_bins - mean**2, 0))


def constant_units(counts: Counts, ranges: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which units have the same count in every bin of some ranges; (unit,)."""
    lowest, highest = np.full(counts.n_units, np.inf), np.full(counts.n_units, -np.inf)
    for values in _passes(counts, ranges):
        lowest = np.minimum(lowest, values.min(axis=0))
        highest = np.maximum(highest, values.max(axis=0))
    return np.asarray(lowest == highest)


def _passes(counts: Counts, ranges: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    step = max(1, PASS_BINS // counts.n_units)
    for start, stop in ranges.tolist():
        for first in range(start, stop, step):
            yield counts.counts[first : min(stop, first + step)].astype(np.float64)
