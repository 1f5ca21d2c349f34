"""Covariates in fits, with hidden units and without: their effect is found, and it is not taken for couplings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import spikefit
from spikefit import SpikeTrains
from spikefit.covariate_columns import CovariateColumns
from spikefit.covariates import Covariate, Samples
from spikefit.errors import ResultError, UsageError
from spikefit.fitted import binned
from spikefit.fitting.design import Design
from spikefit.fitting.fit import fit_network
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.iwae import iwae_nats
from spikefit.fitting.loop import judge
from spikefit.fitting.problem import pose_problem
from spikefit.fitting.pruning import keep_hidden
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.split import Split, only_where
from spikefit.fitting.windows import Windows
from spikefit.models.poglm import POGLMNetwork
from spikefit.predictive import free_runs
from spikefit.simulate import Network, simulate
from spikefit.spikes import Counts

CPU = torch.device("cpu")
Settings = Callable[..., FitSettings]
WIDTH = 0.01
FIT = {"bin": "10ms", "window": "50ms", "functions": 2, "device": "cpu", "threads": 1}
WEIGHTS = np.array([0.6, -0.4, 0.0, 0.3, 0.8, -0.7])


def slow(seed: int, n_bins: int) -> np.ndarray:
    """A series that changes over half a second, of mean 0 and sd 1."""
    kernel = np.hanning(100)
    values = np.convolve(np.random.default_rng([seed, 5]).standard_normal(n_bins + 99), kernel, mode="valid")
    return np.asarray((values - values.mean()) / values.std())


def driven(seed: int, weights: np.ndarray = WEIGHTS, *, duration_s: float = 200.0) -> tuple[SpikeTrains, np.ndarray]:
    """Units without couplings that follow one covariate `speed`, of mean 10 and sd 3; and its standardised values."""
    n_bins = round(duration_s / WIDTH)
    values = slow(seed, n_bins)
    n = weights.size
    network = Network(np.zeros((n, n, 1)), np.full(n, -2.0), n_visible=n, bin_width_s=WIDTH)
    trains = simulate(network, duration_s=duration_s, seed=seed, input_drive=values[:, None] * weights).trains()
    return with_speed(trains, values), values


def with_speed(trains: SpikeTrains, values: np.ndarray) -> SpikeTrains:
    time_s = (np.arange(values.size) + 0.5) * WIDTH
    speed = Covariate("speed", values.size, ("speed",), "cm/s", lambda: Samples(time_s, 10 + 3 * values[:, None]))
    return dataclasses.replace(trains, covariates={"speed": speed})


def z_of(fit: spikefit.Fit) -> np.ndarray:
    assert fit.covariates is not None
    return np.asarray((fit.covariates.weights[:, 0] - WEIGHTS) / fit.covariates.std_error[:, 0])


@pytest.mark.statistical
def test_a_known_effect_is_found_within_its_errors() -> None:
    """Six weights within five standard errors: false alarms 3 in a million. The twin reads the covariate a second late."""
    trains, values = driven(0)
    fit = spikefit.POGLM(with_covariates="speed", common_drive="off", ridge=0.1, **FIT).fit(trains)
    assert np.abs(z_of(fit)).max() < 5
    late = with_speed(trains, np.roll(values, 100))
    blind = spikefit.POGLM(with_covariates="speed", common_drive="off", ridge=0.1, **FIT).fit(late)
    assert np.abs(z_of(blind)).max() > 10
    assert fit.metrics["heldout_nats_per_bin"] > blind.metrics["heldout_nats_per_bin"] + 0.02
    found = fit.metrics["covariates"][0]
    assert (found["name"], found["basis"], found["unit"]) == ("speed", "linear", "cm/s")
    assert found["mean"][0] == pytest.approx(10, abs=0.01)
    assert found["drive_sd_largest"] == pytest.approx(0.8, abs=0.1)


def test_a_covariate_that_explains_a_common_drive_removes_false_couplings() -> None:
    trains, values = driven(1, np.full(8, 1.0))
    off = dict(FIT, common_drive="off", significance="none")
    without = spikefit.POGLM(**off).fit(trains)
    with_it = spikefit.POGLM(with_covariates="speed", **off).fit(trains)
    wrong = spikefit.POGLM(with_covariates="speed", **off).fit(with_speed(trains, np.roll(values, 500)))
    pairs = ~np.eye(8, dtype=bool)
    false = [int((np.abs(fit.connectivity / fit.std_error)[pairs] > 3).sum()) for fit in (without, with_it, wrong)]
    assert false[0] > 30  # nobody is coupled to anybody
    assert false[1] <= 2
    assert false[2] > 30


def test_the_optimum_is_that_of_a_dense_float64_likelihood(tiny_settings: Settings) -> None:
    trains, _ = driven(2, WEIGHTS[:2], duration_s=30.0)
    counts = binned(trains, spikefit.Config().replace(bin="10ms", with_covariates="speed=b-spline:3,drift=linear"))
    problem = pose_problem(counts, tiny_settings(), CPU)
    assert problem.covariates is not None
    design = Design(problem.counts, problem.split.everything, problem.basis, covariates=problem.covariates)
    fit = fit_glm(design, ridge=2.0, tolerance_nats=1e-6)
    x = np.concatenate([features.double().numpy() for features, _ in design.blocks()], axis=1)
    y = np.concatenate([targets.double().numpy() for _, targets in design.blocks()], axis=1)
    assert x.shape[0] == design.n_couplings + 4
    first = int(problem.split.everything[0, 0])
    assert counts.covariates is not None
    np.testing.assert_array_equal(x[-4:].T, counts.covariates.values[first:].astype(np.float64))

    def loss(p: np.ndarray, unit: int) -> tuple[float, np.ndarray]:
        drive = p[:-1] @ x + p[-1]
        expected = np.logaddexp(0, drive)
        slope = 1 / (1 + np.exp(-drive))
        residual = slope * (1 - y[unit] / expected)
        value = float((expected - y[unit] * np.log(expected)).sum() + np.square(p[:-1]).sum())
        return value, np.append(x @ residual + 2.0 * p[:-1], residual.sum())

    for unit in range(2):
        best = minimize(loss, np.zeros(len(x) + 1), (unit,), jac=True, method="BFGS", options={"gtol": 1e-6})
        found = np.append(fit.weights[unit].numpy(), fit.baseline[unit].numpy())
        assert loss(found, unit)[0] - best.fun < 2e-4
        np.testing.assert_allclose(found, best.x, atol=5e-3)


def with_columns(counts: Counts, values: np.ndarray) -> Counts:
    """Counts with made-up columns, in place of a recording's."""
    columns = np.asfortranarray(values.astype(np.float32))
    names = tuple(f"c{k}" for k in range(values.shape[1]))
    zeros, ones = (0.0,) * len(names), (1.0,) * len(names)
    from spikefit.covariate_columns import FittedTerm

    order = tuple(range(len(names)))
    term = FittedTerm("c", "linear", "", names, names, order, (), zeros, ones, zeros, ones, None, 1.0)
    return dataclasses.replace(counts, covariates=CovariateColumns(columns, np.ones(len(columns), dtype=bool), (term,)))


