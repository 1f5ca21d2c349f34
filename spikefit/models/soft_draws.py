"""Soft draws of categorical counts for many windows at once, compiled: the draw and its derivative come from one pass over the noise."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.models.kernels import Kernels
from spikefit.prob.chain import ChainEstimator, along_the_chain, steps_of
from spikefit.prob.relaxed import RelaxedEstimator


def soft_counts(
    estimator: RelaxedEstimator,
    rate: Float[Tensor, "*row_shape"],
    noise: Float[Tensor, "draw *row_shape"],
    kernels: Kernels,
) -> Float[Tensor, "draw *shape"]:
    """What `estimator.relax(rate, noise)` gives, and the same gradient in the rate.

    Args:
        estimator: of the draws.
        rate: of the hidden counts' laws.
        noise: what is random about them, as `estimator.noise` gives it.
        kernels: to compile the arithmetic.
    """
    step = estimator.step if isinstance(estimator, ChainEstimator) else estimator
    counts: Tensor = _SoftSteps.apply(rate, noise, step, kernels)  # type: ignore[no-untyped-call]
    return along_the_chain(steps_of(counts, estimator.max_count)) if isinstance(estimator, ChainEstimator) else counts


class _SoftSteps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rate: Tensor, noise: Tensor, step: RelaxedEstimator, kernels: Kernels) -> Tensor:
        counts, slope = kernels(_counts_and_slopes, rate, noise, step=step)
        ctx.save_for_backward(slope)
        return counts

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return (grad * slope).sum(0), None, None, None


def _counts_and_slopes(rate: Tensor, noise: Tensor, *, step: RelaxedEstimator) -> tuple[Tensor, Tensor]:
    """The draws, and the derivative of each in its own rate."""

    def total(rates: Tensor) -> tuple[Tensor, Tensor]:
        counts = step.relax(rates, noise)
        return counts.sum(), counts

    # Each draw depends on its own rate alone, so the gradient of their sum is each one's own.
    slopes, counts = torch.func.grad(total, has_aux=True)(rate.expand_as(noise))
    return counts, slopes
