"""Where the training of a POGLM starts.

Hidden units start from the factors of the H = 0 residuals (`residuals.py`), each restart from another rotation of
them. The size of one hidden spike is free: a unit that fires n times as often with 1/n of the effect fits about as
well. A Poisson posterior cannot be certain of a single spike and is far closer to the truth when spikes are small and
many, so its units start lively; a categorical one can, and starts with rare, large spikes (`START_COUNT`, per bin).

Visible couplings start at zero. The H = 0 solution would be a trap: it has taken up the hidden units' work. The
posterior is fitted to what the network of this start dreams (`dreams.py`), and shifted to expect as many spikes in the
recording as its unit is meant to fire.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.dreams import fit_posterior_to_dreams
from spikefit.fitting.windows import Windows
from spikefit.models.likelihood import posterior_mean
from spikefit.models.link import LINKS, inverse_link
from spikefit.models.poglm import POGLMNetwork

START_COUNT = {"poisson": 0.3, "categorical": 0.05}  # expected hidden spikes per bin
LARGEST_WEIGHT = 5.0  # drive added by one hidden spike at its first lag
DECAY_IN_WINDOWS = 0.3
NOISE = 0.02
CALIBRATION_WINDOWS = 16


def start_from_factors(
    model: POGLMNetwork,
    factors: list[Float[Tensor, "unit factor"]],
    mean_count: Float[Tensor, " unit"],
    windows: Windows,
    generator: torch.Generator,
    *,
    hidden_sign: str = "any",
) -> None:
    """Set a model's parameters, each restart from its own factors.

    Args:
        model: to be set; one restart per entry of `factors`.
        factors: extra spikes of every visible unit per standard deviation of a factor, from `residual_factors`.
        mean_count: mean spikes per bin of every visible unit, above zero.
        windows: training windows, some of which set the posterior's offset.
        generator: breaks ties between units without a factor, and draws the dreams; on the CPU.
        hidden_sign: `inhibitory` starts hidden units as inhibitors of the units that a factor touches; all others start
            as exciters.
    """
    if hidden_sign == "inhibitory":
        factors = [_heavier_side(loadings) for loadings in factors]
    _set_generative_side(model, factors, mean_count, generator)
    if hidden_sign == "inhibitory":
        with torch.no_grad():
            model.hidden_weights[:, : model.n_visible].neg_()
    fit_posterior_to_dreams(model, generator)
    if model.posterior.deep is not None:
        model.posterior.deep.randomise(generator)
    _calibrate(model, windows)


@torch.no_grad()
def _set_generative_side(
    model: POGLMNetwork, factors: list[Tensor], mean_count: Tensor, generator: torch.Generator
) -> None:
    basis = model.basis.cpu().double()
    n_lags = len(basis)
    start_count = START_COUNT[model.family]
    lags = torch.arange(n_lags, dtype=torch.float64)
    profile = torch.exp(-lags / (DECAY_IN_WINDOWS * n_lags))
    couplings = basis[:, : model.n_coupling_functions]
    on_basis = torch.linalg.lstsq(couplings, profile[:, None]).solution[:, 0]
    on_basis = torch.nn.functional.pad(on_basis, (0, basis.shape[1] - len(on_basis)))
    baseline = inverse_link(model.link, mean_count.cpu().double())
    n_visible = model.n_visible
    for restart, loadings in enumerate(factors):
        # A Poisson unit of λ spikes a bin has standard deviation √λ, so one of its spikes adds loading / √λ.
        extra = loadings.clamp(min=0) / math.sqrt(start_count)
        size = _drive_for(extra, baseline, profile, model.link)
        size += NOISE * torch.rand(size.shape, dtype=torch.float64, generator=generator)
        weights = size[:, :, None] * on_basis
        model.hidden_weights[restart, :n_visible] = weights.reshape(n_visible, -1).to(model.hidden_weights)
    model.baseline[:, :n_visible] = baseline.to(model.baseline)
    model.baseline[:, n_visible:] = inverse_link(model.link, torch.tensor(start_count, dtype=torch.float64)).to(
        model.baseline
    )


def _heavier_side(loadings: Float[Tensor, "unit factor"]) -> Float[Tensor, "unit factor"]:
    """Each factor with the sign that makes its larger side positive: its own sign is that of an exciter's spikes."""
    up, down = loadings.clamp(min=0).norm(dim=0), loadings.clamp(max=0).norm(dim=0)
    return torch.where(up < down, -loadings, loadings)


def _drive_for(extra: Tensor, baseline: Tensor, profile: Tensor, link: str) -> Tensor:
    """Size of a filter of that profile which adds `extra` spikes to a unit at its baseline; (unit, factor)."""
    f = LINKS[link]
    low, high = torch.zeros_like(extra), torch.full_like(extra, LARGEST_WEIGHT)
    at_rest = f(baseline)[0][:, None, None]
    for _ in range(40):
        middle = 0.5 * (low + high)
        added = (f(baseline[:, None, None] + middle[..., None] * profile)[0] - at_rest).sum(-1)
        low, high = torch.where(added < extra, middle, low), torch.where(added < extra, high, middle)
    return low


@torch.no_grad()
def _calibrate(model: POGLMNetwork, windows: Windows) -> None:
    """Shift each posterior so that it expects as many spikes as its unit is meant to fire."""
    step = max(1, len(windows) // CALIBRATION_WINDOWS)
    batch = windows.batch(torch.arange(0, len(windows), step))
    features = model.posterior.features(batch.counts)
    model.posterior.offset.zero_()
    low = torch.full_like(model.posterior.offset, -15.0)
    high = torch.full_like(low, 10.0)
    for _ in range(20):
        model.posterior.offset.copy_(0.5 * (low + high))
        mean = posterior_mean(model.posterior(features), model.family).mean((0, 3))
        too_many = mean > START_COUNT[model.family]
        low = torch.where(too_many, low, model.posterior.offset)
        high = torch.where(too_many, model.posterior.offset, high)
