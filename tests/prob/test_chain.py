"""Counts from 0 to M as a chain of chances: against the law written out, and soft draws against products of exact means."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from spikefit.models.likelihood import hidden_divergence, posterior_mean
from spikefit.prob.chain import (
    categorical_estimator,
    chain_log_prob,
    chain_mean,
    chain_tails,
    sample_chain,
)
from spikefit.prob.single import single_spike_estimator

RATES = (0.9, 0.5, 1.6)  # of one latent with three steps


def rows(n_bins: int, rates: tuple[float, ...] = RATES) -> Tensor:
    """(row, bin) of one latent, the same in every bin."""
    return torch.tensor(rates, dtype=torch.float64)[:, None].repeat(1, n_bins)


def law(rates: tuple[float, ...] = RATES) -> list[float]:
    """Probability of 0, 1, …, M spikes, written out."""
    out, reached = [], 1.0
    for rate in rates:
        out.append(reached * math.exp(-rate))
        reached *= 1 - math.exp(-rate)
    return [*out, reached]


def test_the_law_is_the_one_written_out() -> None:
    rate, expected = rows(1), law()
    counts = torch.arange(4.0, dtype=torch.float64)[:, None, None]
    assert chain_log_prob(rate, counts, 3).exp().flatten().tolist() == pytest.approx(expected, rel=1e-12)
    assert chain_mean(rate, 3).item() == pytest.approx(sum(k * p for k, p in enumerate(expected)), rel=1e-12)
    tails = [sum(expected[m:]) for m in (1, 2, 3)]
    assert chain_tails(rate, 3).flatten().tolist() == pytest.approx(tails, rel=1e-12)


def test_latents_do_not_mix() -> None:
    two = torch.cat([rows(1), rows(1, (0.2, 3.0, 0.01))])
    apart = [chain_mean(rows(1, rates), 3).item() for rates in (RATES, (0.2, 3.0, 0.01))]
    assert chain_mean(two, 3).flatten().tolist() == pytest.approx(apart, rel=1e-12)


@pytest.mark.statistical
def test_whole_draws_follow_the_law(seeded, assert_mean) -> None:
    """False alarms: one in a million for each of four."""
    counts = sample_chain(rows(1_000_000), 3, seeded(1))[0]
    for k, probability in enumerate(law()):
        assert_mean((counts == k).double(), probability)
        with pytest.raises(AssertionError):
            assert_mean((counts == k).double(), 1.05 * probability)


@pytest.mark.statistical
@pytest.mark.parametrize(("name", "tau"), [("eat-cubic", 0.5), ("eat-sigmoid", 0.3), ("gsm", 0.5)])
def test_soft_draws_have_the_mean_of_independent_steps(seeded, assert_mean, name: str, tau: float) -> None:
    """Each step's own mean and slope are known (`test_single.py`); theirs follow by products. False alarms: one in 10⁵."""
    n = 200_000
    rate = rows(n).requires_grad_()
    draws = categorical_estimator(name, temperature=tau, max_count=3).draw(rate, n_draws=1, generator=seeded(2)).counts
    (slope,) = torch.autograd.grad(draws.sum(), rate)
    # The steps by themselves, from many more draws.
    single = single_spike_estimator(name, temperature=tau)
    means, slopes = [], []
    for k, own in enumerate(RATES):
        leaf = torch.full((4_000_000,), own, dtype=torch.float64, requires_grad=True)
        step = single.draw(leaf, n_draws=1, generator=seeded(10 + k)).counts
        means.append(step.mean().item())
        slopes.append(torch.autograd.grad(step.sum(), leaf)[0].mean().item())
    a, b, c = means
    assert_mean(draws.flatten(), a * (1 + b * (1 + c)))
    for k, expected in enumerate((slopes[0] * (1 + b * (1 + c)), a * slopes[1] * (1 + c), a * b * slopes[2])):
        assert_mean(slope[k], expected)
        with pytest.raises(AssertionError):
            assert_mean(slope[k], 1.1 * expected)


