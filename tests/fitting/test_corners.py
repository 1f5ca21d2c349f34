"""Group lasso and signs against solvers of other kinds, with the optimality conditions as certificate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from spikefit.fitting import corners as corners_module
from spikefit.fitting.corners import Corners, fit_with_corners, sign_costs, weakest_that_silences
from spikefit.fitting.design import Design
from spikefit.fitting.fit import fit_network
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.settings import FitSettings
from spikefit.models.basis import make_basis
from spikefit.models.common_drive import CommonDrive
from spikefit.simulate import Network, simulate
from spikefit.spikes import Counts

CPU = torch.device("cpu")
Settings = Callable[..., FitSettings]
Array = NDArray[np.float64]
N_LAGS, N_FUNCTIONS, RIDGE, NATS = 5, 2, 0.5, 0.01


def make_design(counts: Counts, dtype: torch.dtype = torch.float64, *, common_drive: bool = False) -> Design:
    basis = make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=N_FUNCTIONS)
    ranges = np.stack([counts.segment_offsets[:-1] + N_LAGS, counts.segment_offsets[1:]], axis=1)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    traces = None
    if common_drive:
        traces = CommonDrive.of(by_unit, (0.1, 1.0), 0.01).features(by_unit, counts.segment_offsets)
    return Design(by_unit, ranges, torch.from_numpy(basis).to(dtype), covariates=traces, cache_bytes=10**8)


def arrays(design: Design) -> tuple[Array, Array]:
    features, targets = (torch.cat(parts, dim=1).double().numpy() for parts in zip(*design.blocks(), strict=True))
    return features, targets


def smooth(params: Array, x: Array, y: Array) -> tuple[float, Array]:
    """Negative ridge-penalised log-likelihood of one unit and its gradient."""
    drive = params[:-1] @ x + params[-1]
    expected = np.logaddexp(0, drive).clip(1e-12)
    residual = (1 - y / expected) / (1 + np.exp(-drive))
    value = expected.sum() - y @ np.log(expected) + 0.5 * RIDGE * params[:-1] @ params[:-1]
    return float(value), np.append(x @ residual + RIDGE * params[:-1], residual.sum())


def objective(params: Array, x: Array, y: Array, lasso: Array) -> float:
    pairs = params[: len(lasso) * N_FUNCTIONS].reshape(len(lasso), N_FUNCTIONS)
    return smooth(params, x, y)[0] + float(lasso @ np.linalg.norm(pairs, axis=1))


def accelerated(x: Array, y: Array, lasso: Array, sign: Array, n_steps: int = 700) -> Array:
    """The optimum by FISTA in plain coordinates with restarts: no Gram matrix, no parabola, one unit at a time."""
    params = np.append(np.zeros(len(x)), np.log(np.expm1(y.mean())))
    scale = np.append(1 / x.std(axis=1), 1.0)  # the same for both weights of a pair, or the penalty would be another
    for m in range(len(lasso)):
        scale[m * N_FUNCTIONS : (m + 1) * N_FUNCTIONS] = scale[m * N_FUNCTIONS : (m + 1) * N_FUNCTIONS].min()
    step, momentum, at, before = 1e-4, 1.0, params, math.inf
    for _ in range(n_steps):
        value, gradient = smooth(at, x, y)
        while True:
            to = at - step * scale**2 * gradient
            for m, weight in enumerate(lasso):
                own = slice(m * N_FUNCTIONS, (m + 1) * N_FUNCTIONS)
                group = np.where(to[own] * sign[m] < 0, 0.0, to[own])
                size = np.linalg.norm(group)
                shrunk = step * scale[own][0] ** 2 * weight
                to[own] = group * max(0.0, 1 - shrunk / size) if size > 0 else 0.0
            off = to - at
            if smooth(to, x, y)[0] <= value + gradient @ off + (off**2 / (2 * step * scale**2)).sum() + 1e-10:
                break
            step *= 0.5
        now = objective(to, x, y, lasso)
        faster = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        restart = now > before
        at = to if restart else to + (momentum - 1) / faster * (to - params)
        momentum, params, before, step = 1.0 if restart else faster, to, now, step * 1.1
    return params


def optima(design: Design, corners: Corners) -> Array:
    """What every unit's objective can be brought to."""
    x, targets = arrays(design)
    lasso, sign = corners.group_lasso.numpy(), corners.sign.numpy()
    return np.array([objective(accelerated(x, y, lasso[n], sign[n]), x, y, lasso[n]) for n, y in enumerate(targets)])


