"""The posterior that reads its own spikes against a plain loop, and what the posteriors of the past may see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.models.encoder import ForwardPosterior
from spikefit.models.hidden_draws import EstimatorDraws, HardDraws
from spikefit.models.posteriors import POSTERIORS, posterior_of
from spikefit.models.self_encoder import LARGEST_DRIVE, ForwardSelfPosterior
from spikefit.prob import get_estimator
from spikefit.prob.estimators import PathwiseDraws
from spikefit.prob.single import single_spike_estimator

N_VISIBLE, N_HIDDEN, N_LAGS, N_FUNCTIONS, N_RESTARTS, N_WINDOWS, N_BINS = 3, 2, 4, 2, 2, 3, 9


@dataclass
class Scaled:
    """Draw d takes rates times (1 + d): nothing is left to chance, and draws differ."""

    n_draws: int = 2

    def __call__(self, rate: Tensor) -> PathwiseDraws:
        raise AssertionError("not asked for bin by bin")

    def turns(self, like: Tensor, *, with_slopes: bool) -> Scaled:
        return self

    def factor(self, rate: Tensor) -> Tensor:
        n_rows = rate.shape[-2] // self.n_draws
        return 1.0 + torch.arange(self.n_draws).repeat_interleave(n_rows)[:, None].to(rate)

    def counts(self, bin_: int, rate: Tensor) -> Tensor:
        return rate * self.factor(rate)

    def slopes(self, rates: Tensor) -> Tensor:
        return self.factor(rates).expand_as(rates)

    def gather(self, counts: Tensor, rate: Tensor) -> PathwiseDraws:
        return PathwiseDraws(counts)


def make(kind: str = "forward-self", seed: int = 0) -> ForwardPosterior:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.rand(N_LAGS, N_FUNCTIONS, dtype=torch.float64, generator=generator)
    posterior = POSTERIORS[kind](N_VISIBLE, N_HIDDEN, basis, N_RESTARTS)
    with torch.no_grad():
        for parameter in posterior.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return posterior


def random_counts(seed: int = 1) -> Tensor:
    shape = (N_WINDOWS, N_VISIBLE, N_BINS + 2 * N_LAGS)
    return torch.from_numpy(np.random.default_rng(seed).poisson(0.8, shape).astype(np.float64))


def in_a_plain_loop(posterior: ForwardSelfPosterior, features: Tensor, n_draws: int) -> tuple[Tensor, Tensor]:
    """Log rates and counts of `Scaled` from the definition, for automatic differentiation to follow."""
    filters = posterior.own.unflatten(-1, (N_HIDDEN, N_FUNCTIONS)) @ posterior.basis.T
    visible = posterior.past @ features[:, None] + posterior.offset[..., None]
    rates, counts = [], []
    factor = 1.0 + torch.arange(n_draws)[:, None, None, None]
    for bin_ in range(features.shape[-1]):
        drive = visible[..., bin_].expand(n_draws, -1, -1, -1)
        for lag in range(min(N_LAGS, bin_)):
            drive = drive + torch.einsum("rhk,dwrk->dwrh", filters[..., lag], counts[bin_ - 1 - lag])
        rates.append(torch.nn.functional.softplus(drive))
        counts.append(rates[-1] * factor)
    return torch.stack(rates, -1).log(), torch.stack(counts, -1)


def test_rates_counts_and_every_gradient_are_those_of_a_plain_loop() -> None:
    posterior = make()
    assert isinstance(posterior, ForwardSelfPosterior)
    features = posterior.features(random_counts())
    log_rate, draws = posterior.draw(features, Scaled())
    assert log_rate.shape == (2, N_WINDOWS, N_RESTARTS, N_HIDDEN, N_BINS)
    expected_rate, expected_counts = in_a_plain_loop(posterior, features, 2)
    torch.testing.assert_close(log_rate, expected_rate, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(draws.counts, expected_counts, rtol=1e-12, atol=1e-12)
    generator = torch.Generator().manual_seed(2)
    by_rate, by_count = (torch.randn(log_rate.shape, dtype=torch.float64, generator=generator) for _ in range(2))

    def gradients(log_rate: Tensor, counts: Tensor) -> list[Tensor]:
        target = (by_rate * log_rate).sum() + (by_count * counts).sum()
        return list(torch.autograd.grad(target, list(posterior.parameters()), retain_graph=True))

    found, expected = gradients(log_rate, draws.counts), gradients(expected_rate, expected_counts)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)  # torch calls softplus straight above 20
    # The twin: with the chain through earlier counts cut, the gradient is another one.
    cut = gradients(log_rate, draws.counts.detach() + 0 * log_rate)
    assert max((a - b).abs().max() for a, b in zip(cut, expected, strict=True)) > 0.1


@pytest.mark.parametrize("family", ["poisson", "categorical"])
def test_slopes_are_those_of_the_estimator(family: str) -> None:
    choose = single_spike_estimator if family == "categorical" else get_estimator
    rates = torch.rand(6, 5, 40, 3, dtype=torch.float64)
    for name in ("eat-cubic", "gsm"):
        estimator = choose(name, temperature=0.5)
        turns = EstimatorDraws(estimator, family, 1, torch.Generator().manual_seed(4)).turns(rates, with_slopes=True)
        counts = torch.stack([turns.counts(bin_, rate) for bin_, rate in enumerate(rates)])
        slopes = turns.slopes(rates)
        leaf = rates.clone().requires_grad_()
        generator = torch.Generator().manual_seed(4)
        if family == "categorical":  # whose noise is drawn for all bins at once
            again = estimator.draw(leaf, n_draws=1, generator=generator).counts[0]
        else:
            again = torch.stack([estimator.draw(rate, n_draws=1, generator=generator).counts[0] for rate in leaf])
        again.sum().backward()
        assert slopes is not None
        torch.testing.assert_close(counts, again.detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(slopes, leaf.grad, rtol=1e-12, atol=1e-14)
        assert slopes.abs().max() > 0


def test_without_own_weights_it_is_the_forward_posterior_bit_for_bit() -> None:
    own, forward = make(), make("forward")
    with torch.no_grad():
        assert isinstance(own, ForwardSelfPosterior)
        own.own.zero_()
    features = own.features(random_counts())
    log_rate, _ = own.draw(features, HardDraws("poisson", 3, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(log_rate, forward(features).expand(3, -1, -1, -1, -1), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", ["forward", "forward-self"])
def test_the_posteriors_of_the_past_see_neither_present_nor_future(kind: str) -> None:
    counts, posterior = random_counts(), make(kind)

    def rates(counts: Tensor) -> Tensor:
        draws = HardDraws("poisson", 2, torch.Generator().manual_seed(3))
        return posterior.draw(posterior.features(counts), draws)[0].detach()

    before = rates(counts)
    for changed in range(counts.shape[-1]):
        other = counts.clone()
        other[..., changed] += 1
        after = rates(other)
        first = max(0, changed + 1 - N_LAGS)  # output bin 0 stands behind N_LAGS bins of context
        assert torch.equal(after[..., :first], before[..., :first])
        if first < N_BINS:
            assert not torch.equal(after[..., first], before[..., first])
    # The twin: the forward-backward posterior does see them.
    both = make("forward-backward")
    other = counts.clone()
    other[..., N_LAGS + 4] += 1
    assert not torch.equal(both(both.features(counts))[..., :4], both(both.features(other))[..., :4])


def test_units_that_excite_themselves_stay_finite() -> None:
    posterior = make()
    assert isinstance(posterior, ForwardSelfPosterior)
    with torch.no_grad():
        posterior.own.fill_(50.0)
    draws = HardDraws("poisson", 2, torch.Generator().manual_seed(0))
    log_rate, drawn = posterior.draw(posterior.features(random_counts()), draws)
    assert torch.isfinite(log_rate).all()
    assert torch.isfinite(drawn.counts).all()
    assert log_rate.max().item() == pytest.approx(np.log(LARGEST_DRIVE))


def test_draws_that_cannot_be_had_in_turn_are_a_mistake_that_says_so() -> None:
    posterior = make()
    with pytest.raises(TypeError, match="needs draws in turn"):
        posterior.draw(posterior.features(random_counts()), lambda rate: PathwiseDraws(rate[None]))


@pytest.mark.parametrize("kind", POSTERIORS)
def test_the_posterior_of_a_fit_is_known_by_its_parameters(kind: str) -> None:
    assert posterior_of(f"posterior.{name}" for name, _ in make(kind).named_parameters()) == kind
