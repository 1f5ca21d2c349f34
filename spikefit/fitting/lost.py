"""Bins in which single units were not observed.

As a receiver a lost unit has no say: its likelihood there is no part of any sum. As a sender it is not silent but unknown,
and its mean count, over the training bins in which it was observed, stands in for it: the drive that others take from it is then
right on average, where zeros would have it fall and move their baselines. The posterior over hidden spikes and the common drive
see the same stand-in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from spikefit.models.long_sums import sum_over_bins


@dataclass(frozen=True, eq=False)
class LostBins:
    """Where units are lost, and what stands in for them.

    Attributes:
        mask: whether a unit is lost; (unit, bin).
        stand_in: count that stands in for each unit where it is lost; float64.
    """

    mask: Bool[Tensor, "unit bin"]
    stand_in: Float[Tensor, " unit"]

    def to(self, device: torch.device) -> LostBins:
        """The same on another device."""
        return LostBins(self.mask.to(device), self.stand_in.to(device))

    def filled(self, counts: Float[Tensor, "unit some_bin"], start: int, stop: int) -> Float[Tensor, "unit some_bin"]:
        """Counts of the bins from `start` to `stop` with the stand-ins where units are lost."""
        return torch.where(self.mask[:, start:stop], self.stand_in.to(counts)[:, None], counts)

    def in_population(self) -> NDArray[np.float64]:
        """The stand-ins summed over units, in every bin; (bin,)."""
        total = np.zeros(self.mask.shape[1])
        for own, value in zip(self.mask.cpu().numpy(), self.stand_in.tolist(), strict=True):
            total[own] += value
        return total

    def n_lost(self, ranges: NDArray[np.int64]) -> Float[Tensor, " unit"]:
        """How many bins of some `[start, stop)` ranges each unit is lost in; float64."""
        total = torch.zeros(len(self.mask), dtype=torch.float64, device=self.mask.device)
        for start, stop in ranges.tolist():
            total += sum_over_bins(self.mask, start, stop)
        return total


def mean_counts(
    counts: Tensor, ranges: NDArray[np.int64], lost: Bool[Tensor, "unit bin"] | None
) -> tuple[Float[Tensor, " unit"], Float[Tensor, " unit"]]:
    """Mean count of every unit over those bins in which it was observed, above zero, and their number; float64 on the CPU.

    Args:
        counts: (unit, bin), zero where a unit is lost.
        ranges: `[start, stop)` bins; (n, 2).
        lost: where units are lost; None where none is.
    """
    total = torch.zeros(len(counts), dtype=torch.float64)
    n_bins = torch.full_like(total, float(np.diff(ranges, axis=1).sum()) if len(ranges) else 0.0)
    for start, stop in ranges.tolist():
        total += sum_over_bins(counts, start, stop).cpu()
        if lost is not None:
            n_bins -= sum_over_bins(lost, start, stop).cpu()
    # Half a spike where there was none: a rate of zero could never be surprised.
    return total.clamp(min=0.5) / n_bins.clamp(min=1), n_bins
