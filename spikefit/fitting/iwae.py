"""The importance-weighted bound of a POGLM on held-out windows: tighter than the evidence lower bound, never below it on average.

    IWAE_K = E[ log (1/K) Σ_k w_k ],   w = p(x, z | past) / q(z),   z whole counts drawn from the posterior q

With one draw it is the evidence lower bound; it rises with K towards the log-likelihood. The windows are those of every score, and a
window's hidden past is drawn from the posterior, as it is there: only the core is scored.

Source: Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders" (ICLR 2016).
"""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.loop import JUDGE_BATCH_BINS, JUDGE_SEED
from spikefit.fitting.memory import halving
from spikefit.fitting.objective import hard_draws
from spikefit.fitting.processes import add_up, own_share
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.hidden_draws import DrawHidden, log_prob_of
from spikefit.models.likelihood import log_likelihood
from spikefit.models.link import LINK_VALUES
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.self_encoder import ForwardSelfPosterior
from spikefit.models.window_draws import WindowDraws, window_seeds
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
        seed: of the draws; the same for every call, so that models can be compared. Each window has draws of its own, so that it
            does not matter which windows are computed together, nor by which process. A posterior that reads its own spikes draws for all
            windows of a batch at once: with less memory it gets other draws of the same law.
    """
    # A few draws at a time, so that this takes no more memory than other scores do.
    parts = [min(DRAWS_AT_A_TIME, n_draws - k) for k in range(0, n_draws, DRAWS_AT_A_TIME)]
    whole = isinstance(model.posterior, ForwardSelfPosterior)  # its draws hang on which windows are drawn together
    everything, device = torch.arange(len(windows)), model.basis.device
    mine = everything if whole else own_share(everything)

    def look(n_windows: int) -> Tensor:
        values = torch.zeros(len(windows), model.n_restarts, dtype=torch.float64, device=device)
        for which in mine.split(n_windows) if len(mine) else ():
            batch = windows.batch(which)
            # A window's draws are its own, whatever windows are drawn beside it.
            sources = [torch.Generator(device).manual_seed(one) for one in window_seeds(seed, which)]
            weights = [
                log_weights(model, batch, WindowDraws(functools.partial(hard_draws, model, n), sources)).double()
                for n in parts
            ]
            values[which.to(device)] = torch.cat(weights).logsumexp(0) - math.log(n_draws)
        return values

    values, _ = halving(look, max(1, JUDGE_BATCH_BINS // max(1, windows.core)), what="judging a fit by many draws")
    if not whole:
        add_up([values])
    return values.cpu()


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
    visible_drive, posterior_drive = model.read(batch.counts, batch.covariates, batch.spikes)
    log_rate, draws = model.posterior.draw_at(posterior_drive, draw_hidden)
    drive = model.drive(visible_drive, draws.counts)
    visible = log_likelihood(
        drive[..., :n_visible, :],
        batch.counts[..., before:core_end],
        batch.scored_counts,
        model.link,
        model.dispersion,
        spikes=batch.spikes_between(before, core_end),
    ).sum(-1)
    hidden = draws.counts[..., n_lags:]
    own = log_prob_of(log_rate[..., n_lags:].exp(), hidden, model.family, model.max_count)
    ratio = poisson_log_prob(LINK_VALUES[model.link](drive[..., n_visible:, :]), hidden) - own
    if batch.scored is not None:
        ratio = ratio * batch.scored[:, None, None, :]
    return visible + ratio.sum((-2, -1))
