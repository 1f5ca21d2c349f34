"""A posterior that starts from what the network dreams: the sleep phase of wake-sleep.

At the start of training the generative side is known roughly, from the residuals' factors, and the posterior not at all.
The network is therefore run on its own, with the hidden spikes at hand, and the posterior is fitted to tell them from the
visible ones. That is a regression with one best answer; unlike the mirror image of the filters it knows that a visible
spike counts as evidence once, and that another hidden unit may explain it.

Source: Hinton, Dayan, Frey & Neal, "The wake-sleep algorithm for unsupervised neural networks" (Science 1995).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.models.coupling import history_features
from spikefit.models.link import LINKS
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.poisson import sample_poisson
from spikefit.prob.single import occupancy, sample_occupancy

WINDOW_BINS = 1000
MOST_WINDOWS, FEWEST_WINDOWS = 20, 4
MOST_VALUES = 5e7  # of all features over all dreamt bins
REGRESSION_STEPS = 40
# In nats per dreamt bin, for weights of size one: enough to tie down what so few spikes leave open.
REGRESSION_RIDGE = 1e-4
LARGEST_COUNT = 50.0  # a dream that explodes would teach nothing


def fit_posterior_to_dreams(model: POGLMNetwork, generator: torch.Generator) -> None:
    """Fit each restart's posterior to counts drawn from its own generative side, in place.

    Hidden units fire at random at their baseline rates and act on the visible ones; couplings among visible units, which
    stand at zero when training starts, are left out.

    Args:
        model: whose generative side is set.
        generator: source of the draws, on the CPU.
    """
    for restart in range(model.n_restarts):
        visible, hidden = dream(model, restart, generator)
        before, after = model.posterior.reach
        features = model.posterior.features(visible)
        wanted = hidden[..., before : hidden.shape[-1] - after]
        seen = _flat(model.posterior.core(features))
        weights, offset = _regress(seen, _flat(wanted), model.family, model.max_count)
        model.posterior.set_readout(restart, weights, offset)


@torch.no_grad()
def dream(model: POGLMNetwork, restart: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Visible and hidden counts of one restart's generative side, (window, unit, bin) each."""
    n_lags, n_visible = model.n_lags, model.n_visible
    n_features = n_visible * (2 * model.basis.shape[1] + 1)
    n_windows = int(min(max(MOST_VALUES / (n_features * WINDOW_BINS), FEWEST_WINDOWS), MOST_WINDOWS))
    basis = model.basis.cpu()
    baseline = model.baseline[restart].cpu()
    rate = LINKS[model.link](baseline[n_visible:])[0]
    rate = rate[None, :, None].expand(n_windows, -1, WINDOW_BINS + n_lags)
    if model.family == "categorical" and model.max_count == 1:
        hidden = sample_occupancy(rate.contiguous(), generator)
    else:
        hidden = sample_poisson(rate.contiguous(), generator)
    if model.family == "categorical":
        hidden = hidden.clamp(max=model.max_count)
    effect = model.hidden_weights[restart, :n_visible].cpu() @ history_features(hidden, basis)
    expected = LINKS[model.link](effect + baseline[:n_visible, None])[0].clamp(max=LARGEST_COUNT)
    visible = sample_poisson(expected, generator)
    return visible.to(model.basis), hidden[..., n_lags:].to(model.basis)


def _regress(
    features: Float[Tensor, "feature bin"], counts: Float[Tensor, "hidden bin"], family: str, max_count: int = 1
) -> tuple[Float[Tensor, "row feature"], Float[Tensor, " row"]]:
    """The posterior's read-out that makes these counts likeliest; the features are scaled in place."""
    scale = features.std(1).clamp(min=1e-3)
    asked = None
    if max_count > 1:
        # Of each step whether it was taken, in the bins that had come as far.
        before = torch.arange(max_count, device=counts.device)[:, None]
        asked = (counts[:, None] >= before).to(counts).flatten(0, 1)
        counts = (counts[:, None] > before).to(counts).flatten(0, 1)
    weights = torch.zeros(len(counts), len(features), dtype=features.dtype, device=features.device, requires_grad=True)
    mean = counts.mean(1) if asked is None else counts.sum(1) / asked.sum(1).clamp(min=1)
    mean = mean.clamp(min=1e-4)
    offset = torch.log(torch.expm1(mean)).requires_grad_()
    scaled = features.div_(scale[:, None])
    optimizer = torch.optim.LBFGS([weights, offset], max_iter=REGRESSION_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        rate = torch.nn.functional.softplus(weights @ scaled + offset[:, None])
        nats = (
            torch.xlogy(counts, occupancy(rate)) - (1 - counts) * rate
            if family == "categorical"
            else (torch.xlogy(counts, rate) - rate)
        )
        if asked is not None:
            nats = nats * asked
        value = REGRESSION_RIDGE * weights.square().sum() - nats.mean(1).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach() / scale, offset.detach()


def _flat(signal: Float[Tensor, "window row bin"]) -> Float[Tensor, "row all_bins"]:
    return signal.transpose(0, 1).flatten(1)