def reached(design: Design, fit: GLMFit, corners: Corners) -> Array:
    x, targets = arrays(design)
    params = np.concatenate([fit.weights.numpy(), fit.baseline.numpy()[:, None]], axis=1)
    return np.array(
        [objective(p, x, y, own) for p, y, own in zip(params, targets, corners.group_lasso.numpy(), strict=True)]
    )


def norms(fit: GLMFit, n_units: int) -> Array:
    pairs: Array = fit.weights[:, : n_units * N_FUNCTIONS].unflatten(1, (n_units, -1)).norm(dim=2).numpy()
    return pairs


def some_corners(n_units: int, lasso: float, *, signs: bool) -> Corners:
    off = 1 - torch.eye(n_units, dtype=torch.float64)
    sign = torch.zeros(n_units, n_units, dtype=torch.int8)
    if signs:
        sign[:, 0], sign[:, 1] = 1, -1
        sign.fill_diagonal_(0)
    return Corners(lasso * off, sign, N_FUNCTIONS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("lasso", "signs"), [(8.0, False), (8.0, True), (0.0, True)])
def test_every_unit_reaches_the_optimum(small_counts: Counts, lasso: float, signs: bool, dtype: torch.dtype) -> None:
    design = make_design(small_counts, dtype, common_drive=True)
    exact = make_design(small_counts, common_drive=True)
    corners = some_corners(design.n_units, lasso, signs=signs)
    fit = fit_with_corners(design, corners, ridge=RIDGE)
    assert fit.converged
    assert fit.kkt is not None
    best = optima(exact, corners)
    gap = reached(exact, fit, corners) - best
    assert -1e-3 < gap.min() <= gap.max() < NATS
    size = norms(fit, design.n_units)
    if lasso:
        assert 0 < (size == 0).sum() < size.size - design.n_units  # some pairs are out, some are in
    assert (size.diagonal() > 0).all()  # a unit's own history is not shrunk
    if signs:
        pairs = fit.weights[:, : design.n_couplings].unflatten(1, (-1, N_FUNCTIONS))
        sign = corners.sign[:, :, None]
        assert (pairs * sign >= 0).all()
        assert (pairs[0, 0] < 0).any()  # nor held
    # The check sees a fit that is not there yet, and one whose zeros were put in afterwards.
    early = fit_with_corners(exact, corners, ridge=RIDGE, max_iterations=1)
    assert (reached(exact, early, corners) - best).max() > NATS
    cut = fit_glm(exact, ridge=RIDGE)
    cut.weights[:, : design.n_couplings].unflatten(1, (-1, N_FUNCTIONS))[torch.from_numpy(size == 0)] = 0
    pairs = cut.weights[:, : design.n_couplings].unflatten(1, (-1, N_FUNCTIONS))
    pairs[pairs * corners.sign[:, :, None] < 0] = 0
    assert (reached(exact, cut, corners) - best).max() > NATS


def test_signs_agree_with_bounds_of_scipy(small_counts: Counts) -> None:
    design = make_design(small_counts)
    corners = some_corners(design.n_units, 0.0, signs=True)
    fit = fit_with_corners(design, corners, ridge=RIDGE, tolerance_nats=1e-6)
    x, targets = arrays(design)
    for unit, y in enumerate(targets):
        sides = {1: (0, None), -1: (None, 0), 0: (None, None)}
        bounds = [sides[int(s)] for s in corners.sign[unit].repeat_interleave(N_FUNCTIONS)] + [(None, None)]
        start = np.append(np.zeros(len(x)), np.log(y.mean()))
        found = minimize(
            smooth, start, args=(x, y), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14}
        )
        params = np.append(fit.weights[unit].numpy(), fit.baseline[unit].item())
        assert smooth(params, x, y)[0] < found.fun + 1e-3
        np.testing.assert_array_equal(fit.weights[unit].numpy() == 0, np.abs(found.x[:-1]) < 1e-7)


