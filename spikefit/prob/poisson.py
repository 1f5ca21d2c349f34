"""The Poisson distribution as functions of tensors: log-probability, divergence and exact draws."""

from __future__ import annotations

import torch
from torch import Tensor

from spikefit.prob.checks import check_expected_count, check_generator


def poisson_log_prob(expected_count: Tensor, counts: Tensor) -> Tensor:
    """Log-probability of counts, λ-dependent and constant terms alike.

    At λ = 0 a count of zero has log-probability 0 (with derivative −1 in λ) and any other count −∞. Real counts are
    taken as they are, with Γ(z + 1) for z!, so the result is differentiable in softened counts as well.

    Args:
        expected_count: λ ≥ 0, of any shape.
        counts: whole or real counts ≥ 0, of any dtype, of a shape that broadcasts with `expected_count`.

    Returns:
        log p(counts) in nats, of the shape both broadcast to.
    """
    counts = counts.to(expected_count.dtype) if not counts.is_floating_point() else counts
    # 0 · log 0 is 0 here; without the replacement its derivative would be NaN.
    certain = (expected_count == 0) & (counts == 0)
    log_rate = torch.where(certain, 1.0, expected_count).log()
    return counts * log_rate - expected_count - torch.lgamma(counts + 1)


def poisson_kl(posterior_expected_count: Tensor, prior_expected_count: Tensor) -> Tensor:
    """Kullback–Leibler divergence of one Poisson distribution from another, KL(posterior ‖ prior), in nats.

    It is 0 where both are zero, and ∞ where the prior alone is. Where the posterior is zero the derivative in it is
    −∞ mathematically; the finite part, −1, is given instead.

    Args:
        posterior_expected_count: λ of the first distribution, at least 0.
        prior_expected_count: λ of the second, of a shape that broadcasts with the first.
    """
    q, p = posterior_expected_count, prior_expected_count
    empty = q == 0
    log_ratio = torch.where(empty, 1.0, q).log() - torch.where(empty, 1.0, p).log()
    return q * log_ratio - q + p


def sample_poisson(expected_count: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw whole counts; no gradient flows. On a GPU the check of the values waits for the device once.

    Args:
        expected_count: λ in [0, 1e9], float32 or float64.
        generator: source of the randomness, on the device of `expected_count`; torch's own where None.

    Returns:
        Counts of the shape and dtype of `expected_count`.

    Raises:
        TypeError: if `expected_count` is not a tensor of float32 or float64.
        ValueError: if it is empty or holds a value outside its range, or the generator is on another device.
    """
    check_expected_count(expected_count)
    check_generator(generator, expected_count.device)
    return torch.poisson(expected_count.detach(), generator=generator)
