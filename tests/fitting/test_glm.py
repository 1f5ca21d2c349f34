"""The fully observed GLM against independent optimisers, in nats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit

from spikefit.fitting import glm
from spikefit.fitting.design import Design
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import GLMFit, glm_log_likelihood
from spikefit.models.basis import make_basis
from spikefit.models.link import LINKS
from spikefit.spikes import Counts

N_LAGS, NATS = 5, 0.01  # a unit counts as solved when it lies within so many nats of its optimum
Array = NDArray[np.float64]


def make_design(counts: Counts, dtype: torch.dtype = torch.float64, n_functions: int = 2) -> Design:
    basis = make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=n_functions)
    ranges = np.stack([counts.segment_offsets[:-1] + N_LAGS, counts.segment_offsets[1:]], axis=1)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    return Design(by_unit, ranges, torch.from_numpy(basis).to(dtype), cache_bytes=10**8)


def arrays(design: Design) -> tuple[Array, Array]:
    """Features (feature, bin) and counts (unit, bin)."""
    features, targets = (torch.cat(parts, dim=1).double().numpy() for parts in zip(*design.blocks(), strict=True))
    return features, targets


def penalised(params: Array, x: Array, y: Array, link: str, ridge: float) -> tuple[float, Array]:
    """Negative penalised log-likelihood of one unit without the factorials, and its gradient."""
    drive = params[:-1] @ x + params[-1]
    expected, slope = {
        "exp": lambda: (np.exp(drive), np.exp(drive)),
        "softplus": lambda: (np.logaddexp(0, drive), expit(drive)),
        "sigmoid": lambda: (5 * expit(drive), 5 * expit(drive) * expit(-drive)),
    }[link]()
    residual = slope * (1 - y / expected)
    value = expected.sum() - (y * np.log(expected)).sum() + 0.5 * ridge * params[:-1] @ params[:-1]
    return float(value), np.append(x @ residual + ridge * params[:-1], residual.sum())


def optimum(x: Array, y: Array, link: str, ridge: float) -> float:
    start = np.append(np.zeros(len(x)), np.log(y.mean()))
    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-7}
    found = minimize(penalised, start, args=(x, y, link, ridge), jac=True, method="L-BFGS-B", options=options)
    return float(found.fun)


def gaps(design: Design, fit: GLMFit, link: str, ridge: float) -> Array:
    """Distance of every unit to the optimum that SciPy finds, in nats."""
    features, targets = arrays(design)
    params = np.concatenate([fit.weights.numpy(), fit.baseline.numpy()[:, None]], axis=1)
    return np.array(
        [
            penalised(p, features, y, link, ridge)[0] - optimum(features, y, link, ridge)
            for p, y in zip(params, targets, strict=True)
        ]
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ridge", [0.0, 3.0])
@pytest.mark.parametrize("link", ["softplus", "exp", "sigmoid"])
def test_every_unit_reaches_the_optimum(small_counts: Counts, link: str, ridge: float, dtype: torch.dtype) -> None:
    design = make_design(small_counts, dtype)
    fit = fit_glm(design, ridge=ridge, link=link)
    exact = make_design(small_counts)
    assert fit.converged
    assert gaps(exact, fit, link, ridge).max() < NATS
    # The gap sees a fit that is not there yet.
    early = fit_glm(design, ridge=ridge, link=link, max_iterations=1)
    assert not early.converged
    assert gaps(exact, early, link, ridge).max() > NATS


def test_the_exponential_link_agrees_with_scikit_learn(small_counts: Counts) -> None:
    from sklearn.linear_model import PoissonRegressor

    design = make_design(small_counts)
    features, targets = arrays(design)
    ridge = 2.0
    fit = fit_glm(design, ridge=ridge, link="exp", tolerance_nats=1e-9)
    for unit, y in enumerate(targets):
        # Its penalty belongs to the mean deviance, half of which is the mean negative log-likelihood.
        reference = PoissonRegressor(alpha=ridge / len(y), solver="newton-cholesky", tol=1e-9).fit(features.T, y)
        np.testing.assert_allclose(fit.weights[unit].numpy(), reference.coef_, atol=2e-4)
        np.testing.assert_allclose(fit.baseline[unit].item(), reference.intercept_, atol=2e-4)


def test_many_correlated_features_are_solved_too(segmented: Callable[..., Counts]) -> None:
    counts = segmented([2500], n_units=6)
    # Copies with a few spikes moved: features that nearly repeat one another, and a hard conditioning.
    counts.counts[:, 3:] = np.roll(counts.counts[:, :3], 1, axis=0)
    counts.counts[::50, 3:] += 1
    design = make_design(counts, torch.float32, n_functions=5)
    fit = fit_glm(design, ridge=1.0)
    assert gaps(make_design(counts, n_functions=5), fit, "softplus", 1.0).max() < NATS


@pytest.mark.parametrize("max_iterations", [2, 3, 4, 6, 100])
@pytest.mark.parametrize("link", ["softplus", "exp", "sigmoid"])
def test_the_decrement_tells_how_far_it_is_and_does_not_flatter(
    small_counts: Counts, link: str, max_iterations: int
) -> None:
    design = make_design(small_counts)
    fit = fit_glm(design, ridge=1.0, link=link, max_iterations=max_iterations)
    gap = gaps(design, fit, link, 1.0)
    assert (gap <= 2 * fit.decrement.numpy() + 1e-4).all()
    # Nor is it lost in caution: no more than a hundred times what a step behind was still to be won.
    before = fit_glm(design, ridge=1.0, link=link, max_iterations=max_iterations - 1)
    assert (fit.decrement.numpy() <= 100 * gaps(design, before, link, 1.0) + 1e-4).all()


def test_the_objective_rises_at_every_step_and_is_the_penalised_log_likelihood(small_counts: Counts) -> None:
    design = make_design(small_counts)
    told: list[tuple[int, float, float]] = []
    fit = fit_glm(design, ridge=2.0, on_iteration=lambda *figures: told.append(figures))
    assert (np.diff(fit.objective) > 0).all()
    assert [objective for _, objective, _ in told] == fit.objective[1:]
    features, targets = arrays(design)
    params = np.concatenate([fit.weights.numpy(), fit.baseline.numpy()[:, None]], axis=1)
    expected = -sum(penalised(p, features, y, "softplus", 2.0)[0] for p, y in zip(params, targets, strict=True))
    assert fit.objective[-1] == pytest.approx(expected, rel=1e-10)


def test_a_fit_that_goes_on_from_another_gets_there_sooner(small_counts: Counts) -> None:
    design = make_design(small_counts)
    cold = fit_glm(design, ridge=1.0)
    warm = fit_glm(design, ridge=1.0, start=cold)
    assert len(warm.objective) < len(cold.objective)
    assert warm.objective[0] == pytest.approx(cold.objective[-1], rel=1e-12)


def test_a_strong_ridge_leaves_constant_rates(small_counts: Counts) -> None:
    design = make_design(small_counts)
    fit = fit_glm(design, ridge=1e9)
    assert fit.weights.abs().max() < 1e-4
    rates = np.logaddexp(0, fit.baseline.numpy())
    np.testing.assert_allclose(rates, small_counts.counts[N_LAGS:].mean(axis=0), rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("ridge", [0.0, 1.0])
@pytest.mark.parametrize("link", ["softplus", "exp", "sigmoid"])
def test_units_that_are_silent_or_never_silent_stay_finite_and_spoil_nobody(
    small_counts: Counts, link: str, ridge: float, dtype: torch.dtype
) -> None:
    rest = make_design(small_counts, dtype)
    odd = np.column_stack([small_counts.counts, np.zeros(small_counts.n_bins), np.full(small_counts.n_bins, 2)])
    odd_counts = Counts(
        counts=np.asfortranarray(odd.astype(np.uint8)),
        bin_width_s=small_counts.bin_width_s,
        segment_offsets=small_counts.segment_offsets,
        segment_start_s=small_counts.segment_start_s,
        unit_ids=(*small_counts.unit_ids, "silent", "steady"),
    )
    design = make_design(odd_counts, dtype)
    fit = fit_glm(design, ridge=ridge, link=link)
    for tensor in (fit.weights, fit.baseline, fit.decrement):
        assert torch.isfinite(tensor).all()
    found = glm_log_likelihood(design, fit, link=link)[:4]
    alone = glm_log_likelihood(rest, fit_glm(rest, ridge=ridge, link=link), link=link)
    torch.testing.assert_close(found, alone, rtol=0, atol=2 * NATS)
    silent = fit.baseline[4]
    assert LINKS[link](silent)[0] < 1e-3


def test_the_log_likelihood_is_scipys_with_the_factorials(small_counts: Counts) -> None:
    design = make_design(small_counts)
    fit = fit_glm(design, ridge=1.0)
    features, targets = arrays(design)
    expected = np.logaddexp(0, fit.weights.numpy() @ features + fit.baseline.numpy()[:, None])
    np.testing.assert_allclose(
        glm_log_likelihood(design, fit).numpy(), stats.poisson.logpmf(targets, expected).sum(axis=1), rtol=1e-10
    )


def test_a_spike_across_a_gap_changes_nothing(segmented: Callable[..., Counts]) -> None:
    first, second = segmented([400], seed=1), segmented([400], seed=2)
    joined = segmented([400, 400])
    joined.counts[:] = np.concatenate([first.counts, second.counts])
    fit = fit_glm(make_design(joined), ridge=1.0)
    both = [make_design(part) for part in (first, second)]
    separate = sum(glm_log_likelihood(part, fit) for part in both)
    torch.testing.assert_close(glm_log_likelihood(make_design(joined), fit), separate)
    # As one segment the bins behind the gap are scored as well, with a history that never was.
    merged = Counts(
        counts=joined.counts,
        bin_width_s=0.01,
        segment_offsets=np.array([0, 800]),
        segment_start_s=np.array([0.0]),
        unit_ids=joined.unit_ids,
    )
    assert not torch.allclose(glm_log_likelihood(make_design(merged), fit), separate)


def test_units_that_fire_in_bursts_get_a_curvature_of_their_own_and_the_same_optimum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Most information lies in few bins, where all fire: the shared matrix alone needs far more iterations."""
    rng = np.random.default_rng(4)
    bursts = np.repeat(rng.random(300) < 0.03, 100)
    counts = rng.poisson(np.where(bursts, 0.8, 0.002)[:, None] * rng.uniform(0.3, 2.0, 8)).astype(np.uint8)
    basis = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.1, bin_width_s=0.01, n_functions=5)).float()
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.T))
    design = Design(by_unit, np.array([[len(basis), len(counts)]]), basis, cache_bytes=1 << 28)
    used: list[bool] = []
    give = glm.Solver.give_own_curvature

    def spy(self: Any, params: torch.Tensor, units: torch.Tensor) -> bool:
        used.append(give(self, params, units))
        return used[-1]

    monkeypatch.setattr(glm.Solver, "give_own_curvature", spy)
    with_own = fit_glm(design, ridge=0.1)
    assert used == [True]
    monkeypatch.setattr(glm, "OWN_ABOVE_NATS", float("inf"))
    shared = fit_glm(design, ridge=0.1, max_iterations=400)
    assert used == [True]
    assert with_own.converged
    assert shared.converged
    assert abs(with_own.objective[-1] - shared.objective[-1]) < 0.01 * design.n_units
    assert len(with_own.objective) < len(shared.objective)
    assert (gaps(design, with_own, "softplus", 0.1) < NATS).all()


