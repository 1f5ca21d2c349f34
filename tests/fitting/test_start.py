"""Where training starts: factors of the residuals know whom hidden units drive, and the first posterior is calibrated."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

import spikefit
from spikefit.fitting.design import Design
from spikefit.fitting.dreams import dream, fit_posterior_to_dreams
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.residuals import ROTATIONS, most_skewed_rotation, residual_factors, third_moments
from spikefit.fitting.split import split_bins
from spikefit.fitting.start import START_COUNT, first_signs, start_from_factors
from spikefit.fitting.windows import Windows
from spikefit.models.basis import make_basis
from spikefit.models.likelihood import posterior_mean
from spikefit.models.poglm import POGLMNetwork
from spikefit.simulate import Simulation, random_network, simulate
from spikefit.spikes import Counts

MakeModel = Callable[..., POGLMNetwork]
MakeCounts = Callable[..., Counts]


@pytest.fixture(scope="module")
def driven() -> Simulation:
    """Fourteen units and two strong drivers, 150 s."""
    network = random_network(
        n_visible=14, n_drivers=2, seed=3, density=0.05, strength=1.0, fan_out=0.5, driver_rate_hz=6.0
    )
    return simulate(network, duration_s=150.0, seed=3)


def turned(counts: Counts) -> Counts:
    """The same units, each shifted in time by another amount: no shared driver is left."""
    columns = [np.roll(column, 700 * (unit + 1)) for unit, column in enumerate(counts.counts.T)]
    return dataclasses.replace(counts, counts=np.asfortranarray(np.stack(columns, axis=1)))


def factors_of(counts: Counts, n_factors: int, rotation: str = "varimax") -> torch.Tensor:
    basis = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.1, bin_width_s=0.01, n_functions=5)).float()
    ranges = split_bins(counts.segment_offsets, n_lags=len(basis), heldout=0.0, seed=0).everything
    design = Design(torch.from_numpy(np.ascontiguousarray(counts.counts.T)), ranges, basis)
    return residual_factors(design, fit_glm(design, ridge=1.0), n_factors=n_factors, link="softplus", rotation=rotation)


def match(factors: torch.Tensor, simulation: Simulation) -> float:
    """Least over the drivers of the best correlation of a factor with the driver's couplings."""
    n_visible = simulation.network.n_visible
    fan_out = simulation.network.connectivity[:n_visible, n_visible:]
    both = np.corrcoef(factors.numpy().T, fan_out.T)
    n_factors = factors.shape[1]
    return float(both[:n_factors, n_factors:].max(axis=0).min())


# Third moments that units' own noise is part of are the least sharp of the three.
@pytest.mark.parametrize(("rotation", "least"), [("varimax", 0.6), ("skewed-between-units", 0.6), ("skewed", 0.5)])
def test_factors_of_the_residuals_match_the_drivers_couplings(driven: Simulation, rotation: str, least: float) -> None:
    counts = driven.visible_counts
    assert rotation in ROTATIONS
    assert match(factors_of(counts, 2, rotation), driven) > least
    # The twin: without a shared driver the same computation must not find one.
    assert match(factors_of(turned(counts), 2, rotation), driven) < 0.4


def test_third_moments_turn_factors_that_everybody_shares() -> None:
    """Sources that act on all units alike in number differ in their skewness alone: varimax cannot tell, moments can.

    Whitened sources of skewed noise, mixed by a rotation; the recovered one must be that rotation up to order and sign.
    """
    generator = torch.Generator().manual_seed(2)
    sources = torch.empty(4, 200_000, dtype=torch.float64).exponential_(generator=generator) - 1
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator))[0]

    def turns(signal: torch.Tensor) -> torch.Tensor:
        mixed = rotation @ signal
        third = torch.einsum("at,bt,ct->abc", mixed, mixed, mixed) / mixed.shape[1]
        return (most_skewed_rotation(third).T @ rotation).abs()

    found = turns(sources)
    assert (found.max(0).values > 0.999).all()
    assert sorted(found.argmax(0).tolist()) == [0, 1, 2, 3]
    # The twin: Gaussian sources have no third moments, and no rotation is better than another.
    without = turns(torch.randn(4, 200_000, dtype=torch.float64, generator=generator))
    assert (without.max(0).values < 0.999).any()