def windows_with(model: POGLMNetwork, counts: Counts, core_bins: int) -> Windows:
    usable = np.stack([counts.segment_offsets[:-1] + model.n_lags, counts.segment_offsets[1:]], axis=1)
    assert counts.covariates is not None
    return Windows(
        torch.from_numpy(np.ascontiguousarray(counts.counts.T)),
        counts.segment_offsets,
        usable,
        context=model.context,
        core_bins=core_bins,
        dtype=model.basis.dtype,
        covariates=torch.from_numpy(np.ascontiguousarray(counts.covariates.values.T)),
    )


def test_in_the_bound_a_constant_column_is_a_change_of_the_baseline(segmented: Callable[..., Counts]) -> None:
    """The same draws with the column's weight in the column or in the baseline; a column that changes is something else."""
    counts = segmented([120, 60])
    generator = torch.Generator().manual_seed(3)
    basis = torch.rand(3, 2, dtype=torch.float64, generator=generator)
    plain = POGLMNetwork(3, 2, basis, link="softplus")
    listening = POGLMNetwork(3, 2, basis, link="softplus", n_covariates=1)
    shift = torch.tensor([0.3, -0.5, 0.2, 0.4, -0.1], dtype=torch.float64)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(-0.5 + 0.4 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
            listening.get_parameter(name).copy_(parameter)
        assert listening.covariate_weights is not None
        listening.covariate_weights[0, :, 0] = shift
        plain.baseline += shift
    ones = with_columns(counts, np.ones((counts.n_bins, 1)))
    moving = with_columns(counts, slow(0, counts.n_bins)[:, None])
    bound = judge(listening, windows_with(listening, ones, 40)).sum()
    assert bound.item() == pytest.approx(judge(plain, windows_with(plain, ones, 40)).sum().item(), rel=1e-12)
    assert abs(bound - judge(listening, windows_with(listening, moving, 40)).sum()) > 1
    sharper = iwae_nats(listening, windows_with(listening, ones, 40)).sum().item()
    assert sharper == pytest.approx(iwae_nats(plain, windows_with(plain, ones, 40)).sum().item(), rel=1e-12)
    assert abs(sharper - iwae_nats(listening, windows_with(listening, moving, 40)).sum().item()) > 1


def test_windows_carry_the_covariates_of_their_own_bins(segmented: Callable[..., Counts]) -> None:
    counts = segmented([100, 70])
    numbered = with_columns(counts, np.arange(counts.n_bins, dtype=np.float64)[:, None])
    model = POGLMNetwork(3, 1, torch.ones(2, 1), link="softplus", n_covariates=1)
    windows = windows_with(model, numbered, 33)
    for batch, which in zip(windows.batches(1), range(len(windows)), strict=True):
        assert batch.covariates is not None
        start, length = windows.starts[which], windows.lengths[which]
        np.testing.assert_array_equal(batch.covariates[0, 0, :length], np.arange(start, start + length))


def test_pruning_keeps_the_covariates_of_the_units_that_stay() -> None:
    model = POGLMNetwork(2, 3, torch.ones(2, 1), link="softplus", n_covariates=2)
    with torch.no_grad():
        assert model.covariate_weights is not None
        model.covariate_weights.copy_(torch.arange(10.0).reshape(1, 5, 2))
    kept = keep_hidden(model, torch.tensor([[2, 0]]))
    assert kept.covariate_weights is not None
    assert kept.covariate_weights[0].tolist() == [[0, 1], [2, 3], [8, 9], [4, 5]]


@pytest.mark.slow
def test_hidden_units_beside_a_covariate(tmp_path: Path) -> None:
    """With a hidden unit the effect on recorded units is still that of the simulation; the result scores a recording again."""
    trains, _ = driven(3, WEIGHTS[:3], duration_s=60.0)
    settings: dict[str, Any] = dict(
        FIT, hidden=1, restarts=1, max_epochs=8, learning_rate=0.01, with_covariates="speed"
    )
    fit = spikefit.POGLM(**settings).fit(trains)
    assert fit.covariates is not None
    assert fit.covariates.weights.shape == (4, 1)
    np.testing.assert_allclose(fit.covariates.weights[:3, 0], WEIGHTS[:3], atol=0.3)
    assert np.isfinite(fit.covariates.std_error[:3]).all()
    assert np.isnan(fit.covariates.std_error[3]).all()
    fit.save(tmp_path / "out", figures=False)
    again = spikefit.load_result(tmp_path / "out")
    # Windows of another length draw other hidden spikes.
    assert again.score(trains)["nats_per_bin"] == pytest.approx(fit.metrics["elbo_per_bin"], abs=0.003)
    other = with_speed(trains, slow(9, round(60 / WIDTH)))
    assert again.score(other)["nats_per_bin"] < fit.metrics["elbo_per_bin"] - 0.01
    with pytest.raises(UsageError, match="counts alone do not hold them"):
        again.score(trains.bin(WIDTH))


def test_a_result_keeps_its_covariates_and_scores_with_them(tmp_path: Path) -> None:
    trains, values = driven(4, duration_s=60.0)
    fit = spikefit.POGLM(with_covariates="speed=b-spline:4,drift", **FIT).fit(trains)
    fit.save(tmp_path / "out", figures=False)
    again = spikefit.load_result(tmp_path / "out")
    assert again.covariates is not None
    assert again.covariates.column[0] == "speed spline 1"
    assert again.covariates.curve == ("speed", "drift")
    assert again.score(trains)["nats_per_bin"] == pytest.approx(fit.metrics["elbo_per_bin"], rel=1e-6)
    # The curve is what the columns add: read at the recording's own values it is the columns times their weights.
    counts = binned(trains, spikefit.Config.model_validate(dict(fit.config)))
    assert counts.covariates is not None
    own = counts.covariates.values[:, :4] @ again.covariates.weights[4, :4]
    read = np.interp(10 + 3 * values, again.covariates.curve_x[0], again.covariates.curve_drive[4, 0])
    np.testing.assert_allclose(read, own, atol=0.02)


def test_free_runs_hear_the_covariates() -> None:
    """With a covariate that is on for half of the time, runs fire as the recording did in either half; false alarms: 1e-6."""
    n_bins = 6000
    on = np.repeat([0.0, 1.0], n_bins // 2)
    network = Network(np.zeros((1, 1, 1)), np.array([-3.0]), n_visible=1, bin_width_s=WIDTH)
    trains = simulate(network, duration_s=60.0, seed=5, input_drive=3.0 * on[:, None]).trains()
    trains = with_speed(trains, on)
    config = spikefit.Config().replace(with_covariates="speed", **FIT)
    counts = binned(trains, config)
    fit = spikefit.POGLM(config).fit(trains)
    starts = np.repeat([1000, 4000], 200)
    runs = free_runs(fit, counts, starts, 100, seed=1)
    rates = runs.rate_hz[:, 0].reshape(2, 200).mean(axis=1)
    recorded = [trains.restrict([[0, 30]]).rate_hz[0], trains.restrict([[30, 60]]).rate_hz[0]]
    # Runs of a second each, 200 of them, of a rate that was itself counted over 30 s.
    error = np.sqrt(np.array(recorded) / 200 + np.array(recorded) / 30)
    assert (np.abs(rates - recorded) < 5 * error).all()
    assert recorded[1] > 5 * recorded[0]
    with pytest.raises(ValueError, match="do not carry them"):
        free_runs(fit, trains.bin(WIDTH), starts, 100, seed=1)


def test_bins_that_are_left_out_neither_train_nor_judge(tiny_settings: Settings) -> None:
    trains, values = driven(6, duration_s=60.0)
    time_s = (np.arange(values.size) + 0.5) * WIDTH
    lost = values.copy()
    lost[2000:2500] = np.nan
    speed = Covariate("speed", values.size, ("speed",), "cm/s", lambda: Samples(time_s, lost[:, None]))
    trains = dataclasses.replace(trains, covariates={"speed": speed})
    config = spikefit.Config().replace(bin="10ms", with_covariates="speed", covariate_gaps="leave-out")
    counts = binned(trains, config)
    problem = pose_problem(counts, tiny_settings(), CPU)
    for ranges in (problem.split.train, problem.split.heldout, problem.split.everything):
        bins = np.concatenate([np.arange(a, b) for a, b in ranges])
        assert not ((bins >= 2000) & (bins < 2500)).any()
    whole = pose_problem(trains.bin(WIDTH), tiny_settings(), CPU).split
    assert int(np.diff(whole.everything, axis=1).sum()) - int(np.diff(problem.split.everything, axis=1).sum()) == 500
    fit = spikefit.POGLM(config.replace(**FIT)).fit(trains)
    assert fit.metrics["n_bins_without_covariates"] == 500
    assert any("500 of 6000 bins were left out of the fit, because speed" in text for text in fit.warnings)


def test_ranges_are_cut_where_nothing_is_known() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        known = rng.random(60) < 0.7
        ranges = np.sort(rng.choice(60, 6, replace=False)).reshape(3, 2)
        empty = np.empty((0, 2), dtype=np.int64)
        inside = np.zeros(60, dtype=bool)
        for a, b in ranges:
            inside[a:b] = True
        if not (inside & known).any():
            continue
        cut = only_where(Split(ranges, empty, ranges), known)
        found = np.zeros(60, dtype=int)
        for a, b in cut.train:
            found[a:b] += 1
        np.testing.assert_array_equal(found, inside & known)
    with pytest.raises(UsageError, match="known in only 0 of 60 bins"):
        only_where(Split(ranges, empty, ranges), np.zeros(60, dtype=bool))


def test_a_checkpoint_of_other_covariates_is_refused(tmp_path: Path, tiny_settings: Settings) -> None:
    trains, values = driven(7, WEIGHTS[:3], duration_s=30.0)
    config = spikefit.Config().replace(bin="10ms", with_covariates="speed")
    settings = tiny_settings(hidden=(1,), max_epochs=1, restarts=1)
    fit_network(binned(trains, config), settings, device=CPU, hooks=Hooks(checkpoints=tmp_path))
    resume = Hooks(checkpoints=tmp_path, resume=True)
    fit_network(binned(trains, config), settings, device=CPU, hooks=resume)
    other = binned(with_speed(trains, np.roll(values, 7)), config)
    with pytest.raises(ResultError, match="belongs to another run"):
        fit_network(other, settings, device=CPU, hooks=resume)


def test_counts_without_their_covariates_are_refused() -> None:
    trains, _ = driven(8, WEIGHTS[:2], duration_s=5.0)
    with pytest.raises(UsageError, match=r"counts alone do not hold the covariates that are asked for \(speed\)"):
        spikefit.POGLM(with_covariates="speed", **FIT).fit(trains.bin(WIDTH))


def test_controls_hear_the_covariates_too(tiny_settings: Settings) -> None:
    """Couplings at long lags and surrogates of units that share a covariate and nothing else: none to be seen with it, many without."""
    trains, _ = driven(9, np.full(6, 1.0), duration_s=60.0)
    config = spikefit.Config().replace(bin="10ms", with_covariates="speed")
    pairs = ~np.eye(6, dtype=bool)
    sizes = []
    for counts in (binned(trains, config), trains.bin(WIDTH)):
        fit = fit_network(counts, tiny_settings(long_lags=True, surrogates="shift", n_surrogates=5), device=CPU)
        assert fit.long_lags is not None
        assert fit.surrogates is not None
        sizes.append(np.abs(fit.long_lags.connectivity / fit.long_lags.std_error)[pairs].mean())
    assert sizes[0] < 1.5
    assert sizes[1] > 2