def test_cold_soft_draws_are_whole(seeded) -> None:
    draws = categorical_estimator("eat-cubic", temperature=1e-4, max_count=3)
    counts = draws.draw(rows(2000), n_draws=1, generator=seeded(3)).counts
    assert (counts - counts.round()).abs().lt(1e-9).double().mean() > 0.99
    assert set(counts.round().unique().tolist()) == {0.0, 1.0, 2.0, 3.0}


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["score", "exact"])
def test_the_unbiased_ones_have_the_derivative_of_the_expectation(seeded, assert_mean, name: str) -> None:
    """Of E[f(z)] with f given for every count, in each rate; false alarms: one in a million per rate."""
    values = torch.tensor([0.3, -1.0, 2.0, 0.7], dtype=torch.float64)
    leaf = torch.tensor(RATES, dtype=torch.float64, requires_grad=True)
    probability = torch.stack(
        [
            chain_log_prob(leaf[:, None], torch.full((1, 1), float(k), dtype=torch.float64), 3).exp().sum()
            for k in range(4)
        ]
    )
    (expected,) = torch.autograd.grad((probability * values).sum(), leaf)
    rate = rows(100_000).requires_grad_()
    draws = categorical_estimator(name, temperature=0.5, max_count=3).draw(rate, n_draws=2, generator=seeded(4))
    objective = values[draws.counts.long()]
    effect = values.diff()[None, None, :, None].expand(2, 1, 3, rate.shape[-1])
    (slope,) = torch.autograd.grad(objective.mean(0).sum() + draws.correction(objective, effect), rate)
    for k in range(3):
        if name == "exact":
            torch.testing.assert_close(slope[k], expected[k].expand_as(slope[k]), rtol=1e-12, atol=1e-15)
        else:
            assert_mean(slope[k], expected[k].item())
            with pytest.raises(AssertionError):
                assert_mean(slope[k], 1.2 * expected[k].item())


@pytest.mark.parametrize("scored", [None, torch.tensor([[True, False, True]])])
def test_the_divergence_and_its_gradient_are_those_written_out(scored: Tensor | None) -> None:
    """KL from Poisson counts, summed over 0 … M with factorials, differentiated by autograd; two hidden units, two draws."""
    generator = torch.Generator().manual_seed(5)
    log_rate = (0.7 * torch.randn(1, 1, 6, 3, dtype=torch.float64, generator=generator)).requires_grad_()
    drive = torch.randn(2, 1, 1, 2, 3, dtype=torch.float64, generator=generator).requires_grad_()
    weights = torch.randn(2, 1, 1, 2, dtype=torch.float64, generator=generator)
    found = hidden_divergence(log_rate, drive, scored, link="softplus", family="categorical", max_count=3)
    gradients = torch.autograd.grad((weights * found).sum(), (log_rate, drive))
    prior = torch.nn.functional.softplus(drive)
    total = torch.zeros_like(prior)
    for k in range(4):
        log_q = chain_log_prob(log_rate.exp(), torch.full((1, 1, 2, 3), float(k), dtype=torch.float64), 3)
        total = total + log_q.exp() * (log_q - k * prior.log() + prior + math.lgamma(k + 1))
    if scored is not None:
        total = total * scored[:, None, None, :]
    expected = total.sum(-1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for own, autograd in zip(
        gradients, torch.autograd.grad((weights * expected).sum(), (log_rate, drive)), strict=True
    ):
        torch.testing.assert_close(own, autograd, rtol=1e-10, atol=1e-12)


def test_one_step_is_the_single_spike_bit_for_bit(seeded) -> None:
    rate = rows(50, (0.4,)) * torch.arange(1, 51)
    for name in ("eat-cubic", "gsm", "score", "exact"):
        both = [
            make.draw(rate, n_draws=2, generator=seeded(6)).counts
            for make in (
                categorical_estimator(name, temperature=0.5, max_count=1),
                single_spike_estimator(name, temperature=0.5),
            )
        ]
        assert torch.equal(*both)
    assert torch.equal(posterior_mean(rate.log(), "categorical"), posterior_mean(rate.log(), "categorical", 1))


def test_rates_at_the_ends_stay_finite(seeded) -> None:
    values = (1e-7, 1e-3, 1.0, 1e3)
    for rates in itertools.product(values, repeat=2):
        rate = rows(5, rates).requires_grad_()
        draws = categorical_estimator("eat-cubic", temperature=0.5, max_count=2).draw(
            rate, n_draws=3, generator=seeded(7)
        )
        divergence = hidden_divergence(
            rate.log()[None, None],
            torch.zeros(1, 1, 1, 1, 5).double(),
            None,
            link="softplus",
            family="categorical",
            max_count=2,
        )
        (slope,) = torch.autograd.grad(draws.counts.sum() + divergence.sum(), rate)
        assert torch.isfinite(draws.counts).all()
        assert torch.isfinite(divergence).all()
        assert torch.isfinite(slope).all()
