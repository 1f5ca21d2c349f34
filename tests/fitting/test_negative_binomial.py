"""Counts that scatter more than Poisson ones: against SciPy in float64, and in the limit of none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import minimize, minimize_scalar

import spikefit
from spikefit.errors import ConfigError
from spikefit.fitting.design import Design
from spikefit.fitting.fit import fit_network
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import dispersion_of, glm_log_likelihood
from spikefit.fitting.problem import dispersion_about, pose_problem
from spikefit.fitting.scores import describe_blocks, glm_nats
from spikefit.fitting.settings import FitSettings
from spikefit.models.likelihood import log_likelihood
from spikefit.models.link import LINKS
from spikefit.predictive import free_runs
from spikefit.spikes import Counts

CPU = torch.device("cpu")
Settings = Callable[..., FitSettings]
ALPHA = np.array([0.2, 1.0, 3.0])


def logpmf(x: np.ndarray, mean: np.ndarray, alpha: np.ndarray | float) -> np.ndarray:
    """SciPy's law: n = 1/α successes, each with probability 1 / (1 + αμ)."""
    return np.asarray(stats.nbinom.logpmf(x, 1 / alpha, 1 / (1 + alpha * mean)))


def scattered(seed: int, *, alpha: np.ndarray | None = ALPHA, n_bins: int = 6000) -> Counts:
    """Three units, the first of which drives the second; Poisson ones where `alpha` is None."""
    rng = np.random.default_rng(seed)
    counts, trace = np.zeros((n_bins, 3), dtype=np.uint8), 0.0
    for t in range(n_bins):
        mean = np.logaddexp(0, np.array([-0.5, -1.0 + 0.8 * trace, -0.7]))
        if alpha is not None:
            mean = mean * rng.gamma(1 / alpha, alpha)
        counts[t] = rng.poisson(mean)
        trace = 0.5 * trace + counts[t, 0]
    return Counts(np.asfortranarray(counts), 0.01, np.array([0, n_bins]), np.array([0.0]), ("a", "b", "c"))


