"""EAT draws: their law against simulating every arrival, their extremes, their repeatability, and bad input."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from scipy import stats
from torch import Tensor

from spikefit.prob import EDGES, eat_counts, eat_moments, get_edge
from spikefit.prob import arrivals as arrivals_module
from spikefit.prob.checks import check_generator
from spikefit.prob.sparse import CPU, GPU, Schedule, draw_into

SMALL_BLOCKS = Schedule(latents_at_once=1 << 12, points_at_once=1 << 14, on_host=False, whole_sums=True)


def simulate(rates: Tensor, edge: str, tau: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Value and derivative by simulating every arrival up to where the edge has ended, in float64."""
    kind = get_edge(edge)
    latest = 1 + kind.reach * tau
    n_arrivals = int(stats.poisson.isf(1e-12, float(rates.max()) * latest)) + 2
    gaps = torch.empty(n_arrivals, rates.numel(), dtype=torch.float64).exponential_(generator=generator)
    times = gaps.cumsum(0) / rates.double()
    u = ((1 - times) / tau).clamp(min=-kind.reach)
    counted = times < latest
    value = (kind.step(u) * counted).sum(0)
    slope = (kind.slope(u) * times * counted).sum(0) / (rates.double() * tau)
    return value, slope


def draw(rates: Tensor, edge: str, tau: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    leaf = rates.clone().requires_grad_()
    value = eat_counts(leaf, edge=edge, temperature=tau, generator=generator)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope


@pytest.mark.statistical
@pytest.mark.parametrize("tau", [0.01, 0.3, 1.0])
@pytest.mark.parametrize(
    ("rate", "n_draws"),
    [(1e-4, 500_000), (0.02, 100_000), (0.9, 40_000), (6.0, 20_000), (40.0, 6_000), (1e3, 1_000)],
)
def test_joint_law_is_that_of_every_arrival(seeded, assert_same_law, rate: float, n_draws: int, tau: float) -> None:
    """False alarms: one in 10⁵ for each of the 18 cases."""
    rates = torch.full((n_draws,), rate, dtype=torch.float64)
    ours = torch.stack(draw(rates, "cubic", tau, seeded(11)), 1)
    every = torch.stack(simulate(rates, "cubic", tau, seeded(12)), 1)
    assert_same_law(ours, every)


@pytest.mark.statistical
@pytest.mark.parametrize("edge", [edge for edge in EDGES if edge != "cubic"])
@pytest.mark.parametrize(("rate", "tau"), [(0.3, 0.5), (5.0, 0.04), (8.0, 1.0)])
def test_joint_law_of_the_other_edges(seeded, assert_same_law, edge: str, rate: float, tau: float) -> None:
    """False alarms: one in 10⁵ for each of the 12 cases."""
    rates = torch.full((6_000 if edge == "sigmoid" else 20_000,), rate, dtype=torch.float64)
    ours = torch.stack(draw(rates, edge, tau, seeded(21)), 1)
    every = torch.stack(simulate(rates, edge, tau, seeded(22)), 1)
    assert_same_law(ours, every)


@pytest.mark.statistical
def test_the_law_test_can_see(seeded, assert_same_law) -> None:
    """The twins that must fail: a 5 % wrong rate, a slightly wrong edge, and a derivative torn from its value."""
    rates = torch.full((30_000,), 6.0, dtype=torch.float64)
    every = torch.stack(simulate(rates, "cubic", 0.3, seeded(12)), 1)
    with pytest.raises(AssertionError):
        assert_same_law(torch.stack(draw(1.05 * rates, "cubic", 0.3, seeded(11)), 1), every)
    with pytest.raises(AssertionError):
        assert_same_law(torch.stack(draw(rates, "quintic", 0.3, seeded(11)), 1), every)
    torn = torch.stack(draw(rates, "cubic", 0.3, seeded(11)), 1)
    torn[:, 1] = torn[torch.randperm(len(torn), generator=seeded(1)), 1]
    with pytest.raises(AssertionError):
        assert_same_law(torn, every)


@pytest.mark.statistical
@pytest.mark.parametrize("schedule", [CPU, GPU, SMALL_BLOCKS], ids=["cpu", "gpu", "small-blocks"])
@pytest.mark.parametrize("tau", [0.1, 0.6])
def test_mixed_rates_keep_their_own_law(seeded, assert_same_law, schedule: Schedule, tau: float) -> None:
    """Neighbours over five orders of magnitude, on every schedule. False alarms: one in 10⁵ for each of 24 cases."""
    kinds = torch.tensor([0.0, 1e-3, 0.4, 1.7, 12.0, 35.0, 60.0, 500.0], dtype=torch.float64)
    n_each = 2000
    rates = kinds.repeat(n_each)
    value, slope = torch.empty_like(rates), torch.empty_like(rates)
    draw_into(value, slope, rates, get_edge("cubic"), tau, seeded(31), schedule)
    value, slope = value.view(n_each, -1), slope.view(n_each, -1)
    assert not value[:, 0].any()
    assert not slope[:, 0].any()
    for column in (2, 3, 4, 5, 6):
        every = torch.stack(simulate(rates.view(n_each, -1)[:, column], "cubic", tau, seeded(40 + column)), 1)
        assert_same_law(torch.stack([value[:, column], slope[:, column]], 1), every)
    large = kinds[-1].item()
    z = (value[:, -1].mean().item() - large) / math.sqrt(large * (1 - 9 * tau / 35) / n_each)
    assert abs(z) < 5


@pytest.mark.statistical
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("tau", [0.05, 0.5, 1.0, 1.6])
@pytest.mark.parametrize("rate", [0.05, 12.0])
def test_moments_of_draws_in_float32(seeded, assert_mean, edge: str, tau: float, rate: float) -> None:
    """Mean, variance and mean derivative are the closed forms. False alarms: three in two million per case."""
    # The sigmoid's wide band makes its draws many times dearer.
    rates = torch.full((6_000 if edge == "sigmoid" else 30_000,), rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        value, slope = draw(rates, edge, tau, seeded(5))
    expected = eat_moments(rates[:1], edge=edge, temperature=tau)
    assert value.dtype == slope.dtype == torch.float32
    assert_mean(value, expected.mean.item())
    assert_mean((value - expected.mean).square(), expected.variance.item())
    assert_mean(slope, expected.gradient_mean.item())
    with pytest.raises(AssertionError):
        assert_mean(value, 1.4 * expected.mean.item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("edge", EDGES)
def test_extreme_rates_stay_finite(seeded, edge: str, dtype: torch.dtype) -> None:
    large = 1e5 if edge == "sigmoid" else 1e6
    rates = torch.tensor([0.0, 1e-38, 1e-30, 1e-8, 1.0, large], dtype=dtype)
    for some, tau in [
        (rates, 1e-6),
        (rates, 0.1),
        (rates[:4], 0.5),
        (rates[:4], 1.0),
        (rates[:1], 0.5),
        (rates[4:], 0.05),
    ]:
        value, slope = draw(some, edge, tau, seeded(1))
        assert torch.isfinite(value).all()
        assert torch.isfinite(slope).all()
        assert not value[some == 0].any()
        assert not slope[some == 0].any()
        expected = eat_moments(rates[-1:], edge=edge, temperature=tau).mean
        assert ((value[some == large] / expected - 1).abs() < 6 / large**0.5).all()


def test_tiny_rates_beside_large_ones_never_fire_wrongly(seeded) -> None:
    rates = torch.full((200_000,), 1e-30)
    rates[::2] = 3.0
    value, slope = draw(rates, "cubic", 0.5, seeded(2))
    assert not value[1::2].any()
    assert not slope[1::2].any()


@pytest.mark.parametrize("schedule", [CPU, GPU], ids=["cpu", "gpu"])
def test_a_seed_repeats_bit_for_bit(seeded, schedule: Schedule) -> None:
    rates = torch.rand(50_000, generator=seeded(0)) * 4
    drawn = []
    for seed in (7, 7, 8):
        value, slope = torch.empty_like(rates), torch.empty_like(rates)
        draw_into(value, slope, rates, get_edge("cubic"), 0.5, seeded(seed), schedule)
        drawn.append((value, slope))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert not torch.equal(drawn[0][0], drawn[2][0])


def test_draws_without_gradient_are_the_same_draws(seeded) -> None:
    rates = torch.rand(3, 400, 5, generator=seeded(0))
    with_gradient = eat_counts(rates.clone().requires_grad_(), generator=seeded(9))
    without = eat_counts(rates, generator=seeded(9))
    with torch.no_grad():
        switched_off = eat_counts(rates.clone().requires_grad_(), generator=seeded(9))
    assert with_gradient.requires_grad
    assert not without.requires_grad
    assert not switched_off.requires_grad
    assert torch.equal(with_gradient.detach(), without)
    assert torch.equal(switched_off, without)


def test_shapes_strides_and_scalars(seeded) -> None:
    rates = torch.rand(6, 4, generator=seeded(0)).T.requires_grad_()
    value = eat_counts(rates, generator=seeded(1))
    assert value.shape == (4, 6)
    value.sum().backward()
    repeated = torch.rand(5, generator=seeded(0)).expand(3, 5)
    assert eat_counts(repeated, generator=seeded(1)).shape == (3, 5)
    assert eat_counts(torch.tensor(2.0), generator=seeded(1)).shape == ()


@pytest.mark.statistical
def test_the_gradient_flows_through_a_model(seeded, assert_mean) -> None:
    """∂E[Σ a·z²]/∂θ with λ = exp(θ), against E[z²] = m² + v. False alarms: one in two million."""
    theta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    rates = theta.exp().expand(200_000)
    value = eat_counts(rates, temperature=0.4, generator=seeded(3))
    (slopes,) = torch.autograd.grad(value.square().sum(), rates)
    per_draw = slopes * rates.detach()
    rate = math.exp(0.7)
    assert_mean(per_draw, rate * (2 * rate + 1 - 9 * 0.4 / 35))
    with pytest.raises(AssertionError):
        assert_mean(per_draw, rate * (2 * rate + 1))  # the gradient of a true Poisson's second moment


def test_devices_without_float64_draw_on_the_cpu(seeded, assert_mean, monkeypatch) -> None:
    monkeypatch.setattr(arrivals_module, "_DRAWN_IN_PLACE", ())
    rates = torch.full((50_000,), 1.3)
    value, slope = draw(rates, "cubic", 0.5, seeded(4))
    assert_mean(value, 1.3)
    assert_mean(slope, 1.0)
    again, _ = draw(rates, "cubic", 0.5, seeded(4))
    assert torch.equal(value, again)


def test_a_temperature_above_one_says_how_far_off_it_is() -> None:
    with pytest.warns(UserWarning, match=r"temperature 2 is above 1.*mean of eat-cubic is 1\.055 times"):
        eat_counts(torch.ones(3), temperature=2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eat_counts(torch.ones(3), temperature=1.0)
        eat_counts(torch.ones(3), edge="sigmoid", temperature=2.0)


BAD_RATES = [
    (torch.tensor([0.5, -1e-3]), ValueError, r"expected_count must lie in \[0, 1e\+09\], got -0.001"),
    (torch.tensor([float("nan"), 1.0]), ValueError, "expected_count must lie in .* got nan"),
    (torch.tensor([float("inf")]), ValueError, "expected_count must lie in .* got inf"),
    (torch.tensor([2e9]), ValueError, r"got 2e\+09"),
    (torch.tensor([1, 2]), TypeError, "expected_count must be float32 or float64, got torch.int64"),
    (torch.tensor([1.0]).half(), TypeError, "got torch.float16"),
    (torch.empty(4, 0), ValueError, "expected_count is empty"),
]


@pytest.mark.parametrize(("bad", "kind", "words"), BAD_RATES)
def test_bad_rates_are_named(bad: Tensor, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        eat_counts(bad)


@pytest.mark.parametrize("bad", [-1e-3, float("nan"), float("inf"), 2e9])
def test_bad_rates_are_refused_without_a_look_at_the_values_first(seeded, bad: float) -> None:
    rates = torch.tensor([1.0, bad])
    with pytest.raises(ValueError, match="expected_count must lie in"):
        draw_into(torch.empty(2), None, rates, get_edge("cubic"), 0.5, seeded(0), GPU)


def test_other_bad_arguments() -> None:
    rates = torch.ones(2)
    with pytest.raises(ValueError, match="temperature must be finite and above 0, got 0"):
        eat_counts(rates, temperature=0.0)
    with pytest.raises(ValueError, match="edge must be one of"):
        eat_counts(rates, edge="cube")
    with pytest.raises(TypeError):
        eat_counts([1.0, 2.0])
    with pytest.raises(TypeError):
        eat_counts(rates, temperature="warm")
    with pytest.raises(TypeError):
        eat_counts(rates, generator=3)


def test_a_generator_of_another_device_is_refused(seeded) -> None:
    with pytest.raises(ValueError, match="generator is on cpu but expected_count is on cuda:0"):
        check_generator(seeded(0), torch.device("cuda", 0))
    check_generator(seeded(0), torch.device("cpu"))


def test_second_derivatives_are_refused(seeded) -> None:
    rates = torch.ones(3, requires_grad=True)
    value = eat_counts(rates, generator=seeded(0)).square().sum()
    (slope,) = torch.autograd.grad(value, rates, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
