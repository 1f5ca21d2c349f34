"""The negative binomial law: counts more variable than a Poisson's."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from spikefit.prob.checks import bounds, check_bounds, check_rates_tensor
from spikefit.prob.laws.base import LOST_PROBABILITY, check_max_count, check_table_size, counts_column, least_count


class NegativeBinomialLaw:
    """Negative binomial counts of mean μ and variance μ + dispersion·μ².

    As the dispersion goes to 0 the law becomes the Poisson of mean μ.

    Args:
        expected_count: μ in [0, 1e9], float32 or float64.
        dispersion: above 0, of the same dtype, broadcasts with μ.
        max_count: largest count told apart; by default where at most 1e-6 of the probability is lost for every latent.

    Raises:
        TypeError, ValueError: for arguments out of their range; also if the table of counts would not fit into memory.
    """

    name = "negative-binomial"

    def __init__(
        self,
        expected_count: Shaped[Tensor, "*#shape"],
        dispersion: Shaped[Tensor, "*#shape"],
        *,
        max_count: int | None = None,
    ) -> None:
        check_rates_tensor(expected_count)
        check_rates_tensor(dispersion, "dispersion")
        low, high = bounds(expected_count)
        check_bounds(low, high)
        least, most = bounds(dispersion)
        if not (least > 0 and math.isfinite(most)):
            raise ValueError(f"dispersion must be finite and above 0, got {least if not least > 0 else most:g}")
        self.expected_count: Tensor
        self.dispersion: Tensor
        self.expected_count, self.dispersion = torch.broadcast_tensors(expected_count, dispersion)
        # The most spread-out law of the batch has the largest mean and the largest dispersion at most.
        self.max_count = negative_binomial_max_count(high, most) if max_count is None else check_max_count(max_count)
        check_table_size(self.expected_count.numel(), self.max_count, expected_count, "expected_count", high)

    @property
    def shape(self) -> torch.Size:
        return self.expected_count.shape

    def log_probs(self) -> Float[Tensor, "count *shape"]:
        counts = counts_column(self.max_count, self.expected_count)
        size = 1 / self.dispersion
        # log of the probability parameter μ/(μ + size), written so that small dispersions stay accurate
        scaled = (self.expected_count * self.dispersion).clamp(min=torch.finfo(self.expected_count.dtype).tiny)
        log_success = scaled.log() - torch.log1p(scaled)
        rising = torch.lgamma(counts + size) - torch.lgamma(size) - torch.lgamma(counts + 1)
        return (rising + counts * log_success).log_softmax(0)

    def mean(self) -> Float[Tensor, "*shape"]:
        return self.expected_count


def negative_binomial_max_count(expected_count: float, dispersion: float, lost: float = LOST_PROBABILITY) -> int:
    """Least count exceeded with probability at most `lost`."""
    from scipy import special  # torch has no incomplete beta function

    size = 1 / dispersion
    ratio = expected_count / (expected_count + size)

    def tail(count: int) -> float:
        return float(special.betainc(count + 1, size, ratio))

    return least_count(tail, lost)