def test_moments_between_units_leave_out_what_a_unit_does_alone(segmented: MakeCounts) -> None:
    """Against the explicit sum over triples of different units, on counts whose own skewness is large."""
    counts = segmented([300, 250], n_units=4, expected=0.3)
    basis = torch.rand(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ranges = split_bins(counts.segment_offsets, n_lags=6, heldout=0.0, seed=0).everything
    design = Design(torch.from_numpy(np.ascontiguousarray(counts.counts.T)), ranges, basis)
    fit = fit_glm(design, ridge=1.0)
    whitening = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = third_moments(design, fit, whitening, "softplus", between_units=True)
    expected, whole = torch.zeros(2, 2, 2, dtype=torch.float64), torch.zeros(2, 2, 2, dtype=torch.float64)
    for features, target in design.blocks():
        drive = fit.baseline[:, None] + fit.weights @ features
        residual = target - torch.nn.functional.softplus(drive)
        n = residual.shape[1]
        activity = torch.stack([residual[:, max(0, t - 2) : min(n, t + 3)].sum(1) for t in range(n)], dim=1)
        activity -= activity.mean(1, keepdim=True)
        for triple in itertools.product(range(4), repeat=3):
            product = torch.stack([activity[i] for i in triple]).prod(0).sum()
            term = product * torch.einsum("a,b,c->abc", *(whitening[i] for i in triple))
            whole += term
            expected += term if len(set(triple)) == 3 else 0
    torch.testing.assert_close(found, expected / design.n_bins, rtol=1e-9, atol=1e-12)
    assert (whole - expected).abs().max() > 0.1 * whole.abs().max()


@pytest.mark.parametrize("family", ["poisson", "categorical"])
def test_dreams_teach_the_posterior_the_model_it_belongs_to(make_model: MakeModel, family: str) -> None:
    """On counts of the model itself the taught posterior follows the hidden ones; one taught by another model does not."""

    def network(seed: int) -> POGLMNetwork:
        model = make_model(12, 2, n_lags=4, seed=seed, family=family, dtype=torch.float32)
        with torch.no_grad():
            for parameter in (
                model.visible_weights,
                model.posterior.past,
                model.posterior.present,
                model.posterior.future,
            ):
                parameter.zero_()
            model.baseline.fill_(-2.5)
            generator = torch.Generator().manual_seed(seed)
            chosen = torch.rand(1, 12, 2, 1, generator=generator) < 0.5
            weights = model.hidden_weights.zero_()[:, :12].unflatten(-1, (2, 2))
            weights.copy_(3.0 * chosen)
        return model

    own, other = network(1), network(2)
    for model in (own, other):
        fit_posterior_to_dreams(model, torch.Generator().manual_seed(4))
    visible, hidden = dream(own, 0, torch.Generator().manual_seed(5))

    def correlation(taught: POGLMNetwork) -> float:
        before, after = own.posterior.reach
        with torch.no_grad():
            mean = posterior_mean(taught.posterior(taught.posterior.features(visible)), family)[:, 0]
        truth = hidden[..., before : hidden.shape[-1] - after]
        pairs = [(mean[:, h].flatten(), truth[:, h].flatten()) for h in range(2)]
        return min(float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs)

    assert correlation(own) > 0.5
    assert correlation(other) < correlation(own) - 0.2


def test_more_factors_than_units_leave_the_rest_at_zero(driven: Simulation) -> None:
    factors = factors_of(driven.visible_counts, 16)
    assert factors.shape == (14, 16)
    assert torch.isfinite(factors).all()
    assert (factors[:, 14:] == 0).all()


@pytest.mark.parametrize("family", ["poisson", "categorical"])
def test_the_first_posterior_expects_as_many_spikes_as_it_is_meant_to(driven: Simulation, family: str) -> None:
    counts = driven.visible_counts
    basis = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.1, bin_width_s=0.01, n_functions=5)).float()
    ranges = split_bins(counts.segment_offsets, n_lags=len(basis), heldout=0.0, seed=0).everything
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    model = POGLMNetwork(14, 3, basis, link="softplus", family=family, n_restarts=2)
    windows = Windows(by_unit, counts.segment_offsets, ranges, context=model.context, core_bins=500)
    factors = torch.nn.functional.pad(factors_of(counts, 2), (0, 1))
    mean_count = by_unit.double().mean(1)
    start_from_factors(model, [factors, factors], mean_count, windows, torch.Generator().manual_seed(0))
    batch = windows.batch(torch.arange(len(windows)))
    with torch.no_grad():
        means = posterior_mean(model.posterior(model.posterior.features(batch.counts)), family).mean((0, 3))
    # Calibrated on some of the windows, met on all of them.
    assert torch.allclose(means, torch.full_like(means, START_COUNT[family]), rtol=0.2)
    assert (model.visible_weights == 0).all()
    strength = model.coupling_filters()[0, :14, 14:].sum(-1).abs().sum(0)
    assert strength[2] < 0.1 * strength[0]  # a unit without a factor starts next to silent


@pytest.mark.slow
def test_a_fit_finds_the_drivers_and_finds_none_where_there_is_none(driven: Simulation) -> None:
    counts = driven.visible_counts

    def least_correlation(recorded: Counts) -> float:
        fit = spikefit.POGLM(bin="10ms", hidden=2, restarts=1, device="cpu").fit(recorded)
        assert fit.hidden is not None
        bins = np.round(fit.hidden.time_s / 0.01).astype(int)
        both = np.corrcoef(fit.hidden.expected_count.T, driven.hidden_counts[bins].T)
        return float(np.nan_to_num(both)[:2, 2:].max(axis=0).min())

    assert least_correlation(counts) > 0.4
    assert least_correlation(turned(counts)) < 0.2


def test_one_of_several_restarts_begins_inhibitory() -> None:
    assert first_signs(3, "any") == [1, -1, 1]
    assert first_signs(2, "any") == [1, -1]
    assert first_signs(1, "any") == [1]
    assert first_signs(3, "excitatory") == [1, 1, 1]
    assert first_signs(3, "inhibitory") == [-1, -1, -1]


def test_its_hidden_units_inhibit_and_those_of_the_others_excite(driven: Simulation) -> None:
    counts = driven.visible_counts
    basis = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.1, bin_width_s=0.01, n_functions=5)).float()
    ranges = split_bins(counts.segment_offsets, n_lags=len(basis), heldout=0.0, seed=0).everything
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    model = POGLMNetwork(14, 2, basis, link="softplus", family="categorical", n_restarts=2)
    windows = Windows(by_unit, counts.segment_offsets, ranges, context=model.context, core_bins=500)
    factors = factors_of(counts, 2)
    generator = torch.Generator().manual_seed(0)
    start_from_factors(model, [factors, factors], by_unit.double().mean(1), windows, generator, signs=[1, -1])
    effects = model.coupling_filters()[:, :14, 14:].sum(-1)
    assert (effects[0] > 0).all()
    assert (effects[1] < 0).all()
