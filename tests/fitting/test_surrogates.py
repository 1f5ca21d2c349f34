"""Surrogates against the same refit written out, unit by unit; and the same whatever the number of workers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

import spikefit
from spikefit.fitted import fit_settings
from spikefit.fitting import surrogates
from spikefit.fitting.design import Design
from spikefit.fitting.glm import GLMFit
from spikefit.fitting.problem import Hooks, Problem, pose_problem
from spikefit.fitting.surrogates import MovedResponses, fit_surrogates
from spikefit.fitting.without_hidden import fit_observed
from spikefit.simulate import random_network, simulate
from spikefit.spikes import Counts

Array = NDArray[np.float64]
N_UNITS = 4


@pytest.fixture(scope="module")
def posed() -> tuple[Problem, Design, GLMFit]:
    """Four units, 60 s in two stretches, with a common drive."""
    network = random_network(n_visible=N_UNITS, n_drivers=0, seed=3, window_s=0.05, rate_hz=15.0, density=0.5)
    counts = simulate(network, duration_s=60, seed=3).visible_counts
    counts = dataclasses.replace(
        counts,
        segment_offsets=np.array([0, 2000, counts.n_bins], dtype=np.int64),
        segment_start_s=np.array([0.0, 100.0]),
    )
    config = spikefit.Config().replace(window="50ms", functions=2, common_drive_tau=("0.1s", "0.5s"), threads=1)
    problem = pose_problem(counts, fit_settings(config), torch.device("cpu"))
    return problem, *fit_observed(problem, problem.split.everything, Hooks(), None)


def jittered(problem: Problem, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return np.stack([np.roll(row, rng.integers(100, 2000)) for row in problem.counts.numpy()]).astype(np.int64)


def features_of(problem: Problem, moved: Array, unit: int) -> tuple[Array, Array]:
    """Features and responses of one unit written out: the others' history and traces as they were, its own moved; float64."""
    counts, basis = problem.counts.numpy().astype(float), problem.basis.double().numpy()
    assert problem.common_drive is not None
    rows, responses = [], []
    others = counts.sum(0) - counts[unit]
    for start, stop in zip(problem.segment_offsets[:-1], problem.segment_offsets[1:], strict=True):
        traces = np.zeros((len(problem.common_drive.decay), stop - start))
        for t in range(1, stop - start):
            excess = others[start + t - 1] - others.mean()
            traces[:, t] = problem.common_drive.decay * traces[:, t - 1] + problem.common_drive.gain * excess
        for t in range(start + len(basis), stop):
            past = counts[:, t - len(basis) : t][:, ::-1] @ basis
            past[unit] = moved[unit, t - len(basis) : t][::-1] @ basis
            rows.append(np.concatenate([past.ravel(), traces[:, t - start], [1.0]]))
            responses.append(moved[unit, t])
    return np.array(rows), np.array(responses, dtype=float)


def objective(params: Array, x: Array, y: Array, ridge: float) -> tuple[float, Array]:
    drive = x @ params
    f, slope = np.logaddexp(0, drive), 1 / (1 + np.exp(-drive))
    free = np.append(params[:-1], 0.0)
    return float((f - y * np.log(f)).sum() + 0.5 * ridge * free @ free), x.T @ (slope * (1 - y / f)) + ridge * free


def test_likelihood_and_gradient_are_those_of_the_features_written_out(posed: tuple[Problem, Design, GLMFit]) -> None:
    problem, design, fit = posed
    moved = jittered(problem, 0)
    responses = MovedResponses(problem, design)
    params = torch.cat([fit.weights, fit.baseline[:, None]], dim=1)
    value, gradient = responses.evaluate(params, torch.from_numpy(moved))
    for unit in range(N_UNITS):
        expected = objective(params[unit].numpy(), *features_of(problem, moved, unit), problem.ridge)
        assert value[unit].item() == pytest.approx(expected[0], rel=1e-5)
        np.testing.assert_allclose(gradient[unit].numpy(), expected[1], atol=2e-3 * np.abs(expected[1]).max())
        # The twin: with the unit's own history left where it was, it is another function.
        x, y = features_of(problem, problem.counts.numpy(), unit)[0], features_of(problem, moved, unit)[1]
        other = objective(params[unit].numpy(), x, y, problem.ridge)
        assert abs(other[0] - expected[0]) > 1e-3 * abs(expected[0])


