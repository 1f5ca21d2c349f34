"""Units that are lost part of the time: each is fitted to its own bins alone, and its silence elsewhere says nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from spikefit.errors import UsageError
from spikefit.fitting import cross_validation, ridge
from spikefit.fitting import design as design_module
from spikefit.fitting.design import Design
from spikefit.fitting.fit import fit_network
from spikefit.fitting.folds import folds_of
from spikefit.fitting.glm import Solver, fit_glm
from spikefit.fitting.glm_fit import GLMFit, dispersion_of, glm_log_likelihood
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.lost import LostBins, mean_counts
from spikefit.fitting.objective import elbo, hard_draws
from spikefit.fitting.problem import in_fold, pose_problem
from spikefit.fitting.scores import bits_per_spike, describe_blocks, glm_nats
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.uncertainty import errors_of_fit
from spikefit.fitting.without_hidden import fit_observed
from spikefit.models.basis import make_basis
from spikefit.spikes import Counts

Array = NDArray[np.float64]
N_LAGS, N_UNITS, N_BINS, RIDGE = 5, 4, 4000, 0.5
CPU = torch.device("cpu")


def lossy(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Counts of four coupled units, (bin, unit), and where they are lost: the first for half the time, the third in the end."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((N_BINS, N_UNITS), dtype=np.uint8)
    for t in range(N_BINS):
        before = counts[max(0, t - 3) : t].sum(axis=0)
        drive = np.array([-1.2, -1.5, -1.4, -1.3]) + 0.25 * np.roll(before, 1)
        counts[t] = rng.poisson(np.logaddexp(0, drive))
    lost = np.zeros(counts.shape, dtype=bool)
    lost[1000:3000, 0] = True
    lost[3500:, 2] = True
    counts[lost] = 0
    return counts, lost


def design_of(
    counts: NDArray[np.uint8],
    lost: NDArray[np.bool_] | None,
    *,
    dtype: torch.dtype = torch.float64,
    block_bins: int = 700,
) -> Design:
    basis = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=2)).to(dtype)
    ranges = np.array([[N_LAGS, 1500], [1600, N_BINS]])
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.T))
    gone = None
    if lost is not None:
        mask = torch.from_numpy(np.ascontiguousarray(lost.T))
        gone = LostBins(mask, mean_counts(by_unit, ranges, mask)[0])
    return Design(by_unit, ranges, basis, block_bins=block_bins, lost=gone)


def features_by_hand(counts: NDArray[np.uint8], lost: NDArray[np.bool_], design: Design) -> tuple[Array, Array, Array]:
    """Features (feature, bin), counts and which count (unit, bin), lag by lag, of the scored bins."""
    basis = make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=2)
    bins = np.concatenate([np.arange(N_LAGS, 1500), np.arange(1600, N_BINS)])
    seen = counts.astype(np.float64)
    for unit in range(N_UNITS):
        own = bins[~lost[bins, unit]]
        seen[lost[:, unit], unit] = seen[own, unit].mean()
    rows = [
        sum(basis[lag, k] * seen[bins - 1 - lag, unit] for lag in range(N_LAGS))
        for unit in range(N_UNITS)
        for k in range(basis.shape[1])
    ]
    return np.array(rows), counts[bins].T.astype(np.float64), ~lost[bins].T


def penalised(params: Array, x: Array, y: Array) -> tuple[float, Array]:
    drive = params[:-1] @ x + params[-1]
    expected = np.logaddexp(0, drive)
    residual = expit(drive) * (1 - y / expected)
    value = expected.sum() - (y * np.log(expected)).sum() + 0.5 * RIDGE * params[:-1] @ params[:-1]
    return float(value), np.append(x @ residual + RIDGE * params[:-1], residual.sum())


@pytest.fixture(scope="module")
def by_hand() -> tuple[Design, GLMFit, list[Array], tuple[Array, Array, Array]]:
    """The masked fit, and the optimum of every unit on its own bins alone, by SciPy."""
    counts, lost = lossy()
    design = design_of(counts, lost)
    x, y, own = features_by_hand(counts, lost, design)
    found = []
    for unit in range(N_UNITS):
        start = np.append(np.zeros(len(x)), -1.0)
        some = own[unit]
        options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-8}
        solved = minimize(
            penalised, start, args=(x[:, some], y[unit, some]), jac=True, method="L-BFGS-B", options=options
        )
        found.append(solved.x)
    return design, fit_glm(design, ridge=RIDGE, tolerance_nats=1e-9), found, (x, y, own)


def test_a_receiver_is_fitted_to_its_own_bins(by_hand: tuple) -> None:
    _, fit, found, _ = by_hand
    assert fit.converged
    for unit, params in enumerate(found):
        np.testing.assert_allclose(fit.weights[unit].numpy(), params[:-1], atol=2e-4)
        np.testing.assert_allclose(fit.baseline[unit].item(), params[-1], atol=2e-4)


def test_silence_in_its_place_moves_the_baseline() -> None:
    counts, lost = lossy()
    masked, silent = (fit_glm(design_of(counts, mask), ridge=RIDGE) for mask in (lost, None))
    assert silent.baseline[0] < masked.baseline[0] - 0.3
    # The unit that listens to the lost one loses a part of its coupling to its baseline, too.
    assert silent.baseline[1] != pytest.approx(masked.baseline[1].item(), abs=0.01)


def test_likelihood_and_gradient_count_nothing_in_lost_bins(by_hand: tuple) -> None:
    design, fit, _, (x, y, own) = by_hand
    params = torch.randn(
        N_UNITS, design.n_features + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    params *= 0.2
    solver = Solver(design, RIDGE, "softplus")
    value, gradient = solver.evaluate(params, torch.arange(N_UNITS))
    centre = solver.mean.numpy()
    np.testing.assert_allclose(centre, x.mean(axis=1), rtol=1e-12)
    for unit in range(N_UNITS):
        wanted = penalised(params[unit].numpy(), (x - centre[:, None])[:, own[unit]], y[unit, own[unit]])
        np.testing.assert_allclose(value[unit].item(), wanted[0], rtol=1e-10)
        np.testing.assert_allclose(gradient[unit].numpy(), wanted[1], rtol=1e-8, atol=1e-8)
    total = glm_log_likelihood(design, fit)
    drive = fit.weights.numpy() @ x + fit.baseline.numpy()[:, None]
    expected = np.logaddexp(0, drive)
    by_bin = y * np.log(expected) - expected - np.array([torch.lgamma(torch.tensor(y) + 1).numpy()])[0]
    np.testing.assert_allclose(total.numpy(), (by_bin * own).sum(axis=1), rtol=1e-10)


def test_standard_errors_are_those_of_own_bins(by_hand: tuple) -> None:
    design, fit, _, (x, _, own) = by_hand
    basis = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=2))
    errors = errors_of_fit(design, fit, basis, ridge=RIDGE, link="softplus", by_lag=False).sums.numpy()
    sums = basis.numpy().sum(axis=0)
    for unit in range(N_UNITS):
        rows = np.concatenate([x[:, own[unit]], np.ones((1, own[unit].sum()))])
        drive = fit.weights[unit].numpy() @ rows[:-1] + fit.baseline[unit].item()
        information = (rows * (expit(drive) ** 2 / np.logaddexp(0, drive))) @ rows.T
        information[np.arange(len(x)), np.arange(len(x))] += RIDGE
        covariance = np.linalg.inv(information)
        for pre in range(N_UNITS):
            part = covariance[2 * pre : 2 * pre + 2, 2 * pre : 2 * pre + 2]
            assert errors[unit, pre] == pytest.approx(np.sqrt(sums @ part @ sums), rel=1e-4)


def test_products_by_spikes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, lost = lossy()
    dense = design_of(counts, lost)
    monkeypatch.setattr(design_module, "by_spikes", lambda *args: True)
    sparse = design_of(counts, lost, block_bins=300)
    params = 0.3 * torch.randn(
        N_UNITS, dense.n_features + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    everyone = torch.arange(N_UNITS)
    for first, second in zip(
        *(Solver(d, RIDGE, "softplus").evaluate(params, everyone) for d in (dense, sparse)), strict=True
    ):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(
        *(d.gram(d.feature_sums() / d.n_bins, 1)[0] for d in (dense, sparse)), rtol=1e-9, atol=1e-9
    )


def test_a_mask_that_loses_nothing_changes_no_bit() -> None:
    counts, lost = lossy()
    plain, masked = (fit_glm(design_of(counts, mask), ridge=RIDGE) for mask in (None, np.zeros_like(lost)))
    assert torch.equal(plain.weights, masked.weights)
    assert torch.equal(plain.baseline, masked.baseline)


def test_dispersion_is_read_from_own_bins() -> None:
    rng = np.random.default_rng(7)
    counts = rng.negative_binomial(2, 2 / (2 + 0.8), (N_BINS, 2)).astype(np.uint8)  # dispersion 0.5
    lost = np.zeros(counts.shape, dtype=bool)
    lost[2000:, 0] = True
    counts[lost] = 0

    def found(mask: NDArray[np.bool_] | None) -> float:
        design = design_of(counts, mask)
        return float(dispersion_of(design, fit_glm(design, ridge=100.0), link="softplus")[0])

    assert found(lost) == pytest.approx(0.5, abs=0.2)  # about four standard errors
    assert found(None) > 1.0


def as_counts(counts: NDArray[np.uint8], lost: NDArray[np.bool_] | None) -> Counts:
    return Counts(counts, 0.01, np.array([0, N_BINS]), np.zeros(1), tuple(f"u{k}" for k in range(N_UNITS)), lost=lost)


@pytest.fixture(scope="module")
def settings() -> FitSettings:
    return FitSettings(
        hidden=(0,), window_s=0.05, basis="raised-cosine-log", n_functions=2, link="softplus", family="categorical",
        posterior="forward-backward", hidden_sign="any", estimator="eat-cubic", temperature=0.5, n_draws=1, ridge=RIDGE,
        restarts=1, heldout=0.2, max_epochs=3, learning_rate=0.01, seed=0, common_drive_s=(0.1, 1.0),
    )  # fmt: skip


def test_constant_rates_and_scores_are_over_own_bins(settings: FitSettings) -> None:
    counts, lost = lossy()
    problem = pose_problem(as_counts(counts, lost), settings, CPU)
    train = np.concatenate([np.arange(a, b) for a, b in problem.split.train.tolist()])
    for unit in range(N_UNITS):
        own = train[~lost[train, unit]]
        assert problem.mean_count[unit].item() == pytest.approx(counts[own, unit].mean())
    windows = problem.windows(problem.split.heldout, 300)
    blocks = describe_blocks(windows, problem.mean_count)
    rate = problem.mean_count.numpy()
    heldout = np.concatenate([np.arange(a, b) for a, b in problem.split.heldout.tolist()])
    null = ((counts[heldout] * np.log(rate) - rate) * ~lost[heldout]).sum()
    assert blocks.null_nats.sum().item() == pytest.approx(null, rel=1e-6)
    # Constant rates themselves gain nothing over constant rates, whoever is lost.
    weights = torch.zeros(N_UNITS, N_UNITS * 2 + 2, dtype=torch.float64)
    constant = GLMFit(weights, torch.log(torch.expm1(problem.mean_count)), torch.zeros(N_UNITS), converged=True)
    nats = glm_nats(constant, windows, problem.basis, "softplus", problem.inputs)
    assert bits_per_spike(nats, blocks).value == pytest.approx(0.0, abs=1e-5)


def test_the_common_drive_does_not_fall_when_a_unit_goes(settings: FitSettings) -> None:
    rng = np.random.default_rng(2)
    counts = rng.poisson(0.5, (N_BINS, N_UNITS)).astype(np.uint8)
    lost = np.zeros(counts.shape, dtype=bool)
    lost[2000:, :2] = True
    traces = pose_problem(as_counts(counts, lost), settings, CPU).traces
    silent = np.where(lost, 0, counts)
    fallen = pose_problem(as_counts(silent, None), settings, CPU).traces
    assert traces is not None
    assert fallen is not None
    for row in range(2):
        # Means over two thousand bins scatter by 0.05 of a trace's standard deviation at the slower decay.
        assert abs(traces[row, 2000:].mean() - traces[row, :2000].mean()) < 1.0
        assert fallen[row, 2000:].mean() < fallen[row, :2000].mean() - 1.0


def test_what_counts_hold_in_lost_bins_changes_no_bit(settings: FitSettings) -> None:
    counts, lost = lossy()
    other = counts.copy()
    other[lost] = 3
    hidden = dataclasses.replace(settings, hidden=(1,), common_drive_s=())
    first, second = (fit_network(as_counts(c, lost), hidden, device=CPU) for c in (counts, other))
    for name, values in first.parameters.items():
        assert np.array_equal(values, second.parameters[name]), name
    assert first.metrics["heldout_nats_per_bin"] == second.metrics["heldout_nats_per_bin"]
    assert np.array_equal(first.hidden_count, second.hidden_count)
    problems = [pose_problem(as_counts(c, lost), hidden, CPU).identity for c in (counts, other)]
    assert problems[0] == problems[1]
    moved = lost.copy()
    moved[900:1000, 0] = True
    assert pose_problem(as_counts(counts, moved), hidden, CPU).identity != problems[0]
    assert pose_problem(as_counts(counts, None), hidden, CPU).identity != problems[0]


def test_lost_bins_have_no_part_in_the_bound(make_model: Callable, settings: FitSettings) -> None:
    counts, lost = lossy()
    problem = pose_problem(as_counts(counts, lost), settings, CPU)
    model = make_model(N_UNITS, 2, n_lags=N_LAGS, dtype=torch.float32)
    windows = problem.windows(np.array([[1200, 1400]]), 200)
    batch = dataclasses.replace(windows.batch(torch.arange(1)), covariates=None)
    assert batch.observed is not None
    assert not batch.observed[:, 0].any()
    with torch.no_grad():
        # Nothing reads this baseline but the lost unit, which has no say here: the bound stays as it is.
        bounds = []
        for baseline in (0.0, 2.0):
            model.baseline[0, 0] = baseline
            draw = hard_draws(model, 2, torch.Generator().manual_seed(1))
            bounds.append(elbo(model, batch, draw).total)
    assert torch.equal(*bounds)
    draw = hard_draws(model, 2, torch.Generator().manual_seed(1))
    elbo(model, batch, draw).total.sum().backward()
    assert model.visible_weights.grad is not None
    assert not model.visible_weights.grad[0, 0].any()
    assert model.visible_weights.grad[0, 1].any()


def with_more_spikes(counts: NDArray[np.uint8], ranges: NDArray[np.int64], unit: int) -> NDArray[np.uint8]:
    """The same counts, but one unit fires in every bin well inside some ranges; beside them lies the history of other bins."""
    out = counts.copy()
    for start, stop in ranges.tolist():
        out[start + 3 * N_LAGS : stop - 3 * N_LAGS, unit] = 2
    return out


def test_no_fold_takes_its_stand_ins_from_what_it_sets_aside(
    settings: FitSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, lost = lossy()
    # Traces of the common drive remember what lies before a fold's bins, lost units or not.
    settings = dataclasses.replace(settings, common_drive_s=(), folds=ridge.N_FOLDS)
    problem = pose_problem(as_counts(counts, lost), settings, CPU)
    train, aside = folds_of(problem.split.train, N_LAGS, ridge.N_FOLDS)[0]
    busy = np.where(lost, 0, with_more_spikes(counts, aside, 0))
    other = pose_problem(as_counts(busy, lost), settings, CPU)
    fits: list[GLMFit] = []

    def watched(*args: Any, **kwargs: Any) -> tuple[Design, GLMFit]:
        design, fit = fit_observed(*args, **kwargs)
        fits.append(fit)
        return design, fit

    monkeypatch.setattr(ridge, "fit_observed", watched)
    monkeypatch.setattr(cross_validation, "fit_observed", watched)
    for one in (problem, other):
        ridge.walk(one, [RIDGE], lambda fold, penalty: fold, Hooks())
    first, _, _, _, again, further, *_ = fits
    assert torch.equal(again.weights, first.weights)
    # The twins: with one stand-in for all folds, and in a fold that trains on what was changed, it is another fit.
    shared = fit_observed(other, train, Hooks(), None)[1].weights
    assert (shared - first.weights).abs().max() > 0.02
    assert (further.weights - fits[1].weights).abs().max() > 0.02
    fits.clear()
    for one in (problem, other):
        cross_validation.cross_validate(one, (0,), Hooks())
    assert torch.equal(fits[4].weights, fits[0].weights)


def test_the_common_drive_of_a_fold_has_its_stand_ins(settings: FitSettings) -> None:
    counts, lost = lossy()
    problem = pose_problem(as_counts(counts, lost), settings, CPU)
    fold = in_fold(problem, np.array([[N_LAGS, 900]]))
    assert fold.common_drive is not None
    assert fold.traces is not None
    assert fold.lost is not None
    assert not torch.equal(fold.traces, problem.traces)
    mean = torch.from_numpy(counts[N_LAGS:900].mean(axis=0))
    torch.testing.assert_close(fold.lost.stand_in, mean)
    by_hand = np.where(lost, mean.numpy(), counts).sum(axis=1) - fold.common_drive.level
    trace, decay = np.zeros(N_BINS), fold.common_drive.decay[0]
    for t in range(1, N_BINS):
        trace[t] = decay * trace[t - 1] + fold.common_drive.gain[0] * by_hand[t - 1]
    np.testing.assert_allclose(fold.traces[0].numpy(), trace, atol=1e-4)


def test_a_unit_that_a_fold_never_sees_is_no_part_of_its_score(settings: FitSettings) -> None:
    """Seen in one fold's own bins alone, it would be scored by a rate that nothing has told."""
    counts, _ = lossy()
    whole = pose_problem(as_counts(counts, None), settings, CPU)
    folds = folds_of(whole.split.train, N_LAGS, ridge.N_FOLDS)
    lost = np.zeros(counts.shape, dtype=bool)
    lost[:, 3] = True
    for start, stop in folds[0][1].tolist():
        lost[start:stop, 3] = False
    problem = pose_problem(as_counts(counts, lost), settings, CPU)
    fold = in_fold(problem, folds[0][0])
    assert fold.lost is not None
    assert fold.lost.mask[3].all()
    assert not fold.counts[3].any()
    assert fold.mean_count[3] == problem.mean_count[3]
    others = in_fold(problem, folds[1][0])
    assert others.lost is not None
    assert torch.equal(others.lost.mask[3], torch.from_numpy(lost[:, 3]))
    nats, _ = ridge.walk(problem, [RIDGE], lambda fold, penalty: fold, Hooks())
    busy = np.where(lost, 0, with_more_spikes(counts, folds[0][1], 3))
    more, _ = ridge.walk(
        pose_problem(as_counts(busy, lost), settings, CPU), [RIDGE], lambda fold, penalty: fold, Hooks()
    )
    n_own = len(problem.windows(folds[0][1], 2000))
    assert torch.isfinite(nats[0]).all()
    torch.testing.assert_close(more[0][:n_own], nats[0][:n_own], atol=0.5, rtol=0)
    fit = fit_observed(problem, folds[0][0], Hooks(), None)[1]
    scored = glm_nats(fit, problem.windows(folds[0][1], 2000), problem.basis, "softplus", problem.inputs)
    assert (nats[0][:n_own] - scored).sum() > 100  # the twin: with the unit scored


def test_what_moves_spikes_is_refused(settings: FitSettings) -> None:
    counts, lost = lossy()
    for change in ({"surrogates": "jitter"}, {"long_lags": True}):
        with pytest.raises(UsageError, match="lost for part of it"):
            pose_problem(as_counts(counts, lost), dataclasses.replace(settings, **change), CPU)
    lost[:, 3] = True
    with pytest.raises(UsageError, match="'u3' is lost in every bin that trains"):
        pose_problem(as_counts(counts, lost), settings, CPU)
