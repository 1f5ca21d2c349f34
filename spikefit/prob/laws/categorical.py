"""Any law over 0, 1, …, max_count: one free weight per count."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from spikefit.prob.checks import check_rates_tensor
from spikefit.prob.laws.base import check_table_size, counts_column


class CategoricalLaw:
    """Counts 0 to `max_count` with free probabilities.

    Args:
        logits: unnormalised log-probabilities, (count, *shape); −∞ marks a count that cannot occur.

    Raises:
        TypeError: if `logits` is not a tensor of float32 or float64.
        ValueError: if it is empty, has fewer than two counts, holds NaN or +∞, or rules out every count of a latent.
    """

    name = "categorical"

    def __init__(self, logits: Shaped[Tensor, "count *shape"]) -> None:
        check_rates_tensor(logits, "logits")
        if logits.dim() == 0 or logits.shape[0] < 2:
            raise ValueError(f"logits must hold at least two counts along the first axis, got {tuple(logits.shape)}")
        best = logits.detach().amax(0)
        # A NaN anywhere makes the maximum NaN.
        if not bool(torch.isfinite(best).all()):
            raise ValueError(
                "logits must be finite or −inf, with a finite one for every latent; got NaN, inf or all −inf"
            )
        self.logits = logits
        check_table_size(logits[0].numel(), self.max_count, logits, "logits", float(self.max_count))

    @property
    def max_count(self) -> int:
        return self.logits.shape[0] - 1

    @property
    def shape(self) -> torch.Size:
        return self.logits.shape[1:]

    def log_probs(self) -> Float[Tensor, "count *shape"]:
        return self.logits.log_softmax(0)

    def mean(self) -> Float[Tensor, "*shape"]:
        return (counts_column(self.max_count, self.logits[0]) * self.logits.softmax(0)).sum(0)
