"""Encoders: from counts in a context window to the log-factor by which each latent's rate leaves its prior.

All take (window, input, padded bin) and give (window, latent, bin), with `reach` bins fewer on either side: each latent
bin depends on the `reach` bins before and after it and on nothing else, however long the window is.

====== ==================================================================================
linear one linear filter per latent and input
mlp    a linear filter bank over the window, then two layers bin by bin
conv   inputs mixed bin by bin, filtered in time through smooth bumps, mixed by two layers
gru    two recurrent passes over the window, one from either end to the bin in the middle
====== ==================================================================================
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from spikefit.models.pvae.parts import Mix, bumps, n_bumps

# Small enough that the posterior starts as the prior, large enough that gradients find their way.
LAST_GAIN = 0.1


class LinearEncoder(nn.Module):
    """One linear filter per latent and input."""

    def __init__(self, n_inputs: int, n_latents: int, *, reach: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.reach = reach
        n_lags = 2 * reach + 1
        start = torch.randn(n_latents, n_inputs, n_lags, generator=generator) * LAST_GAIN / math.sqrt(n_inputs * n_lags)
        self.filters = nn.Parameter(start)

    def forward(self, signal: Float[Tensor, "window input padded"]) -> Float[Tensor, "window latent bin"]:
        return functional.conv1d(signal, self.filters)


class MlpEncoder(nn.Module):
    """A filter bank over the window, then layers bin by bin."""

    def __init__(self, n_inputs: int, n_latents: int, *, reach: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.reach = reach
        n_lags = 2 * reach + 1
        self.filters = nn.Parameter(
            torch.randn(width, n_inputs, n_lags, generator=generator) / math.sqrt(n_inputs * n_lags)
        )
        self.bias = nn.Parameter(torch.zeros(width))
        self.middle = Mix(width, width, generator, gain=math.sqrt(2))
        self.last = Mix(width, n_latents, generator, gain=LAST_GAIN)

    def forward(self, signal: Float[Tensor, "window input padded"]) -> Float[Tensor, "window latent bin"]:
        first = functional.relu(functional.conv1d(signal, self.filters, self.bias))
        return self.last(functional.relu(self.middle(first)))


class ConvEncoder(nn.Module):
    """Inputs mixed, filtered through smooth bumps, and mixed again."""

    bumps: Tensor

    def __init__(self, n_inputs: int, n_latents: int, *, reach: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.reach = reach
        self.first = Mix(n_inputs, width, generator, bias=False)
        n_functions = n_bumps(reach)
        # Unit variance out of independent bins, so that the filtered signals start at the size of the input.
        shapes = bumps(reach, n_functions)
        self.register_buffer("bumps", shapes / shapes.norm(dim=1, keepdim=True), persistent=False)
        self.in_time = nn.Parameter(
            torch.randn(width, width, n_functions, generator=generator) / math.sqrt(width * n_functions)
        )
        self.bias = nn.Parameter(torch.zeros(width))
        self.middle = Mix(width, width, generator, gain=math.sqrt(2))
        self.last = Mix(width, n_latents, generator, gain=LAST_GAIN)

    def forward(self, signal: Float[Tensor, "window input padded"]) -> Float[Tensor, "window latent bin"]:
        filtered = functional.conv1d(self.first(signal), self.in_time @ self.bumps, self.bias)
        return self.last(functional.relu(self.middle(functional.relu(filtered))))


class GruEncoder(nn.Module):
    """Two recurrent passes over each bin's own window, which meet in that bin."""

    def __init__(self, n_inputs: int, n_latents: int, *, reach: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.reach, half = reach, max(1, width // 2)
        self.n_half = half
        self.inputs = Mix(n_inputs, 6 * half, generator)
        self.recurrent = nn.Parameter(torch.randn(2, 3 * half, half, generator=generator) / math.sqrt(half))
        self.recurrent_bias = nn.Parameter(torch.zeros(2, 3 * half))
        self.last = Mix(2 * half, n_latents, generator, gain=LAST_GAIN)

    def forward(self, signal: Float[Tensor, "window input padded"]) -> Float[Tensor, "window latent bin"]:
        gates = self.inputs(signal)
        n_bins = signal.shape[2] - 2 * self.reach
        ends = []
        for direction, part in enumerate(gates.split(3 * self.n_half, dim=1)):
            starts = range(self.reach + 1) if direction == 0 else range(2 * self.reach, self.reach - 1, -1)
            state = gates.new_zeros(len(signal), self.n_half, n_bins)
            for start in starts:
                state = self._step(part[:, :, start : start + n_bins], state, direction)
            ends.append(state)
        return self.last(torch.cat(ends, dim=1))

    def _step(self, gates: Tensor, state: Tensor, direction: int) -> Tensor:
        back = self.recurrent[direction] @ state + self.recurrent_bias[direction][:, None]
        reset_in, update_in, new_in = gates.chunk(3, dim=1)
        reset_back, update_back, new_back = back.chunk(3, dim=1)
        reset, update = torch.sigmoid(reset_in + reset_back), torch.sigmoid(update_in + update_back)
        return torch.lerp(torch.tanh(new_in + reset * new_back), state, update)


ENCODERS: dict[str, type[LinearEncoder | MlpEncoder | ConvEncoder | GruEncoder]] = {
    "linear": LinearEncoder,
    "mlp": MlpEncoder,
    "conv": ConvEncoder,
    "gru": GruEncoder,
}
