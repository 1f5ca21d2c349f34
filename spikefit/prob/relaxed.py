"""Soft draws that are a function of the rate and of noise that knows nothing of it.

Such noise can be drawn beforehand, for many bins or windows at once, and the same noise gives the draw and its derivative
at any rate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from spikefit.prob.checks import check_generator
from spikefit.prob.estimators import PathwiseDraws


class RelaxedEstimator(ABC):
    """An estimator, as `spikefit.prob.protocol.Estimator` has it, that draws its noise first."""

    whole_counts: ClassVar[bool] = False
    needs_effect: ClassVar[bool] = False
    min_draws: ClassVar[int] = 1

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def noise(self, empty: Tensor, generator: torch.Generator | None) -> Tensor:
        """What is random about draws, one number for each of `empty`, which it may be written into."""

    @abstractmethod
    def relax(self, expected_count: Tensor, noise: Tensor) -> Tensor:
        """The draws, given what is random about them."""

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> PathwiseDraws:
        check_generator(generator, expected_count.device)
        noise = self.noise(expected_count.new_empty(n_draws, *expected_count.shape), generator)
        return PathwiseDraws(self.relax(expected_count, noise))
