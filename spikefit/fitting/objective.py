"""The evidence lower bound of a POGLM over windows.

    ELBO = E_q[ Σ_t log p(x_t | x_<t, z_<t) ] − E_q[ Σ_t KL( q(z_t) ‖ p(z_t | x_<t, z_<t) ) ]

Given a sampled history, the inner divergence between two Poisson laws is closed form, so hidden counts are Monte Carlo
only through their effect on later bins. The visible drive is computed once per window, not once per draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.windows import WindowBatch
from spikefit.models.hidden_draws import DrawHidden, HardDraws
from spikefit.models.hidden_drive import units_apart
from spikefit.models.kernels import Kernels
from spikefit.models.likelihood import hidden_divergence, log_likelihood
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.spike_effect import effect_of_one_more


@dataclass(frozen=True, eq=False)
class WindowElbo:
    """The two parts of the bound in nats, summed over a window's scored bins.

    Attributes:
        visible: log-likelihood of the visible counts, factorials left out.
        divergence: of the posterior of each hidden unit from its own law.
        correction: zero in value; added to the sum over windows of the draws' mean, it makes the gradient right.
    """

    visible: Float[Tensor, "draw window restart"]
    divergence: Float[Tensor, "draw window restart hidden"]
    correction: Float[Tensor, ""]

    @property
    def total(self) -> Float[Tensor, "draw window restart"]:
        return self.visible - self.divergence.sum(-1)


def elbo(
    model: POGLMNetwork, batch: WindowBatch, draw_hidden: DrawHidden, kernels: Kernels | None = None
) -> WindowElbo:
    """The bound on each window, one value per draw.

    Args:
        model: with one or several restarts.
        batch: windows with `model.context` around their cores.
        draw_hidden: turns the hidden counts' rates (window, restart, hidden, bin) into draws of them; a posterior that
            reads its own spikes needs one that can draw in turn.
        kernels: to compile the arithmetic; None to run it as it is written.
    """
    before, after = model.context
    n_lags, n_visible = model.n_lags, model.n_visible
    counts = batch.counts
    core_end = counts.shape[-1] - after
    visible_drive, posterior_drive = model.read(counts, batch.covariates, batch.spikes)
    # The posterior's bins start one window ahead of the core: hidden spikes there act on the core.
    log_rate, draws = model.posterior.draw_at(posterior_drive, draw_hidden)
    drive = model.drive(visible_drive, draws.counts)
    of_visible, of_hidden = units_apart(drive, n_visible)
    observed = counts[..., before:core_end]
    spikes = batch.spikes_between(before, core_end)
    scored = batch.scored_counts
    visible = log_likelihood(
        of_visible, observed, scored, model.link, model.dispersion, spikes=spikes, kernels=kernels
    ).sum(-1)
    divergence = hidden_divergence(
        log_rate[..., n_lags:],
        of_hidden,
        batch.scored,
        link=model.link,
        family=model.family,
        max_count=model.max_count,
        kernels=kernels,
    )
    total = visible - divergence.sum(-1)
    effect = None
    if draws.needs_effect:
        effect = effect_of_one_more(
            model, draws.counts, drive, log_rate[..., n_lags:], observed, batch.scored, batch.observed
        )
    return WindowElbo(visible, divergence, draws.correction(total, effect))


def hard_draws(model: POGLMNetwork, n_draws: int, generator: torch.Generator) -> HardDraws:
    """Whole hidden counts of the model's family, for scores."""
    return HardDraws(model.family, n_draws, generator, model.max_count)
