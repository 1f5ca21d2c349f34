"""EAT with a cubic edge in plain torch, arrival by arrival: what the sparse draw is measured against.

One number of arrivals serves all latents: enough that the fastest of them runs past the end of the band with
probability 1 − 1e-6. Automatic differentiation does the rest.
"""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor


def simulate(expected_count: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Soft counts by simulating every arrival of every latent."""
    largest = float(expected_count.detach().max())
    n_arrivals = int(stats.poisson.isf(1e-6, largest * (1 + temperature))) + 1
    gaps = torch.empty(n_arrivals, *expected_count.shape, dtype=expected_count.dtype).exponential_(generator=generator)
    arrival_times = gaps.cumsum(0) / expected_count
    u = ((1 - arrival_times) / temperature).clamp(-1, 1)
    return (0.5 + u * (0.75 - 0.25 * u * u)).sum(0)
