"""The posterior that reads its own spikes: past visible counts and past hidden ones, drawn bin after bin.

    drive[t] = offset + past of the visible units + Σ own weights · history of the drawn hidden counts
    rate[t] = softplus(drive[t]);   z[t] ~ the family's law at that rate

Only bins follow one another. Draws, windows, restarts and hidden units advance together, one small product a bin; what
the visible units say is computed beforehand, once for all draws.

Automatic differentiation through that loop would keep a graph node for everything in every bin. Here the loop runs
without one and leaves counts z and their slopes ∂z[t]/∂drive[t]. The drives are then computed again from the finished
counts, all bins at once, and only the chain from a count to the drives behind it is walked backwards by hand
(`_InTurn`): what one bin passes on to the drive of another is the filter between them, whatever was drawn.

Source: Li et al., "A differentiable partially observable GLM with forward-backward message passing" (ICML 2024), for
the posterior.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikefit.models.coupling import filters_from_weights, history_features
from spikefit.models.encoder import SMALLEST_DRIVE, ForwardPosterior
from spikefit.models.hidden_draws import DrawHidden, DrawsInTurn
from spikefit.prob.protocol import Draws

# Units that excite themselves can run away; no bin holds a thousand spikes.
LARGEST_DRIVE = 1000.0


class ForwardSelfPosterior(ForwardPosterior):
    """rate = softplus(offset + past of the visible units + past of the drawn hidden ones).

    A window begins with hidden units that have been silent; the bins before its core, which are drawn but not scored,
    let them forget it.

    Args:
        n_visible: visible units.
        n_hidden: hidden units.
        basis: (lag, basis).
        n_restarts: independent sets of weights.
        depth: as that of `ForwardPosterior`, of what the visible units say.
        max_count: as that of `ForwardPosterior`; all rates of a unit read the counts drawn before.
    """

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        basis: Float[Tensor, "lag basis"],
        n_restarts: int,
        depth: int = 0,
        max_count: int = 1,
    ) -> None:
        super().__init__(n_visible, n_hidden, basis, n_restarts, depth, max_count)
        self.own = nn.Parameter(basis.new_zeros(n_restarts, n_hidden * max_count, n_hidden * basis.shape[1]))

    def draw_at(
        self, drive: Float[Tensor, "window restart hidden bin"], draw_hidden: DrawHidden
    ) -> tuple[Tensor, Draws]:
        """Log rates of every draw, (draw, window, restart, hidden, bin), and the draws.

        Raises:
            TypeError: if the draws cannot be had bin after bin.
        """
        if not isinstance(draw_hidden, DrawsInTurn):
            raise TypeError("the forward-self posterior draws bin after bin and needs draws in turn")
        filters = filters_from_weights(self.own, self.basis)
        counts, slope = _advance(drive.detach(), filters.detach(), draw_hidden, torch.is_grad_enabled())
        # A bin's own drive given all counts before it, for all bins at once.
        padded = torch.nn.functional.pad(counts, (self.basis.shape[0], 0))
        drive = drive + self.own @ history_features(padded, self.basis)
        if slope is not None:
            counts, drive = _InTurn.apply(drive, counts, slope, filters.detach())  # type: ignore[no-untyped-call]
        log_rate = _rate(drive).log()
        return log_rate, draw_hidden.gather(counts, log_rate.exp())


def _rate(drive: Tensor) -> Tensor:
    return torch.nn.functional.softplus(drive.clamp(SMALLEST_DRIVE, LARGEST_DRIVE))


def _rate_slope(drive: Tensor) -> Tensor:
    inside = (drive > SMALLEST_DRIVE) & (drive < LARGEST_DRIVE)
    return drive.sigmoid() * inside


@torch.no_grad()
def _advance(
    visible: Float[Tensor, "window restart row bin"],
    filters: Float[Tensor, "restart row pre lag"],
    draw_hidden: DrawsInTurn,
    with_slope: bool,
) -> tuple[Float[Tensor, "draw window restart hidden bin"], Float[Tensor, "draw window restart row bin"] | None]:
    """Draw bin after bin; counts, and their slopes in the drives of all rows where the draws have them."""
    n_windows, n_restarts, n_rows, n_bins = visible.shape
    n_draws, n_lags, n_hidden = draw_hidden.n_draws, filters.shape[-1], filters.shape[2]
    # Inside, rows are (draw, window) pairs and a row's bins lie one behind the other, so that the history of a bin is
    # one stretch of memory and its drive one product.
    outside = visible.permute(3, 1, 0, 2).repeat(1, 1, n_draws, 1)
    kernel = filters.flip(3).permute(0, 3, 2, 1).reshape(n_restarts, n_lags * n_hidden, n_rows)
    counts = visible.new_zeros(n_restarts, n_draws * n_windows, (n_lags + n_bins) * n_hidden)

    def at_once(rows: Tensor) -> Tensor:
        # Draws of several rows a unit want time behind the rows; here it is one moment.
        return rows if n_rows == n_hidden else rows[..., None]

    turns = draw_hidden.turns(at_once(outside), with_slopes=with_slope)
    for bin_ in range(n_bins):
        first = bin_ * n_hidden
        behind = counts[:, :, first : first + n_lags * n_hidden]
        drive = torch.baddbmm(outside[bin_], behind, kernel)
        first += n_lags * n_hidden
        drawn_now = turns.counts(bin_, at_once(_rate(drive)))
        counts[:, :, first : first + n_hidden] = drawn_now.view(n_restarts, -1, n_hidden)
        outside[bin_] = drive  # its place is free, and slopes are taken for all bins at once

    def as_draws(rows: Tensor) -> Tensor:  # from (restart, row, bin, hidden)
        by_draw = rows.unflatten(1, (n_draws, n_windows))
        return by_draw.permute(1, 2, 0, 4, 3).contiguous()

    drawn = as_draws(counts.unflatten(2, (n_lags + n_bins, n_hidden))[:, :, n_lags:])
    slopes = turns.slopes(at_once(_rate(outside)))
    if slopes is None:
        return drawn, None
    return drawn, as_draws((slopes.view_as(outside) * _rate_slope(outside)).permute(1, 2, 0, 3))


class _InTurn(torch.autograd.Function):
    """Counts and drives as they were drawn; backwards, the chain from every count through the drives behind it.

    Takes the drives as functions of the parameters with the counts held fixed, and gives back counts and drives that
    also know how the counts follow from earlier drives.
    """

    @staticmethod
    def forward(ctx: Any, drive: Tensor, counts: Tensor, slope: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(slope, filters)
        return counts.clone(), drive.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_count: Tensor, by_drive: Tensor) -> tuple[Tensor, None, None, None]:
        slope, filters = ctx.saved_tensors
        n_draws, n_windows, n_restarts, n_rows, n_bins = slope.shape
        n_lags, n_hidden = filters.shape[-1], filters.shape[2]
        n_steps = n_rows // n_hidden  # rows of one count

        def as_rows(by_draw: Tensor) -> Tensor:  # (bin, restart, draw and window, unit or row)
            return by_draw.permute(4, 2, 0, 1, 3).reshape(n_bins, n_restarts, n_draws * n_windows, by_draw.shape[3])

        # What a count does to the drives one lag behind it, two lags, …
        kernel = filters.permute(0, 3, 1, 2).reshape(n_restarts, n_lags * n_rows, n_hidden)
        on_count, on_drive, steepness = as_rows(by_count), as_rows(by_drive), as_rows(slope)
        total = slope.new_zeros(n_restarts, n_draws * n_windows, (n_bins + n_lags) * n_rows)
        for bin_ in range(n_bins - 1, -1, -1):
            first = bin_ * n_rows
            later = total[:, :, first + n_rows : first + (1 + n_lags) * n_rows]
            through = torch.baddbmm(on_count[bin_], later, kernel)
            if n_steps > 1:
                through = through.repeat_interleave(n_steps, dim=-1)
            total[:, :, first : first + n_rows] = torch.addcmul(on_drive[bin_], steepness[bin_], through)
        rows = total.unflatten(2, (n_bins + n_lags, n_rows))[:, :, :n_bins].unflatten(1, (n_draws, n_windows))
        return rows.permute(1, 2, 0, 4, 3), None, None, None
