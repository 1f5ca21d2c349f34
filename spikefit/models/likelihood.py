"""The Poisson log-likelihood straight from the drive, with its gradient made in the same pass.

Automatic differentiation would keep half a dozen arrays of the size (draw, window, unit, bin); this keeps one.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikefit.models.link import LINKS


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
        link: `softplus` or `exp`.
    """
    total: Tensor = _LogLikelihood.apply(drive, counts, scored, link)
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


def poisson_divergence(
    log_expected: Float[Tensor, "window restart hidden bin"],
    drive: Float[Tensor, "draw window restart hidden bin"],
    scored: Bool[Tensor, "window bin"] | None,
    link: str,
) -> Float[Tensor, "draw window restart hidden"]:
    """Σ over scored bins of KL( Poisson(q) ‖ Poisson(f(drive)) ) = q log(q / f) − q + f.

    Args:
        log_expected: log q, the posterior's expected counts.
        drive: of the hidden units, given a sampled history.
        scored: which bins count; None for all.
        link: `softplus` or `exp`.
    """
    total: Tensor = _Divergence.apply(log_expected, drive, scored, link)
    return total


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_expected: Tensor, drive: Tensor, scored: Tensor | None, link: str) -> Tensor:
        prior, slope = LINKS[link](drive)
        q = log_expected.exp()
        if scored is not None:
            mask = scored[:, None, None, :]
            q, slope = q * mask, slope * mask
        log_ratio = log_expected - prior.log()
        value = q * log_ratio - q
        value += prior if scored is None else prior * mask
        ctx.save_for_backward(q * log_ratio, slope * (1 - log_expected.exp() / prior))
        return value.sum(-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_log_expected, by_drive = ctx.saved_tensors
        grad = grad[..., None]
        return (by_log_expected * grad).sum(0), by_drive * grad, None, None
