"""Where training starts: factors of the residuals know whom hidden units drive, and the first posterior is calibrated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import spikefit
from spikefit.fitting.design import Design
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.residuals import residual_factors
from spikefit.fitting.split import split_bins
from spikefit.fitting.start import START_COUNT, start_from_factors
from spikefit.fitting.windows import Windows
from spikefit.models.basis import make_basis
from spikefit.models.likelihood import posterior_mean
from spikefit.models.poglm import POGLMNetwork
from spikefit.simulate import Simulation, random_network, simulate
from spikefit.spikes import Counts


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


def factors_of(counts: Counts, n_factors: int) -> torch.Tensor:
    basis = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.1, bin_width_s=0.01, n_functions=5)).float()
    ranges = split_bins(counts.segment_offsets, n_lags=len(basis), heldout=0.0, seed=0).everything
    design = Design(torch.from_numpy(np.ascontiguousarray(counts.counts.T)), ranges, basis)
    return residual_factors(design, fit_glm(design, ridge=1.0), n_factors=n_factors, link="softplus")


def match(factors: torch.Tensor, simulation: Simulation) -> float:
    """Least over the drivers of the best correlation of a factor with the driver's couplings."""
    n_visible = simulation.network.n_visible
    fan_out = simulation.network.connectivity[:n_visible, n_visible:]
    both = np.corrcoef(factors.numpy().T, fan_out.T)
    n_factors = factors.shape[1]
    return float(both[:n_factors, n_factors:].max(axis=0).min())


def test_factors_of_the_residuals_match_the_drivers_couplings(driven: Simulation) -> None:
    counts = driven.visible_counts
    assert match(factors_of(counts, 2), driven) > 0.6
    # The twin: without a shared driver the same computation must not find one.
    assert match(factors_of(turned(counts), 2), driven) < 0.6


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
