"""Where draws of hidden counts come from: a gradient estimator while training, whole counts for scores.

A posterior that factorises over bins asks for all bins at once. One that reads its own spikes asks bin after bin, with
rates that already differ from draw to draw, and puts the draws together in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.models.kernels import Kernels
from spikefit.models.soft_draws import soft_counts
from spikefit.prob.chain import chain_log_prob, sample_chain
from spikefit.prob.estimators import PathwiseDraws, ScoreDraws
from spikefit.prob.poisson import poisson_log_prob, sample_poisson
from spikefit.prob.protocol import Draws, Estimator
from spikefit.prob.relaxed import RelaxedEstimator
from spikefit.prob.single import sample_occupancy, single_log_prob

DrawHidden = Callable[[Tensor], Draws]


@runtime_checkable
class Turns(Protocol):
    """One run through the bins."""

    def counts(self, bin_: int, rate: Tensor) -> Tensor:
        """One count for every rate of a bin; bins come in their order."""
        ...

    def slopes(self, rates: Float[Tensor, "bin *shape"]) -> Float[Tensor, "bin *shape"] | None:
        """Afterwards: the derivative of each count in its own rate; None where whole counts have none."""
        ...


@runtime_checkable
class DrawsInTurn(Protocol):
    """Draws of counts whose rates depend on counts drawn before.

    Attributes:
        n_draws: the draws that run side by side.
    """

    @property
    def n_draws(self) -> int: ...

    def __call__(self, rate: Tensor) -> Draws: ...

    def turns(self, like: Float[Tensor, "bin *shape"], *, with_slopes: bool) -> Turns:
        """Begin a run through bins of the shape, type and device of `like`."""
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
        max_count: most spikes of a categorical count.
    """

    family: str
    n_draws: int
    generator: torch.Generator
    max_count: int = 1

    def __call__(self, rate: Tensor) -> Draws:
        return PathwiseDraws(self._sample(rate.expand(self.n_draws, *rate.shape)))

    def turns(self, like: Tensor, *, with_slopes: bool) -> Turns:
        return _WholeTurns(self._sample)

    def gather(self, counts: Tensor, rate: Tensor) -> Draws:
        return PathwiseDraws(counts)

    def _sample(self, rate: Tensor) -> Tensor:
        if self.max_count > 1:
            return sample_chain(rate, self.max_count, self.generator)
        return (sample_occupancy if self.family == "categorical" else sample_poisson)(rate, self.generator)


@dataclass(frozen=True)
class EstimatorDraws:
    """Counts as a gradient estimator draws them.

    Attributes:
        estimator: of the family.
        family: `poisson` or `categorical`.
        n_draws: draws of every count.
        generator: source of the draws, on the device of the rates.
        max_count: most spikes of a categorical count.
        kernels: to compile the arithmetic of draws whose noise does not depend on the rates; None to run it as it is written.
    """

    estimator: Estimator
    family: str
    n_draws: int
    generator: torch.Generator
    max_count: int = 1
    kernels: Kernels | None = None

    def __call__(self, rate: Tensor) -> Draws:
        return self.draw(rate, self.n_draws)

    def draw(self, rate: Tensor, n_draws: int) -> Draws:
        """So many draws of every rate."""
        return self.estimator.draw(rate, n_draws=n_draws, generator=self.generator)

    @property
    def in_one_pass(self) -> bool:
        """Whether many windows' draws, each with its own noise, are made together, by `from_noise`."""
        return self.kernels is not None and is_relaxed(self)

    def noise(self, rate: Tensor) -> Tensor:
        """What is random about the draws of every rate, (draw, *shape); of those that are made in one pass."""
        assert is_relaxed(self)
        return self.estimator.noise(rate.new_empty(self.n_draws, *rate.shape), self.generator)

    def from_noise(self, rate: Tensor, noise: Tensor) -> PathwiseDraws:
        """The draws that `draw` would make of that noise."""
        assert is_relaxed(self)
        assert self.kernels is not None
        return PathwiseDraws(soft_counts(self.estimator, rate, noise, self.kernels))

    def turns(self, like: Tensor, *, with_slopes: bool) -> Turns:
        if self.estimator.whole_counts:
            return HardDraws(self.family, 1, self.generator, self.max_count).turns(like, with_slopes=False)
        if is_relaxed(self):
            return RelaxedTurns(
                self.estimator, self.estimator.noise(torch.empty_like(like), self.generator), with_slopes
            )
        return _EstimatorTurns(self, with_slopes)

    def gather(self, counts: Tensor, rate: Tensor) -> Draws:
        if not self.estimator.whole_counts:
            return PathwiseDraws(counts)
        # The chance of a whole train of counts is the product over bins, each given what was drawn before it.
        return ScoreDraws(counts, log_prob_of(rate, counts, self.family, self.max_count))


def log_prob_of(rate: Tensor, counts: Tensor, family: str, max_count: int) -> Tensor:
    """log-probability of whole hidden counts under the family's law."""
    if max_count > 1:
        return chain_log_prob(rate, counts, max_count)
    return (single_log_prob if family == "categorical" else poisson_log_prob)(rate, counts)


def is_relaxed(draws: object) -> TypeGuard[RelaxedDraws]:
    """Whether what is random about these draws does not depend on the rates."""
    return isinstance(draws, EstimatorDraws) and isinstance(draws.estimator, RelaxedEstimator)


@dataclass(frozen=True)
class _WholeTurns:
    sample: Callable[[Tensor], Tensor]

    def counts(self, bin_: int, rate: Tensor) -> Tensor:
        return self.sample(rate)

    def slopes(self, rates: Tensor) -> None:
        return None


class RelaxedDraws(Protocol):
    """Draws of an estimator whose noise is independent of the rates."""

    @property
    def estimator(self) -> RelaxedEstimator: ...
    @property
    def n_draws(self) -> int: ...
    @property
    def generator(self) -> torch.Generator: ...
    @property
    def kernels(self) -> Kernels | None: ...
    def turns(self, like: Tensor, *, with_slopes: bool) -> Turns: ...


@dataclass(frozen=True)
class RelaxedTurns:
    """All noise drawn beforehand, all slopes taken afterwards: little is left to do in a bin."""

    estimator: RelaxedEstimator
    noise: Float[Tensor, "bin *shape"]
    with_slopes: bool

    def counts(self, bin_: int, rate: Tensor) -> Tensor:
        return self.estimator.relax(rate, self.noise[bin_])

    def slopes(self, rates: Tensor) -> Tensor | None:
        if not self.with_slopes:
            return None
        with torch.enable_grad():
            leaf = rates.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.estimator.relax(leaf, self.noise).sum(), leaf)
        return slope


@dataclass(frozen=True)
class _EstimatorTurns:
    """Draws whose noise depends on the rate: value and slope come bin by bin."""

    draws: EstimatorDraws
    with_slopes: bool
    found: list[Tensor] = field(default_factory=list)

    def counts(self, bin_: int, rate: Tensor) -> Tensor:
        if not self.with_slopes:
            return self.draws.draw(rate, 1).counts[0]
        with torch.enable_grad():
            leaf = rate.detach().requires_grad_()
            counts = self.draws.draw(leaf, 1).counts[0]
            self.found.append(torch.autograd.grad(counts.sum(), leaf)[0])
        return counts.detach()

    def slopes(self, rates: Tensor) -> Tensor | None:
        return torch.stack(self.found) if self.with_slopes else None