def test_the_certificate_tells_an_optimum_from_what_is_none(small_counts: Counts) -> None:
    design = make_design(small_counts)
    corners = some_corners(design.n_units, 8.0, signs=True)
    everyone = torch.arange(design.n_units)
    fit = fit_with_corners(design, corners, ridge=RIDGE, tolerance_nats=1e-7)
    assert fit.kkt is not None
    assert fit.kkt.max() < 0.01 * 8.0
    solver = corners_module._CornerSolver(design, corners, RIDGE, "softplus", None)
    moved = dataclasses.replace(fit, weights=fit.weights.clone())
    out = torch.from_numpy(norms(fit, design.n_units) == 0)
    moved.weights.unflatten(1, (-1, N_FUNCTIONS))[out] = (
        1e-3 * corners.sign.where(corners.sign != 0, 1)[out][:, None].double()
    )
    worse = solver.kkt(*solver.at(moved), everyone)
    assert (worse[out.any(1)] > 1.0).all()
    # A pair that a weaker penalty would let in is no optimum when it is left out, either.
    weaker = Corners(0.5 * corners.group_lasso, corners.sign, N_FUNCTIONS)
    assert (
        corners_module._CornerSolver(design, weaker, RIDGE, "softplus", None).kkt(*solver.at(fit), everyone).max() > 2
    )


def test_the_path_begins_where_all_pairs_are_zero_and_warm_starts_save_work(small_counts: Counts) -> None:
    design = make_design(small_counts)
    n = design.n_units
    strongest = weakest_that_silences(design, some_corners(n, 1.0, signs=False), ridge=RIDGE)
    off = ~np.eye(n, dtype=bool)
    above = fit_with_corners(design, some_corners(n, 1.01 * strongest, signs=False), ridge=RIDGE)
    assert (norms(above, n)[off] == 0).all()
    below = fit_with_corners(design, some_corners(n, 0.98 * strongest, signs=False), ridge=RIDGE, tolerance_nats=1e-7)
    assert (norms(below, n)[off] > 0).sum() == 1
    cold = fit_with_corners(design, some_corners(n, 8.0, signs=False), ridge=RIDGE)
    near = fit_with_corners(design, some_corners(n, 9.0, signs=False), ridge=RIDGE)
    warm = fit_with_corners(design, some_corners(n, 8.0, signs=False), ridge=RIDGE, start=near)
    assert len(warm.objective) < len(cold.objective)
    assert warm.objective[-1] == pytest.approx(cold.objective[-1], abs=NATS)


def test_no_corners_give_the_fit_without_them(small_counts: Counts) -> None:
    design = make_design(small_counts, common_drive=True)
    fit = fit_with_corners(design, some_corners(design.n_units, 0.0, signs=False), ridge=RIDGE, tolerance_nats=1e-7)
    plain = fit_glm(design, ridge=RIDGE, tolerance_nats=1e-7)
    assert fit.objective[-1] == pytest.approx(plain.objective[-1], abs=1e-4)
    np.testing.assert_allclose(fit.weights.numpy(), plain.weights.numpy(), atol=1e-2)


def dale_network() -> tuple[Network, Array]:
    """Two exciters and two inhibitors, each acting on all others."""
    basis = make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=N_FUNCTIONS)
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    weights = np.where(np.eye(4, dtype=bool), -0.5, 0.5 * signs)[:, :, None] * np.ones(N_FUNCTIONS)
    return Network(weights @ basis.T, np.full(4, -0.7), n_visible=4, bin_width_s=0.01), signs


