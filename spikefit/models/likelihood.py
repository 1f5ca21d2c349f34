"""The Poisson log-likelihood straight from the drive, with its gradient made in the same pass.

Automatic differentiation would keep half a dozen arrays of the size (draw, window, unit, bin); this keeps one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikefit.models.kernels import Kernels
from spikefit.models.link import LINKS
from spikefit.models.visible_input import Spikes, by_bins, occupied
from spikefit.prob.chain import chain_mean, steps_of
from spikefit.prob.single import occupancy


def log_likelihood(
    drive: Float[Tensor, "draw window restart unit bin"],
    counts: Float[Tensor, "window unit bin"],
    scored: Bool[Tensor, "window bin"] | Bool[Tensor, "window unit bin"] | None,
    link: str,
    dispersion: Float[Tensor, "restart unit"] | None = None,
    *,
    spikes: Spikes | None = None,
    kernels: Kernels | None = None,
) -> Float[Tensor, "draw window restart unit"]:
    """Σ over scored bins of x log f(drive) − f(drive), or the same of negative-binomial counts; x! is left out.

    Args:
        drive: before the link.
        counts: observed counts, the same for all draws and restarts.
        scored: which bins count, for all units alike or unit by unit; None for all.
        link: `softplus`, `exp` or `sigmoid`.
        dispersion: of negative-binomial counts; None for Poisson counts.
        spikes: window, unit and bin of every occupied bin, where they are at hand.
        kernels: to compile the arithmetic; None to run it as it is written.
    """
    if dispersion is None:
        spikes = occupied(counts) if spikes is None else spikes
        total: Tensor = _LogLikelihood.apply(drive, counts, scored, link, spikes, kernels)  # type: ignore[no-untyped-call]
        return total
    scattered: Tensor = _Scattered.apply(drive, dispersion, counts, scored, link, kernels)  # type: ignore[no-untyped-call]
    return scattered


def _spread(scored: Tensor) -> Tensor:
    """Which counts are scored, to be multiplied with (draw, window, restart, unit, bin)."""
    return scored[None, :, None] if scored.ndim == 3 else scored[None, :, None, None]


class _LogLikelihood(torch.autograd.Function):
    """Most bins are empty: everywhere there is f and its slope, logarithms and ratios are taken at spikes alone."""

    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        counts: Tensor,
        scored: Tensor | None,
        link: str,
        spikes: Spikes,
        kernels: Kernels | None,
    ) -> Tensor:
        window, unit, bin_ = spikes
        if scored is not None:
            inside = scored[window, bin_] if scored.ndim == 2 else scored[window, unit, bin_]
            window, unit, bin_ = window[inside], unit[inside], bin_[inside]
        if drive.stride(-1) != 1:
            window, unit, bin_ = by_bins(window, unit, bin_, counts.shape)
        # Indices apart from one another put theirs first: (spike, draw, restart).
        x = counts[window, unit, bin_][:, None, None]
        if kernels is not None and drive.requires_grad:
            total, residual = kernels(_empty_bins, drive, _all_marked(scored, counts, drive), link=link)
            at_spikes, slope = LINKS[link](drive[:, window, :, unit, bin_])
            rises = (x / at_spikes - 1).mul_(slope)
            residual.permute(1, 3, 4, 0, 2).index_put_((window, unit, bin_), rises)
            total.permute(1, 3, 0, 2).index_put_((window, unit), torch.xlogy(x, at_spikes), accumulate=True)
            ctx.save_for_backward(residual)
            return total
        expected, slope = LINKS[link](drive)
        at_spikes = expected[:, window, :, unit, bin_]
        if drive.requires_grad:
            # d/d drive = slope · (x / f − 1)
            rises = (x / at_spikes - 1).mul_(slope[:, window, :, unit, bin_])
            residual = slope.neg() if slope is expected else slope.neg_()
            residual.permute(1, 3, 4, 0, 2).index_put_((window, unit, bin_), rises)
            _silence(residual, scored)
            ctx.save_for_backward(residual)
        _silence(expected, scored)
        total = expected.sum(-1).neg_()
        total.permute(1, 3, 0, 2).index_put_((window, unit), torch.xlogy(x, at_spikes), accumulate=True)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (residual,) = ctx.saved_tensors
        return residual * grad[..., None], None, None, None, None, None


def _empty_bins(drive: Tensor, scored: Tensor, *, link: str) -> tuple[Tensor, Tensor]:
    """−f summed over the scored bins, and −f′ in each of them: the likelihood where no spike stands, and its gradient."""
    expected, slope = LINKS[link](drive)
    mask = _spread(scored)
    return (expected * mask).sum(-1).neg(), slope.neg() * mask


def _all_marked(scored: Tensor | None, counts: Tensor, drive: Tensor) -> Tensor:
    """Which counts are scored, all of them where nothing is said: a mask less costs less than code for its absence."""
    if scored is not None:
        return scored
    return torch.ones(counts.shape[0], drive.shape[-1], dtype=torch.bool, device=drive.device)


def _silence(values: Float[Tensor, "draw window restart unit bin"], scored: Tensor | None) -> None:
    """Put zeros, in place, where bins, or counts of single units, are not scored; they are few."""
    if scored is None:
        return
    if scored.ndim == 3:
        values.mul_(_spread(scored))
    else:
        window, bin_ = (~scored).nonzero(as_tuple=True)
        values.permute(1, 4, 0, 2, 3).index_put_((window, bin_), values.new_zeros(()))


class _Scattered(torch.autograd.Function):
    """The negative-binomial log-likelihood, with its gradients in the drive and in the dispersion made in the same pass."""

    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        dispersion: Tensor,
        counts: Tensor,
        scored: Tensor | None,
        link: str,
        kernels: Kernels | None,
    ) -> Tensor:
        alpha = dispersion[:, :, None]
        if kernels is None:
            total, residual, by_alpha = _scattered_bins(drive, counts, alpha, scored, link=link)
        else:
            mask = _all_marked(scored, counts, drive)
            total, residual, by_alpha = kernels(_scattered_bins, drive, counts, alpha, mask, link=link)
        seen = counts if scored is None else counts * (scored if scored.ndim == 3 else scored[:, None])
        # Σ_{j<x} log(1 + jα) needs no more than how many bins hold more than j spikes.
        most = int(seen.max()) if seen.numel() else 0
        above = torch.stack([(seen > j).sum(-1) for j in range(max(1, most))], dim=-1).to(drive)  # (window, unit, j)
        j = torch.arange(above.shape[-1], device=drive.device, dtype=drive.dtype)
        rises = torch.log1p(j * alpha)  # (restart, unit, j)
        total = total + (above[:, None] * rises).sum(-1)
        by_alpha = by_alpha + (above[:, None] * j / (1 + j * alpha)).sum(-1)
        ctx.save_for_backward(residual, by_alpha)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        residual, by_alpha = ctx.saved_tensors
        return residual * grad[..., None], (by_alpha * grad).sum((0, 1)), None, None, None, None


def _scattered_bins(
    drive: Tensor, counts: Tensor, alpha: Tensor, scored: Tensor | None, *, link: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over bins of x log f − (x + 1/α) log(1 + αf), its derivative in the drive, and in α summed over bins."""
    expected, slope = LINKS[link](drive)
    x = counts[None, :, None]
    y = alpha * expected
    log_y = y.log1p()
    terms = torch.xlogy(x, expected).sub_((x + 1 / alpha) * log_y)
    if scored is not None:
        terms.mul_(_spread(scored))
    # d/d drive = slope · (x / f − 1) / (1 + αf)
    residual = torch.div(x, expected).sub_(1).mul_(slope).div_(1 + y)
    # d/dα of (x + 1/α) log(1 + αf): small αf lose all digits in the difference, and take the series instead.
    safe = y.clamp(min=1e-3)
    bend = torch.where(y < 1e-2, 0.5 - y * (2 / 3) + 0.75 * y * y, (safe.log1p() - safe / (1 + safe)) / safe.square())
    by_alpha = bend * expected.square() - x * expected / (1 + y)
    if scored is not None:
        residual.mul_(_spread(scored))
        by_alpha.mul_(_spread(scored))
    return terms.sum(-1), residual, by_alpha.sum(-1)


