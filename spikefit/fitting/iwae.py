"""The importance-weighted bound of a POGLM on held-out windows: tighter than the evidence lower bound, never below it on average.

    IWAE_K = E[ log (1/K) Σ_k w_k ],   w = p(x, z | past) / q(z),   z whole counts drawn from the posterior q

With one draw it is the evidence lower bound; it rises with K towards the log-likelihood. The windows are those of every score, and a
window's hidden past is drawn from the posterior, as it is there: only the core is scored.

Source: Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders" (ICLR 2016).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.loop import JUDGE_BATCH_BINS, JUDGE_SEED
from spikefit.fitting.objective import hard_draws
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.coupling import history_features
from spikefit.models.hidden_draws import DrawHidden, log_prob_of
from spikefit.models.likelihood import log_likelihood
from spikefit.models.link import LINK_VALUES
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.poisson import poisson_log_prob

IWAE_DRAWS = 32
DRAWS_AT_A_TIME = 8


@torch.no_grad()
def iwae_nats(
    model: POGLMNetwork, windows: Windows, *, n_draws: int = IWAE_DRAWS, seed: int = JUDGE_SEED
) -> Float[Tensor, "window restart"]:
    """The importance-weighted bound in nats on every window, factorials of the visible counts left out; float64, CPU.

    Args:
        model: of one restart or several.
        windows: what is scored.
        n_draws: K, draws of all hidden counts of a window.
        seed: of the draws; the same for every call, so that models can be compared.
    """
    generator = torch.Generator(model.basis.device).manual_seed(seed)
    # A few draws at a time, so that this takes no more memory than other scores do.
    parts = [min(DRAWS_AT_A_TIME, n_draws - k) for k in range(0, n_draws, DRAWS_AT_A_TIME)]
    rows = [torch.empty(0, model.n_restarts, dtype=torch.float64)]
    for batch in windows.batches(max(1, JUDGE_BATCH_BINS // max(1, windows.core))):
        weights = torch.cat([log_weights(model, batch, hard_draws(model, n, generator)).double() for n in parts])
        rows.append((weights.logsumexp(0) - math.log(n_draws)).cpu())
    return torch.cat(rows)


@torch.no_grad()
def log_weights(
    model: POGLMNetwork, batch: WindowBatch, draw_hidden: DrawHidden
) -> Float[Tensor, "draw window restart"]:
    """Log p(x, z | past) − log q(z) over a window's scored bins, for every draw of whole hidden counts z.

    Args:
        model: with one or several restarts.
        batch: windows with `model.context` around their cores.
        draw_hidden: turns rates into draws of whole counts.
    """
    before, after = model.context
    n_lags, n_visible = model.n_lags, model.n_visible
    core_end = batch.counts.shape[-1] - after
    history = history_features(batch.counts[..., :core_end], model.basis)
    log_rate, draws = model.posterior.draw(model.posterior.features(batch.counts, history), draw_hidden)
    drive = model.hidden_drive(draws.counts) + model.visible_drive(model.in_core(history), batch.covariates)
    visible = log_likelihood(
        drive[..., :n_visible, :], batch.counts[..., before:core_end], batch.scored_counts, model.link, model.dispersion
    ).sum(-1)
    hidden = draws.counts[..., n_lags:]
    own = log_prob_of(log_rate[..., n_lags:].exp(), hidden, model.family, model.max_count)
    ratio = poisson_log_prob(LINK_VALUES[model.link](drive[..., n_visible:, :]), hidden) - own
    if batch.scored is not None:
        ratio = ratio * batch.scored[:, None, None, :]
    return visible + ratio.sum((-2, -1))