def test_signs_are_chosen_by_what_all_receivers_show_together(tiny_settings: Settings) -> None:
    network, signs = dale_network()
    counts = simulate(network, duration_s=40, seed=1).visible_counts
    fit = fit_network(counts, tiny_settings(dale=(("*", "auto"),), ridge=0.1), device=CPU)
    told = fit.metrics["dale_signs"]
    assert [told[unit] for unit in counts.unit_ids] == ["excitatory" if s > 0 else "inhibitory" for s in signs]
    assert min(fit.metrics["dale_margin_nats"].values()) > 3
    off = ~np.eye(4, dtype=bool)
    assert (fit.coupling_filters * signs[None, :, None] >= 0)[off].all()
    assert np.isnan(fit.std_error).all()
    assert any("no standard errors" in note for note in fit.notes)
    # The costs are those of the wrong weights alone: with the roles turned round the choice turns round.
    design = make_design(counts)
    plain = fit_glm(design, ridge=0.1)
    up, down = sign_costs(design, plain, N_FUNCTIONS)
    turned = sign_costs(design, dataclasses.replace(plain, weights=-plain.weights), N_FUNCTIONS)
    torch.testing.assert_close(turned, (down, up))


@pytest.mark.parametrize("hidden", [0, 1])
def test_a_whole_fit_holds_signs_and_zeros(small_counts: Counts, tiny_settings: Settings, hidden: int) -> None:
    first, second = small_counts.unit_ids[:2]
    dale = ((first, "excitatory"), (second, "inhibitory"))
    settings = tiny_settings(hidden=(hidden,), dale=dale, group_lasso=30.0)
    fit = fit_network(small_counts, settings, device=CPU)
    others = [1, 2, 3, *([4] if hidden else [])]
    assert (fit.coupling_filters[others, 0] >= 0).all()
    assert (fit.coupling_filters[[0, *others[1:]], 1] <= 0).all()
    pairs = fit.coupling_filters[:4, :4][~np.eye(4, dtype=bool)]
    silent = (pairs == 0).all(axis=1)
    assert silent.any()
    assert fit.metrics["group_lasso"] == 30.0
    assert fit.metrics["dale_signs"] == {first: "excitatory", second: "inhibitory"}
    if not hidden:
        assert fit.metrics["n_zero_pairs"] == silent.sum()
        assert fit.metrics["kkt_residual"] < 0.1 * 30.0
    free = fit_network(small_counts, tiny_settings(hidden=(hidden,)), device=CPU)
    assert not (free.coupling_filters[:4, :4][~np.eye(4, dtype=bool)] == 0).all(axis=1).any()
    assert (free.coupling_filters[others, 0] < 0).any() or (free.coupling_filters[[0, *others[1:]], 1] > 0).any()


@pytest.mark.slow
def test_the_strength_is_chosen_inside_the_training_bins(tiny_settings: Settings) -> None:
    """Six units, one strong edge: the chosen penalty keeps it and takes most others out; without the edge, all go or are tiny."""
    basis = make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=N_FUNCTIONS)
    weights = np.zeros((6, 6, N_FUNCTIONS))
    weights[1, 0] = 1.5
    network = Network(weights @ basis.T, np.full(6, -1.5), n_visible=6, bin_width_s=0.01)
    counts = simulate(network, duration_s=60, seed=2).visible_counts
    fit = fit_network(counts, tiny_settings(group_lasso=None, ridge=0.1), device=CPU)
    off = ~np.eye(6, dtype=bool)
    size = np.abs(fit.coupling_filters).sum(axis=2)
    assert size[1, 0] == size[off].max() > 5 * np.sort(size[off])[-2]
    assert fit.metrics["n_zero_pairs"] >= 10
    path = fit.metrics["group_lasso_path"]
    best = max(path, key=lambda row: row["nats_per_bin"])
    assert best["group_lasso"] == fit.metrics["group_lasso"]
    assert best is not path[0]  # all pairs at zero: the edge is missed
