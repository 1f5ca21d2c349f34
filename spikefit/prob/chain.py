"""Counts from 0 to M: whether there is a first spike, then whether there is a second, and so on.

    P(z ≥ m | z ≥ m − 1) = 1 − e^(−λₘ),   m = 1 … M

Every law over 0 … M is such a chain, and no two sets of rates λₘ above zero give the same one. Each step is a bin that one arrival
occupies or none (`spikefit.prob.single`); with b₁ … b_M the soft draws of the steps the soft count is

    z = Σₘ b₁ b₂ … bₘ = b₁ (1 + b₂ (1 + b₃ (…)))

whose mean is that of whole counts as far as the steps' means are those of occupancies: the steps draw independently.

Layout: the second axis from the last holds the M rates of a latent one behind the other, latent after latent; the last
one is time. Counts have one row per latent there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from spikefit.prob.checks import check_generator
from spikefit.prob.estimators import ScoreDraws
from spikefit.prob.local_expectation import poisson_correction
from spikefit.prob.protocol import Estimator
from spikefit.prob.relaxed import RelaxedEstimator
from spikefit.prob.single import SMALLEST_RATE, occupancy, single_spike_estimator


def steps_of(rows: Shaped[Tensor, "*batch row bin"], max_count: int) -> Shaped[Tensor, "*batch latent step bin"]:
    """The steps of each latent on an axis of their own."""
    return rows.unflatten(-2, (rows.shape[-2] // max_count, max_count))


def along_the_chain(steps: Shaped[Tensor, "*batch latent step bin"]) -> Shaped[Tensor, "*batch latent bin"]:
    """s₁ + s₁ s₂ + … + s₁ s₂ … s_M: the count of the steps' draws, or the mean of their probabilities."""
    *others, total = steps.unbind(-2)
    for step in reversed(others):
        total = step * (1 + total)
    return total


def chain_mean(rate: Shaped[Tensor, "*batch row bin"], max_count: int) -> Shaped[Tensor, "*batch latent bin"]:
    """Mean count."""
    return along_the_chain(steps_of(occupancy(rate), max_count))


def chain_tails(rate: Shaped[Tensor, "*batch row bin"], max_count: int) -> Shaped[Tensor, "*batch latent step bin"]:
    """Probability of at least 1, 2, …, M spikes."""
    return steps_of(occupancy(rate), max_count).cumprod(-2)


def sample_chain(
    rate: Shaped[Tensor, "*batch row bin"], max_count: int, generator: torch.Generator | None = None
) -> Shaped[Tensor, "*batch latent bin"]:
    """Whole draws, without a gradient."""
    taken = torch.bernoulli(occupancy(rate.detach()), generator=generator)
    return along_the_chain(steps_of(taken, max_count))


def chain_log_prob(
    rate: Shaped[Tensor, "*batch row bin"], counts: Shaped[Tensor, "*draws latent bin"], max_count: int
) -> Shaped[Tensor, "*draws latent bin"]:
    """log-probability of whole counts: log(1 − e^(−λ)) for every step taken, and −λ for the one that was not."""
    rates = steps_of(rate, max_count)
    log_taken = torch.log(occupancy(rates.clamp(min=SMALLEST_RATE)))
    before = torch.arange(max_count, device=rate.device)[:, None]  # spikes there are ahead of each step
    count = counts.unsqueeze(-2)
    terms = torch.where(count > before, log_taken, torch.where(count == before, -rates, torch.zeros_like(rates)))
    return terms.sum(-2)


@dataclass(frozen=True)
class ChainEstimator(RelaxedEstimator):
    """Soft counts whose steps are soft draws of at most one spike each.

    Args:
        step: of each step.
        max_count: M, at least 1.
    """

    step: RelaxedEstimator
    max_count: int

    @property
    def name(self) -> str:
        return self.step.name

    def noise(self, empty: Tensor, generator: torch.Generator | None) -> Tensor:
        """What is random about each step."""
        return self.step.noise(empty, generator)

    def relax(self, expected_count: Tensor, noise: Tensor) -> Tensor:
        return along_the_chain(steps_of(self.step.relax(expected_count, noise), self.max_count))


@dataclass(frozen=True)
class ChainScoreEstimator:
    """Log-derivative with a leave-one-out baseline; see `spikefit.prob.score`."""

    max_count: int
    name = "score"
    whole_counts = True
    needs_effect = False
    min_draws = 2

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> ScoreDraws:
        check_generator(generator, expected_count.device)
        rates = expected_count.expand(n_draws, *expected_count.shape)
        counts = sample_chain(rates, self.max_count, generator)
        return ScoreDraws(counts, chain_log_prob(expected_count, counts, self.max_count))


@dataclass(frozen=True)
class ChainExactDraws:
    """Whole counts whose gradient comes from the effect of every further spike.

    Attributes:
        counts: the draws.
        tails: probability of at least 1, 2, …, M spikes; the parameters whose derivatives the effects are.
    """

    counts: Shaped[Tensor, "draw *batch latent bin"]
    tails: Shaped[Tensor, "*batch latent step bin"]
    needs_effect: ClassVar[bool] = True

    def correction(self, objective: Tensor, effect: Tensor | None = None) -> Tensor:
        if effect is None:
            raise ValueError("the exact estimator needs `effect`, what each further spike adds to the objective")
        return poisson_correction(self.tails, effect)


@dataclass(frozen=True)
class ChainExactEstimator:
    """Local expectation from the effect of every further spike: ∂E[f]/∂P(z ≥ m) = E[f(m) − f(m − 1)].

    The effects it asks for have an axis of steps behind that of the latents.
    """

    max_count: int
    name = "exact"
    whole_counts = True
    needs_effect = True
    min_draws = 1

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> ChainExactDraws:
        check_generator(generator, expected_count.device)
        rates = expected_count.expand(n_draws, *expected_count.shape)
        counts = sample_chain(rates, self.max_count, generator)
        return ChainExactDraws(counts, chain_tails(expected_count, self.max_count))


def categorical_estimator(name: str, *, temperature: float, max_count: int) -> Estimator:
    """The estimator of that name for counts from 0 to `max_count`.

    Raises:
        ValueError: if there is no such estimator for them.
    """
    if max_count == 1:
        return single_spike_estimator(name, temperature=temperature)
    if name == "score":
        return ChainScoreEstimator(max_count)
    if name == "exact":
        return ChainExactEstimator(max_count)
    step = single_spike_estimator(name, temperature=temperature)
    assert isinstance(step, RelaxedEstimator)
    return ChainEstimator(step, max_count)
