"""Surrogates against the same refit written out, unit by unit; and the same whatever the number of workers."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

import spikefit
from spikefit.fitted import fit_settings
from spikefit.fitting import moved_responses
from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.moved_responses import MovedResponses
from spikefit.fitting.moved_spikes import mover
from spikefit.fitting.problem import Problem, pose_problem
from spikefit.fitting.surrogate_steps import MovedSpikes, refit
from spikefit.fitting.surrogates import fit_surrogates, kept
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
    monkeypatch.setattr(moved_responses, "INFORMATION_BINS_PER_FEATURE", 10**6)  # all bins, as in the reference here
    responses = MovedResponses(problem, design)
    responses.fit_reference(torch.from_numpy(jittered(problem, 0)), fit)
    moved = jittered(problem, 1)
    sums = responses.sums.numpy()
    spikes = MovedSpikes.of_counts(torch.from_numpy(moved))
    one, many = (refit(responses, spikes, n)[0].numpy() @ sums for n in (1, 8))
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


def test_steps_of_many_at_once_are_those_of_each_by_itself_laid_out_bin_by_bin(
    posed: tuple[Problem, Design, GLMFit],
) -> None:
    """Against the gradient of counts laid out, to float32's rounding. The twin: the step of another surrogate."""
    problem, design, fit = posed
    responses = MovedResponses(problem, design)
    responses.fit_reference(torch.from_numpy(jittered(problem, 0)), fit)
    move = mover("shift", problem.counts.numpy(), problem.segment_offsets, n_lags=design.n_lags, unit_ids=problem.unit_ids)  # fmt: skip
    bins = [move.bins(np.random.default_rng(k)) for k in range(3)]
    together = refit(responses, MovedSpikes.of(move.unit, bins, N_UNITS, torch.device("cpu")), 2)
    for k, found in enumerate(together):
        params, counts = responses.reference, torch.from_numpy(move(np.random.default_rng(k)))
        for _ in range(2):
            _, gradient = responses.evaluate(params, counts)
            params = params - torch.cholesky_solve(gradient[..., None], responses.factors)[..., 0]
        z, exact = responses.z_scores(found), responses.z_scores(params)
        np.testing.assert_allclose(z, exact, atol=1e-3)
        other = responses.z_scores(together[(k + 1) % 3])
        assert np.abs(other - exact).max() > 0.5


@pytest.mark.parametrize("kind", ["jitter", "shift", "trials"])
def test_surrogates_are_the_full_refit_to_a_tenth_of_what_chance_changes(kind: str) -> None:
    """z against eight Newton steps, each with the information of its own place: rms 0.1, where chance changes z by 1.

    The twin: the start that all share, with no step, is further off than that.
    """
    network = random_network(n_visible=6, n_drivers=0, seed=4, window_s=0.05, rate_hz=12.0, density=0.3)
    counts = simulate(network, duration_s=120, seed=4).visible_counts
    counts = dataclasses.replace(
        counts,
        segment_offsets=np.arange(0, counts.n_bins + 1, 1000, dtype=np.int64),
        segment_start_s=20.0 * np.arange(counts.n_bins // 1000),
    )
    config = spikefit.Config().replace(window="50ms", functions=2, threads=1)
    problem = pose_problem(counts, fit_settings(config), torch.device("cpu"))
    design, fit = fit_observed(problem, problem.split.everything, Hooks(), None)
    found = fit_surrogates(problem, design, fit, kind, 20, Hooks())
    move = mover(kind, problem.counts.numpy(), problem.segment_offsets, n_lags=design.n_lags, unit_ids=problem.unit_ids)  # fmt: skip
    reference = MovedResponses(problem, design)
    reference.fit_reference(torch.from_numpy(move(np.random.default_rng([0, 31, 0]))), fit)
    off = ~np.eye(6, dtype=bool)
    left, began = [], []
    for which in range(6):
        draw = torch.from_numpy(move(np.random.default_rng([0, 31, 2 + which])))
        params = reference.reference
        for _ in range(8):
            _, gradient = reference.evaluate(params, draw)
            params = params - torch.cholesky_solve(gradient[..., None], reference.information(params, draw))[..., 0]
        exact = reference.z_scores(params)[off]
        left.append(found.z[which][off] - exact)
        began.append(reference.z_scores(reference.reference)[off] - exact)
    assert np.sqrt(np.mean(np.square(left))) < 0.1
    assert np.sqrt(np.mean(np.square(began))) > 0.5


@pytest.mark.parametrize("kind", ["jitter", "shift", "trials"])
def test_moved_spikes_are_the_moved_counts(kind: str) -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.4, (3, 700)).astype(np.uint8)
    offsets = np.array([0, 100, 201, 301, 401, 502, 602, 700], dtype=np.int64)
    offsets = np.arange(0, 701, 100, dtype=np.int64) if kind == "trials" else offsets
    move = mover(kind, counts, offsets, n_lags=10, unit_ids=("a", "b", "c"))
    moved = move(np.random.default_rng(5))
    np.testing.assert_array_equal(moved.sum(1), counts.sum(1))
    assert (moved != counts).any(axis=1).all()
    spikes = MovedSpikes.of(move.unit, [move.bins(np.random.default_rng(5))], 3, torch.device("cpu"))
    laid = np.zeros_like(moved)
    laid[spikes.row.numpy(), spikes.bin.numpy()] = spikes.count.numpy()
    np.testing.assert_array_equal(laid, moved)
    assert (np.diff(spikes.bin.numpy()) >= 0).all()
    if kind == "jitter":  # cells of twenty bins, counted from the start of each segment, the last of one being short
        edges = [edge for a, b in itertools.pairwise(offsets) for edge in range(a, b, 20)]
        for one in (counts, moved):
            np.testing.assert_array_equal(np.add.reduceat(one, edges, 1), np.add.reduceat(counts, edges, 1))
    elif kind == "shift":
        for before, after in zip(counts, moved, strict=True):
            assert any((np.roll(before, k) == after).all() for k in range(10, 691))
    else:
        for before, after in zip(counts.reshape(3, 7, 100), moved.reshape(3, 7, 100), strict=True):
            assert sorted(map(bytes, before)) == sorted(map(bytes, after.astype(np.uint8)))


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
    done = kept(lambda piece: np.ones((len(piece), 2, 2), np.float32), hooks, {}, torch.device("cpu"))
    assert done(range(2, 5)).shape == (3, 2, 2)
    assert len(list(tmp_path.iterdir())) == keeps
