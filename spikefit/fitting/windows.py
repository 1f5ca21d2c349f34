"""Windows of a recording with their true context.

A scored range is cut into cores of at most a given length. Each core travels with the visible counts around it that
its hidden spikes and their posterior depend on, so cutting changes nothing in the objective: only cores are scored.
Context that would lie outside the core's segment is silence, for the posterior only; scored bins always have a whole
history inside their segment.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Integer
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.lost import LostBins
from spikefit.models.visible_input import Spikes, occupied


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """Some windows on the device.

    Attributes:
        counts: visible counts with context on both sides; (window, unit, padded_bin).
        scored: which bins of the cores are scored; None where all are; (window, bin).
        n_scored: scored bins in all.
        covariates: in the bins of the cores; None where the fit has none; unscored bins hold anything.
        observed: which counts of the cores are scored, where units are lost part of the time; None where none is.
    """

    counts: Float[Tensor, "window unit padded_bin"]
    scored: Bool[Tensor, "window bin"] | None
    n_scored: int
    covariates: Float[Tensor, "window column bin"] | None = None
    observed: Bool[Tensor, "window unit bin"] | None = None

    @property
    def scored_counts(self) -> Tensor | None:
        """Which counts of the cores are scored: `observed`, or `scored` for all units alike."""
        return self.scored if self.observed is None else self.observed

    @functools.cached_property
    def spikes(self) -> Spikes:
        """Window, unit and padded bin of every occupied bin."""
        return occupied(self.counts)

    def spikes_between(self, first: int, stop: int) -> Spikes:
        """The same of some padded bins, the bins counted from `first`."""
        window, unit, bin_ = self.spikes
        inside = (bin_ >= first) & (bin_ < stop)
        return window[inside], unit[inside], bin_[inside] - first


class Windows:
    """The windows over some scored ranges, gathered on demand.

    Args:
        counts: (unit, bin), compact whole numbers, on the device of the computation.
        segment_offsets: first bin of each segment and the end of the last.
        ranges: scored `[start, stop)` bins, (n, 2).
        context: bins needed before and after a core.
        core_bins: longest core.
        dtype: of the batches.
        covariates: columns of every bin of the recording, where the model listens to some.
        lost: bins in which single units were not observed: their counts are then what stands in for them.
    """

    def __init__(
        self,
        counts: Integer[Tensor, "unit bin"],
        segment_offsets: NDArray[np.int64],
        ranges: NDArray[np.int64],
        *,
        context: tuple[int, int],
        core_bins: int,
        dtype: torch.dtype = torch.float32,
        covariates: Float[Tensor, "column whole_bin"] | None = None,
        lost: LostBins | None = None,
    ) -> None:
        self._lost = lost
        self._covariates = covariates
        self._counts, self._dtype, self.context = counts, dtype, context
        starts, stops = _cut(ranges, core_bins)
        self.core = int((stops - starts).max(initial=0))
        segment = np.searchsorted(segment_offsets, starts, side="right") - 1
        as_tensor = torch.from_numpy
        self._starts, self._stops = as_tensor(starts), as_tensor(stops)
        self._lowest, self._highest = as_tensor(segment_offsets[segment]), as_tensor(segment_offsets[segment + 1])
        self.n_bins = int((stops - starts).sum())

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def starts(self) -> NDArray[np.int64]:
        """First scored bin of every window."""
        return self._starts.numpy()

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Scored bins of every window."""
        return (self._stops - self._starts).numpy()

    def n_scored(self, which: Int[Tensor, " window"]) -> int:
        """Scored bins of the named windows."""
        return int((self._stops[which] - self._starts[which]).sum())

    def batch(self, which: Int[Tensor, " window"]) -> WindowBatch:
        """Gather the named windows onto the device of the counts."""
        device = self._counts.device
        before = self.context[0]
        counts, lost = self._padded(which)
        lengths = self._stops[which] - self._starts[which]
        scored = None
        if int(lengths.min()) < self.core:
            scored = (torch.arange(self.core) < lengths[:, None]).to(device)
        covariates = None if self._covariates is None else self.cores_of(self._covariates, which).to(self._dtype)
        observed = None
        if lost is not None:
            observed = ~lost[..., before : before + self.core]
            observed = observed.contiguous() if scored is None else observed & scored[:, None]
        return WindowBatch(counts, scored, int(lengths.sum()), covariates, observed)

    def _padded(
        self, which: Tensor
    ) -> tuple[Float[Tensor, "window unit padded_bin"], Bool[Tensor, "window unit padded_bin"] | None]:
        """Counts with context, silent outside of the core's segment, stand-ins where units are lost; and where they are, if any is."""
        before, after = self.context
        n_bins = before + self.core + after
        out = torch.empty(len(which), self._counts.shape[0], n_bins, dtype=self._dtype, device=self._counts.device)
        lost = None if self._lost is None else torch.zeros_like(out, dtype=torch.bool)
        first = self._starts[which] - before
        low = torch.maximum(first, self._lowest[which])
        high = torch.minimum(first + n_bins, self._highest[which])
        # Stretches of memory: an index of every bin would take several times as long.
        for k, (start, stop, at) in enumerate(zip(low.tolist(), high.tolist(), (low - first).tolist(), strict=True)):
            end = at + stop - start
            out[k, :, at:end] = self._counts[:, start:stop]
            out[k, :, :at] = 0
            out[k, :, end:] = 0
            if lost is not None and self._lost is not None:
                out[k, :, at:end] = self._lost.filled(out[k, :, at:end], start, stop)
                lost[k, :, at:end] = self._lost.mask[:, start:stop]
        return out, lost

    def cores_of(
        self, values: Float[Tensor, "row whole_bin"], which: Int[Tensor, " window"]
    ) -> Float[Tensor, "window row bin"]:
        """Further values of every bin of the recording, in the cores of the named windows; unscored bins hold anything."""
        bins = (self._starts[which, None] + torch.arange(self.core)).clamp_(max=values.shape[1] - 1)
        return values[:, bins.to(values.device)].transpose(0, 1)

    def batches(self, n_windows: int, order: Int[Tensor, " window"] | None = None) -> Iterator[WindowBatch]:
        """All windows, `n_windows` at a time, in the given order."""
        order = torch.arange(len(self)) if order is None else order
        for part in order.split(n_windows):
            if len(part):  # nothing splits into one empty part
                yield self.batch(part)


def _cut(ranges: NDArray[np.int64], core_bins: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut every range into the fewest about equal cores."""
    starts, stops = [], []
    for start, stop in ranges.tolist():
        n_cores = -(-(stop - start) // core_bins)
        edges = np.linspace(start, stop, n_cores + 1).round().astype(np.int64)
        starts.append(edges[:-1])
        stops.append(edges[1:])
    empty = [np.empty(0, dtype=np.int64)]
    return np.concatenate(starts or empty), np.concatenate(stops or empty)