def test_newton_steps_reach_the_optimum(posed: tuple[Problem, Design, GLMFit], monkeypatch: pytest.MonkeyPatch) -> None:
    problem, design, fit = posed
    monkeypatch.setattr(surrogates, "INFORMATION_BINS_PER_FEATURE", 10**6)  # all bins, as in the reference here
    responses = MovedResponses(problem, design)
    responses.fit_reference(torch.from_numpy(jittered(problem, 0)), fit)
    moved = jittered(problem, 1)
    sums = responses.sums.numpy()
    one, many = (responses.refit(torch.from_numpy(moved), n).numpy() @ sums for n in (1, 8))
    error = responses.error.numpy()
    moved_by = []
    for unit in range(N_UNITS):
        x, y = features_of(problem, moved, unit)
        start = responses.reference[unit].numpy()
        best = minimize(objective, start, args=(x, y, problem.ridge), jac=True, method="BFGS", options={"gtol": 1e-4})
        exact = best.x @ sums
        np.testing.assert_allclose(many[unit], exact, atol=0.02 * error[unit].max())
        # One step alone comes within a part of what chance moves the couplings by.
        assert np.abs((one[unit] - exact) / error[unit]).max() < 0.5
        moved_by.append(np.abs((start @ sums - exact) / error[unit]).max())
        # Errors are those of the information written out at the reference, on the reference's own train.
        x, _ = features_of(problem, jittered(problem, 0), unit)
        f, slope = np.logaddexp(0, x @ start), 1 / (1 + np.exp(-(x @ start)))
        information = x.T @ (x * (slope**2 / f)[:, None]) + np.diag([problem.ridge] * (x.shape[1] - 1) + [0.0])
        expected = np.sqrt(np.diag(sums.T @ np.linalg.solve(information, sums)))
        np.testing.assert_allclose(error[unit], expected, rtol=1e-3)
    assert max(moved_by) > 1


def test_workers_change_nothing(posed: tuple[Problem, Design, GLMFit]) -> None:
    problem, design, fit = posed
    found = []
    for workers in (1, 3):
        settings = dataclasses.replace(problem.settings, workers=workers)
        mine = dataclasses.replace(problem, settings=settings)
        found.append(fit_surrogates(mine, design, fit, "shift", 21, Hooks()).z)
    np.testing.assert_array_equal(*found)
    assert found[0].shape == (21, N_UNITS, N_UNITS)
    assert found[0].std(axis=0)[~np.eye(N_UNITS, dtype=bool)].min() > 0.3  # each is another draw


def few_units(n_units: int, **settings: object) -> spikefit.Fit:
    network = random_network(
        n_visible=n_units, n_drivers=0, seed=8, window_s=0.05, rate_hz=15.0, density=0.2, strength=3.0
    )
    counts = simulate(network, duration_s=120, seed=8).visible_counts
    words = {"window": "50ms", "functions": 2, "surrogates": 40, "threads": 1, "device": "cpu"}
    return spikefit.POGLM(**(words | settings)).fit(counts)


def test_too_few_units_for_the_pairs_to_tell_are_held_against_surrogates() -> None:
    fit = few_units(5)
    assert fit.metrics["significance"] == "jitter"
    assert fit.metrics["n_surrogates"] == 40
    np.testing.assert_array_equal(np.isfinite(fit.q_value), ~np.eye(5, dtype=bool))
    assert any("fewer than 10 recorded units" in note for note in fit.warnings)
    assert few_units(5, significance="none").metrics["significance"] == "none"


def test_a_recording_of_few_units_whose_timing_cannot_be_broken_says_why() -> None:
    rng = np.random.default_rng(0)
    counts = (rng.random((4000, 3)) < 0.1).astype(np.uint8)
    counts[:, 2] = 0
    counts[2000:2040, 2] = 1
    recording = Counts(np.asfortranarray(counts), 0.01, np.array([0, 4000]), np.array([0.0]), ("a", "b", "c"))
    fit = spikefit.POGLM(window="50ms", functions=2, threads=1, device="cpu").fit(recording)
    assert np.isnan(fit.q_value).all()
    assert any("One long burst" in note for note in fit.warnings)
    with pytest.raises(spikefit.SpikefitError, match="One long burst"):
        spikefit.POGLM(window="50ms", functions=2, significance="shift", device="cpu").fit(recording)


@pytest.mark.parametrize("keeps", [True, False])
def test_of_several_processes_one_keeps_the_pieces(tmp_path: Path, keeps: bool) -> None:
    hooks = Hooks(checkpoints=tmp_path, keeps_checkpoints=keeps)
    done = surrogates.kept(lambda piece: np.ones((len(piece), 2, 2), np.float32), hooks, {}, torch.device("cpu"))
    assert done(range(2, 5)).shape == (3, 2, 2)
    assert len(list(tmp_path.iterdir())) == keeps
