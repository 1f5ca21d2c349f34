"""Laws of what is observed given the drive: whole spike counts, or real numbers.

Each gives the log-density of every value with its constants, and the mean.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from spikefit.models.link import sigmoid_value


class PoissonObservation(nn.Module):
    """Counts with mean f(drive)."""

    whole_counts = True

    def __init__(self, n_units: int, link: str) -> None:
        super().__init__()
        self.link = link

    def mean(self, drive: Float[Tensor, "*batch unit bin"]) -> Float[Tensor, "*batch unit bin"]:
        return _expected(drive, self.link)

    def log_prob(
        self, drive: Float[Tensor, "*batch unit bin"], values: Float[Tensor, "*#batch unit bin"]
    ) -> Float[Tensor, "*batch unit bin"]:
        expected = self.mean(drive)
        return torch.xlogy(values, expected) - expected - torch.lgamma(values + 1)

    def draw(self, drive: Float[Tensor, "*batch unit bin"], generator: torch.Generator) -> Tensor:
        """Whole counts."""
        return torch.poisson(self.mean(drive), generator=generator)


class NegativeBinomialObservation(nn.Module):
    """Counts with mean μ = f(drive) and variance μ + μ²/size, one learnt size per unit."""

    whole_counts = True

    def __init__(self, n_units: int, link: str) -> None:
        super().__init__()
        self.link = link
        self.log_size = nn.Parameter(torch.full((n_units,), math.log(5.0)))

    def mean(self, drive: Float[Tensor, "*batch unit bin"]) -> Float[Tensor, "*batch unit bin"]:
        return _expected(drive, self.link)

    def log_prob(
        self, drive: Float[Tensor, "*batch unit bin"], values: Float[Tensor, "*#batch unit bin"]
    ) -> Float[Tensor, "*batch unit bin"]:
        expected, size = self.mean(drive), self.log_size.exp()[:, None]
        shape = torch.lgamma(values + size) - torch.lgamma(size) - torch.lgamma(values + 1)
        # log1p keeps the Poisson limit, a very large size, exact in float32.
        return shape - (values + size) * torch.log1p(expected / size) + torch.xlogy(values, expected / size)

    def draw(self, drive: Float[Tensor, "*batch unit bin"], generator: torch.Generator) -> Tensor:
        """Whole counts, by a Poisson law whose mean is Gamma distributed."""
        expected, size = self.mean(drive), self.log_size.exp()[:, None].expand(drive.shape)
        gamma = torch._standard_gamma(size.contiguous(), generator=generator)
        return torch.poisson(gamma * expected / size, generator=generator)


class GaussianObservation(nn.Module):
    """Real values with mean drive and one learnt variance per unit."""

    whole_counts = False

    def __init__(self, n_units: int, link: str) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(n_units))

    def mean(self, drive: Float[Tensor, "*batch unit bin"]) -> Float[Tensor, "*batch unit bin"]:
        return drive

    def log_prob(
        self, drive: Float[Tensor, "*batch unit bin"], values: Float[Tensor, "*#batch unit bin"]
    ) -> Float[Tensor, "*batch unit bin"]:
        log_variance = self.log_variance[:, None]
        return -0.5 * ((values - drive).square() * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi))

    def draw(self, drive: Float[Tensor, "*batch unit bin"], generator: torch.Generator) -> Tensor:
        """Real values."""
        noise = torch.randn(drive.shape, generator=generator, device=drive.device)
        return drive + noise * torch.exp(0.5 * self.log_variance)[:, None]


def _expected(drive: Tensor, link: str) -> Tensor:
    # Clamps far outside any rate: a logarithm stays finite, and a wild step is no infinity.
    if link == "exp":
        return drive.clamp(-20, 20).exp()
    if link == "sigmoid":
        return sigmoid_value(drive.clamp(min=-20))
    return functional.softplus(drive).clamp(min=1e-9)


OBSERVATIONS: dict[str, type[PoissonObservation | NegativeBinomialObservation | GaussianObservation]] = {
    "poisson": PoissonObservation,
    "negative-binomial": NegativeBinomialObservation,
    "gaussian": GaussianObservation,
}
