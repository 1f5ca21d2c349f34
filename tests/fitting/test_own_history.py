"""A basis of its own for own history: exact, used on the diagonal alone, and worth having where units are refractory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import spikefit
from spikefit.errors import ConfigError
from spikefit.fitting import uncertainty
from spikefit.fitting.fit import fit_network
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.loop import Loop, LoopSettings
from spikefit.fitting.problem import fit_basis, pose_problem
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.sizes import n_start
from spikefit.fitting.structure import Structure
from spikefit.fitting.weight_rules import weight_rules
from spikefit.fitting.without_hidden import fit_observed
from spikefit.models.own_history import joined_basis, may_use
from spikefit.models.poglm import POGLMNetwork
from spikefit.planning import estimate
from spikefit.prob import get_estimator
from spikefit.simulate import random_network, simulate
from spikefit.spikes import Counts

CPU = torch.device("cpu")
Settings = Callable[..., FitSettings]
OWN: dict[str, Any] = {"self_basis": "raw", "self_functions": 3, "self_window_s": 0.03}


def refractory(n_units: int = 5, duration_s: float = 100.0, seed: int = 1) -> tuple[Counts, np.ndarray]:
    """Units that hardly fire in the two bins behind a spike and a little more in the third; their own filters, too."""
    network = random_network(
        n_visible=n_units, n_drivers=0, seed=seed, density=0.2, strength=0.3, rate_hz=30, window_s=0.05
    )
    filters = np.array(network.coupling_filters)
    own = np.zeros(filters.shape[2])
    own[:3] = -4, -2, 0.5
    filters[np.arange(n_units), np.arange(n_units)] = own
    network = dataclasses.replace(network, coupling_filters=filters)
    return simulate(network, duration_s=duration_s, seed=seed).visible_counts, own


def test_sharp_refractoriness_needs_its_own_basis(tiny_settings: Settings) -> None:
    """The mean own filter of five units within 0.5 of the truth at every lag; two broad functions are off by more than 1."""
    counts, own = refractory()
    shared = fit_network(counts, tiny_settings(ridge=0.1), device=CPU)
    apart = fit_network(counts, tiny_settings(**OWN, ridge=0.1), device=CPU)

    def off(fit: object) -> float:
        filters = fit.coupling_filters[np.arange(5), np.arange(5)]  # type: ignore[attr-defined]
        return float(np.abs(filters.mean(0) - own).max())

    assert off(apart) < 0.5
    assert off(shared) > 1
    assert apart.metrics["heldout_nats_per_bin"] > shared.metrics["heldout_nats_per_bin"] + 0.02
    assert apart.metrics["converged"]


def test_the_optimum_has_own_functions_on_the_diagonal_alone(tiny_settings: Settings) -> None:
    """Each unit against a dense float64 fit of its own design: coupling functions of the others, own functions of itself."""
    counts, _ = refractory(3, duration_s=40.0)
    problem = pose_problem(counts, tiny_settings(**OWN, ridge=2.0), CPU)
    assert problem.basis.shape == (5, 5)
    assert problem.n_coupling_functions == 2
    design, fit = fit_observed(problem, problem.split.everything, Hooks(), None)
    ridge, free = weight_rules(problem, design, problem.ridge)
    fit = fit_glm(design, ridge=ridge, free=free, tolerance_nats=1e-6, start=fit)
    x = np.concatenate([features.double().numpy() for features, _ in design.blocks()], axis=1).reshape(3, 5, -1)
    y = np.concatenate([targets.double().numpy() for _, targets in design.blocks()], axis=1)
    weights = fit.weights.reshape(3, 3, 5).numpy()
    for unit in range(3):
        dense = np.concatenate([x[m, 2:] if m == unit else x[m, :2] for m in range(3)])
        found = np.concatenate([weights[unit, m, 2:] if m == unit else weights[unit, m, :2] for m in range(3)])
        assert not np.delete(weights[unit], unit, axis=0)[:, 2:].any()
        assert not weights[unit, unit, :2].any()

        def loss(p: np.ndarray, dense: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
            drive = p[:-1] @ dense + p[-1]
            expected = np.logaddexp(0, drive)
            residual = (1 - target / expected) / (1 + np.exp(-drive))
            value = float((expected - target * np.log(expected)).sum() + np.square(p[:-1]).sum())
            return value, np.append(dense @ residual + 2 * p[:-1], residual.sum())

        args = (dense, y[unit])
        best = minimize(loss, np.zeros(len(dense) + 1), args, jac=True, method="BFGS", options={"gtol": 1e-5})
        at = np.append(found, fit.baseline[unit].numpy())
        assert loss(at, *args)[0] - best.fun < 2e-4
        np.testing.assert_allclose(at, best.x, atol=5e-3)


def test_a_fit_takes_as_few_iterations_as_without(tiny_settings: Settings) -> None:
    """What own functions share with coupling functions must not spoil the start of the solver: it would take ten times as many."""
    counts, _ = refractory(8, duration_s=60.0)
    settings = tiny_settings(n_functions=4)
    _, plain = fit_observed(pose_problem(counts, settings, CPU), np.array([[10, 6000]]), Hooks(), None)
    joined = dataclasses.replace(settings, **OWN)
    _, apart = fit_observed(pose_problem(counts, joined, CPU), np.array([[10, 6000]]), Hooks(), None)
    assert apart.converged
    assert len(apart.objective) <= 2 * len(plain.objective)


def test_errors_off_the_diagonal_when_information_is_shared(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each unit's own information would be too much work, own functions must not widen the errors of couplings."""
    counts, _ = refractory(6, duration_s=60.0)
    pairs = ~np.eye(6, dtype=bool)
    exact = fit_network(counts, tiny_settings(**OWN), device=CPU).std_error[pairs]
    monkeypatch.setattr(uncertainty, "MOST_MULTIPLICATIONS", 0)
    rough = fit_network(counts, tiny_settings(**OWN), device=CPU)
    assert rough.metrics["std_error_method"] == "shared information"
    ratio = rough.std_error[pairs] / exact
    assert 0.7 < np.median(ratio) < 1.4
    assert np.isnan(np.diagonal(rough.std_error)).all()


