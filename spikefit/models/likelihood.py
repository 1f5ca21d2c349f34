"""The Poisson log-likelihood straight from the drive, with its gradient made in the same pass.

Automatic differentiation would keep half a dozen arrays of the size (draw, window, unit, bin); this keeps one.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikefit.models.link import LINKS
from spikefit.prob.single import occupancy


def log_likelihood(
    drive: Float[Tensor, "draw window restart unit bin"],
    counts: Float[Tensor, "window unit bin"],
    scored: Bool[Tensor, "window bin"] | None,
    link: str,
) -> Float[Tensor, "draw window restart unit"]:
    """Σ over scored bins of x log f(drive) − f(drive); the counts' factorials are left out.

    Args:
        drive: before the link.
        counts: observed counts, the same for all draws and restarts.
        scored: which bins count; None for all.
        link: `softplus`, `exp` or `sigmoid`.
    """
    total: Tensor = _LogLikelihood.apply(drive, counts, scored, link)  # type: ignore[no-untyped-call]
    return total


class _LogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: Tensor, counts: Tensor, scored: Tensor | None, link: str) -> Tensor:
        expected, slope = LINKS[link](drive)
        x = counts[None, :, None]
        terms = torch.xlogy(x, expected).sub_(expected)
        if scored is not None:
            terms.mul_(scored[None, :, None, None])
        total = terms.sum(-1)
        if drive.requires_grad:
            # d/d drive = slope · (x / f − 1)
            residual = torch.div(x, expected, out=terms).sub_(1).mul_(slope)
            if scored is not None:
                residual.mul_(scored[None, :, None, None])
            ctx.save_for_backward(residual)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (residual,) = ctx.saved_tensors
        return residual * grad[..., None], None, None, None


def hidden_divergence(
    log_rate: Float[Tensor, "*own_draw window restart hidden bin"],
    drive: Float[Tensor, "draw window restart hidden bin"],
    scored: Bool[Tensor, "window bin"] | None,
    *,
    link: str,
    family: str,
) -> Float[Tensor, "draw window restart hidden"]:
    """Σ over scored bins of KL( q ‖ Poisson(f(drive)) ), where q is the posterior's law of the family.

    With λ the posterior's rate: `poisson` is q = Poisson(λ), λ log(λ / f) − λ + f. `categorical` is a bin that holds one
    spike with probability p = 1 − e^(−λ) and none otherwise, p log p − (1 − p) λ − p log f + f.

    Args:
        log_rate: log λ; with a draw axis where the posterior reads its own spikes.
        drive: of the hidden units, given a sampled history.
        scored: which bins count; None for all.
        link: `softplus`, `exp` or `sigmoid`.
        family: `poisson` or `categorical`.
    """
    total: Tensor = _Divergence.apply(log_rate, drive, scored, link, family)  # type: ignore[no-untyped-call]
    return total


def posterior_mean(log_rate: Tensor, family: str) -> Tensor:
    """Expected hidden count of a posterior with that log rate."""
    rate = log_rate.exp()
    return occupancy(rate) if family == "categorical" else rate


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_rate: Tensor, drive: Tensor, scored: Tensor | None, link: str, family: str) -> Tensor:
        prior, slope = LINKS[link](drive)
        rate = log_rate.exp()
        if family == "categorical":
            mean = occupancy(rate)
            empty = 1 - mean
            log_ratio = mean.log() - prior.log()
            value = mean * log_ratio - empty * rate + prior
            by_log_rate = rate * empty * (log_ratio + rate)
        else:
            mean = rate
            log_ratio = log_rate - prior.log()
            value = rate * log_ratio - rate + prior
            by_log_rate = rate * log_ratio
        by_drive = slope * (1 - mean / prior)
        if scored is not None:
            mask = scored[:, None, None, :]
            value, by_log_rate, by_drive = value * mask, by_log_rate * mask, by_drive * mask
        ctx.save_for_backward(by_log_rate, by_drive)
        ctx.same_for_all_draws = log_rate.ndim < drive.ndim
        return value.sum(-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        by_log_rate, by_drive = ctx.saved_tensors
        grad = grad[..., None]
        by_log_rate = by_log_rate * grad
        return by_log_rate.sum(0) if ctx.same_for_all_draws else by_log_rate, by_drive * grad, None, None, None
