"""Where draws of hidden counts come from: a gradient estimator while training, whole counts for scores.

A posterior that factorises over bins asks for all bins at once. One that reads its own spikes asks bin after bin, with
rates that already differ from draw to draw, and puts the draws together in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.prob.estimators import PathwiseDraws, ScoreDraws
from spikefit.prob.poisson import poisson_log_prob, sample_poisson
from spikefit.prob.protocol import Draws, Estimator
from spikefit.prob.single import sample_occupancy, single_log_prob

DrawHidden = Callable[[Tensor], Draws]


@runtime_checkable
class DrawsInTurn(Protocol):
    """Draws of counts whose rates depend on counts drawn before.

    Attributes:
        n_draws: the draws that run side by side.
    """

    @property
    def n_draws(self) -> int: ...

    def __call__(self, rate: Tensor) -> Draws: ...

    def one_each(self, rate: Tensor, *, with_slope: bool) -> tuple[Tensor, Tensor | None]:
        """One count for every rate, without a graph.

        Args:
            rate: of any shape.
            with_slope: whether a derivative is wanted.

        Returns:
            Counts, and their derivative in their own rates; None where counts have none or it is not wanted.
        """
        ...

    def gather(self, counts: Float[Tensor, "draw *shape"], rate: Float[Tensor, "draw *shape"]) -> Draws:
        """The counts, all bins together, as draws from their rates."""
        ...


@dataclass(frozen=True)
class HardDraws:
    """Whole counts of a family's law.

    Attributes:
        family: `poisson` or `categorical`.
        n_draws: draws of every count.
        generator: source of the draws, on the device of the rates.
    """

    family: str
    n_draws: int
    generator: torch.Generator

    def __call__(self, rate: Tensor) -> Draws:
        return PathwiseDraws(self._sample(rate.expand(self.n_draws, *rate.shape)))

    def one_each(self, rate: Tensor, *, with_slope: bool) -> tuple[Tensor, Tensor | None]:
        return self._sample(rate), None

    def gather(self, counts: Tensor, rate: Tensor) -> Draws:
        return PathwiseDraws(counts)

    def _sample(self, rate: Tensor) -> Tensor:
        return (sample_occupancy if self.family == "categorical" else sample_poisson)(rate, self.generator)


@dataclass(frozen=True)
class EstimatorDraws:
    """Counts as a gradient estimator draws them.

    Attributes:
        estimator: of the family.
        family: `poisson` or `categorical`.
        n_draws: draws of every count.
        generator: source of the draws, on the device of the rates.
    """

    estimator: Estimator
    family: str
    n_draws: int
    generator: torch.Generator

    def __call__(self, rate: Tensor) -> Draws:
        return self.estimator.draw(rate, n_draws=self.n_draws, generator=self.generator)

    def one_each(self, rate: Tensor, *, with_slope: bool) -> tuple[Tensor, Tensor | None]:
        if self.estimator.whole_counts:
            return HardDraws(self.family, 1, self.generator).one_each(rate, with_slope=False)
        if not with_slope:
            return self.estimator.draw(rate, n_draws=1, generator=self.generator).counts[0], None
        with torch.enable_grad():
            leaf = rate.detach().requires_grad_()
            counts = self.estimator.draw(leaf, n_draws=1, generator=self.generator).counts[0]
            (slope,) = torch.autograd.grad(counts.sum(), leaf)
        return counts.detach(), slope

    def gather(self, counts: Tensor, rate: Tensor) -> Draws:
        if not self.estimator.whole_counts:
            return PathwiseDraws(counts)
        # The chance of a whole train of counts is the product over bins, each given what was drawn before it.
        log_prob = single_log_prob if self.family == "categorical" else poisson_log_prob
        return ScoreDraws(counts, log_prob(rate, counts))
