"""The Conway–Maxwell–Poisson law: counts more or less variable than a Poisson's, by one exponent."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from spikefit.prob.checks import bounds, check_bounds, check_rates_tensor
from spikefit.prob.laws.base import LOST_PROBABILITY, check_max_count, check_table_size, counts_column


class ComPoissonLaw:
    """Counts with p(n) ∝ rateⁿ / (n!)^exponent.

    Exponent 1 is the Poisson of mean `rate`; above 1 counts vary less, below 1 more. At exponent 0 the law is
    geometric, and `rate` must then be below 1.

    Args:
        rate: at least 0, float32 or float64.
        exponent: at least 0, of the same dtype, broadcasts with `rate`.
        max_count: largest count told apart; by default where at most 1e-6 of the probability is lost for every latent.

    Raises:
        TypeError, ValueError: for arguments out of their range, or a law without a finite sum; also if the table of
            counts would not fit into memory.

    Source: Shmueli et al., "A useful distribution for fitting discrete data" (Appl. Statist. 2005).
    """

    name = "com-poisson"

    def __init__(
        self, rate: Shaped[Tensor, "*#shape"], exponent: Shaped[Tensor, "*#shape"], *, max_count: int | None = None
    ) -> None:
        check_rates_tensor(rate, "rate")
        check_rates_tensor(exponent, "exponent")
        low, high = bounds(rate)
        check_bounds(low, high, "rate")
        least, most = bounds(exponent)
        if not (least >= 0 and math.isfinite(most)):
            raise ValueError(f"exponent must be finite and at least 0, got {least if not least >= 0 else most:g}")
        self.rate: Tensor
        self.exponent: Tensor
        self.rate, self.exponent = torch.broadcast_tensors(rate, exponent)
        if max_count is None:
            # Every other law of the batch falls off at least as fast as the one with these two extremes.
            max_count = com_poisson_max_count(high, least)
        self.max_count = check_max_count(max_count)
        check_table_size(self.rate.numel(), self.max_count, rate, "rate", high)

    @property
    def shape(self) -> torch.Size:
        return self.rate.shape

    def log_probs(self) -> Float[Tensor, "count *shape"]:
        counts = counts_column(self.max_count, self.rate)
        log_rate = self.rate.clamp(min=torch.finfo(self.rate.dtype).tiny).log()
        return (counts * log_rate - self.exponent * torch.lgamma(counts + 1)).log_softmax(0)

    def mean(self) -> Float[Tensor, "*shape"]:
        """Mean over the counts told apart: the law has no closed form, and the rest weighs next to nothing."""
        return (counts_column(self.max_count, self.rate) * self.log_probs().exp()).sum(0)


def com_poisson_max_count(rate: float, exponent: float, lost: float = LOST_PROBABILITY) -> int:
    """A count exceeded with probability at most `lost`.

    Beyond the mode each term is at most q = rate/(n + 1)^exponent times the one before, so the tail is bounded by a
    geometric series; terms are summed upwards until that bound is met.

    Raises:
        ValueError: if the law has no finite sum, or the count lies beyond 200,000.
    """
    if rate == 0:
        return 1
    if exponent == 0 and rate >= 1:
        raise ValueError(f"rate must lie below 1 where exponent is 0, got {rate:g}: the law has no finite sum")
    log_rate = math.log(rate)
    peak = log_term = log_total = 0.0
    count = 0
    while True:
        q = math.exp(min(log_rate - exponent * math.log(count + 1), 700.0))
        # Tail after `count` in units of the total so far.
        if q < 1 and log_term + math.log(q / (1 - q) if q > 0 else 1e-300) <= log_total + math.log(lost):
            return max(1, count)
        log_term += log_rate - exponent * math.log(count + 1)
        count += 1
        peak = max(log_total, log_term)
        log_total = peak + math.log(math.exp(log_total - peak) + math.exp(log_term - peak))
        if count > 200_000:
            raise ValueError(f"rate {rate:g} with exponent {exponent:g} asks for counts beyond 200,000; pass max_count")
