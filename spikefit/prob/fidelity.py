"""How far soft counts are from the Poisson law they stand for."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.prob.checks import check_bounds


def wasserstein_to_poisson(draws: Float[Tensor, " draw"], expected_count: float) -> float:
    """Wasserstein-1 distance between the empirical law of some draws and a Poisson, in spikes.

    In one dimension it is the area between the two distribution functions, which both step: at the draws, and at whole
    counts. For draws from the Poisson itself it is not zero but falls like 1/√n; `wasserstein_floor` says how large.

    Args:
        draws: soft or whole counts.
        expected_count: λ of the Poisson, in [0, 1e9].

    Raises:
        ValueError: if there are no draws, one is not finite, or λ is out of its range.
    """
    check_bounds(expected_count, expected_count)
    if draws.numel() == 0:
        raise ValueError("draws is empty; it must hold at least one draw")
    if not bool(torch.isfinite(draws).all()):
        raise ValueError("draws must be finite")
    ordered = draws.detach().double().sort().values
    # Beyond this the Poisson's distribution function is 1 to the last bit.
    last = max(math.ceil(expected_count + 10 * math.sqrt(expected_count) + 30), math.ceil(float(ordered[-1])))
    whole = torch.arange(last + 1, dtype=torch.float64, device=ordered.device)
    steps = torch.cat([ordered, whole]).sort().values
    empirical = torch.searchsorted(ordered, steps, right=True) / ordered.numel()
    poisson = poisson_distribution_function(steps.floor(), expected_count)
    gaps = (empirical - poisson).abs()[:-1]
    return float((gaps * steps.diff()).sum())


def wasserstein_floor(expected_count: float, n_draws: int) -> float:
    """Mean distance that draws from the Poisson itself would show, from the normal limit of its distribution function.

    Args:
        expected_count: λ of the Poisson.
        n_draws: how many draws.
    """
    last = math.ceil(expected_count + 10 * math.sqrt(expected_count) + 30)
    below = poisson_distribution_function(torch.arange(last + 1, dtype=torch.float64), expected_count)
    # E|B| = √(2/π)·sd for the empirical process, whose variance at each count is F(1 − F)/n.
    return float((below * (1 - below)).clamp(min=0).sqrt().sum() * math.sqrt(2 / math.pi / n_draws))


def poisson_distribution_function(counts: Float[Tensor, "*shape"], expected_count: float) -> Float[Tensor, "*shape"]:
    """P(N ≤ count); 0 below zero."""
    inside = counts.clamp(min=0)
    # P(N ≤ n) is the regularised upper incomplete gamma function at n + 1.
    known = torch.special.gammaincc(inside + 1, torch.full_like(inside, expected_count))
    return torch.where(counts < 0, 0.0, known)
