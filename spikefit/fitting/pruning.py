"""Choosing among restarts and hidden units: picking parameters out along the restart or the hidden axis.

A POGLM that starts with more hidden units than it should end with finds the true ones far more often; those whose
loss costs the bound least are then taken away, one at a time.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikefit.fitting.objective import hard_draws
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.coupling import history_features
from spikefit.models.likelihood import hidden_divergence, log_likelihood
from spikefit.models.poglm import POGLMNetwork


@torch.no_grad()
def keep_restarts(model: POGLMNetwork, restarts: Int[Tensor, " kept"]) -> POGLMNetwork:
    """A model with only the named restarts, in the given order."""
    out = model.like(n_restarts=len(restarts))
    for name, parameter in out.named_parameters():
        parameter.copy_(model.get_parameter(name)[restarts.to(parameter.device)])
    return out


@torch.no_grad()
def keep_hidden(model: POGLMNetwork, hidden: Int[Tensor, "restart kept"]) -> POGLMNetwork:
    """A model with only the named hidden units of every restart, in the given order."""
    out = model.like(n_hidden=hidden.shape[1])
    n_visible, n_functions = model.n_visible, model.basis.shape[1]
    for restart, units in enumerate(hidden.to(model.basis.device)):
        rows = torch.cat([torch.arange(n_visible, device=units.device), n_visible + units])
        columns = (units[:, None] * n_functions + torch.arange(n_functions, device=units.device)).reshape(-1)
        out.baseline[restart] = model.baseline[restart, rows]
        out.visible_weights[restart] = model.visible_weights[restart, rows]
        if out.covariate_weights is not None and model.covariate_weights is not None:
            out.covariate_weights[restart] = model.covariate_weights[restart, rows]
        out.hidden_weights[restart] = model.hidden_weights[restart][rows][:, columns]
        if out.log_dispersion is not None and model.log_dispersion is not None:
            out.log_dispersion[restart] = model.log_dispersion[restart]
        for name, parameter in out.posterior.named_parameters():
            if name.startswith("deep.") and name != "deep.out":  # shared by all hidden units
                parameter[restart] = model.posterior.get_parameter(name)[restart]
                continue
            rows = model.posterior.get_parameter(name)[restart].unflatten(0, (model.n_hidden, -1))[units].flatten(0, 1)
            # A unit's own spikes are read by the posterior of the others.
            parameter[restart] = rows[:, columns] if name == "own" else rows
    return out


@torch.no_grad()
def cost_of_removal(
    model: POGLMNetwork, windows: Windows, which: Int[Tensor, " window"], generator: torch.Generator
) -> Float[Tensor, "restart hidden"]:
    """How many nats the bound falls when a hidden unit is silenced, with nothing else changed, on some windows.

    A silenced unit acts on nobody and pays no divergence, so a unit that does nothing costs nothing or less.
    """
    batch = windows.batch(which)
    before, after = model.context
    n_visible, n_functions = model.n_visible, model.basis.shape[1]
    end = batch.counts.shape[-1] - after
    history = history_features(batch.counts[..., :end], model.basis)
    posterior_features = model.posterior.features(batch.counts, history)
    log_rate, draws = model.posterior.draw(posterior_features, hard_draws(model, 2, generator))
    hidden = draws.counts
    features = history_features(hidden, model.basis)
    to_visible = model.hidden_weights[:, :n_visible]
    drive = model.visible_drive(model.in_core(history), batch.covariates)[..., :n_visible, :] + to_visible @ features
    observed = batch.counts[..., before:end]

    def visible(drive: Tensor) -> Tensor:
        return log_likelihood(drive, observed, batch.scored_counts, model.link, model.dispersion).sum(-1).mean(0).sum(0)

    whole = visible(drive)
    divergence = _divergence(model, log_rate, hidden, history, batch)
    costs = []
    for unit in range(model.n_hidden):
        own = slice(unit * n_functions, (unit + 1) * n_functions)
        without = visible(drive - to_visible[..., own] @ features[..., own, :])
        costs.append(whole - without - divergence[:, unit])
    return torch.stack(costs, dim=1)


def _divergence(
    model: POGLMNetwork, log_rate: Tensor, hidden: Tensor, history: Tensor, batch: WindowBatch
) -> Float[Tensor, "restart hidden"]:
    """Divergence of each hidden unit's posterior from its own law, summed over windows."""
    n_lags, n_visible = model.n_lags, model.n_visible
    drive = model.visible_drive(model.in_core(history), batch.covariates)[..., n_visible:, :]
    drive = drive + model.hidden_weights[:, n_visible:] @ history_features(hidden, model.basis)
    divergence = hidden_divergence(
        log_rate[..., n_lags:],
        drive,
        batch.scored,
        link=model.link,
        family=model.family,
        max_count=model.max_count,
    )
    return divergence.mean(0).sum(0)


def prune_hidden(
    model: POGLMNetwork, windows: Windows, n_keep: int, n_windows: int, generator: torch.Generator
) -> POGLMNetwork:
    """Take hidden units away, one at a time, until `n_keep` are left in every restart."""
    step = max(1, len(windows) // n_windows)
    which = torch.arange(0, len(windows), step)
    while model.n_hidden > n_keep:
        cost = cost_of_removal(model, windows, which, generator)
        worst = cost.argmin(1, keepdim=True)
        everyone = torch.arange(model.n_hidden, device=worst.device).expand(model.n_restarts, -1)
        model = keep_hidden(model, everyone[everyone != worst].reshape(model.n_restarts, -1))
    return model
