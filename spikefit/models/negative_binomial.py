"""Negative-binomial counts: as many spikes as a Poisson law expects, but more scattered.

    p(x) = Γ(x + 1/α) / (Γ(1/α) x!) · (αμ)^x / (1 + αμ)^(x + 1/α),      variance = μ + α μ²

With μ = `expected` and α = `dispersion`; α → 0 is the Poisson law. Written so that the limit is smooth in float32:

    log p(x) + log x! = x log μ − (x + 1/α) log(1 + αμ) + Σ_{j<x} log(1 + jα)

Source: Cameron & Trivedi, "Regression analysis of count data" (2nd ed., 2013), section 3.3 (the NB2 law).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

SMALLEST_DISPERSION, LARGEST_DISPERSION = 1e-6, 100.0  # below, counts cannot be told from Poisson ones
BISECTIONS = 60
N_CELLS = 2048
LOWEST_LOG, HIGHEST_LOG = -14.0, 4.0  # of expected counts; others go to the outermost cell, by their own mean


def empty_bin(expected: Tensor, dispersion: Tensor) -> Tensor:
    """−log of the probability of no spike, log(1 + αμ) / α."""
    return torch.log1p(dispersion * expected) / dispersion


def rising(dispersion: Float[Tensor, " unit"], most: int) -> Float[Tensor, "unit count"]:
    """Σ_{j<x} log(1 + jα) for x from 0 to `most`, in float64."""
    j = torch.arange(most, dtype=torch.float64, device=dispersion.device)
    terms = torch.log1p(dispersion.double()[:, None] * j)
    return torch.nn.functional.pad(terms.cumsum(1), (1, 0))


class Moments:
    """What the dispersion is estimated from: expected counts of each unit, sorted into narrow cells, and its counts.

    Args:
        n_units: units.
        device: of the computation.
    """

    def __init__(self, n_units: int, device: torch.device) -> None:
        shape = (n_units, N_CELLS)
        self.n_bins, self.expected, self.counted = (
            torch.zeros(shape, dtype=torch.float64, device=device) for _ in range(3)
        )
        self.above = torch.zeros(n_units, 1, dtype=torch.float64, device=device)

    def add(
        self,
        expected: Float[Tensor, "unit bin"],
        unit: Integer[Tensor, " spike"],
        bin_: Integer[Tensor, " spike"],
        count: Tensor,
        lost: Bool[Tensor, "unit bin"] | None = None,
    ) -> None:
        """Take in some bins.

        Args:
            expected: in each of them.
            unit: of each occupied bin.
            bin_: its place.
            count: spikes in it.
            lost: bins that say nothing of a unit, and hold none of its spikes; None for none.
        """
        cell = (expected.log() - LOWEST_LOG) * (N_CELLS / (HIGHEST_LOG - LOWEST_LOG))
        cell = cell.clamp_(0, N_CELLS - 1).long()
        weight = torch.ones_like(expected, dtype=torch.float64)
        if lost is not None:
            weight, expected = weight.masked_fill(lost, 0.0), expected.masked_fill(lost, 0.0)
        self.n_bins.scatter_add_(1, cell, weight)
        self.expected.scatter_add_(1, cell, expected.double())
        self.counted.index_put_((unit, cell[unit, bin_]), count.double(), accumulate=True)
        most = int(count.max()) if len(count) else 0
        if most > self.above.shape[1]:
            self.above = torch.nn.functional.pad(self.above, (0, most - self.above.shape[1]))
        for j in range(most):  # how many bins hold more than j spikes
            self.above[:, j].index_add_(0, unit, (count > j).double())

    def dispersion(self) -> Float[Tensor, " unit"]:
        """The α that makes the counts of each unit likeliest; the smallest there is where they scatter no more than Poisson ones."""
        mean = self.expected / self.n_bins.clamp(min=1)
        low = self.n_bins.new_full((len(mean),), SMALLEST_DISPERSION).log()
        high = torch.full_like(low, LARGEST_DISPERSION).log()
        flat = self._slope(low.exp(), mean) <= 0
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            rises = self._slope(middle.exp(), mean) > 0
            low, high = torch.where(rises, middle, low), torch.where(rises, high, middle)
        return torch.where(flat, SMALLEST_DISPERSION, (0.5 * (low + high)).exp())

    def _slope(self, alpha: Tensor, mean: Tensor) -> Tensor:
        """D log-likelihood / dα of every unit."""
        y = alpha[:, None] * mean
        # (log(1 + y) − y / (1 + y)) / y² loses all digits for small y.
        small = 0.5 - y * (2 / 3) + 0.75 * y * y
        safe = y.clamp(min=1e-4)
        bend = torch.where(y < 1e-3, small, (safe.log1p() - safe / (1 + safe)) / safe.square())
        by_bin = (self.n_bins * bend * mean.square() - self.counted * mean / (1 + y)).sum(1)
        j = torch.arange(self.above.shape[1], dtype=torch.float64, device=mean.device)
        return by_bin + (self.above * j / (1 + alpha[:, None] * j)).sum(1)