def test_hidden_units_keep_each_function_where_it_belongs(tiny_settings: Settings) -> None:
    counts, _ = refractory(4, duration_s=20.0)
    fit = fit_network(counts, tiny_settings(hidden=(1,), restarts=1, **OWN), device=CPU)
    basis = fit.parameters["basis"].astype(np.float64)
    assert basis.shape == (5, 5)
    own = np.eye(5, dtype=bool)

    def outside(filters: np.ndarray, functions: np.ndarray) -> float:
        rest = filters.T - functions @ np.linalg.lstsq(functions, filters.T)[0]
        return float(np.abs(rest).max())

    assert outside(fit.coupling_filters[own], basis[:, 2:]) < 1e-5
    assert outside(fit.coupling_filters[~own], basis[:, :2]) < 1e-5
    assert np.abs(fit.coupling_filters[own]).max() > 0.1
    assert outside(fit.coupling_filters[own], basis[:, :2]) > 0.05  # the check can see


def test_the_mask_says_who_uses_what() -> None:
    mask = may_use(3, range(1, 3), 3, 2)
    assert mask.int().tolist() == [[1, 1, 0, 1, 1, 0], [0, 0, 1, 1, 1, 0], [1, 1, 0, 0, 0, 1]]


def test_joined_bases() -> None:
    coupling = np.ones((4, 2))
    assert joined_basis(coupling, "same", window_s=1.0, bin_width_s=1.0, n_functions=3)[0] is coupling
    joined, n_coupling = joined_basis(coupling, "raw", window_s=0.02, bin_width_s=0.01, n_functions=3)
    assert n_coupling == 2
    np.testing.assert_array_equal(joined[:, 2:], np.eye(4)[:, :2])
    with pytest.raises(ValueError, match="own history of 5 bins is longer than that of couplings, 4"):
        joined_basis(coupling, "raw", window_s=0.05, bin_width_s=0.01, n_functions=3)


@pytest.mark.parametrize("window", ["200ms", "1ms"])
def test_a_window_that_cannot_be_is_refused(window: str) -> None:
    with pytest.raises(ConfigError, match=r"must hold at least one bin .* and reach no further back than couplings do"):
        spikefit.Config().replace(self_basis="raw", self_window=window)