def hidden_divergence(
    log_rate: Float[Tensor, "*own_draw window restart row bin"],
    drive: Float[Tensor, "draw window restart hidden bin"],
    scored: Bool[Tensor, "window bin"] | None,
    *,
    link: str,
    family: str,
    max_count: int = 1,
    kernels: Kernels | None = None,
) -> Float[Tensor, "draw window restart hidden"]:
    """Σ over scored bins of KL( q ‖ Poisson(f(drive)) ), where q is the posterior's law of the family.

    With λ the posterior's rate: `poisson` is q = Poisson(λ), λ log(λ / f) − λ + f. `categorical` is a bin that holds one
    spike with probability p = 1 − e^(−λ) and none otherwise, p log p − (1 − p) λ − p log f + f. Where it holds up to M, step m is
    reached with probability S = p₁ … pₘ₋₁ and adds S · (pₘ log pₘ − (1 − pₘ) λₘ + pₘ log m − pₘ log f); log m adds up to log z!.

    Args:
        log_rate: log λ; with a draw axis where the posterior reads its own spikes, and M rows per hidden unit.
        drive: of the hidden units, given a sampled history.
        scored: which bins count; None for all.
        link: `softplus`, `exp` or `sigmoid`.
        family: `poisson` or `categorical`.
        max_count: M of the latter.
        kernels: to compile the arithmetic; None to run it as it is written.
    """
    total: Tensor = _Divergence.apply(log_rate, drive, scored, link, family, max_count, kernels)  # type: ignore[no-untyped-call]
    return total


