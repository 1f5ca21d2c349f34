"""Whole Poisson counts by inversion through a table: one uniform number and one look-up each.

For the handful of means 0, 1, …, 15 the inverse of the distribution function is tabulated over a thousand equal
steps of the uniform number. Where a step holds more than one count (a per cent of them), the count is looked for in
the distribution function itself, so the law is exact to the 53 bits of the uniform number.
"""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

N_MEANS = 16
_STEPS = 1024


def draw_from_table(whole_mean: Int[Tensor, " latent"], generator: torch.Generator | None) -> Float[Tensor, " latent"]:
    """Draw Poisson counts whose means are whole numbers below `N_MEANS`; on the CPU.

    Args:
        whole_mean: the mean of each count, int64, in [0, 15].
        generator: source of the randomness; torch's own where None.

    Returns:
        Counts as float32, which holds them exactly.
    """
    table, distribution = _tables()
    uniform = torch.rand(whole_mean.shape, dtype=torch.float64, device="cpu", generator=generator)
    step = (uniform * _STEPS).long()
    counts = table.index_select(0, step.add_(whole_mean, alpha=_STEPS))
    unsure = (counts < 0).nonzero().squeeze(1)
    rows = distribution.index_select(0, whole_mean.index_select(0, unsure))
    counts[unsure] = (rows <= uniform.index_select(0, unsure)[:, None]).sum(1).to(counts.dtype)
    return counts


@functools.cache
def _tables() -> tuple[Tensor, Tensor]:
    """Count of each step (−1 where a step holds several), flat, and P(count ≤ k) for each mean, [mean, k]."""
    n_counts = 80  # P(N ≥ 80) < 1e-30 at a mean of 15
    distribution = torch.zeros(N_MEANS, n_counts, dtype=torch.float64, device="cpu")
    for mean in range(N_MEANS):
        term = math.exp(-mean)
        total = 0.0
        for count in range(n_counts):
            total += term
            distribution[mean, count] = total
            term *= mean / (count + 1)
        # Rounding may leave the last of a uniform's 2⁵³ values without a count.
        distribution[mean, -1] = 1.0
    edges = torch.linspace(0, 1, _STEPS + 1, dtype=torch.float64, device="cpu")
    at_edge = torch.searchsorted(distribution, edges.expand(N_MEANS, -1).contiguous(), right=True)
    # The last value a step can hold lies just below the next edge.
    before_edge = torch.searchsorted(distribution, edges.expand(N_MEANS, -1).contiguous(), right=False)
    first, last = at_edge[:, :-1], before_edge[:, 1:]
    table = torch.where(first == last, first, -1).to(torch.float32)
    return table.reshape(-1), distribution