@pytest.mark.parametrize("link", ["softplus", "exp", "sigmoid"])
def test_likelihood_and_gradients_are_those_of_scipy(link: str) -> None:
    generator = torch.Generator().manual_seed(0)
    drive = torch.randn(2, 3, 2, 4, 5, dtype=torch.float64, generator=generator).requires_grad_()
    alpha = torch.tensor([[0.01, 0.4, 2.0, 9.0], [1e-4, 1.0, 3.0, 0.1]], dtype=torch.float64).requires_grad_()
    counts = torch.poisson(torch.full((3, 4, 5), 1.5, dtype=torch.float64), generator=generator)
    scored = torch.rand(3, 5, generator=generator) < 0.7
    found = log_likelihood(drive, counts, scored, link, alpha)
    mean = LINKS[link](drive.detach())[0].numpy()
    x = counts.numpy()[None, :, None]
    each = logpmf(x, mean, alpha.detach().numpy()[:, :, None])
    each = each + np.vectorize(lambda k: float(stats.poisson.logpmf(k, 1.0)) * -1 - 1)(x)  # log x!
    wanted = (each * scored.numpy()[None, :, None, None]).sum(-1)
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-7, atol=1e-9)

    def total(drive: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        return log_likelihood(drive, counts, scored, link, alpha).sum((0, 1))

    assert torch.autograd.gradcheck(total, (drive, alpha), eps=1e-6, atol=1e-4)


def test_without_scatter_it_is_the_poisson_law() -> None:
    generator = torch.Generator().manual_seed(1)
    drive = torch.randn(1, 2, 1, 3, 50, generator=generator)
    counts = torch.poisson(torch.full((2, 3, 50), 0.8), generator=generator)
    poisson = log_likelihood(drive, counts, None, "softplus")
    alike = log_likelihood(drive, counts, None, "softplus", torch.full((1, 3), 1e-6))
    torch.testing.assert_close(alike, poisson, rtol=1e-5, atol=1e-4)  # float32
    apart = log_likelihood(drive, counts, None, "softplus", torch.full((1, 3), 0.5))
    assert (apart - poisson).abs().min() > 0.1


def test_the_optimum_is_that_of_scipy(tiny_settings: Settings) -> None:
    problem = pose_problem(scattered(0, n_bins=1500), tiny_settings(), CPU)
    design = Design(problem.counts, problem.split.everything, problem.basis)
    alpha = torch.from_numpy(ALPHA)
    poisson = fit_glm(design, ridge=2.0)
    fit = fit_glm(design, ridge=2.0, dispersion=alpha, tolerance_nats=1e-6, start=poisson)
    x = np.concatenate([features.double().numpy() for features, _ in design.blocks()], axis=1)
    y = np.concatenate([targets.double().numpy() for _, targets in design.blocks()], axis=1)
    for unit in range(3):

        def loss(p: np.ndarray, unit: int = unit) -> float:
            mean = np.logaddexp(0, p[:-1] @ x + p[-1])
            return float(np.square(p[:-1]).sum() - logpmf(y[unit], mean, ALPHA[unit]).sum())

        best = minimize(loss, np.append(poisson.weights[unit], poisson.baseline[unit]), method="BFGS")
        found = np.append(fit.weights[unit].numpy(), fit.baseline[unit].numpy())
        assert loss(found) - best.fun < 2e-4
        np.testing.assert_allclose(found, best.x, atol=5e-3)
        whole = glm_log_likelihood(design, fit)[unit].item()
        assert -whole + np.square(found[:-1]).sum() == pytest.approx(loss(found), rel=1e-6)
    assert not torch.allclose(fit.weights, poisson.weights, atol=5e-3)  # the other law's optimum lies elsewhere


def test_windows_and_constant_rates_are_scored_by_the_same_law(tiny_settings: Settings) -> None:
    counts = scattered(1, n_bins=1200)
    problem = pose_problem(counts, tiny_settings(count_law="negative-binomial"), CPU)
    design = Design(problem.counts, problem.split.everything, problem.basis)
    fit = fit_glm(design, ridge=1.0, dispersion=torch.from_numpy(ALPHA))
    windows = problem.windows(problem.split.everything, 130)
    nats = glm_nats(fit, windows, problem.basis, "softplus")
    assert problem.constant_dispersion is not None
    blocks = describe_blocks(windows, problem.mean_count, problem.constant_dispersion)
    whole = glm_log_likelihood(design, fit).sum().item()
    assert (nats - blocks.factorials).sum().item() == pytest.approx(whole, rel=1e-5)
    scored = np.concatenate([counts.counts[a:b] for a, b in problem.split.everything])
    null = logpmf(scored, problem.mean_count.numpy(), problem.constant_dispersion.numpy()).sum()
    assert (blocks.null_nats - blocks.factorials).sum().item() == pytest.approx(null, rel=1e-9)


def test_the_dispersion_is_the_likeliest_one(tiny_settings: Settings) -> None:
    problem = pose_problem(scattered(2, n_bins=3000), tiny_settings(), CPU)
    design = Design(problem.counts, problem.split.everything, problem.basis)
    fit = fit_glm(design, ridge=1.0)
    found = dispersion_of(design, fit, link="softplus").numpy()
    for unit in range(3):
        parts = [(f, y) for f, y in design.blocks()]
        drive = np.concatenate([(fit.weights.float() @ f + fit.baseline.float()[:, None])[unit] for f, _ in parts])
        x = np.concatenate([y[unit] for _, y in parts]).astype(np.float64)
        mean = np.logaddexp(0, drive.astype(np.float64))
        best = minimize_scalar(
            lambda log_alpha, x=x, mean=mean: -logpmf(x, mean, np.exp(log_alpha)).sum(),
            bounds=(-8, 4),
            method="bounded",
            options={"xatol": 1e-6},
        )
        assert found[unit] == pytest.approx(np.exp(best.x), rel=2e-3)  # means in cells of 1 %
    flat = torch.full((3,), 0.7, dtype=torch.float64)
    about = dispersion_about(problem.counts, np.array([[0, 3000]]), flat).numpy()
    x = problem.counts.numpy().astype(np.float64)
    best = minimize_scalar(lambda a: -logpmf(x[1], np.array(0.7), np.exp(a)).sum(), bounds=(-8, 4), method="bounded")
    assert about[1] == pytest.approx(np.exp(best.x), rel=1e-3)


@pytest.mark.statistical
def test_scatter_is_found_where_it_is_and_nowhere_else(tiny_settings: Settings) -> None:
    """Over ten other seeds log α had standard deviations of 0.26, 0.08 and 0.04; the bounds are five of those.

    Poisson counts are the twin; over the same seeds the largest of their dispersions was 0.08.
    """
    settings = tiny_settings(count_law="negative-binomial")
    fit = fit_network(scattered(3), settings, device=CPU)
    assert (np.abs(np.log(fit.parameters["dispersion"] / ALPHA)) < 5 * np.array([0.26, 0.08, 0.042])).all()
    poisson = fit_network(scattered(3), tiny_settings(), device=CPU)
    assert fit.metrics["heldout_nats_per_bin"] > poisson.metrics["heldout_nats_per_bin"] + 0.1
    plain = fit_network(scattered(4, alpha=None), settings, device=CPU)
    assert (plain.parameters["dispersion"] < 0.15).all()
    same = fit_network(scattered(4, alpha=None), tiny_settings(), device=CPU)
    assert plain.metrics["heldout_nats_per_bin"] == pytest.approx(same.metrics["heldout_nats_per_bin"], abs=0.002)
    np.testing.assert_allclose(plain.coupling_filters, same.coupling_filters, atol=0.05)


@pytest.mark.slow
def test_hidden_units_learn_it_too(tiny_settings: Settings) -> None:
    settings = tiny_settings(count_law="negative-binomial", hidden=(1,), restarts=1, family="categorical")
    fit = fit_network(scattered(5, n_bins=3000), settings, device=CPU)
    found = np.exp(fit.parameters["log_dispersion"])
    assert found.shape == (3,)
    np.testing.assert_allclose(np.log(found), np.log(ALPHA), atol=1.0)
    poisson = fit_network(scattered(5, n_bins=3000), dataclasses.replace(settings, count_law="poisson"), device=CPU)
    assert fit.metrics["heldout_nats_per_bin"] > poisson.metrics["heldout_nats_per_bin"] + 0.05


def test_a_result_says_so_scores_again_and_runs_free_with_it() -> None:
    counts = scattered(6)
    settings: dict[str, Any] = {"bin": "10ms", "window": "50ms", "functions": 2, "device": "cpu", "common_drive": "off"}
    fit = spikefit.POGLM(count_law="negative-binomial", **settings).fit(counts)
    assert fit.metrics["count_law"] == "negative-binomial"
    alpha = [row.columns["dispersion"] for row in fit.unit_rows]
    assert "ks_units_tested" not in fit.metrics
    assert any("goodness of fit was not computed" in text for text in fit.warnings)
    score = fit.score(counts)
    assert score["nats_per_bin"] == pytest.approx(fit.metrics["elbo_per_bin"], rel=1e-6)
    # Runs of one bin from one place: the scatter of their counts is that of the law, not a Poisson law's.
    runs = free_runs(fit, counts, np.full(20_000, 500), 1, seed=0).rate_hz * 0.01
    mean, variance = runs.mean(axis=0), runs.var(axis=0)
    np.testing.assert_allclose(variance, mean + np.array(alpha) * mean**2, rtol=0.15)
    assert variance[2] > 1.5 * mean[2]


def test_the_exact_estimator_is_for_poisson_counts() -> None:
    with pytest.raises(ConfigError, match="with negative-binomial ones take eat-cubic, gsm or score"):
        spikefit.Config().replace(estimator="exact", count_law="negative-binomial", hidden=1)


@pytest.mark.parametrize("count_law", ["poisson", "negative-binomial"])
def test_the_course_of_a_fit_ends_at_its_likelihood(tiny_settings: Settings, count_law: str) -> None:
    """In nats per bin, as the likelihood itself; hardly any penalty stands between the two."""
    fit = fit_network(scattered(0), tiny_settings(count_law=count_law, ridge=1e-6), device=CPU)
    assert fit.history["objective"][-1] == pytest.approx(fit.metrics["elbo_per_bin"], abs=1e-4)
