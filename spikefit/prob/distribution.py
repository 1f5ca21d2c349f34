"""Soft Poisson counts as a `torch.distributions` distribution, for people who know that idiom."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from spikefit.prob.arrivals import eat_counts
from spikefit.prob.checks import check_expected_count, check_temperature
from spikefit.prob.edges import get_edge
from spikefit.prob.moments import eat_moments
from spikefit.prob.poisson import poisson_log_prob, sample_poisson

_ONE = Size()


class SoftPoisson(Distribution):
    """Poisson counts whose `rsample` is differentiable, by exponential arrival times.

    `rsample` and `sample` draw soft counts; `mean` and `variance` are theirs, in closed form. `sample_counts` draws
    whole counts of the Poisson itself. `log_prob` is the Poisson's, with Γ(z + 1) for z! at soft counts: the density of
    soft counts has no closed form, and an objective wants the Poisson's.

    Args:
        rate: λ, mean spikes per bin, float32 or float64. Give this or `log_rate`.
        log_rate: log λ.
        edge: cubic, sigmoid, linear, quintic or cosine.
        temperature: τ, half-width of the softened edge, as a fraction of the bin.
        generator: source of the randomness, on the device of the rates; torch's own where None.
        validate_args: as for any distribution of torch; λ itself is always checked.

    Raises:
        TypeError: if neither or both of `rate` and `log_rate` are given, or for arguments of a wrong type.
        ValueError: for values out of their range.
    """

    arg_constraints = {"rate": constraints.nonnegative, "log_rate": constraints.real}  # noqa: RUF012 (as in torch)
    has_rsample = True

    def __init__(
        self,
        rate: Shaped[Tensor, "*shape"] | None = None,
        log_rate: Shaped[Tensor, "*shape"] | None = None,
        *,
        edge: str = "cubic",
        temperature: float = 0.5,
        generator: torch.Generator | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if (rate is None) == (log_rate is None):
            raise TypeError("give either rate or log_rate")
        if rate is not None:
            check_expected_count(rate, "rate")
            self.rate = rate
        else:
            assert log_rate is not None
            # exp of a large log-rate is infinite, and refused as such.
            self.rate = log_rate.exp()
            check_expected_count(self.rate, "exp(log_rate)")
        self._log_rate = log_rate
        self.edge, self.temperature, self.generator = get_edge(edge).name, check_temperature(temperature), generator
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def log_rate(self) -> Float[Tensor, "*shape"]:
        return self.rate.log() if self._log_rate is None else self._log_rate

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """Soft counts are real and at least 0."""
        return constraints.nonnegative

    @property
    def mean(self) -> Tensor:
        """Mean of soft counts: λ for compact edges up to τ = 1."""
        return eat_moments(self.rate, edge=self.edge, temperature=self.temperature).mean

    @property
    def variance(self) -> Tensor:
        """Variance of soft counts."""
        return eat_moments(self.rate, edge=self.edge, temperature=self.temperature).variance

    def rsample(self, sample_shape: Any = _ONE) -> Tensor:
        """Soft counts, differentiable in the rates."""
        rates = self.rate.expand(self._extended_shape(Size(sample_shape)))
        return eat_counts(rates, edge=self.edge, temperature=self.temperature, generator=self.generator)

    def sample_counts(self, sample_shape: Any = _ONE) -> Tensor:
        """Whole counts of the Poisson, without a derivative."""
        return sample_poisson(self.rate.expand(self._extended_shape(Size(sample_shape))), self.generator)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of whole or soft counts under the Poisson, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return poisson_log_prob(self.rate, value)

    def expand(self, batch_shape: Any, _instance: Any = None) -> SoftPoisson:
        new: SoftPoisson = self._get_checked_instance(SoftPoisson, _instance)  # type: ignore[no-untyped-call]
        shape = Size(batch_shape)
        new.rate = self.rate.expand(shape)
        new._log_rate = None if self._log_rate is None else self._log_rate.expand(shape)
        new.edge, new.temperature, new.generator = self.edge, self.temperature, self.generator
        super(SoftPoisson, new).__init__(shape, validate_args=False)
        new._validate_args = self._validate_args
        return new
