"""What one more hidden spike would add to the bound: the effect that the exact gradient is made of.

A hidden spike touches the next window of lags and nothing else, so trying it everywhere takes one evaluation of the
likelihood per hidden unit and lag, for all bins at once.

For a hidden count z with Poisson law ∂E[f]/∂λ = E[f(z + 1) − f(z)]; with at most one spike per bin
∂E[f]/∂p = E[f(1) − f(0)], all other counts as drawn. With up to M, ∂E[f]/∂P(z ≥ m) = E[f(m) − f(m − 1)] for m = 1 … M.

Source: the bound is that of Li et al., "A differentiable partially observable GLM with forward-backward message
passing" (ICML 2024); for the identities see `spikefit.prob.local_expectation`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikefit.models.likelihood import posterior_mean
from spikefit.models.link import LINK_VALUES
from spikefit.models.poglm import POGLMNetwork


@torch.no_grad()
def effect_of_one_more(
    model: POGLMNetwork,
    hidden: Float[Tensor, "draw window restart hidden padded_bin"],
    drive: Float[Tensor, "draw window restart unit bin"],
    log_rate: Float[Tensor, "window restart row bin"],
    observed: Float[Tensor, "window visible bin"],
    scored: Bool[Tensor, "window bin"] | None,
    known: Bool[Tensor, "window visible bin"] | None = None,
) -> Float[Tensor, "draw window restart hidden *step padded_bin"]:
    """Change of the windows' bound by one more spike in each hidden bin; by a spike beside none where at most one fits.

    Where up to M fit, M > 1, an axis of steps behind that of the hidden units has the change from m − 1 spikes to m.

    Args:
        model: whose filters carry the spike's effect.
        hidden: whole hidden counts as drawn, from `n_lags` bins before the first scored one.
        drive: of all units under these draws, in the scored bins.
        log_rate: of the hidden counts' posterior in the scored bins.
        observed: visible counts in the scored bins.
        scored: which bins count; None for all.
        known: which visible counts do, where units are lost part of the time; None for all.
    """
    n_lags, n_bins, n_visible = model.n_lags, drive.shape[-1], model.n_visible
    link = LINK_VALUES[model.link]
    # Both the visible log-likelihood and the divergence depend on a unit's drive through x log f − f alone, with x the
    # count that was seen or the one that the posterior expects. Most visible counts are zero: only f is asked there.
    if known is not None:
        observed = observed * known
    window, unit, place = observed.nonzero(as_tuple=True)
    seen = observed[window, unit, place]
    at_spikes = drive[
        :, window, :, unit, place
    ]  # indices apart from one another put theirs first: (spike, draw, restart)
    wanted = posterior_mean(log_rate, model.family, model.max_count)
    value = link(drive)
    if known is not None:  # an expected count that nothing is held against
        value[..., :n_visible, :] *= known[None, :, None]
    log_at_spikes, log_hidden = link(at_spikes).log(), value[..., n_visible:, :].log()
    sums = value.sum(-2)

    filters = model.coupling_filters()[:, :, n_visible:]

    def change_by(more: Tensor | None, weight: Tensor) -> Tensor:
        """Of the bound in every bin, when `more` spikes (one where None) stand where the weight says."""
        step, step_at_spikes = weight[..., None], weight.T[unit][:, None]
        if more is not None:
            step = more[..., None, :] * step
            step_at_spikes = more[:, window, :, place] * step_at_spikes
        moved = link(drive + step)
        if known is not None:
            moved[..., :n_visible, :] *= known[None, :, None]
        change = sums - moved.sum(-2)
        change += (wanted * (moved[..., n_visible:, :].log_() - log_hidden)).sum(-2)
        gained = seen[:, None, None] * (link(at_spikes + step_at_spikes).log_() - log_at_spikes)
        change.permute(1, 3, 0, 2).index_put_((window, place), gained, accumulate=True)
        return change if scored is None else change.mul_(scored[:, None])

    one_at_most, largest = model.family == "categorical" and model.max_count == 1, model.max_count
    steps = (largest,) if largest > 1 else ()
    effect = hidden.new_zeros(*hidden.shape[:-1], *steps, hidden.shape[-1])
    for h in range(model.n_hidden):
        for lag in range(n_lags):
            first = n_lags - 1 - lag  # the spike stands `lag + 1` bins before the bin that it acts on
            weight, here = filters[:, :, h, lag], slice(first, first + n_bins)
            drawn = hidden[..., h, here]
            if largest > 1:
                # Every count in place of the one drawn, and the differences of neighbours.
                by_count = torch.stack([change_by(k - drawn, weight) for k in range(largest + 1)], dim=-2)
                effect[..., h, :, here] += by_count.diff(dim=-2)
            elif one_at_most:
                # Where a spike was drawn, compare with taking it away.
                sign = 1 - 2 * drawn
                effect[..., h, here] += change_by(sign, weight).mul_(sign)
            else:
                effect[..., h, here] += change_by(None, weight)
    return effect
