"""At most one spike per bin: soft Bernoulli draws with a path to the rate.

A bin is occupied when at least one arrival of a Poisson process of rate λ falls into it, with probability
1 − e^(−λ). Counting the *first* arrival alone with a softened edge is EAT's draw of that event: one exponential time,
and near-certain single spikes, which no Poisson count can express. `gsm` is the Gumbel-softmax over the two outcomes.

Dictionary: λ is `expected_count`, the expected arrivals; τ `temperature`; h the edge; u the log-odds, log(e^λ − 1).

Source: the arrival-time relaxation of Ibrahim, Zhao et al., "A hitchhiker's guide to Poisson gradient estimation"
(ICML 2026), applied to the first arrival; Maddison et al., "The concrete distribution" (ICLR 2017) for `gsm`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from spikefit.prob.checks import check_generator, check_temperature
from spikefit.prob.edges import get_edge
from spikefit.prob.estimators import ExactDraws, ScoreDraws
from spikefit.prob.protocol import Estimator
from spikefit.prob.relaxed import RelaxedEstimator

SMALLEST_RATE = 1e-7  # below this a bin is empty in any practical number of draws, and log-odds stay finite


def occupancy(expected_count: Tensor) -> Tensor:
    """Probability of at least one arrival, 1 − e^(−λ), to full precision for small λ."""
    if torch.compiler.is_compiling():
        return _without_expm1(expected_count)
    return -torch.expm1(-expected_count)


def _without_expm1(expected_count: Tensor) -> Tensor:
    """The same for code that is compiled: on a CPU its expm1 is e^x − 1, which has no digit left where λ is small."""
    series = torch.ones_like(expected_count)
    for k in range(9, 1, -1):
        series = 1 - expected_count * series / k  # λ · series ends as λ − λ²/2! + λ³/3! − …
    return torch.where(expected_count < 0.5, expected_count * series, 1 - torch.exp(-expected_count))


def sample_occupancy(expected_count: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Whole draws, 0 or 1, without a gradient."""
    return torch.bernoulli(occupancy(expected_count.detach()), generator=generator)


@dataclass(frozen=True)
class FirstArrivalEstimator(RelaxedEstimator):
    """The first exponential arrival, counted with a softened edge.

    With λ the mean is that of the occupancy up to terms of order λ²τ², and exact as τ → 0.
    """

    edge: str = "cubic"
    temperature: float = 0.5

    def __post_init__(self) -> None:
        get_edge(self.edge)
        check_temperature(self.temperature)

    @property
    def name(self) -> str:
        return f"eat-{self.edge}"

    def noise(self, empty: Tensor, generator: torch.Generator | None) -> Tensor:
        """First arrivals at unit rate, written into `empty`."""
        return empty.exponential_(generator=generator)

    def relax(self, expected_count: Tensor, noise: Tensor) -> Tensor:
        edge = get_edge(self.edge)
        # Arrivals far behind the bin count nothing, and would only overflow where λ is tiny.
        distance = (1 - noise / expected_count.clamp(min=SMALLEST_RATE)) / self.temperature
        return edge.step(distance.clamp(-edge.reach, edge.reach))


@dataclass(frozen=True)
class BinaryGumbelEstimator(RelaxedEstimator):
    """Gumbel-softmax over an empty and an occupied bin."""

    temperature: float = 0.5
    name = "gsm"

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def noise(self, empty: Tensor, generator: torch.Generator | None) -> Tensor:
        """Differences of two Gumbel numbers."""
        uniform = empty.uniform_(generator=generator)
        return torch.logit(uniform, eps=torch.finfo(empty.dtype).eps)

    def relax(self, expected_count: Tensor, noise: Tensor) -> Tensor:
        rate = expected_count.clamp(min=SMALLEST_RATE)
        log_odds = rate + torch.log(occupancy(rate))
        return torch.sigmoid((log_odds + noise) / self.temperature)


def single_log_prob(expected_count: Tensor, counts: Tensor) -> Tensor:
    """log-probability of whole draws, 0 or 1: log(1 − e^(−λ)) or −λ."""
    log_occupied = torch.log(occupancy(expected_count.clamp(min=SMALLEST_RATE)))
    return torch.where(counts > 0, log_occupied, -expected_count)


@dataclass(frozen=True)
class SingleScoreEstimator:
    """Log-derivative with a leave-one-out baseline; see `spikefit.prob.score`."""

    name = "score"
    whole_counts = True
    needs_effect = False
    min_draws = 2

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> ScoreDraws:
        check_generator(generator, expected_count.device)
        counts = sample_occupancy(expected_count.expand(n_draws, *expected_count.shape), generator)
        return ScoreDraws(counts, single_log_prob(expected_count, counts))


@dataclass(frozen=True)
class SingleExactEstimator:
    """Local expectation from the effect of a spike beside none: ∂E[f]/∂p = E[f(1) − f(0)]."""

    name = "exact"
    whole_counts = True
    needs_effect = True
    min_draws = 1

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> ExactDraws:
        check_generator(generator, expected_count.device)
        counts = sample_occupancy(expected_count.expand(n_draws, *expected_count.shape), generator)
        return ExactDraws(counts, occupancy(expected_count))


def single_spike_estimator(name: str, *, temperature: float) -> Estimator:
    """The estimator of that name for bins that hold at most one spike.

    Raises:
        ValueError: if there is no such estimator for them.
    """
    if name.startswith("eat-"):
        return FirstArrivalEstimator(name.removeprefix("eat-"), temperature)
    if name == "gsm":
        return BinaryGumbelEstimator(temperature)
    if name == "score":
        return SingleScoreEstimator()
    if name == "exact":
        return SingleExactEstimator()
    raise ValueError(f"for at most one spike per bin the estimator must be eat-…, gsm, score or exact, got {name!r}")
