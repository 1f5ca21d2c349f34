"""The Poisson law, cut off in its tail."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from spikefit.prob.checks import bounds, check_bounds, check_rates_tensor
from spikefit.prob.laws.base import LOST_PROBABILITY, check_max_count, check_table_size, counts_column, least_count


class PoissonLaw:
    """Poisson counts of mean λ.

    Args:
        expected_count: λ in [0, 1e9], float32 or float64.
        max_count: largest count told apart; by default where at most 1e-6 of the probability of the largest λ is lost.

    Raises:
        TypeError, ValueError: as for any expected count; also if the table of counts would not fit into memory.
    """

    name = "poisson"

    def __init__(self, expected_count: Shaped[Tensor, "*shape"], *, max_count: int | None = None) -> None:
        check_rates_tensor(expected_count)
        low, high = bounds(expected_count)
        check_bounds(low, high)
        self.expected_count = expected_count
        self.max_count = poisson_max_count(high) if max_count is None else check_max_count(max_count)
        check_table_size(expected_count.numel(), self.max_count, expected_count, "expected_count", high)

    @property
    def shape(self) -> torch.Size:
        return self.expected_count.shape

    def log_probs(self) -> Float[Tensor, "count *shape"]:
        counts = counts_column(self.max_count, self.expected_count)
        # A count above zero is impossible at λ = 0, and the limit below keeps its derivative from being NaN.
        log_rate = self.expected_count.clamp(min=torch.finfo(self.expected_count.dtype).tiny).log()
        return (counts * log_rate - torch.lgamma(counts + 1)).log_softmax(0)

    def mean(self) -> Float[Tensor, "*shape"]:
        return self.expected_count


def poisson_max_count(expected_count: float, lost: float = LOST_PROBABILITY) -> int:
    """Least count that a Poisson of this mean exceeds with probability at most `lost`."""

    def tail(count: int) -> float:
        # P(N > count) is the regularised lower incomplete gamma function at count + 1.
        return float(
            torch.special.gammainc(
                torch.tensor(count + 1.0, dtype=torch.float64, device="cpu"),
                torch.tensor(expected_count, dtype=torch.float64, device="cpu"),
            )
        )

    return least_count(tail, lost)
