"""Where the training of a POGLM starts.

Hidden units start from the factors of the H = 0 residuals (`residuals.py`), each restart from another rotation of
them. The size of one hidden spike is free: a unit that fires n times as often with 1/n of the effect fits about as
well. A Poisson posterior cannot be certain of a single spike and is far closer to the truth when spikes are small and
many, so its units start lively; a categorical one can, and starts with rare, large spikes (`START_COUNT`, per bin), unless it
is asked to tell several in a bin apart.

Visible couplings start at zero. The H = 0 solution would be a trap: it has taken up the hidden units' work. The
posterior is fitted to what the network of this start dreams (`dreams.py`), and shifted to expect as many spikes in the
recording as its unit is meant to fire.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.dreams import fit_posterior_to_dreams
from spikefit.fitting.windows import Windows
from spikefit.models.likelihood import posterior_mean
from spikefit.models.link import LINKS, inverse_link
from spikefit.models.poglm import POGLMNetwork

START_COUNT_OF_SEVERAL = 0.3  # of a categorical posterior that tells several spikes apart
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
    signs: Sequence[int] = (),
) -> None:
    """Set a model's parameters, each restart from its own factors.

    Args:
        model: to be set; one restart per entry of `factors`.
        factors: extra spikes of every visible unit per standard deviation of a factor, from `residual_factors`.
        mean_count: mean spikes per bin of every visible unit, above zero.
        windows: training windows, some of which set the posterior's offset.
        generator: breaks ties between units without a factor, and draws the dreams; on the CPU.
        signs: of each restart, as `first_signs` gives them; -1 starts hidden units as inhibitors of the units that a factor
            touches, anything else, or nothing, as exciters.
    """
    inhibitory = [restart for restart, sign in enumerate(signs) if sign < 0]
    factors = [
        _heavier_side(loadings) if restart in inhibitory else loadings for restart, loadings in enumerate(factors)
    ]
    _set_generative_side(model, factors, mean_count, generator)
    with torch.no_grad():
        model.hidden_weights[inhibitory, : model.n_visible] *= -1
    fit_posterior_to_dreams(model, generator)
    if model.posterior.deep is not None:
        model.posterior.deep.randomise(generator)
    calibrate(model, windows)


def start_count(model: POGLMNetwork) -> float:
    """Hidden spikes per bin that a unit is meant to fire at the start."""
    return START_COUNT[model.family] if model.max_count == 1 else START_COUNT_OF_SEVERAL


def first_signs(n_restarts: int, hidden_sign: str) -> list[int]:
    """Whether the hidden units of each restart start by exciting (1) or by inhibiting (-1) the recorded ones.

    Where any sign is allowed the second of several restarts inhibits: no held-out bound can favour what was never tried.
    """
    if hidden_sign == "inhibitory":
        return [-1] * n_restarts
    signs = [1] * n_restarts
    if hidden_sign == "any" and n_restarts > 1:
        signs[1] = -1
    return signs


@torch.no_grad()
def _set_generative_side(
    model: POGLMNetwork, factors: list[Tensor], mean_count: Tensor, generator: torch.Generator
) -> None:
    basis = model.basis.cpu().double()
    n_lags = len(basis)
    at_start = start_count(model)
    lags = torch.arange(n_lags, dtype=torch.float64)
    profile = torch.exp(-lags / (DECAY_IN_WINDOWS * n_lags))
    couplings = basis[:, : model.n_coupling_functions]
    on_basis = torch.linalg.lstsq(couplings, profile[:, None]).solution[:, 0]
    on_basis = torch.nn.functional.pad(on_basis, (0, basis.shape[1] - len(on_basis)))
    baseline = inverse_link(model.link, mean_count.cpu().double())
    n_visible = model.n_visible
    for restart, loadings in enumerate(factors):
        # A Poisson unit of λ spikes a bin has standard deviation √λ, so one of its spikes adds loading / √λ.
        extra = loadings.clamp(min=0) / math.sqrt(at_start)
        size = _drive_for(extra, baseline, profile, model.link)
        size += NOISE * torch.rand(size.shape, dtype=torch.float64, generator=generator)
        weights = size[:, :, None] * on_basis
        model.hidden_weights[restart, :n_visible] = weights.reshape(n_visible, -1).to(model.hidden_weights)
    model.baseline[:, :n_visible] = baseline.to(model.baseline)
    model.baseline[:, n_visible:] = inverse_link(model.link, torch.tensor(at_start, dtype=torch.float64)).to(
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
def calibrate(model: POGLMNetwork, windows: Windows) -> None:
    """Shift each posterior so that it expects as many spikes as its unit is meant to fire."""
    step = max(1, len(windows) // CALIBRATION_WINDOWS)
    batch = windows.batch(torch.arange(0, len(windows), step))
    features = model.posterior.features(batch.counts)
    # Further spikes keep their distance to the first one.
    by_step = model.posterior.offset.unflatten(1, (model.n_hidden, -1))
    distance = by_step - by_step[..., :1]
    low = torch.full_like(by_step[..., :1], -15.0)
    high = torch.full_like(low, 10.0)
    for _ in range(20):
        offset = 0.5 * (low + high)
        by_step.copy_(offset + distance)
        mean = posterior_mean(model.posterior(features), model.family, model.max_count).mean((0, 3))
        too_many = mean[..., None] > start_count(model)
        low = torch.where(too_many, low, offset)
        high = torch.where(too_many, offset, high)
