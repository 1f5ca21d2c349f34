"""Every estimator by its name, behind one protocol."""

from __future__ import annotations

import pytest
import torch

from spikefit.prob import ESTIMATORS, Draws, Estimator, eat_moments, get_estimator
from spikefit.prob.linear_decoder import effect_of_one_more, expected_squared_error, squared_error

NAMES = ["eat-cubic", "eat-sigmoid", "eat-linear", "eat-quintic", "eat-cosine", "gsm", "score", "exact"]
UNBIASED = {"score", "exact"}


def test_the_names() -> None:
    assert list(ESTIMATORS) == NAMES


@pytest.mark.statistical
@pytest.mark.parametrize("name", NAMES)
def test_one_training_step_serves_all(seeded, assert_mean, name: str) -> None:
    """The same code for every estimator; the unbiased ones hit the exact gradient, EAT its own closed form.

    False alarms: one in two million per latent.
    """
    n_batch, tau = 40_000, 0.3
    decoder = torch.tensor([[1.0, -0.4], [0.3, 0.8], [0.0, 0.5]], dtype=torch.float64)
    target = torch.tensor([1.5, 0.2, 0.7], dtype=torch.float64)
    rates = torch.tensor([0.8, 1.9], dtype=torch.float64).expand(n_batch, 2).clone().requires_grad_()
    estimator = get_estimator(name, temperature=tau)
    draws = estimator.draw(rates, n_draws=3, generator=seeded(8))
    assert draws.counts.shape == (3, n_batch, 2)
    assert isinstance(estimator, Estimator)
    assert isinstance(draws, Draws)
    assert estimator.name == name
    assert torch.equal(draws.counts, draws.counts.round()) == estimator.whole_counts
    objective = squared_error(draws.counts, decoder, target)
    effect = effect_of_one_more(draws.counts.detach(), decoder, target) if estimator.needs_effect else None
    correction = draws.correction(objective, effect)
    assert abs(correction.item()) < 1e-9
    (gradient,) = torch.autograd.grad(objective.mean(0).sum() + correction, rates)
    exact = rates.detach()[0].requires_grad_()
    (truth,) = torch.autograd.grad(expected_squared_error(exact, decoder, target), exact)
    if name.startswith("eat"):
        # E[z] and Var[z] are linear in λ, so the gradient of E[f] is known for soft counts too.
        moments = eat_moments(exact.detach(), edge=name[4:], temperature=tau)
        residual = target - decoder @ moments.mean
        truth = moments.gradient_mean * (-2 * decoder.T @ residual)
        truth = truth + decoder.square().sum(0) * (moments.variance / exact.detach())
    if name != "gsm":
        for latent in range(2):
            assert_mean(gradient[:, latent], truth[latent].item())
            with pytest.raises(AssertionError):
                assert_mean(gradient[:, latent], truth[latent].item() + 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_repeats(seeded, name: str) -> None:
    rates = torch.rand(4, 50, generator=seeded(0))
    first, again = (get_estimator(name).draw(rates, n_draws=2, generator=seeded(3)).counts for _ in range(2))
    assert torch.equal(first, again)


def test_settings_reach_the_estimator(seeded) -> None:
    whole = get_estimator("gsm", temperature=0.3, straight_through=True, max_count=2)
    assert whole.whole_counts
    counts = whole.draw(torch.full((1000,), 5.0), n_draws=1, generator=seeded(0)).counts
    assert counts.max() == 2
    assert torch.equal(counts, counts.round())
    assert not get_estimator("gsm").whole_counts


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: get_estimator("eat"), ValueError, "estimator must be one of eat-cubic, .*, exact, got 'eat'"),
        (lambda: get_estimator("eat-cubic", temperature=0.0), ValueError, "temperature must be finite and above 0"),
        (lambda: get_estimator("score", temperature=-1.0), ValueError, "temperature must be finite and above 0"),
        (
            lambda: get_estimator("eat-cubic", max_count=3),
            TypeError,
            "has no setting 'max_count'; its settings: temperature",
        ),
        (lambda: get_estimator("exact", warm=1), TypeError, "has no setting 'warm'; its settings: none"),
        (lambda: get_estimator("gsm", max_count=0), ValueError, "max_count must be at least 1"),
        (
            lambda: get_estimator("score").draw(torch.ones(2), n_draws=1),
            ValueError,
            "at least 2 for the score estimator, got 1",
        ),
        (
            lambda: get_estimator("exact").draw(torch.ones(2), n_draws=0),
            ValueError,
            "at least 1 for the exact estimator",
        ),
    ],
)
def test_bad_requests(call, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


def test_exact_says_what_it_needs(seeded) -> None:
    draws = get_estimator("exact").draw(torch.ones(2), n_draws=1, generator=seeded(0))
    with pytest.raises(ValueError, match="needs `effect`"):
        draws.correction(torch.zeros(1))
