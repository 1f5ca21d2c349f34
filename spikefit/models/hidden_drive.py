"""What hidden spikes add to the drive of all units, with the gradient in the counts and in the weights.

The visible drive is the same for all draws; it is added while the product is made, so that the whole drive is written once.
Automatic differentiation would hold and copy several arrays of the size (draw, window, restart, unit, bin).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.models.coupling import history_adjoint, history_features


def with_hidden(
    visible: Float[Tensor, "window restart unit bin"],
    hidden: Float[Tensor, "draw window restart hidden padded_bin"],
    weights: Float[Tensor, "restart unit feature"],
    basis: Float[Tensor, "lag basis"],
) -> Float[Tensor, "draw window restart unit bin"]:
    """The visible drive and, on top of it, that of the hidden spikes.

    Args:
        visible: for the bins behind the first `n_lags` of the hidden counts.
        hidden: counts of each draw.
        weights: of the hidden units' history.
        basis: (lag, basis).
    """
    drive: Tensor = _WithHidden.apply(visible, hidden, weights, basis)  # type: ignore[no-untyped-call]
    return drive


def units_apart(
    drive: Float[Tensor, "*batch unit bin"], n_visible: int
) -> tuple[Float[Tensor, "*batch visible bin"], Float[Tensor, "*batch hidden bin"]]:
    """The drive of the visible and that of the hidden units; their gradients are put together in one pass."""
    visible, hidden = _UnitsApart.apply(drive, n_visible)  # type: ignore[no-untyped-call]
    return visible, hidden


class _WithHidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, visible: Tensor, hidden: Tensor, weights: Tensor, basis: Tensor) -> Tensor:
        features = history_features(hidden.detach(), basis).flatten(0, 2)  # (draw · window · restart, feature, bin)
        if any(ctx.needs_input_grad[1:3]):
            ctx.save_for_backward(features, weights, basis)
        shape, n_draws = visible.shape, len(hidden)
        # Bins may lie behind units or units behind bins, as the product of the visible side has left them.
        by_bin = visible.stride(-1) != 1
        like = visible.transpose(-1, -2) if by_bin else visible
        out = like.new_empty(n_draws, *like.shape)
        out.copy_(like)
        flat = out.view(-1, *like.shape[-2:])
        on = _for_each(weights, len(flat))
        if by_bin:
            flat.baddbmm_(features.transpose(1, 2), on.transpose(1, 2))
        else:
            flat.baddbmm_(on, features)
        ctx.shape = (n_draws, *shape[:2])
        return out.transpose(-1, -2) if by_bin else out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_drive: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        on_visible = None
        if ctx.needs_input_grad[0]:
            by_bin = by_drive.stride(-1) != 1  # a sum leaves its result in the order of the axes
            on_visible = by_drive.transpose(-1, -2).sum(0).transpose(-1, -2) if by_bin else by_drive.sum(0)
        on_hidden = on_weights = None
        if any(ctx.needs_input_grad[1:3]):
            features, weights, basis = ctx.saved_tensors
            flat = _stacked(by_drive)
            if ctx.needs_input_grad[2]:
                # (feature, unit) of each, so that the long axis is summed over where it lies
                sums = torch.bmm(features, flat.transpose(1, 2)).view(*ctx.shape, features.shape[1], -1)
                on_weights = sums.sum((0, 1)).transpose(1, 2)
            if ctx.needs_input_grad[1]:
                on_features = torch.bmm(_for_each(weights, len(flat)).transpose(1, 2), flat)
                on_hidden = history_adjoint(on_features, basis).view(*ctx.shape, -1, flat.shape[-1] + len(basis))
        return on_visible, on_hidden, on_weights, None


class _UnitsApart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: Tensor, n_visible: int) -> tuple[Tensor, Tensor]:
        ctx.n_visible, ctx.by_bin = n_visible, drive.stride(-1) != 1
        return drive[..., :n_visible, :], drive[..., n_visible:, :]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, on_visible: Tensor, on_hidden: Tensor) -> tuple[Tensor, None]:
        *batch, n_hidden, n_bins = on_hidden.shape
        n_units = ctx.n_visible + n_hidden
        shape = (n_bins, n_units) if ctx.by_bin else (n_units, n_bins)
        out = on_visible.new_empty(*batch, *shape)
        by_unit = out.transpose(-1, -2) if ctx.by_bin else out
        by_unit[..., : ctx.n_visible, :] = on_visible
        by_unit[..., ctx.n_visible :, :] = on_hidden
        return by_unit, None


def _for_each(weights: Tensor, n: int) -> Float[Tensor, "product unit feature"]:
    """The weights of the restart that each product belongs to; restarts run fastest."""
    return weights.expand(n // len(weights), *weights.shape).flatten(0, 1)


def _stacked(drive: Tensor) -> Float[Tensor, "product unit bin"]:
    """The leading axes as one, without a copy in either order of memory."""
    if drive.stride(-1) != 1:
        return drive.transpose(-1, -2).contiguous().flatten(0, 2).transpose(1, 2)
    return drive.contiguous().flatten(0, 2)
