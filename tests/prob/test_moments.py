"""Edges and their closed-form moments against quadrature, for temperatures below and above 1."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import integrate

from spikefit.prob import EDGES, Edge, eat_moments, get_edge

TAUS = [0.01, 0.1, 0.5, 1.0, 1.3, 4.0]


def quadrature(edge: Edge, tau: float) -> tuple[float, float, float]:
    """∫h dt, ∫h² dt and the mean derivative ∫h′·t/τ dt over arrival times, by brute force."""

    def step(t: float) -> float:
        u = (1 - t) / tau
        if u < -reach:
            return 0.0
        return float(edge.step(torch.tensor(u, dtype=torch.float64)))

    def slope(t: float) -> float:
        u = (1 - t) / tau
        return float(edge.slope(torch.tensor(u, dtype=torch.float64))) if -reach < u < reach else 0.0

    reach = edge.reach if edge.compact else 40.0
    knots = [t for t in (1 - reach * tau, 1.0) if t > 0]
    end = 1 + reach * tau
    parts = [0.0, *knots, end]

    def whole(f) -> float:
        return sum(
            integrate.quad(f, a, b, epsabs=1e-12, epsrel=1e-12, limit=200)[0] for a, b in itertools.pairwise(parts)
        )

    return whole(step), whole(lambda t: step(t) ** 2), whole(lambda t: slope(t) * t / tau)


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("tau", TAUS)
def test_moments_are_the_integrals(name: str, tau: float) -> None:
    rate = torch.tensor([0.0, 0.3, 7.0], dtype=torch.float64)
    found = eat_moments(rate, edge=name, temperature=tau)
    mean, variance, gradient = quadrature(get_edge(name), tau)
    torch.testing.assert_close(found.mean, rate * mean, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.variance, rate * variance, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.gradient_mean, torch.full_like(rate, gradient), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", EDGES)
def test_slope_is_the_derivative_and_edges_are_symmetric(name: str) -> None:
    edge = get_edge(name)
    u = torch.linspace(-0.99, 0.99, 41, dtype=torch.float64, requires_grad=True)
    edge.step(u).sum().backward()
    assert u.grad is not None
    torch.testing.assert_close(edge.slope(u.detach()), u.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(edge.step(u) + edge.step(-u), torch.ones_like(u))
    if edge.compact:
        beyond = torch.tensor([1.0, 1.5, 1e9], dtype=torch.float64)
        assert edge.step(beyond).tolist() == [1.0, 1.0, 1.0]
        assert edge.slope(beyond).abs().max() < 1e-15
        assert abs(edge.step(torch.tensor([-1.0], dtype=torch.float64)).item()) < 1e-15


def test_the_papers_figures() -> None:
    rate = torch.tensor([2.5], dtype=torch.float64)
    for tau in (0.1, 0.5, 1.0):
        cubic = eat_moments(rate, temperature=tau)
        assert cubic.mean.item() == 2.5
        assert cubic.gradient_mean.item() == 1.0
        assert cubic.variance.item() == pytest.approx(2.5 * (1 - 9 * tau / 35), rel=1e-12)
        sigmoid = eat_moments(rate, edge="sigmoid", temperature=tau)
        assert sigmoid.mean.item() == pytest.approx(2.5 * tau * math.log1p(math.exp(1 / tau)), rel=1e-12)
    assert eat_moments(rate, edge="linear", temperature=0.6).variance.item() == pytest.approx(2.5 * (1 - 0.6 / 3))


def test_moments_are_differentiable() -> None:
    rate = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    moments = eat_moments(rate, edge="sigmoid", temperature=0.7)
    moments.mean.backward()
    assert rate.grad is not None
    assert rate.grad.item() == pytest.approx(moments.gradient_mean.item())


@pytest.mark.parametrize("tau", [0.0, -0.5, float("nan"), float("inf")])
def test_bad_temperature(tau: float) -> None:
    with pytest.raises(ValueError, match="temperature must be finite and above 0"):
        eat_moments(torch.ones(1), temperature=tau)


def test_unknown_edge_lists_the_known() -> None:
    with pytest.raises(ValueError, match="edge must be one of cubic, sigmoid, linear, quintic, cosine, got 'square'"):
        eat_moments(torch.ones(1), edge="square")
