"""Gumbel-softmax: the cold limit is the truncated law, warm draws keep an exact reference, derivatives stay finite."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from spikefit.prob import (
    CategoricalLaw,
    ComPoissonLaw,
    CountLaw,
    NegativeBinomialLaw,
    PoissonLaw,
    gsm_counts,
    gsm_law_counts,
)

N = 60_000


def many(value: float) -> torch.Tensor:
    return torch.full((N,), value, dtype=torch.float64)


LAWS = [
    PoissonLaw(many(1.3)),
    NegativeBinomialLaw(many(1.3), torch.tensor(0.8, dtype=torch.float64)),
    ComPoissonLaw(many(1.3), torch.tensor(1.7, dtype=torch.float64)),
    CategoricalLaw(torch.log(torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64))[:, None].expand(3, N)),
]


@pytest.mark.statistical
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize(("straight_through", "temperature"), [(False, 1e-3), (True, 0.7)])
def test_cold_and_straight_through_draws_follow_the_law(
    seeded, law: CountLaw, straight_through: bool, temperature: float
) -> None:
    """Chi-square against the law's own probabilities. False alarms: one in a million for each of 8 cases."""
    draws = gsm_law_counts(law, temperature=temperature, straight_through=straight_through, generator=seeded(2))
    whole = draws.round()
    assert (
        (draws - whole).abs().max() == 0 if straight_through else ((draws - whole).abs() < 1e-3).double().mean() > 0.98
    )

    def p_value(probabilities: torch.Tensor) -> float:
        keep = probabilities * N > 5
        observed = torch.bincount(whole.long(), minlength=law.max_count + 1)[: law.max_count + 1].double()
        expected = probabilities * N
        pooled = ((observed - expected)[keep] ** 2 / expected[keep]).sum()
        return float(stats.chi2.sf(pooled.item(), int(keep.sum()) - 1))

    truth = law.log_probs().exp()[:, 0]
    assert p_value(truth) > 1e-6
    tilted = truth * 1.05 ** torch.arange(law.max_count + 1)
    assert p_value(tilted / tilted.sum()) < 1e-6  # the twin that must fail


@pytest.mark.statistical
def test_two_counts_have_a_known_warm_law(seeded) -> None:
    """With two counts z = logistic((log-odds + L)/τ), L logistic: its median is logistic(log-odds/τ)."""
    odds = 0.8
    law = CategoricalLaw(torch.tensor([0.0, odds], dtype=torch.float64)[:, None].expand(2, N))
    draws = gsm_law_counts(law, temperature=0.6, generator=seeded(3))
    standardised = torch.logit(draws) * 0.6 - odds
    finite = standardised[torch.isfinite(standardised)]
    assert stats.kstest(finite.numpy(), "logistic").pvalue > 1e-6  # false alarms: one in a million
    assert stats.kstest((finite + 0.05).numpy(), "logistic").pvalue < 1e-6


def test_derivative_is_that_of_the_same_noise(seeded) -> None:
    rate = torch.tensor([0.0, 1e-30, 0.4, 3.0], dtype=torch.float64)

    def draw(values: torch.Tensor) -> torch.Tensor:
        return gsm_counts(values, temperature=0.5, max_count=12, generator=seeded(4))

    leaf = rate.clone().requires_grad_()
    draw(leaf).sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    step = 1e-6
    numeric = (draw(rate + step) - draw(rate - step * (rate > step))) / (step + step * (rate > step))
    torch.testing.assert_close(leaf.grad[2:], numeric[2:], rtol=1e-5, atol=1e-7)


def test_straight_through_keeps_the_soft_derivative(seeded) -> None:
    gradients = []
    for straight_through in (False, True):
        rate = torch.tensor([0.4, 3.0], requires_grad=True)
        gsm_counts(rate, temperature=0.5, straight_through=straight_through, generator=seeded(4)).sum().backward()
        gradients.append(rate.grad)
    assert torch.equal(gradients[0], gradients[1])


def test_a_seed_repeats_and_shapes_are_kept(seeded) -> None:
    rate = torch.rand(3, 4, generator=seeded(0))
    first, again, other = (gsm_counts(rate, temperature=0.5, generator=seeded(s)) for s in (1, 1, 2))
    assert first.shape == (3, 4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_rates_stay_finite(seeded, dtype: torch.dtype) -> None:
    for rates in ([0.0, 1e-38, 1e-30, 2.0], [3e4]):
        for temperature in (1e-3, 0.5, 3.0):
            rate = torch.tensor(rates, dtype=dtype, requires_grad=True)
            draws = gsm_counts(rate, temperature=temperature, generator=seeded(0))
            draws.sum().backward()
            assert torch.isfinite(draws).all()
            assert rate.grad is not None
            assert torch.isfinite(rate.grad).all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="temperature must be finite and above 0, got -1"):
        gsm_counts(torch.ones(2), temperature=-1.0)
    with pytest.raises(ValueError, match="expected_count must lie in"):
        gsm_counts(torch.tensor([float("nan")]), temperature=0.5)
    with pytest.raises(TypeError, match="float32 or float64"):
        gsm_counts(torch.tensor([1, 2]), temperature=0.5)
