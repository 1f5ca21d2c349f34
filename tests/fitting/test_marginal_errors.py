"""Errors beside hidden units: scores and information against enumeration of all hidden spikes, and what a fit makes of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import spikefit
from spikefit.fitting import marginal_errors
from spikefit.fitting.marginal_errors import block_scores, marginal_information
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.poglm import POGLMNetwork
from spikefit.simulate import random_network, simulate
from spikefit.spikes import Counts

N_LAGS, N_BINS = 2, 5


def tiny_model() -> POGLMNetwork:
    """Two recorded units and a hidden one that drives both; raw filters of two lags, float64."""
    model = POGLMNetwork(2, 1, torch.eye(N_LAGS, dtype=torch.float64), link="softplus", family="categorical")
    with torch.no_grad():
        model.baseline.copy_(torch.tensor([[-1.0, -1.2, -0.8]]))
        model.visible_weights.copy_(
            torch.tensor([[[-0.5, 0.2, 0.8, 0.3], [0.4, 0.0, -0.3, 0.1], [0.3, 0.2, 0.0, 0.4]]])
        )
        model.hidden_weights.copy_(torch.tensor([[[2.5, 1.0], [2.0, 0.5], [-0.5, 0.0]]]))
    return model


def sequences() -> Tensor:
    """Every course of the hidden unit over the bins, after a silent past; (course, N_LAGS + N_BINS)."""
    courses = torch.tensor(list(itertools.product([0.0, 1.0], repeat=N_BINS)), dtype=torch.float64)
    return torch.nn.functional.pad(courses, (N_LAGS, 0))


def log_joint(weights: Tensor, hidden_row: Tensor, x: Tensor, z: Tensor) -> Tensor:
    """Log p(x, z) of one course, written out bin by bin.

    Args:
        weights: of the recorded units, each two visible senders, the hidden one, and the baseline, (2, 7).
        hidden_row: the same of the hidden unit.
        x: recorded counts after a silent past, (…, 2, N_LAGS + N_BINS).
        z: hidden ones, (…, N_LAGS + N_BINS).
    """
    every = torch.cat([weights, hidden_row[None]])
    total = torch.zeros(x.shape[:-2], dtype=torch.float64)
    for t in range(N_LAGS, N_LAGS + N_BINS):
        # A filter's first weight is of the bin just before.
        past = [v for unit in (x[..., 0, :], x[..., 1, :], z) for v in (unit[..., t - 1], unit[..., t - 2])]
        features = torch.stack([*past, torch.ones_like(past[0])], dim=-1)
        mean = torch.nn.functional.softplus(features @ every.T)
        y = torch.stack([x[..., 0, t], x[..., 1, t], z[..., t]], dim=-1)
        total = total + (y * mean.log() - mean).sum(-1)  # z! is one; x! is left out
    return total


def rows_of(model: POGLMNetwork) -> Tensor:
    """Visible weights, hidden weights and baseline of every unit, (3, 7)."""
    return torch.cat([model.visible_weights[0], model.hidden_weights[0], model.baseline[0, :, None]], dim=1).detach()


def batch_of(model: POGLMNetwork, x: Tensor) -> WindowBatch:
    """Windows of N_BINS scored bins with a silent context."""
    before, after = model.context
    padded = torch.nn.functional.pad(x[..., N_LAGS:], (before, after))
    return WindowBatch(padded, None, len(x) * N_BINS)


def simulated(n_windows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Windows from the model, hidden counts above one drawn again (as the enumeration has it); x and z with a silent past."""
    rng = np.random.default_rng(seed)
    every = rows_of(tiny_model()).numpy()
    y = np.zeros((n_windows, 3, N_LAGS + N_BINS))
    for t in range(N_LAGS, N_LAGS + N_BINS):
        past = np.stack([v for unit in range(3) for v in (y[:, unit, t - 1], y[:, unit, t - 2])], axis=1)
        mean = np.logaddexp(0, np.concatenate([past, np.ones((n_windows, 1))], axis=1) @ every.T)
        y[:, :2, t] = rng.poisson(mean[:, :2])
        y[:, 2, t] = rng.random(n_windows) < mean[:, 2] / (1 + mean[:, 2])
    return torch.from_numpy(y[:, :2]), torch.from_numpy(y[:, 2])


