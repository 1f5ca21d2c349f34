"""Forbidden and required pairs: exact zeros, the optimum of what is left, and training that keeps to both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from spikefit.fitting.design import Design
from spikefit.fitting.fit import fit_network
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.structure import Structure
from spikefit.fitting.uncertainty import connectivity_errors
from spikefit.models.basis import make_basis
from spikefit.pair_rules import PairRule
from spikefit.spikes import Counts

CPU = torch.device("cpu")
Settings = Callable[..., FitSettings]
Array = NDArray[np.float64]
N_LAGS, N_FUNCTIONS, RIDGE, NATS = 5, 2, 3.0, 0.01


def make_design(counts: Counts, dtype: torch.dtype = torch.float64) -> Design:
    basis = make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=N_FUNCTIONS)
    ranges = np.stack([counts.segment_offsets[:-1] + N_LAGS, counts.segment_offsets[1:]], axis=1)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    return Design(by_unit, ranges, torch.from_numpy(basis).to(dtype), cache_bytes=10**8)


def some_structure(n_units: int) -> Structure:
    forbidden = torch.zeros(n_units, n_units, dtype=torch.bool)
    required = torch.zeros_like(forbidden)
    forbidden[0, 1:3] = forbidden[1, 0] = forbidden[2, 2] = True  # a history of its own among them
    required[3, 0] = required[1, 2] = True
    return held(forbidden, required)


def held(forbidden: torch.Tensor, required: torch.Tensor) -> Structure:
    nothing = torch.zeros(len(forbidden), dtype=torch.int8)
    return Structure(forbidden, required, nothing, nothing.bool())


def value_of(params: Array, x: Array, y: Array, ridge: Array) -> float:
    drive = params[:-1] @ x + params[-1]
    expected = np.logaddexp(0, drive)
    return float(expected.sum() - y @ np.log(expected) + 0.5 * ridge @ params[:-1] ** 2)


def gradient_of(params: Array, x: Array, y: Array, ridge: Array) -> Array:
    drive = params[:-1] @ x + params[-1]
    residual = (1 - y / np.logaddexp(0, drive)) / (1 + np.exp(-drive))
    return np.append(x @ residual + ridge * params[:-1], residual.sum())


def gaps(design: Design, fit: GLMFit, free: Array, ridge: Array) -> Array:
    """Distance of each unit to SciPy's optimum over its free weights alone, in nats."""
    x, targets = (torch.cat(parts, dim=1).double().numpy() for parts in zip(*design.blocks(), strict=True))
    out = []
    for unit, y in enumerate(targets):
        kept = free[unit].astype(bool)
        start = np.append(np.zeros(kept.sum()), np.log(y.mean()))
        arguments = (x[kept], y, ridge[unit][kept])
        options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-7}
        best = minimize(value_of, start, args=arguments, jac=gradient_of, method="L-BFGS-B", options=options)
        params = np.append(fit.weights[unit].numpy(), fit.baseline[unit].item())
        out.append(value_of(params, x, y, ridge[unit]) - best.fun)
    return np.array(out)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_optimum_over_the_free_weights_is_reached(small_counts: Counts, dtype: torch.dtype) -> None:
    design, exact = make_design(small_counts, dtype), make_design(small_counts)
    structure = some_structure(design.n_units)
    free = structure.free(design.n_features, N_FUNCTIONS)
    ridge = structure.ridge(RIDGE, design.n_features, N_FUNCTIONS)
    assert free is not None
    assert isinstance(ridge, torch.Tensor)
    fit = fit_glm(design, ridge=ridge, free=free)
    assert fit.converged
    assert (fit.weights[~free] == 0).all()
    assert (fit.weights[free] != 0).all()
    gap = gaps(exact, fit, free.numpy(), ridge.numpy())
    assert -1e-4 < gap.min() <= gap.max() < NATS
    # The same penalty on all weights is another optimum, and the check sees it.
    alike = fit_glm(exact, ridge=RIDGE, free=free)
    assert gaps(exact, alike, free.numpy(), ridge.numpy()).max() > NATS
    # So is a fit with zeros put in afterwards.
    cut = fit_glm(exact, ridge=ridge)
    cut.weights[~free] = 0
    assert gaps(exact, cut, free.numpy(), ridge.numpy()).max() > NATS


