"""Small pieces that encoders and decoders are built from; all start from a generator that is handed in."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Mix(nn.Module):
    """A linear map over channels, bin by bin.

    Args:
        n_inputs: channels in.
        n_outputs: channels out.
        generator: source of the start.
        gain: size of the start; 1 keeps the variance.
        bias: whether a constant is added.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, generator: torch.Generator, *, gain: float = 1.0, bias: bool = True
    ) -> None:
        super().__init__()
        start = torch.randn(n_outputs, n_inputs, generator=generator) * (gain / math.sqrt(n_inputs))
        self.weight = nn.Parameter(start)
        self.bias = nn.Parameter(torch.zeros(n_outputs)) if bias else None

    def forward(self, signal: Float[Tensor, "*batch channel bin"]) -> Float[Tensor, "*batch out bin"]:
        mixed = self.weight @ signal
        return mixed if self.bias is None else mixed + self.bias[:, None]


def bumps(reach: int, n_functions: int) -> Float[Tensor, "function lag"]:
    """Raised cosines over −reach … reach bins, narrow in the middle and wide outside, each of sum 1.

    A filter made of them is smooth where it is far from its centre and sharp where it is near, so a few numbers do for
    many lags. With as many functions as lags each is one lag.

    Args:
        reach: bins on either side.
        n_functions: how many; never more than there are lags.
    """
    n_lags = 2 * reach + 1
    if n_functions >= n_lags:
        return torch.eye(n_lags)
    # Distances are stretched by asinh: even steps there are ever wider steps in time.
    lag = torch.arange(-reach, reach + 1, dtype=torch.float64)
    place = torch.asinh(lag / 2)
    centres = torch.linspace(float(place[0]), float(place[-1]), n_functions, dtype=torch.float64)
    spacing = centres[1] - centres[0] if n_functions > 1 else place[-1] - place[0] + 1
    phase = ((place[None] - centres[:, None]) / spacing).clamp(-1, 1)
    shape = 0.5 * (1 + torch.cos(math.pi * phase))
    return (shape / shape.sum(1, keepdim=True)).float()


def n_bumps(reach: int) -> int:
    """How many bumps a filter of this reach is given: odd, so that one stands in the middle."""
    return min(2 * reach + 1, 9)