def posterior_weight(x: Tensor) -> Tensor:
    """p(z | x) of every course in every window, (course, window)."""
    every = rows_of(tiny_model())
    joint = torch.stack([log_joint(every[:2], every[2], x, z.expand(len(x), -1)) for z in sequences()])
    return joint.softmax(0)


def exact_scores(x: Tensor, block: int = N_BINS) -> Tensor:
    model = tiny_model()
    hidden = sequences()[:, None, None, None, :].expand(-1, len(x), 1, 1, -1)
    with torch.no_grad():
        return block_scores(model, batch_of(model, x), hidden, block=block, weight=posterior_weight(x))


def log_marginal(weights: Tensor, x: Tensor) -> Tensor:
    hidden_row = rows_of(tiny_model())[2]
    return torch.stack([log_joint(weights, hidden_row, x, z.expand(len(x), -1)) for z in sequences()]).logsumexp(0)


def test_the_scores_are_the_gradient_of_the_enumerated_likelihood() -> None:
    x, _ = simulated(4, seed=0)
    for k in range(4):
        weights = rows_of(tiny_model())[:2].requires_grad_()
        log_marginal(weights, x[k : k + 1]).sum().backward()
        torch.testing.assert_close(exact_scores(x[k : k + 1])[0], weights.grad, rtol=1e-9, atol=1e-12)
        # A posterior that is not the right one gives another gradient.
        model = tiny_model()
        hidden = sequences()[:, None, None, None, :]
        flat = block_scores(model, batch_of(model, x[k : k + 1]), hidden, block=N_BINS)[0]
        assert not torch.allclose(flat, weights.grad, rtol=0.05)
    by_block = exact_scores(x, block=2)
    assert by_block.shape == (4 * 3, 2, 7)
    torch.testing.assert_close(by_block.unflatten(0, (4, 3)).sum(1), exact_scores(x), rtol=1e-9, atol=1e-12)


def standard_errors(information: Tensor) -> Tensor:
    """Of the four visible couplings of the first unit."""
    return torch.linalg.inv(information).diagonal()[:4].sqrt()


@pytest.mark.statistical
def test_products_of_scores_are_the_information_of_the_marginal_likelihood() -> None:
    """Against the Hessian of the enumerated likelihood over 6000 windows: standard errors agree within 10 %.

    Products of 6000 scores scatter by about 2 % (heavier than normal tails counted in), so a false alarm lies beyond 5 σ. The twin takes the hidden spikes for known
    and must come out at least 10 % too small for the coupling that the hidden unit can imitate.
    """
    x, z = simulated(6000, seed=1)
    first = exact_scores(x)[:, 0]
    found = standard_errors(first.T @ first)
    rest = rows_of(tiny_model())

    def minus_log_likelihood(row: Tensor) -> Tensor:
        return -log_marginal(torch.cat([row[None], rest[1:2]]), x).sum()

    exact = standard_errors(torch.autograd.functional.hessian(minus_log_likelihood, rest[0]))
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.0)
    model = tiny_model()
    with torch.no_grad():
        known = block_scores(model, batch_of(model, x), z[None, :, None, None], block=N_BINS)[:, 0]
    assert (standard_errors(known.T @ known) < 0.9 * exact).any()


@pytest.fixture(scope="module")
def counts() -> Counts:
    """Ten recorded units, 100 s."""
    network = random_network(n_visible=10, n_drivers=1, seed=5, window_s=0.05, rate_hz=12.0)
    return simulate(network, duration_s=100, seed=5).visible_counts


@pytest.mark.parametrize("posterior", ["forward-backward", "forward"])
def test_it_does_not_matter_how_windows_are_cut(
    counts: Counts, posterior: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    model = POGLMNetwork(
        10, 2, torch.eye(5, dtype=torch.float64), link="softplus", family="categorical", posterior=posterior
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64) - 0.2)
    windows = Windows(
        torch.from_numpy(np.ascontiguousarray(counts.counts[:3000].T)),
        np.array([0, 3000]),
        np.array([[5, 3000]]),
        context=model.context,
        core_bins=500,
        dtype=torch.float64,
    )
    whole = marginal_information(model, windows)
    assert whole.shape == (10, 12 * 5 + 1, 12 * 5 + 1)
    assert (torch.linalg.eigvalsh(whole) > -1e-6).all()
    monkeypatch.setattr(marginal_errors, "JUDGE_BATCH_BINS", 1)
    torch.testing.assert_close(marginal_information(model, windows), whole, rtol=1e-9, atol=1e-9)