def test_the_bounded_link_finds_a_saturating_unit_and_says_where_it_stopped() -> None:
    """Counts up to the ceiling, where the likelihood is not convex: SciPy finds nothing better."""
    rng = np.random.default_rng(0)
    sender = rng.poisson(0.5, 6000)
    history = np.convolve(sender, [0, 2.5, 1.5])[: len(sender)]
    receiver = rng.poisson(5 * expit(-1.5 + history))
    counts = Counts(
        counts=np.asfortranarray(np.stack([sender, receiver], axis=1).astype(np.uint8)),
        bin_width_s=0.01,
        segment_offsets=np.array([0, len(sender)]),
        segment_start_s=np.array([0.0]),
        unit_ids=("sender", "receiver"),
    )
    design = make_design(counts, n_functions=4)
    fit = fit_glm(design, ridge=1.0, link="sigmoid")
    assert fit.converged
    features, targets = arrays(design)
    params = np.append(fit.weights[1].numpy(), fit.baseline[1].item())
    value, _ = penalised(params, features, targets[1], "sigmoid", 1.0)
    assert value < optimum(features, targets[1], "sigmoid", 1.0) + NATS
    # The twin: a link without a ceiling is far behind.
    assert value < optimum(features, targets[1], "softplus", 1.0) - 100
    stopped = fit_glm(design, ridge=1.0, link="sigmoid", max_iterations=1)
    assert not stopped.converged
