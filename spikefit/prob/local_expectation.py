"""Exact local expectation: the gradient from the effect of one more spike.

For Poisson counts ∂E[f(z)]/∂λᵢ = E[f(z + eᵢ) − f(z)], with eᵢ one spike more in latent i. What is left to chance is
only the setting of the other latents, so the noise is small; the cost is knowing the effect of a spike everywhere,
which is cheap where the objective is local (a hidden spike touches only the next bins; a linear decoder has a closed
form). For categorical counts the same holds with the effect of every count: ∂E[f]/∂pᵢₖ = E[f(z with zᵢ = k)].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def poisson_correction(
    expected_count: Float[Tensor, "*shape"], effect: Float[Tensor, "draw *shape"]
) -> Float[Tensor, ""]:
    """A number that is zero and whose derivative in λ is the mean effect of one more spike.

    Args:
        expected_count: λ.
        effect: f(z + eᵢ) − f(z) for every draw and latent, f being the whole objective that is summed over batches; no
            derivative is taken through it.
    """
    return ((expected_count - expected_count.detach()) * effect.detach().mean(0)).sum()


def categorical_correction(
    log_probs: Float[Tensor, "count *shape"], objective_by_count: Float[Tensor, "draw count *shape"]
) -> Float[Tensor, ""]:
    """A number that is zero and whose derivative is that of E[f] over categorical counts.

    Args:
        log_probs: normalised log-probability of each count of each latent.
        objective_by_count: f(z with zᵢ = k) for every draw, count k and latent i, up to a constant per latent and
            draw; no derivative is taken through it.
    """
    by_count = objective_by_count.detach()
    probabilities = log_probs.exp()
    # A constant per latent changes nothing in the mean; taking out the expected one keeps rounding small.
    centred = by_count - (probabilities.detach() * by_count).sum(1, keepdim=True)
    total = (probabilities * centred.mean(0)).sum()
    return total - total.detach()


def effect_by_trial(
    objective: Callable[[Tensor], Tensor], counts: Float[Tensor, "draw *shape"]
) -> Float[Tensor, "draw *shape"]:
    """Effect of one more spike by trying it for one latent after another: for small models and for tests.

    Args:
        objective: from counts (draw, *shape) to one number per draw.
        counts: the draws.
    """
    flat = counts.flatten(1)
    with torch.no_grad():
        before = objective(counts)
        effects = torch.empty_like(flat)
        for latent in range(flat.shape[1]):
            more = flat.clone()
            more[:, latent] += 1
            effects[:, latent] = objective(more.view_as(counts)) - before
    return effects.view_as(counts)
