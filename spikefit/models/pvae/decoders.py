"""Decoders: from latent counts to the drive of every unit.

All take (batch, latent, padded bin) and give (batch, unit, bin), with `reach` bins fewer on either side.

====== ======================================================================================================
linear each unit's drive is a weighted sum of the latents of the same bin
mlp    one hidden layer between the two
conv   each latent is smoothed by a kernel of its own, then summed as in `linear`
====== ======================================================================================================
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from spikefit.models.pvae.parts import Mix, bumps, n_bumps


class _Loaded(nn.Module):
    """A weighted sum of latents, smoothed by kernels that are never below zero or not at all."""

    loadings: nn.Parameter

    @torch.no_grad()
    def soften(self, factor: Float[Tensor, " unit"]) -> None:
        """Scale what the latents do to each unit."""
        self.loadings.mul_(factor[:, None])

    @torch.no_grad()
    def only_excite(self) -> None:
        """Hold every latent's effect at or above zero."""
        self.loadings.clamp_(min=0)

    def weights(self) -> Float[Tensor, "unit latent"]:
        """What one latent spike adds to each unit's drive, summed over the kernel."""
        return self.loadings.detach()


class LinearDecoder(_Loaded):
    """A weighted sum of the latents of the same bin."""

    reach = 0

    def __init__(
        self, n_latents: int, n_units: int, *, reach: int, width: int, baseline: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.loadings = nn.Parameter(torch.randn(n_units, n_latents, generator=generator) / math.sqrt(n_latents))
        self.baseline = nn.Parameter(baseline.clone())

    def forward(self, latents: Float[Tensor, "*batch latent padded"]) -> Float[Tensor, "*batch unit bin"]:
        return self.loadings @ latents + self.baseline[:, None]

    def cumulant(self, order: int, expected: Float[Tensor, "*batch latent padded"]) -> Float[Tensor, "*batch unit bin"]:
        """Cumulant of a unit's drive over independent Poisson latents: 2 is the variance, 3 its lopsidedness."""
        return self.loadings.pow(order) @ expected

    def kernels(self) -> Float[Tensor, "latent lag"]:
        """The course of that effect, of sum 1."""
        return torch.ones(self.loadings.shape[1], 1, device=self.loadings.device)


class MlpDecoder(nn.Module):
    """One hidden layer of rectified units."""

    reach = 0

    def __init__(
        self, n_latents: int, n_units: int, *, reach: int, width: int, baseline: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.first = Mix(n_latents, width, generator, gain=math.sqrt(2))
        self.last = Mix(width, n_units, generator, bias=False)
        self.baseline = nn.Parameter(baseline.clone())

    def forward(self, latents: Float[Tensor, "*batch latent padded"]) -> Float[Tensor, "*batch unit bin"]:
        return self.last(functional.relu(self.first(latents))) + self.baseline[:, None]

    @torch.no_grad()
    def soften(self, factor: Float[Tensor, " unit"]) -> None:
        """Scale what the latents do to each unit."""
        self.last.weight.mul_(factor[:, None])

    @torch.no_grad()
    def only_excite(self) -> None:
        """Hold every latent's effect at or above zero: weights of both layers are."""
        self.first.weight.clamp_(min=0)
        self.last.weight.clamp_(min=0)

    def weights(self) -> Float[Tensor, "unit latent"]:
        """What the first spike of each latent alone adds to each unit's drive."""
        with torch.no_grad():
            one = torch.eye(self.first.weight.shape[1], device=self.first.weight.device)
            return self.forward(one) - self.forward(torch.zeros_like(one))

    def kernels(self) -> Float[Tensor, "latent lag"]:
        """The course of that effect, of sum 1."""
        return torch.ones(self.first.weight.shape[1], 1, device=self.first.weight.device)


class ConvDecoder(_Loaded):
    """Each latent smoothed by a kernel of its own, a softmax mixture of bumps, then a weighted sum."""

    bumps: Tensor

    def __init__(
        self, n_latents: int, n_units: int, *, reach: int, width: int, baseline: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.reach = reach
        self.register_buffer("bumps", bumps(reach, n_bumps(reach)), persistent=False)
        self.shares = nn.Parameter(torch.zeros(n_latents, len(self.bumps)))
        # A smoothed spike is spread over many bins; the loadings start as much larger as it is lower.
        gain = math.sqrt(2 * reach + 1) / math.sqrt(n_latents)
        self.loadings = nn.Parameter(torch.randn(n_units, n_latents, generator=generator) * gain)
        self.baseline = nn.Parameter(baseline.clone())

    def forward(self, latents: Float[Tensor, "*batch latent padded"]) -> Float[Tensor, "*batch unit bin"]:
        return self.loadings @ self.smooth(latents) + self.baseline[:, None]

    def cumulant(self, order: int, expected: Float[Tensor, "*batch latent padded"]) -> Float[Tensor, "*batch unit bin"]:
        """Cumulant of a unit's drive over independent Poisson latents: 2 is the variance, 3 its lopsidedness."""
        return self.loadings.pow(order) @ self.smooth(expected, order)

    def smooth(
        self, latents: Float[Tensor, "*batch latent padded"], power: int = 1
    ) -> Float[Tensor, "*batch latent bin"]:
        """The latents through their kernels, or through a power of them."""
        kernels = self._kernels().pow(power)
        flat = latents.reshape(-1, *latents.shape[-2:])
        smoothed = functional.conv1d(flat, kernels[:, None], groups=len(kernels))
        return smoothed.reshape(*latents.shape[:-1], -1)

    def _kernels(self) -> Tensor:
        return self.shares.softmax(1) @ self.bumps

    def kernels(self) -> Float[Tensor, "latent lag"]:
        """The course of that effect, of sum 1; the middle lag is the latent's own bin."""
        return self._kernels().detach().flip(1)


DECODERS: dict[str, type[LinearDecoder | MlpDecoder | ConvDecoder]] = {
    "linear": LinearDecoder,
    "mlp": MlpDecoder,
    "conv": ConvDecoder,
}
