"""What every estimator of a gradient through counts offers, so that a model can swap them.

An estimator draws counts, and its draws know what the objective lacks for its gradient to be right::

    estimator = get_estimator("eat-cubic", temperature=0.5)
    draws = estimator.draw(expected_count, n_draws=4, generator=generator)
    objective = model(draws.counts)
    total = objective.mean(0).sum() + draws.correction(objective)
    total.backward()

`objective` is (draw, *batch), and its batch axes are the ones that `expected_count` begins with. The correction is
always zero; only its derivative counts.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Tensor


@runtime_checkable
class Draws(Protocol):
    """Counts, and what the objective must add.

    Attributes:
        counts: (draw, *shape) of the expected counts.
        needs_effect: whether `correction` needs the effect of one more spike.
    """

    @property
    def counts(self) -> Tensor: ...

    @property
    def needs_effect(self) -> bool: ...

    def correction(self, objective: Tensor, effect: Tensor | None = None) -> Tensor:
        """A number that is zero; with it the gradient of `objective.mean(0).sum()` in the expected counts is right.

        Args:
            objective: one number per draw and batch entry, (draw, *batch).
            effect: what one more spike in each latent adds to the summed objective, (draw, *shape); where a latent
                holds at most one, what a spike adds beside none. Asked for by draws with `needs_effect`, ignored by
                the others.
        """
        ...


@runtime_checkable
class Estimator(Protocol):
    """A way to a gradient through Poisson counts.

    Attributes:
        name: as in the registry.
        whole_counts: whether draws are whole numbers. Otherwise the model must make sense of fractions of a spike.
        needs_effect: whether `correction` needs the effect of one more spike.
        min_draws: fewest draws it can work with.
    """

    @property
    def name(self) -> str: ...

    @property
    def whole_counts(self) -> bool: ...

    @property
    def needs_effect(self) -> bool: ...

    @property
    def min_draws(self) -> int: ...

    def draw(
        self, expected_count: Shaped[Tensor, "*shape"], *, n_draws: int, generator: torch.Generator | None = None
    ) -> Draws:
        """Draw counts.

        Args:
            expected_count: λ in [0, 1e9], float32 or float64.
            n_draws: draws for each expected count.
            generator: source of the randomness, on the device of `expected_count`; torch's own where None.

        Raises:
            ValueError: if `n_draws` is below `min_draws`, or for arguments out of their range.
        """
        ...
