"""Gumbel-softmax: counts relaxed by softening the choice among 0, 1, …, max_count.

With Gumbel noise G_k added to the log-probability of each count, the largest sum falls on count k with exactly its
probability; a softmax at temperature τ in place of the maximum makes the chosen count Σ_k k·w_k differentiable.

Source: Jang, Gu & Poole (ICLR 2017) and Maddison, Mnih & Teh (ICLR 2017) for the relaxation; Joo et al., "Generalized
Gumbel-softmax gradient estimator for generic discrete random variables" (2020) for truncated counts.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from spikefit.prob.checks import check_generator, check_temperature
from spikefit.prob.laws import CountLaw, PoissonLaw
from spikefit.prob.laws.base import counts_column


def gsm_counts(
    expected_count: Shaped[Tensor, "*shape"],
    *,
    temperature: float,
    max_count: int | None = None,
    straight_through: bool = False,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*shape"]:
    """Draw differentiable Poisson counts by Gumbel-softmax over truncated counts.

    Neither mean nor variance is exact at τ > 0; as τ → 0 the draw becomes a whole count of the truncated Poisson.
    Memory grows with the number of latents times `max_count`, hence with the largest rate.

    Args:
        expected_count: λ in [0, 1e9], float32 or float64.
        temperature: τ of the softmax, above 0. It is not the τ of the arrival-time estimators.
        max_count: largest count told apart; by default where at most 1e-6 of the probability of the largest λ is lost
            (`PoissonLaw(expected_count).max_count` tells which).
        straight_through: give whole counts forward and keep the relaxed derivative backward.
        generator: source of the randomness, on the device of `expected_count`; torch's own where None.

    Raises:
        TypeError: if `expected_count` is not a tensor of float32 or float64, or another argument not of its type.
        ValueError: if a value is out of its range, the generator on another device, or the table of counts too large
            for the memory.
    """
    law = PoissonLaw(expected_count, max_count=max_count)
    return gsm_law_counts(law, temperature=temperature, straight_through=straight_through, generator=generator)


def gsm_law_counts(
    law: CountLaw,
    *,
    temperature: float,
    straight_through: bool = False,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*shape"]:
    """Draw differentiable counts of any law by Gumbel-softmax.

    Args:
        law: the law of each latent; its `max_count` is the truncation.
        temperature: τ of the softmax, above 0.
        straight_through: give whole counts forward and keep the relaxed derivative backward.
        generator: source of the randomness, on the device of the law; torch's own where None.

    Raises:
        ValueError: if the temperature is out of its range or the generator on another device.
    """
    tau = check_temperature(temperature)
    log_probs = law.log_probs()
    check_generator(generator, log_probs.device, "the law")
    noisy = log_probs + gumbel_like(log_probs, generator)
    counts = counts_column(law.max_count, log_probs[0])
    weights = (noisy / tau).softmax(0)
    soft = (counts * weights).sum(0)
    if not straight_through:
        return soft
    hard = noisy.detach().argmax(0).to(soft.dtype)
    return hard + (soft - soft.detach())


def gumbel_like(values: Float[Tensor, "*shape"], generator: torch.Generator | None) -> Float[Tensor, "*shape"]:
    """Standard Gumbel noise of the shape, dtype and device of `values`."""
    # −log of an exponential number is a Gumbel one; the limit keeps an exponential of 0 from giving an infinity.
    exponential = torch.empty_like(values, requires_grad=False).exponential_(generator=generator)
    return exponential.clamp_(min=torch.finfo(values.dtype).tiny).log_().neg_()
