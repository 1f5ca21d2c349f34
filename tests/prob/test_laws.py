"""Count laws: probabilities against SciPy and against sums, and truncations that lose what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from spikefit.prob import CategoricalLaw, ComPoissonLaw, CountLaw, NegativeBinomialLaw, PoissonLaw
from spikefit.prob.laws.base import check_table_size


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.7, 12.0, 400.0, 1e5])
def test_poisson_truncation_loses_what_it_says(rate: float) -> None:
    law = PoissonLaw(double(rate))
    assert stats.poisson.sf(law.max_count, rate) <= 1e-6
    assert law.max_count == 1 or stats.poisson.sf(law.max_count - 1, rate) > 1e-6


@pytest.mark.parametrize(("mean", "dispersion"), [(0.0, 1.0), (0.5, 0.01), (3.0, 0.5), (20.0, 2.0)])
def test_negative_binomial_truncation_loses_what_it_says(mean: float, dispersion: float) -> None:
    law = NegativeBinomialLaw(double(mean), double(dispersion))
    if mean:
        reference = stats.nbinom(1 / dispersion, 1 / (1 + mean * dispersion))
        assert reference.sf(law.max_count) <= 1.01e-6
        assert reference.sf(law.max_count - 1) > 0.99e-6
    else:
        assert law.max_count == 1


@pytest.mark.parametrize(("rate", "exponent"), [(0.3, 1.0), (4.0, 1.0), (4.0, 2.5), (3.0, 0.4), (0.8, 0.0), (0.0, 1.0)])
def test_com_poisson_truncation_loses_what_it_says(rate: float, exponent: float) -> None:
    law = ComPoissonLaw(double(rate), double(exponent))
    counts = np.arange(20_000)
    log_terms = np.where(counts == 0, 0.0, counts * math.log(rate or 1e-300)) - exponent * np.array(
        [math.lgamma(n + 1) for n in counts]
    )
    weights = np.exp(log_terms - log_terms.max())
    assert weights[law.max_count + 1 :].sum() / weights.sum() <= 1e-6
    if law.max_count > 1:
        assert weights[law.max_count - 3 :].sum() / weights.sum() > 1e-8  # not far longer than needed either


def test_poisson_log_probs() -> None:
    law = PoissonLaw(double(0.4, 5.0))
    expected = stats.poisson.logpmf(np.arange(law.max_count + 1)[:, None], [0.4, 5.0])
    np.testing.assert_allclose(law.log_probs().numpy(), expected, atol=2e-6)
    assert law.mean().tolist() == [0.4, 5.0]


def test_poisson_of_rate_zero_is_certain_and_differentiable() -> None:
    rate = double(0.0, 1e-30, 2.0).requires_grad_()
    log_probs = PoissonLaw(rate).log_probs()
    assert log_probs[0, :2].exp().tolist() == [1.0, 1.0]
    log_probs.exp()[1].sum().backward()
    assert rate.grad is not None
    assert torch.isfinite(rate.grad).all()


@pytest.mark.parametrize("dispersion", [1e-6, 0.3, 4.0])
def test_negative_binomial_log_probs(dispersion: float) -> None:
    law = NegativeBinomialLaw(double(0.4, 5.0), double(dispersion))
    size, means = 1 / dispersion, np.array([0.4, 5.0])
    expected = stats.nbinom.logpmf(np.arange(law.max_count + 1)[:, None], size, size / (size + means))
    np.testing.assert_allclose(law.log_probs().numpy(), expected, atol=1e-4 if dispersion < 1e-3 else 3e-6)
    probabilities = law.log_probs().exp()
    counts = torch.arange(law.max_count + 1, dtype=torch.float64)[:, None]
    mean = (counts * probabilities).sum(0)
    torch.testing.assert_close(mean, law.mean(), rtol=1e-4, atol=1e-4)
    variance = ((counts - mean) ** 2 * probabilities).sum(0)
    torch.testing.assert_close(variance, law.mean() + dispersion * law.mean() ** 2, rtol=5e-3, atol=1e-4)


def test_com_poisson_with_exponent_one_is_poisson_and_zero_is_geometric() -> None:
    poisson = ComPoissonLaw(double(2.5), double(1.0))
    expected = stats.poisson.logpmf(np.arange(poisson.max_count + 1), 2.5)
    np.testing.assert_allclose(poisson.log_probs()[:, 0].numpy(), expected, atol=2e-6)
    assert poisson.mean().item() == pytest.approx(2.5, abs=1e-4)
    geometric = ComPoissonLaw(double(0.6), double(0.0))
    assert geometric.mean().item() == pytest.approx(0.6 / 0.4, abs=1e-4)
    spread = ComPoissonLaw(double(2.5), double(0.5))
    tight = ComPoissonLaw(double(2.5), double(2.0))
    assert spread.mean().item() > 2.5 > tight.mean().item()


def test_categorical_is_what_it_is_given() -> None:
    law = CategoricalLaw(torch.log(double(0.2, 0.0, 0.5, 0.3)))
    assert law.max_count == 3
    assert law.shape == ()
    torch.testing.assert_close(law.log_probs().exp(), double(0.2, 0.0, 0.5, 0.3))
    assert law.mean().item() == pytest.approx(1.9)


@pytest.mark.parametrize(
    "law",
    [
        PoissonLaw(torch.ones(2, 3)),
        NegativeBinomialLaw(torch.ones(2, 3), torch.tensor(0.5)),
        ComPoissonLaw(torch.ones(2, 3), torch.tensor(0.5)),
        CategoricalLaw(torch.zeros(4, 2, 3)),
    ],
    ids=lambda law: law.name,
)
def test_every_law_keeps_the_protocol(law: CountLaw) -> None:
    assert isinstance(law, CountLaw)
    assert law.shape == (2, 3)
    assert law.log_probs().shape == (law.max_count + 1, 2, 3)
    assert law.mean().shape == (2, 3)
    torch.testing.assert_close(law.log_probs().exp().sum(0), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PoissonLaw(double(-1.0)), r"expected_count must lie in \[0, 1e\+09\], got -1"),
        (lambda: PoissonLaw(double(1.0), max_count=0), "max_count must be at least 1, got 0"),
        (lambda: NegativeBinomialLaw(double(1.0), double(0.0)), "dispersion must be finite and above 0, got 0"),
        (lambda: ComPoissonLaw(double(1e3), double(0.4)), "counts beyond 200,000"),
        (lambda: ComPoissonLaw(double(1.0), double(-0.1)), "exponent must be finite and at least 0, got -0.1"),
        (lambda: ComPoissonLaw(double(1.5), double(0.0)), "rate must lie below 1 where exponent is 0, got 1.5"),
        (lambda: ComPoissonLaw(double(float("nan")), double(1.0)), "rate must lie in"),
        (lambda: CategoricalLaw(double(float("nan"), 0.0)), "logits must be finite"),
        (lambda: CategoricalLaw(double(-float("inf"), -float("inf"))), "a finite one for every latent"),
        (lambda: CategoricalLaw(double(0.0)), "at least two counts"),
    ],
)
def test_bad_laws_are_refused(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_a_table_beyond_the_memory_is_refused() -> None:
    rates = torch.full((1,), 1e9).expand(1_000_000)
    with pytest.raises(ValueError, match=r"expected_count reaches 1e\+09, which asks for counts up to \d+ .* GiB"):
        PoissonLaw(rates)
    with pytest.raises(ValueError, match=r"expected_count reaches 1e\+06"):
        NegativeBinomialLaw(rates * 1e-3, torch.tensor(1.0))
    check_table_size(1000, 100, torch.ones(1), "expected_count", 50.0)
