"""All estimators by name, behind the protocol of `spikefit.prob.protocol`.

====================================================================  ============  ==========  ===================
name                                                                  counts        settings    needs
====================================================================  ============  ==========  ===================
eat-cubic, eat-sigmoid, eat-linear, eat-quintic, eat-cosine           soft          temperature
gsm                                                                   soft, or      temperature,
                                                                      whole         max_count,
                                                                                    straight_through
score                                                                 whole                     two draws
exact                                                                 whole                     effect of one more spike
====================================================================  ============  ==========  ===================
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from spikefit.prob.arrivals import eat_counts
from spikefit.prob.checks import check_temperature
from spikefit.prob.edges import EDGES, get_edge
from spikefit.prob.gumbel import gsm_counts
from spikefit.prob.laws.base import check_max_count
from spikefit.prob.local_expectation import poisson_correction
from spikefit.prob.poisson import poisson_log_prob, sample_poisson
from spikefit.prob.protocol import Estimator
from spikefit.prob.score import score_correction


@dataclass(frozen=True)
class PathwiseDraws:
    """Counts that carry their own derivative, so that nothing need be added."""

    counts: Float[Tensor, "draw *shape"]
    needs_effect: ClassVar[bool] = False

    def correction(self, objective: Tensor, effect: Tensor | None = None) -> Tensor:
        return objective.new_zeros(())


@dataclass(frozen=True)
class EatEstimator:
    """Exponential arrival times with a softened edge; see `eat_counts`."""

    edge: str = "cubic"
    temperature: float = 0.5
    whole_counts: ClassVar[bool] = False
    needs_effect: ClassVar[bool] = False
    min_draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        get_edge(self.edge)
        check_temperature(self.temperature)

    @property
    def name(self) -> str:
        return f"eat-{self.edge}"

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> PathwiseDraws:
        rates = _repeat(expected_count, n_draws, self)
        return PathwiseDraws(eat_counts(rates, edge=self.edge, temperature=self.temperature, generator=generator))


@dataclass(frozen=True)
class GsmEstimator:
    """Gumbel-softmax over truncated Poisson counts; see `gsm_counts`."""

    temperature: float = 0.5
    max_count: int | None = None
    straight_through: bool = False
    name: ClassVar[str] = "gsm"
    needs_effect: ClassVar[bool] = False
    min_draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if self.max_count is not None:
            check_max_count(self.max_count)

    @property
    def whole_counts(self) -> bool:
        return self.straight_through

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> PathwiseDraws:
        counts = gsm_counts(
            _repeat(expected_count, n_draws, self),
            temperature=self.temperature,
            max_count=self.max_count,
            straight_through=self.straight_through,
            generator=generator,
        )
        return PathwiseDraws(counts)


@dataclass(frozen=True)
class ScoreDraws:
    """Whole counts and their log-probabilities."""

    counts: Float[Tensor, "draw *shape"]
    log_prob: Float[Tensor, "draw *shape"]
    needs_effect: ClassVar[bool] = False

    def correction(self, objective: Tensor, effect: Tensor | None = None) -> Tensor:
        return score_correction(objective, self.log_prob)


@dataclass(frozen=True)
class ScoreEstimator:
    """Log-derivative with a leave-one-out baseline; see `spikefit.prob.score`."""

    name: ClassVar[str] = "score"
    whole_counts: ClassVar[bool] = True
    needs_effect: ClassVar[bool] = False
    min_draws: ClassVar[int] = 2

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> ScoreDraws:
        counts = sample_poisson(_repeat(expected_count, n_draws, self), generator)
        return ScoreDraws(counts, poisson_log_prob(expected_count, counts))


@dataclass(frozen=True)
class ExactDraws:
    """Whole counts whose gradient comes from the effect of one more spike.

    Attributes:
        counts: the draws.
        mean: of each count; the parameter whose derivative the effect is.
    """

    counts: Float[Tensor, "draw *shape"]
    mean: Float[Tensor, "*shape"]
    needs_effect: ClassVar[bool] = True

    def correction(self, objective: Tensor, effect: Tensor | None = None) -> Tensor:
        if effect is None:
            raise ValueError(
                "the exact estimator needs `effect`, what one more spike in each latent adds to the objective"
            )
        return poisson_correction(self.mean, effect)


@dataclass(frozen=True)
class ExactEstimator:
    """Local expectation from the effect of one more spike; see `spikefit.prob.local_expectation`."""

    name: ClassVar[str] = "exact"
    whole_counts: ClassVar[bool] = True
    needs_effect: ClassVar[bool] = True
    min_draws: ClassVar[int] = 1

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> ExactDraws:
        return ExactDraws(sample_poisson(_repeat(expected_count, n_draws, self), generator), expected_count)


def _repeat(expected_count: Tensor, n_draws: int, estimator: Estimator) -> Tensor:
    if isinstance(n_draws, bool) or not isinstance(n_draws, int):
        raise TypeError(f"n_draws must be a whole number, got {type(n_draws).__name__}")
    if n_draws < estimator.min_draws:
        raise ValueError(
            f"n_draws must be at least {estimator.min_draws} for the {estimator.name} estimator, got {n_draws}"
        )
    return expected_count.expand(n_draws, *expected_count.shape)


ESTIMATORS: dict[str, Callable[..., Estimator]] = {
    **{f"eat-{edge}": partial(EatEstimator, edge) for edge in EDGES},
    "gsm": GsmEstimator,
    "score": ScoreEstimator,
    "exact": ExactEstimator,
}


def get_estimator(name: str, **settings: Any) -> Estimator:
    """The estimator of that name with its settings.

    A `temperature` is taken by every name, so that one configuration can be tried with all; `score` and `exact`, which
    have none, leave it aside.

    Args:
        name: one of `ESTIMATORS`.
        settings: `temperature` for any; `max_count` and `straight_through` for `gsm`.

    Raises:
        ValueError: if there is no such estimator, with the names there are, or a setting is out of its range.
        TypeError: if the estimator has no such setting, with those it has.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {name!r}")
    make = ESTIMATORS[name]
    known = [setting for setting in inspect.signature(make).parameters if setting != "edge"]
    if "temperature" not in known and "temperature" in settings:
        check_temperature(settings.pop("temperature"))
    unknown = [setting for setting in settings if setting not in known]
    if unknown:
        has = ", ".join(known) if known else "none"
        raise TypeError(f"the {name} estimator has no setting {unknown[0]!r}; its settings: {has}")
    return make(**settings)