def test_masks_cost_few_iterations(small_counts: Counts) -> None:
    design = make_design(small_counts)
    structure = some_structure(design.n_units)
    free = structure.free(design.n_features, N_FUNCTIONS)
    plain = fit_glm(design, ridge=RIDGE, tolerance_nats=1e-6)
    masked = fit_glm(design, ridge=RIDGE, free=free, tolerance_nats=1e-6)
    assert len(masked.objective) <= len(plain.objective) + 4
    # A start that breaks the rules is brought back to them.
    warm = fit_glm(design, ridge=RIDGE, free=free, start=plain, tolerance_nats=1e-6)
    assert warm.objective[-1] == pytest.approx(masked.objective[-1], abs=1e-4)
    assert (warm.weights[~free] == 0).all()


def test_a_matrix_of_its_own_is_that_of_the_free_weights(small_counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    from spikefit.fitting import glm

    monkeypatch.setattr(glm, "OWN_AFTER", 0)
    monkeypatch.setattr(glm, "OWN_ABOVE_NATS", 1e-3)
    design = make_design(small_counts)
    free = some_structure(design.n_units).free(design.n_features, N_FUNCTIONS)
    fit = fit_glm(design, ridge=RIDGE, free=free)
    assert free is not None
    assert gaps(design, fit, free.numpy(), np.full(free.shape, RIDGE)).max() < NATS
    assert (fit.weights[~free] == 0).all()


def test_errors_are_those_of_the_free_weights(small_counts: Counts) -> None:
    design = make_design(small_counts)
    basis = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=N_FUNCTIONS))
    structure = some_structure(design.n_units)
    free = structure.free(design.n_features, N_FUNCTIONS)
    assert free is not None
    fit = fit_glm(design, ridge=RIDGE, free=free)
    errors, _ = connectivity_errors(design, fit, basis, ridge=RIDGE, link="softplus", free=free)
    np.testing.assert_array_equal(np.isnan(errors.numpy()), structure.forbidden.numpy())
    x = torch.cat([features for features, _ in design.blocks()], dim=1).numpy()
    unit, kept = 0, free[0].numpy()
    drive = fit.weights[unit].numpy() @ x + fit.baseline[unit].item()
    slope, expected = 1 / (1 + np.exp(-drive)), np.logaddexp(0, drive)
    with_one = np.concatenate([x[kept], np.ones((1, x.shape[1]))])
    information = (with_one * slope**2 / expected) @ with_one.T + np.diag([RIDGE] * kept.sum() + [0.0])
    covariance = np.linalg.inv(information)
    sums = basis.sum(0).numpy()
    assert errors[unit, 0].item() == pytest.approx(np.sqrt(sums @ covariance[:2, :2] @ sums), rel=1e-5)
    everything, _ = connectivity_errors(design, fit, basis, ridge=RIDGE, link="softplus")
    assert errors[unit, 0].item() != pytest.approx(everything[unit, 0].item(), rel=1e-5)


@pytest.mark.parametrize("hidden", [0, 1])
def test_a_whole_fit_keeps_to_the_table(small_counts: Counts, tiny_settings: Settings, hidden: int) -> None:
    first, second = small_counts.unit_ids[:2]
    rules = (PairRule("*", "*", "forbidden", 2), PairRule(first, second, "required", 3))
    fit = fit_network(small_counts, tiny_settings(hidden=(hidden,), pair_rules=rules, ridge=1e3), device=CPU)
    couplings = fit.coupling_filters[:4, :4]
    allowed = np.eye(4, dtype=bool)
    allowed[1, 0] = True
    assert (couplings[~allowed] == 0).all()
    assert (np.abs(couplings[allowed]).sum(axis=1) > 0).all()
    assert fit.metrics["n_forbidden_pairs"] == 11
    assert fit.metrics["n_required_pairs"] == 1
    if hidden:
        assert (fit.coupling_filters[:4, 4:] != 0).any()
    else:
        np.testing.assert_array_equal(np.isnan(fit.std_error), ~allowed)
        # The required pair is free of a penalty that presses it to next to nothing where nothing is known.
        plain = fit_network(small_counts, tiny_settings(ridge=1e3), device=CPU)
        assert np.abs(couplings[1, 0]).max() > 2 * np.abs(plain.coupling_filters[1, 0]).max()


def test_an_unpenalised_pair_of_a_network_with_hidden_units_pays_nothing(make_model: Callable[..., object]) -> None:
    from spikefit.models.poglm import POGLMNetwork

    model = make_model(3, 2)
    assert isinstance(model, POGLMNetwork)
    no = torch.zeros(3, 3, dtype=torch.bool)
    required = no.clone()
    required[2, 0] = True
    structure = held(no, required)
    own = model.visible_weights[:, 2, :2].square().sum()
    assert torch.isclose(structure.unpenalised(model.visible_weights, 2), own)
    assert structure.unpenalised(model.visible_weights, 2) != held(no, no).unpenalised(model.visible_weights, 2)
