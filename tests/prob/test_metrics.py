"""Fidelity and gradient metrics on cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from spikefit.prob import gradient_quality, sample_poisson, wasserstein_floor, wasserstein_to_poisson
from spikefit.prob.fidelity import poisson_distribution_function


def test_wasserstein_of_a_constant_is_the_mean_distance() -> None:
    counts = torch.arange(60, dtype=torch.float64)
    below = poisson_distribution_function(counts, 2.0)
    probabilities = below.diff(prepend=torch.zeros(1, dtype=torch.float64))
    for constant in (0.0, 1.3, 2.0, 7.5):
        expected = float((probabilities * (counts - constant).abs()).sum())
        assert wasserstein_to_poisson(torch.full((9,), constant, dtype=torch.float64), 2.0) == pytest.approx(
            expected, abs=1e-9
        )


def test_wasserstein_sees_a_shift(seeded) -> None:
    draws = sample_poisson(torch.full((50_000,), 3.0), seeded(0))
    floor = wasserstein_floor(3.0, 50_000)
    near = wasserstein_to_poisson(draws, 3.0)
    assert 0.2 * floor < near < 4 * floor
    assert wasserstein_to_poisson(draws + 0.25, 3.0) == pytest.approx(0.25, abs=4 * floor)
    assert wasserstein_to_poisson(torch.zeros(5), 0.0) == 0.0


def test_the_floor_is_the_mean_distance_of_poisson_draws(seeded) -> None:
    found = [wasserstein_to_poisson(sample_poisson(torch.full((2000,), 4.0), seeded(k)), 4.0) for k in range(60)]
    assert sum(found) / 60 == pytest.approx(wasserstein_floor(4.0, 2000), rel=0.2)


@pytest.mark.parametrize(
    ("draws", "rate", "words"),
    [
        (torch.empty(0), 1.0, "draws is empty"),
        (torch.tensor([float("nan")]), 1.0, "draws must be finite"),
        (torch.ones(3), -1.0, "expected_count must lie in"),
    ],
)
def test_bad_draws(draws: torch.Tensor, rate: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wasserstein_to_poisson(draws, rate)


@pytest.mark.statistical
def test_gradient_quality_recovers_known_bias_and_noise(seeded) -> None:
    exact = torch.tensor([3.0, 4.0], dtype=torch.float64)
    bias = torch.tensor([0.5, 0.0], dtype=torch.float64)
    spread = torch.tensor([2.0, 1.0], dtype=torch.float64)
    hessian = torch.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=torch.float64)
    noise = torch.randn(400_000, 2, dtype=torch.float64, generator=seeded(0)) * spread
    found = gradient_quality(exact + bias + noise, exact, hessian)
    assert found.relative_bias == pytest.approx(0.5 / 5, rel=0.05)
    assert found.relative_noise == pytest.approx(math.sqrt(5) / 5, rel=0.01)
    assert found.signal_to_noise == pytest.approx(25 / 5, rel=0.02)
    assert found.bias_energy == pytest.approx(0.5 * 2.0 * 0.25, rel=0.1)
    assert found.noise_energy == pytest.approx(0.5 * (2.0 * 4 + 1.0 * 1), rel=0.02)
    expected = float((exact + bias) @ exact / ((exact + bias).norm() * 5))
    assert found.cosine_of_mean == pytest.approx(expected, abs=1e-3)
    assert 0.5 < found.mean_cosine < found.cosine_of_mean


def test_an_exact_estimator_is_perfect() -> None:
    exact = torch.tensor([3.0, -4.0])
    found = gradient_quality(exact.expand(5, 2), exact, torch.eye(2))
    assert found.relative_bias == found.relative_noise == found.bias_energy == found.noise_energy == 0
    assert found.cosine_of_mean == pytest.approx(1)
    assert found.signal_to_noise == float("inf")


def test_unbiased_noise_is_not_called_bias(seeded) -> None:
    exact = torch.ones(50)
    noisy = exact + 3 * torch.randn(100, 50, generator=seeded(0))
    found = gradient_quality(noisy, exact)
    assert found.relative_bias < 0.2  # the naive figure would be 0.3
    assert math.isnan(found.bias_energy)


@pytest.mark.parametrize(
    ("gradients", "exact", "words"),
    [
        (torch.ones(1, 2), torch.ones(2), "at least 2 draws"),
        (torch.ones(3, 2), torch.zeros(2), "exact is zero"),
        (torch.full((3, 2), float("nan")), torch.ones(2), "must be finite"),
    ],
)
def test_bad_gradients(gradients: torch.Tensor, exact: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gradient_quality(gradients, exact)
