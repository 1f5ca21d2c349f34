"""Draws that belong to their window: the same whatever is drawn together, and still draws of the right law."""

from __future__ import annotations

import pytest
import torch

from spikefit.models.hidden_draws import EstimatorDraws, HardDraws
from spikefit.models.self_encoder import ForwardSelfPosterior
from spikefit.models.window_draws import WindowDraws, window_seed
from spikefit.prob import get_estimator
from spikefit.prob.single import single_spike_estimator

SEEDS = [window_seed(7, window) for window in range(6)]


def draws(name: str, family: str, seeds: list[int], n_draws: int = 3) -> WindowDraws:
    choose = single_spike_estimator if family == "categorical" else get_estimator
    estimator = choose(name, temperature=0.5)
    return WindowDraws(lambda generator: EstimatorDraws(estimator, family, n_draws, generator), seeds)


@pytest.mark.parametrize("family", ["poisson", "categorical"])
@pytest.mark.parametrize("name", ["eat-cubic", "gsm", "score", "exact"])
def test_windows_drawn_together_or_apart_give_the_same_counts_and_gradients(name: str, family: str) -> None:
    rates = torch.rand(6, 2, 3, 50, generator=torch.Generator().manual_seed(0))

    def run(parts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = rates.clone().requires_grad_()
        counts = []
        for part in parts:
            found = draws(name, family, [SEEDS[k] for k in part])(leaf[part])
            objective = (found.counts.cumsum(-1) ** 2).sum((-1, -2))
            effect = torch.rand(3, 6, 2, 3, 50, generator=torch.Generator().manual_seed(1))[:, part]
            loss = objective.mean(0).sum()
            (loss + found.correction(objective, effect)).backward()
            counts.append(found.counts.detach())
        assert leaf.grad is not None
        return torch.cat(counts, dim=1), leaf.grad

    together, whole = run([[0, 1, 2, 3, 4, 5]])
    apart, added = run([[0, 1], [2], [3, 4, 5]])
    assert torch.equal(together, apart)
    torch.testing.assert_close(whole, added)
    assert whole.abs().max() > 0
    # The twin: another seed for one window changes that window alone.
    other = draws(name, family, [*SEEDS[:5], 1])(rates).counts
    assert torch.equal(other[:, :5], together[:, :5])
    assert not torch.equal(other[:, 5], together[:, 5])


def test_draws_of_many_windows_have_the_law_of_their_rates() -> None:
    n = 4000
    rates = torch.full((n, 1, 1, 5), 0.7)
    counts = WindowDraws(lambda g: HardDraws("poisson", 2, g), [window_seed(3, w) for w in range(n)])(rates).counts
    flat = counts.flatten().double()
    error = (0.7 / flat.numel()) ** 0.5
    assert abs(flat.mean() - 0.7) < 5 * error  # one false alarm in two million
    assert abs(flat.mean() - 1.05 * 0.7) > 5 * error
    # Neighbouring windows know nothing of one another.
    first = counts[:, :-1].flatten() - 0.7
    second = counts[:, 1:].flatten() - 0.7
    assert abs((first * second).mean()) < 5 * 0.7 / first.numel() ** 0.5


def test_a_posterior_that_reads_its_own_spikes_draws_each_window_alike() -> None:
    generator = torch.Generator().manual_seed(5)
    posterior = ForwardSelfPosterior(3, 2, torch.rand(4, 2, generator=generator), 2)
    with torch.no_grad():
        for parameter in posterior.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    features = torch.rand(6, 6, 30, generator=generator)
    _, together = posterior.draw(features, draws("eat-cubic", "categorical", SEEDS))
    _, apart = posterior.draw(features[2:5], draws("eat-cubic", "categorical", SEEDS[2:5]))
    torch.testing.assert_close(together.counts[:, 2:5], apart.counts)


def test_the_seeds_must_be_those_of_the_windows() -> None:
    with pytest.raises(ValueError, match="5 seeds for 6 windows"):
        draws("eat-cubic", "categorical", SEEDS[:5])(torch.ones(6, 1, 1, 4))