def shortened(counts: Counts, n_bins: int) -> Counts:
    return Counts(
        counts=np.asfortranarray(counts.counts[:n_bins]),
        bin_width_s=counts.bin_width_s,
        segment_offsets=np.array([0, n_bins]),
        segment_start_s=counts.segment_start_s,
        unit_ids=counts.unit_ids,
    )


QUICK = {"bin": 0.01, "window": 0.05, "functions": 2, "hidden": 1, "max_epochs": 3, "restarts": 1, "device": "cpu"}


def test_a_fit_with_hidden_units_has_errors_and_tests_its_pairs(counts: Counts) -> None:
    fit = spikefit.POGLM(**QUICK).fit(counts)
    visible = np.zeros((11, 11), dtype=bool)
    visible[:10, :10] = True
    np.testing.assert_array_equal(np.isfinite(fit.std_error), visible)
    pairs = visible & ~np.eye(11, dtype=bool)
    for matrix in (fit.p_value, fit.q_value):
        np.testing.assert_array_equal(np.isfinite(matrix), pairs)
    np.testing.assert_array_equal(np.isfinite(fit.ci_low), visible)
    assert (fit.ci_low < fit.ci_high)[visible].all()
    assert fit.metrics["std_error_method"] == "marginal scores"
    assert fit.metrics["significance"] == "null"
    assert fit.diagnostics["filter_std_error"].shape == (10, 10, 5)
    again = spikefit.POGLM(**QUICK).fit(counts)
    np.testing.assert_array_equal(again.std_error, fit.std_error)


@pytest.mark.parametrize(
    ("posterior", "further"),
    [("forward", {"family": "poisson"}), ("forward-self", {}), ("forward-backward", {"max_count": 2})],
)
def test_every_posterior_has_errors(counts: Counts, posterior: str, further: dict[str, object]) -> None:
    short = shortened(counts, 2000)
    fit = spikefit.POGLM(posterior=posterior, **(QUICK | {"max_epochs": 1} | further)).fit(short)
    assert np.isfinite(fit.std_error[:10, :10]).all()


def test_where_there_are_no_errors_the_fit_without_hidden_units_is_tested(
    counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marginal_errors, "MOST_MULTIPLICATIONS", 1.0)
    fit = spikefit.POGLM(**QUICK).fit(counts)
    assert np.isnan(fit.std_error).all()
    assert np.isnan(fit.ci_low).all()
    assert np.isfinite(fit.q_value[:10, :10][~np.eye(10, dtype=bool)]).all()
    assert fit.metrics["tested_on"] == "fit without hidden units"
    assert any("too many for an information matrix" in warning for warning in fit.warnings)
    plain = spikefit.POGLM(**(QUICK | {"hidden": 0})).fit(counts)
    np.testing.assert_allclose(fit.q_value[:10, :10], plain.q_value, rtol=0.05, atol=1e-6)


def test_where_there_is_too_much_to_do_some_windows_stand_for_all(
    counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the windows: information doubled, so errors are the same but for the scatter of a half."""
    whole = spikefit.POGLM(**QUICK).fit(counts)
    monkeypatch.setattr(marginal_errors, "MOST_MULTIPLICATIONS", 10.5 * 10 * 50 * 23**2)  # 10.5 of 20 windows
    half = spikefit.POGLM(**QUICK).fit(counts)
    ratio = (half.std_error / whole.std_error)[:10, :10]
    assert not np.allclose(ratio, 1)
    assert 0.9 < np.median(ratio) < 1.1


def test_a_short_recording_says_that_it_is_too_short(counts: Counts) -> None:
    fit = spikefit.POGLM(**QUICK).fit(shortened(counts, 400))
    assert np.isnan(fit.std_error).all()
    assert any("too few for errors of" in warning for warning in fit.warnings)
    assert math.isfinite(fit.metrics["heldout_nats_per_bin"])
