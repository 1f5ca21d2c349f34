"""The posterior over hidden counts, read from the visible ones.

q(z | x) factorises over bins and hidden units; each factor has a rate λ that depends on what the visible units did
before, in and after its bin. The family says what λ means: a Poisson mean, or the rate of arrivals of which the bin
counts at most one. Restarts share all features and differ in weights, so they
are one matrix product.

Source: Li et al., "A differentiable partially observable GLM with forward-backward message passing" (ICML 2024).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikefit.models.coupling import future_features, history_features

# The drive is held above this: expected counts of 1e-7 are silence, and their logarithm must stay finite.
SMALLEST_DRIVE = -16.0


class ForwardBackwardPosterior(nn.Module):
    """rate = softplus(offset + past + present + future of the visible units), linear in each.

    Below zero the softplus multiplies evidence, as Bayes' rule does; above, where one hidden spike is near certain, it
    stops it from claiming dozens.

    Args:
        n_visible: visible units.
        n_hidden: hidden units.
        basis: (lag, basis), used mirrored for the future.
        n_restarts: independent sets of weights.
    """

    basis: Tensor

    def __init__(self, n_visible: int, n_hidden: int, basis: Float[Tensor, "lag basis"], n_restarts: int) -> None:
        super().__init__()
        self.register_buffer("basis", basis)
        n_functions = basis.shape[1]
        self.offset = nn.Parameter(basis.new_zeros(n_restarts, n_hidden))
        self.past = nn.Parameter(basis.new_zeros(n_restarts, n_hidden, n_visible * n_functions))
        self.present = nn.Parameter(basis.new_zeros(n_restarts, n_hidden, n_visible))
        self.future = nn.Parameter(basis.new_zeros(n_restarts, n_hidden, n_visible * n_functions))

    @property
    def reach(self) -> tuple[int, int]:
        """Bins of visible context needed before and after the bins asked for."""
        return self.basis.shape[0], self.basis.shape[0]

    def features(
        self,
        counts: Float[Tensor, "window visible padded_bin"],
        history: Float[Tensor, "window history_feature bin"] | None = None,
    ) -> Float[Tensor, "window feature bin"]:
        """What the posterior reads, for the bins that have `reach` bins on both sides.

        Args:
            counts: visible counts with `reach` bins of context on both sides.
            history: the same bins' history features where they are at hand, to save a convolution.
        """
        before, after = self.reach
        end = counts.shape[-1] - after
        if history is None:
            history = history_features(counts[..., :end], self.basis)
        return torch.cat([history, counts[..., before:end], future_features(counts[..., before:], self.basis)], dim=-2)

    @torch.no_grad()
    def set_readout(
        self, restart: int, weights: Float[Tensor, "hidden feature"], offset: Float[Tensor, " hidden"]
    ) -> None:
        """Set one restart's weights, with the features in the order of `features`."""
        n_past, n_present = self.past.shape[-1], self.present.shape[-1]
        self.past[restart] = weights[:, :n_past]
        self.present[restart] = weights[:, n_past : n_past + n_present]
        self.future[restart] = weights[:, n_past + n_present :]
        self.offset[restart] = offset

    def forward(self, features: Float[Tensor, "window feature bin"]) -> Float[Tensor, "window restart hidden bin"]:
        """Log rates of the hidden counts' laws."""
        weights = torch.cat([self.past, self.present, self.future], dim=-1)
        n_restarts, n_hidden, n_features = weights.shape
        out = weights.reshape(-1, n_features) @ features
        out = out.unflatten(-2, (n_restarts, n_hidden)) + self.offset[..., None]
        return torch.nn.functional.softplus(out.clamp(min=SMALLEST_DRIVE)).log()