def test_a_result_scores_again_with_it() -> None:
    counts, _ = refractory(3, duration_s=20.0)
    fit = spikefit.POGLM(bin="10ms", window="50ms", self_basis="raw", self_window="20ms", device="cpu").fit(counts)
    assert fit.score(counts)["nats_per_bin"] == pytest.approx(fit.metrics["elbo_per_bin"], rel=1e-6)
    assert (fit.coupling_filters[np.arange(3), np.arange(3), 2:] == 0).all()


@pytest.mark.parametrize("rule", [{"group_lasso": 40.0}, {"dale": (("n00", "excitatory"),)}])
def test_corners_go_with_own_functions(tiny_settings: Settings, rule: dict[str, object]) -> None:
    """A group lasso or Dale's law acts on couplings; own history keeps its own functions, unpenalised by either."""
    counts, own = refractory(4, duration_s=60.0)
    fit = fit_network(counts, tiny_settings(**OWN, **rule, ridge=0.1), device=CPU)
    assert fit.metrics["converged"]
    filters = fit.coupling_filters[np.arange(4), np.arange(4)]
    assert np.abs(filters.mean(0) - own).max() < 0.5
    assert (filters[:, 3:] == 0).all()
    if "dale" in rule:
        assert (np.delete(fit.coupling_filters[:, 0], 0, axis=0) >= 0).all()
    else:
        norm = np.abs(fit.coupling_filters).sum(-1)
        assert (norm[~np.eye(4, dtype=bool)] == 0).any()


def trained_under_group_lasso(counts: Counts, settings: FitSettings, slope_of_others: float) -> torch.Tensor:
    """Couplings between recorded units after some epochs, the slopes of functions that a pair may not use being multiplied."""
    problem = pose_problem(counts, settings, CPU)
    model = POGLMNetwork(4, 1, problem.basis, link="softplus", n_coupling_functions=problem.n_coupling_functions)
    mask = may_use(5, range(4), problem.basis.shape[1], problem.n_coupling_functions)
    model.visible_weights.register_hook(lambda slope: torch.where(mask, slope, slope_of_others * slope))
    loop = Loop(
        model,
        problem.windows(problem.split.everything, 100),
        estimator=get_estimator("eat-cubic"),
        settings=LoopSettings(0.02, 1, 1.0, 8, structure=Structure.of(counts.unit_ids, group_lasso=120.0)),
        generator=torch.Generator().manual_seed(0),
        shuffle=torch.Generator().manual_seed(0),
        name_unit=str,
    )
    for _ in range(5):
        loop.epoch(1.0, 1.0)
    return model.visible_weights.detach()[0, :4].unflatten(1, (4, -1))


def test_a_group_lasso_in_training_does_not_look_at_functions_that_a_pair_may_not_use(tiny_settings: Settings) -> None:
    """They are not in the model, so their slopes must not decide whether the pair is taken out."""
    counts, _ = refractory(4, duration_s=20.0)
    settings = tiny_settings(**OWN)
    found, other = (trained_under_group_lasso(counts, settings, slope) for slope in (1.0, 100.0))
    torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-6)
    off = found.norm(dim=2)[~torch.eye(4, dtype=torch.bool)]
    assert (off == 0).any()
    assert (off > 0).any()


@pytest.mark.parametrize("posterior", ["forward", "forward-backward", "forward-self"])
@pytest.mark.parametrize("n_hidden", [0, 1])
def test_a_plan_counts_no_weight_that_is_held_at_zero(
    n_hidden: int, posterior: str, segmented: Callable[..., Counts], tiny_settings: Settings
) -> None:
    counts = segmented([900, 700])
    settings = tiny_settings(hidden=(n_hidden,), posterior=posterior, **OWN)
    basis, n_coupling = fit_basis(settings, counts.bin_width_s)
    n_start_units = n_start(n_hidden) if n_hidden else 0
    n_units = counts.n_units + n_start_units
    expected = n_units + int(may_use(n_units, range(n_units), basis.shape[1], n_coupling).sum())
    if n_hidden:
        network = POGLMNetwork(
            counts.n_units, n_start_units, torch.from_numpy(basis).float(), link="softplus", posterior=posterior
        )
        expected += sum(p.numel() for p in network.posterior.parameters())
    job = estimate("a recording", counts, settings)
    assert job.n_parameters == expected
    assert job.n_parameters_per_unit == (counts.n_units - 1) * n_coupling + OWN["self_functions"] + 1
