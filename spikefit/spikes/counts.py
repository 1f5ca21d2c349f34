"""Spikes per bin: what `SpikeTrains.bin` makes, and what a fit is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.covariate_columns import CovariateColumns


@dataclass(frozen=True, eq=False)
class Counts:
    """Spikes per bin, segment after segment.

    Attributes:
        counts: whole numbers in the smallest unsigned type that holds them; shape (n_bins, n_units), stored unit
            after unit (Fortran order).
        bin_width_s: bin width in seconds.
        segment_offsets: segment `k` owns bins `segment_offsets[k]` to `segment_offsets[k + 1]`; shape (n_segments + 1,).
        segment_start_s: when each segment starts; shape (n_segments,).
        unit_ids: one text per unit.
        covariates: what else drives the units, in every bin; None where nothing does.
        lost: in which bins each unit was not observed, shape (n_bins, n_units) like `counts`, which are zero there and mean
            nothing; None where no unit is lost.
    """

    counts: NDArray[np.unsignedinteger[Any]]
    bin_width_s: float
    segment_offsets: NDArray[np.int64]
    segment_start_s: NDArray[np.float64]
    unit_ids: tuple[str, ...]
    covariates: CovariateColumns | None = None
    lost: NDArray[np.bool_] | None = None

    @property
    def n_bins(self) -> int:
        return int(self.counts.shape[0])

    @property
    def n_units(self) -> int:
        return int(self.counts.shape[1])

    @property
    def mean_count(self) -> NDArray[np.float64]:
        """Mean count of each unit over the bins in which it was observed; shape (n_units,)."""
        if self.lost is None:
            return np.asarray(self.counts.mean(axis=0, dtype=np.float64))
        n_bins = self.n_bins - self.lost.sum(axis=0)
        return np.asarray(self.counts.sum(axis=0, dtype=np.float64, where=~self.lost) / np.maximum(n_bins, 1))

    @property
    def n_segments(self) -> int:
        return int(self.segment_start_s.size)

    @property
    def time_s(self) -> NDArray[np.float64]:
        """Start of every bin in seconds, gaps left out; shape (n_bins,)."""
        lengths = np.diff(self.segment_offsets)
        within = np.arange(self.n_bins) - np.repeat(self.segment_offsets[:-1], lengths)
        return np.asarray(np.repeat(self.segment_start_s, lengths) + within * self.bin_width_s)

    def __repr__(self) -> str:
        return (
            f"Counts({self.n_bins} bins of {self.bin_width_s * 1e3:g} ms × {self.n_units} units "
            f"in {self.n_segments} segment{'s' if self.n_segments != 1 else ''}, {self.counts.dtype})"
        )