def posterior_mean(log_rate: Tensor, family: str, max_count: int = 1) -> Tensor:
    """Expected hidden count of a posterior with that log rate."""
    rate = log_rate.exp()
    if max_count > 1:
        return chain_mean(rate, max_count)
    return occupancy(rate) if family == "categorical" else rate


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        log_rate: Tensor,
        drive: Tensor,
        scored: Tensor | None,
        link: str,
        family: str,
        max_count: int,
        kernels: Kernels | None,
    ) -> Tensor:
        kind: dict[str, Any] = {"link": link, "family": family, "max_count": max_count}
        if kernels is None:
            total, by_log_rate, by_drive = _divergence_bins(log_rate, drive, scored, **kind)
        else:
            if scored is None:
                scored = torch.ones(drive.shape[1], drive.shape[-1], dtype=torch.bool, device=drive.device)
            total, by_log_rate, by_drive = kernels(_divergence_bins, log_rate, drive, scored, **kind)
        ctx.max_count = max_count
        ctx.save_for_backward(by_log_rate, by_drive)
        ctx.same_for_all_draws = log_rate.ndim < drive.ndim
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        by_log_rate, by_drive = ctx.saved_tensors
        grad = grad[..., None]
        by_log_rate = by_log_rate * (grad if ctx.max_count == 1 else grad.repeat_interleave(ctx.max_count, dim=-2))
        on_log_rate = by_log_rate.sum(0) if ctx.same_for_all_draws else by_log_rate
        return on_log_rate, by_drive * grad, None, None, None, None, None


def _divergence_bins(
    log_rate: Tensor, drive: Tensor, scored: Tensor | None, *, link: str, family: str, max_count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The divergence summed over bins, and its derivatives in the log rate and in the drive of every bin."""
    prior, slope = LINKS[link](drive)
    rate = log_rate.exp()
    if max_count > 1:
        value, by_log_rate, mean = _up_to_many(rate, prior, max_count)
    elif family == "categorical":
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
    return value.sum(-1), by_log_rate, by_drive


def _up_to_many(rate: Tensor, prior: Tensor, max_count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Divergence of counts up to M from Poisson ones, its derivative in the log rates, and the mean counts."""
    rates = steps_of(rate, max_count).unbind(-2)
    chances = [occupancy(r) for r in rates]
    # From the last step on: what the divergence has still to come once a step is reached.
    log_prior = prior.log()
    to_come, slopes = torch.zeros_like(prior), []
    for m in range(max_count, 0, -1):
        own, chance = rates[m - 1], chances[m - 1]
        taken = chance.log() + math.log(m) - log_prior + to_come
        slopes.append(own * (1 - chance) * (taken + own))
        to_come = chance * taken - (1 - chance) * own
    reached, mean, parts = torch.ones_like(chances[0]), torch.zeros_like(chances[0]), []
    for chance, slope in zip(chances, reversed(slopes), strict=True):
        parts.append(reached * slope)
        reached = reached * chance
        mean = mean + reached
    return to_come + prior, torch.stack(parts, dim=-2).flatten(-3, -2), mean
