"""At most one spike per bin: probabilities, soft draws and their derivatives against quadrature."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import integrate

from spikefit.prob import get_edge
from spikefit.prob.single import occupancy, sample_occupancy, single_spike_estimator


def first_arrival_mean(rate: float, edge: str, tau: float) -> float:
    """E[h((1 − T)/τ)] with T exponential of that rate."""
    kind = get_edge(edge)

    def density(t: float) -> float:
        u = min(max((1 - t) / tau, -kind.reach), kind.reach)
        return rate * math.exp(-rate * t) * float(kind.step(torch.tensor(u, dtype=torch.float64)))

    knots = [0.0, *(t for t in (1 - tau, 1.0) if t > 0), 1 + min(kind.reach, 30) * tau]
    return sum(integrate.quad(density, a, b)[0] for a, b in itertools.pairwise(knots))


def test_occupancy_keeps_small_rates() -> None:
    rates = torch.tensor([0.0, 1e-12, 0.7, 50.0], dtype=torch.float64)
    assert occupancy(rates).tolist() == pytest.approx([0.0, 1e-12, 1 - math.exp(-0.7), 1.0], rel=1e-12)


@pytest.mark.statistical
@pytest.mark.parametrize("edge", ["cubic", "sigmoid"])
@pytest.mark.parametrize(("rate", "tau"), [(0.2, 0.5), (2.0, 0.3)])
def test_soft_draws_and_their_derivative(seeded, assert_mean, edge: str, rate: float, tau: float) -> None:
    """False alarms: one in a million per case."""
    rates = torch.full((100_000,), rate, dtype=torch.float64, requires_grad=True)
    draws = single_spike_estimator(f"eat-{edge}", temperature=tau).draw(rates, n_draws=1, generator=seeded(1)).counts
    (slope,) = torch.autograd.grad(draws.sum(), rates)
    mean = first_arrival_mean(rate, edge, tau)
    assert_mean(draws, mean)
    step = 1e-4
    derivative = (first_arrival_mean(rate + step, edge, tau) - first_arrival_mean(rate - step, edge, tau)) / (2 * step)
    assert_mean(slope, derivative)
    with pytest.raises(AssertionError):
        assert_mean(draws, 1.05 * mean)


@pytest.mark.statistical
def test_whole_draws_and_cold_gumbel_draws(seeded, assert_mean) -> None:
    """False alarms: one in a million."""
    rates = torch.full((100_000,), 0.4, dtype=torch.float64)
    expected = 1 - math.exp(-0.4)
    assert_mean(sample_occupancy(rates, seeded(2)), expected)
    cold = single_spike_estimator("gsm", temperature=1e-3).draw(rates, n_draws=1, generator=seeded(3)).counts
    assert_mean(cold, expected)
    with pytest.raises(AssertionError):
        assert_mean(cold, expected + 0.02)


@pytest.mark.parametrize("name", ["eat-cubic", "gsm"])
def test_no_rate_and_large_rates_stay_finite(seeded, name: str) -> None:
    rates = torch.tensor([0.0, 1e-30, 1e6], requires_grad=True)
    draws = single_spike_estimator(name, temperature=0.5).draw(rates, n_draws=50, generator=seeded(4)).counts
    draws.sum().backward()
    assert rates.grad is not None
    assert torch.isfinite(draws).all()
    assert torch.isfinite(rates.grad).all()


def test_other_estimators_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be eat-…, gsm, score or exact, got 'reparam'"):
        single_spike_estimator("reparam", temperature=0.5)


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["score", "exact"])
def test_the_unbiased_ones_have_the_derivative_of_the_probability(seeded, assert_mean, name: str) -> None:
    """Of E[(z − 0.3)²·a + b·z] in λ; false alarms: one in a million."""
    rates = torch.full((50_000,), 0.6, dtype=torch.float64, requires_grad=True)
    draws = single_spike_estimator(name, temperature=0.5).draw(rates, n_draws=2, generator=seeded(7))
    objective = 1.7 * (draws.counts - 0.3).square() - 0.2 * draws.counts
    effect = torch.full_like(draws.counts, 1.7 * (0.49 - 0.09) - 0.2)
    (slope,) = torch.autograd.grad(objective.mean(0).sum() + draws.correction(objective, effect), rates)
    expected = effect[0, 0].item() * math.exp(-0.6)
    if name == "exact":
        torch.testing.assert_close(slope, torch.full_like(slope, expected), rtol=1e-12, atol=0)
    else:
        assert_mean(slope, expected)
        with pytest.raises(AssertionError):
            assert_mean(slope, 1.1 * expected)
