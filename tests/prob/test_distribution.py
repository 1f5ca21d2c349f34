"""SoftPoisson behaves as a distribution of torch."""

from __future__ import annotations

import pytest
import torch

from spikefit.prob import SoftPoisson, eat_counts, poisson_log_prob


def test_rsample_is_eat_counts_and_differentiable(seeded) -> None:
    rate = torch.tensor([0.5, 3.0], requires_grad=True)
    draws = SoftPoisson(rate, edge="linear", temperature=0.3, generator=seeded(1)).rsample((7,))
    assert draws.shape == (7, 2)
    expected = eat_counts(rate.detach().expand(7, 2), edge="linear", temperature=0.3, generator=seeded(1))
    assert torch.equal(draws.detach(), expected)
    draws.sum().backward()
    assert rate.grad is not None


@pytest.mark.statistical
def test_moments_are_those_of_the_draws(seeded, assert_mean) -> None:
    """False alarms: three in two million."""
    law = SoftPoisson(torch.tensor(2.0, dtype=torch.float64), edge="sigmoid", temperature=0.8, generator=seeded(2))
    draws = law.sample((100_000,))
    assert_mean(draws, law.mean.item())
    assert_mean((draws - law.mean).square(), law.variance.item())
    assert law.stddev.item() == pytest.approx(law.variance.item() ** 0.5)
    assert_mean(law.sample_counts((100_000,)), 2.0)
    with pytest.raises(AssertionError):
        assert_mean(draws, 2.0)  # the sigmoid's mean is off


def test_log_rates_and_log_prob() -> None:
    log_rate = torch.tensor([-0.3, 1.2], dtype=torch.float64, requires_grad=True)
    law = SoftPoisson(log_rate=log_rate)
    value = torch.tensor([0.0, 2.5], dtype=torch.float64)
    torch.testing.assert_close(law.log_prob(value), poisson_log_prob(log_rate.exp(), value))
    assert law.log_rate is log_rate
    torch.testing.assert_close(SoftPoisson(log_rate.exp()).log_rate, log_rate)
    assert law.support.check(value).all()
    with pytest.raises(ValueError, match="support"):
        law.log_prob(torch.tensor([-1.0, 0.0], dtype=torch.float64))


def test_expand_repr_and_independent(seeded) -> None:
    law = SoftPoisson(torch.tensor([0.5, 3.0]), temperature=0.2, generator=seeded(0)).expand((4, 2))
    assert law.batch_shape == (4, 2)
    assert law.temperature == 0.2
    assert law.rsample().shape == (4, 2)
    assert torch.distributions.Independent(law, 1).log_prob(torch.ones(4, 2)).shape == (4,)
    assert "SoftPoisson" in repr(law)


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="either rate or log_rate"):
        SoftPoisson()
    with pytest.raises(TypeError, match="either rate or log_rate"):
        SoftPoisson(torch.ones(1), torch.ones(1))
    with pytest.raises(ValueError, match=r"rate must lie in \[0, 1e\+09\], got -1"):
        SoftPoisson(torch.tensor([-1.0]))
    with pytest.raises(ValueError, match=r"exp\(log_rate\) must lie in"):
        SoftPoisson(log_rate=torch.tensor([800.0]))
    with pytest.raises(ValueError, match="edge must be one of"):
        SoftPoisson(torch.ones(1), edge="step")
