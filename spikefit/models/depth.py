"""A read-out that can see more than a weighted sum: residual convolutions over time of the convolved counts.

    h⁰ = entry · features + offset
    hˡ = hˡ⁻¹ + convolution of silu(hˡ⁻¹) over three bins      l = 1 … depth
    drive += out · silu(h)

It stands beside the linear read-out and starts with out = 0, so training begins where the linear one would. Three bins are the
one of the result and its two neighbours, or, where the posterior must not see what comes later, the two before it.
Restarts are groups of one convolution.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

CHANNELS = 16
TAPS = 3
ENTRY_SIZE, LAYER_SIZE = 2.0, 0.5  # of the random start, in units that keep a channel's spread near one


def margin(depth: int) -> int:
    """Bins that the convolutions need on each side beyond those they speak of; as many for every kind of posterior."""
    return (TAPS - 1) * depth


def windows_context(n_lags: int, depth: int) -> tuple[int, int]:
    """Bins before and after the scored ones that every model of a depth is given, those without hidden units too."""
    return 2 * n_lags + margin(depth), n_lags + margin(depth)


class DeepReadout(nn.Module):
    """What residual convolutions add to the drive of the posterior.

    Args:
        n_features: of the convolved counts.
        n_hidden: hidden units.
        depth: convolutions, at least one.
        causal: whether a bin is read from itself and the bins before it alone.
        like: of the dtype and on the device of the parameters.
        n_restarts: independent sets of weights.
    """

    def __init__(
        self, n_features: int, n_hidden: int, *, depth: int, causal: bool, like: Tensor, n_restarts: int
    ) -> None:
        super().__init__()
        self.depth, self.causal = depth, causal
        self.entry = nn.Parameter(like.new_zeros(n_restarts, CHANNELS, n_features))
        self.entry_offset = nn.Parameter(like.new_zeros(n_restarts, CHANNELS))
        self.layers = nn.Parameter(like.new_zeros(n_restarts, depth, CHANNELS, CHANNELS, TAPS))
        self.layer_offset = nn.Parameter(like.new_zeros(n_restarts, depth, CHANNELS))
        self.out = nn.Parameter(like.new_zeros(n_restarts, n_hidden, CHANNELS))

    @torch.no_grad()
    def randomise(self, generator: torch.Generator) -> None:
        """Random weights but for the last layer, which stays at zero.

        Args:
            generator: on the CPU.
        """
        for weights, size in ((self.entry, ENTRY_SIZE), (self.layers, LAYER_SIZE)):
            fan_in = weights.shape[-1] if weights is self.entry else CHANNELS * TAPS
            random = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
            weights.copy_(size / math.sqrt(fan_in) * random)

    def forward(
        self, features: Float[Tensor, "window feature padded_bin"]
    ) -> Float[Tensor, "window restart hidden bin"]:
        """What to add to the drive in the bins that have `margin(depth)` bins on both sides."""
        n_restarts, _, n_features = self.entry.shape
        n_bins = features.shape[-1] - 2 * margin(self.depth)
        h = self.entry.reshape(-1, n_features) @ features + self.entry_offset.reshape(-1, 1)
        for layer in range(self.depth):
            added = nn.functional.conv1d(
                nn.functional.silu(h),
                self.layers[:, layer].reshape(n_restarts * CHANNELS, CHANNELS, TAPS),
                self.layer_offset[:, layer].reshape(-1),
                groups=n_restarts,
            )
            # The bin that three taps speak of is their last one, or the one in the middle.
            h = (h[..., TAPS - 1 :] if self.causal else h[..., 1:-1]) + added
        first = 0 if self.causal else self.depth
        h = nn.functional.silu(h[..., first : first + n_bins]).unflatten(1, (n_restarts, CHANNELS))
        return self.out @ h
