"""Score, exact and local-expectation gradients against enumeration of a small network's hidden counts."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from spikefit.prob import (
    CategoricalLaw,
    categorical_correction,
    effect_by_trial,
    get_estimator,
    leave_one_out,
    poisson_correction,
    poisson_log_prob,
    score_correction,
)
from spikefit.prob import linear_decoder as decoder_module

RATES = torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)
COUPLING = torch.tensor([[0.0, 1.2, -0.7], [-0.4, 0.0, 0.9], [0.3, 0.5, 0.0]], dtype=torch.float64)
SEEN = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
LARGEST = 14  # P(N > 14) < 1e-13 at the largest of these rates


def network(counts: Tensor) -> Tensor:
    """Log-likelihood of what is seen given hidden counts (…, 3): smooth, and far from additive in them."""
    expected = torch.nn.functional.softplus(counts @ COUPLING.T + 0.1)
    return poisson_log_prob(expected, SEEN).sum(-1) - 0.05 * counts.prod(-1)


def everything(largest: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(largest + 1), repeat=3)), dtype=torch.float64)


def enumerated_gradient() -> Tensor:
    rates = RATES.clone().requires_grad_()
    counts = everything(LARGEST)
    (poisson_log_prob(rates, counts).sum(-1).exp() * network(counts)).sum().backward()
    assert rates.grad is not None
    return rates.grad


def test_the_effect_of_one_more_spike_gives_the_enumerated_gradient() -> None:
    counts = everything(LARGEST)
    weights = poisson_log_prob(RATES, counts).sum(-1).exp()
    effect = (weights[:, None] * effect_by_trial(network, counts)).sum(0, keepdim=True)
    rates = RATES.clone().requires_grad_()
    poisson_correction(rates, effect).backward()
    torch.testing.assert_close(rates.grad, enumerated_gradient(), rtol=0, atol=1e-10)


def test_categorical_counts_give_the_enumerated_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    counts = everything(3)
    index = counts.long()

    def weights(log_probs: Tensor) -> Tensor:
        return log_probs[index, torch.arange(3)].sum(-1).exp()

    (expected,) = torch.autograd.grad((weights(CategoricalLaw(logits).log_probs()) * network(counts)).sum(), logits)
    # Every configuration stands as one draw, weighted by its probability through the mean over draws.
    by_count = torch.stack(
        [
            network(
                counts.index_put(
                    (torch.tensor(range(len(counts)))[:, None], torch.full((len(counts), 1), i)),
                    torch.tensor(float(k), dtype=torch.float64),
                )
            )
            for k in range(4)
            for i in range(3)
        ]
    )
    by_count = by_count.view(4, 3, -1).movedim(-1, 0)
    log_probs = CategoricalLaw(logits).log_probs()
    mean_by_count = (weights(log_probs.detach())[:, None, None] * by_count).sum(0, keepdim=True)
    correction = categorical_correction(log_probs, mean_by_count)
    assert correction.item() == 0
    (found,) = torch.autograd.grad(correction, logits)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["score", "exact"])
def test_the_estimators_are_unbiased_on_a_network(seeded, assert_mean, name: str) -> None:
    """Each latent's gradient over many pairs of draws. False alarms: three in two million for each name."""
    n_pairs = 40_000
    truth = enumerated_gradient()
    rates = RATES.expand(n_pairs, 3).clone().requires_grad_()
    draws = get_estimator(name).draw(rates, n_draws=2, generator=seeded(5))
    objective = network(draws.counts)
    effect = torch.stack([effect_by_trial(network, pair) for pair in draws.counts])
    correction = draws.correction(objective, effect)
    assert correction.item() == pytest.approx(0, abs=1e-12)
    correction.backward()
    assert rates.grad is not None
    for latent in range(3):
        assert_mean(rates.grad[:, latent], truth[latent].item())
    with pytest.raises(AssertionError):
        assert_mean(rates.grad[:, 1], truth[1].item() + 0.2)


@pytest.mark.statistical
def test_the_baseline_lowers_the_noise_and_not_the_mean(seeded) -> None:
    rates = RATES.expand(20_000, 3).clone().requires_grad_()
    draws = get_estimator("score").draw(rates, n_draws=4, generator=seeded(6))
    objective = network(draws.counts) - 20.0
    (with_baseline,) = torch.autograd.grad(draws.correction(objective), rates, retain_graph=True)
    log_prob = poisson_log_prob(rates, draws.counts).sum(-1)
    (without,) = torch.autograd.grad((objective * log_prob).mean(0).sum(), rates)
    assert with_baseline.var(0).sum() < without.var(0).sum() / 20
    difference = (with_baseline - without).mean(0) / (without.std(0) / 20_000**0.5)
    assert difference.abs().max() < 5  # false alarms: about one in a million


def test_leave_one_out_is_each_minus_the_mean_of_the_others() -> None:
    objective = torch.tensor([[1.0], [4.0], [10.0]])
    assert leave_one_out(objective).flatten().tolist() == pytest.approx([1 - 7, 4 - 5.5, 10 - 2.5])
    with pytest.raises(ValueError, match="n_draws of at least 2, got 1"):
        leave_one_out(objective[:1])


def test_batches_do_not_mix_in_the_score(seeded) -> None:
    log_prob = torch.randn(3, 2, 5, generator=seeded(0)).requires_grad_()
    objective = torch.zeros(3, 2)
    objective[:, 0] = torch.tensor([1.0, 2.0, 6.0])
    (gradient,) = torch.autograd.grad(score_correction(objective, log_prob), log_prob)
    assert not gradient[:, 1].any()
    assert gradient[:, 0].all()


def test_linear_decoder_closed_forms(seeded) -> None:
    decoder = torch.randn(6, 4, dtype=torch.float64, generator=seeded(0))
    target = torch.randn(6, dtype=torch.float64, generator=seeded(1))
    counts = torch.poisson(torch.ones(10, 4, dtype=torch.float64), generator=seeded(2))

    def error(z: Tensor) -> Tensor:
        return decoder_module.squared_error(z, decoder, target)

    torch.testing.assert_close(
        decoder_module.effect_of_one_more(counts, decoder, target), effect_by_trial(error, counts)
    )
    log_rates = torch.randn(4, dtype=torch.float64, generator=seeded(3))

    def loss(u: Tensor) -> Tensor:
        return decoder_module.expected_squared_error(u.exp(), decoder, target)

    gradient, hessian = decoder_module.gradient_and_hessian(log_rates.exp(), decoder, target)
    torch.testing.assert_close(gradient, torch.autograd.functional.jacobian(loss, log_rates))
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(loss, log_rates))


@pytest.mark.statistical
def test_linear_decoder_expectation(seeded, assert_mean) -> None:
    """False alarms: one in two million."""
    decoder = torch.randn(3, 2, dtype=torch.float64, generator=seeded(0))
    target = torch.randn(3, dtype=torch.float64, generator=seeded(1))
    rates = torch.tensor([0.5, 2.0], dtype=torch.float64)
    counts = torch.poisson(rates.expand(100_000, 2), generator=seeded(2))
    expected = decoder_module.expected_squared_error(rates, decoder, target).item()
    assert_mean(decoder_module.squared_error(counts, decoder, target), expected)
    with pytest.raises(AssertionError):
        assert_mean(decoder_module.squared_error(counts, decoder, target), 1.1 * expected)
