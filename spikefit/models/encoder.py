"""Posteriors over hidden counts that are read from the visible ones alone.

q(z | x) factorises over bins and hidden units; each factor has a rate λ that depends on what the visible units did
before its bin, or before, in and after it. The family says what λ means: a Poisson mean, or the rate of arrivals of
which the bin counts at most one, for a first spike, a second one given the first, and so on. Restarts share all features and differ in weights, so they are one matrix product.

Source: Li et al., "A differentiable partially observable GLM with forward-backward message passing" (ICML 2024).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikefit.models.coupling import future_features, history_features, times_features
from spikefit.models.depth import DeepReadout, margin
from spikefit.models.hidden_draws import DrawHidden
from spikefit.prob.protocol import Draws

# The drive is held above this: expected counts of 1e-7 are silence, and their logarithm must stay finite.
SMALLEST_DRIVE = -16.0


class ForwardPosterior(nn.Module):
    """rate = softplus(offset + past of the visible units), linear in it but for what a deep read-out adds.

    Below zero the softplus multiplies evidence, as Bayes' rule does; above, where one hidden spike is near certain, it
    stops it from claiming dozens.

    Args:
        n_visible: visible units.
        n_hidden: hidden units.
        basis: (lag, basis).
        n_restarts: independent sets of weights.
        depth: residual convolutions beside the linear read-out; see `spikefit.models.depth`.
        max_count: rates per hidden unit, of a law over 0 to `max_count` spikes (`spikefit.prob.chain`); each has a row of
            weights, the rows of a unit one behind the other.
    """

    basis: Tensor
    causal = True

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        basis: Float[Tensor, "lag basis"],
        n_restarts: int,
        depth: int = 0,
        max_count: int = 1,
    ) -> None:
        super().__init__()
        n_rows = n_hidden * max_count
        self.register_buffer("basis", basis)
        self.depth = depth
        self.deep = None
        if depth:
            n_features = self.n_features(n_visible, basis.shape[1])
            self.deep = DeepReadout(
                n_features, n_rows, depth=depth, causal=self.causal, like=basis, n_restarts=n_restarts
            )
        self.offset = nn.Parameter(basis.new_zeros(n_restarts, n_rows))
        self.past = nn.Parameter(basis.new_zeros(n_restarts, n_rows, n_visible * basis.shape[1]))

    @staticmethod
    def n_features(n_visible: int, n_functions: int) -> int:
        """Rows of `features`."""
        return n_visible * n_functions

    @property
    def reach(self) -> tuple[int, int]:
        """Bins of visible context before and after the bins asked for; the same for all posteriors of a depth, so that all
        can be compared on the same windows.
        """
        both = self.basis.shape[0] + margin(self.depth)
        return both, both

    def features(
        self,
        counts: Float[Tensor, "window visible padded_bin"],
        history: Float[Tensor, "window history_feature history_bin"] | None = None,
    ) -> Float[Tensor, "window feature bin"]:
        """What the posterior reads, for the bins that have `reach` bins on both sides, and what a deep read-out needs beside.

        Args:
            counts: visible counts with `reach` bins of context on both sides.
            history: history features of all bins from one window of lags on, where they are at hand, to save a convolution.
        """
        if history is not None and not self.depth:
            return history
        return history_features(counts[..., : counts.shape[-1] - self.basis.shape[0]], self.basis)

    def core(self, features: Float[Tensor, "window feature padded_bin"]) -> Float[Tensor, "window feature bin"]:
        """The features of the bins asked for, without those that only a deep read-out needs."""
        beside = margin(self.depth)
        return features[..., beside : features.shape[-1] - beside]

    def readouts(self) -> tuple[nn.Parameter, ...]:
        """The weights of the features, group after group in their order."""
        return (self.past,)

    def drive(self, features: Float[Tensor, "window feature padded_bin"]) -> Float[Tensor, "window restart hidden bin"]:
        """What the visible units say, before the softplus."""
        weights = torch.cat(self.readouts(), dim=-1)
        n_restarts, n_hidden, n_features = weights.shape
        product = times_features(weights.reshape(-1, n_features), self.core(features))
        out = product.unflatten(-2, (n_restarts, n_hidden))
        if self.deep is not None:
            out = out + self.deep(features)
        return out + self.offset[..., None]

    @torch.no_grad()
    def set_readout(
        self, restart: int, weights: Float[Tensor, "hidden feature"], offset: Float[Tensor, " hidden"]
    ) -> None:
        """Set one restart's weights, with the features in the order of `features`."""
        for readout, own in zip(
            self.readouts(), weights.split([r.shape[-1] for r in self.readouts()], dim=-1), strict=True
        ):
            readout[restart] = own
        self.offset[restart] = offset

    def forward(
        self, features: Float[Tensor, "window feature padded_bin"]
    ) -> Float[Tensor, "window restart hidden bin"]:
        """Log rates of the hidden counts' laws."""
        return self.log_rate(self.drive(features))

    def log_rate(self, drive: Float[Tensor, "window restart hidden bin"]) -> Float[Tensor, "window restart hidden bin"]:
        """Log rates of the hidden counts' laws, from what `drive` says."""
        return torch.nn.functional.softplus(drive.clamp(min=SMALLEST_DRIVE)).log()

    def draw(self, features: Float[Tensor, "window feature bin"], draw_hidden: DrawHidden) -> tuple[Tensor, Draws]:
        """Log rates, (window, restart, hidden, bin), and draws of all counts."""
        return self.draw_at(self.drive(features), draw_hidden)

    def draw_at(
        self, drive: Float[Tensor, "window restart hidden bin"], draw_hidden: DrawHidden
    ) -> tuple[Tensor, Draws]:
        """The same from what `drive` says."""
        log_rate = self.log_rate(drive)
        return log_rate, draw_hidden(log_rate.exp())


class ForwardBackwardPosterior(ForwardPosterior):
    """rate = softplus(offset + past + present + future of the visible units), linear in each.

    Args:
        n_visible: visible units.
        n_hidden: hidden units.
        basis: (lag, basis), used mirrored for the future.
        n_restarts: independent sets of weights.
        depth, max_count: as those of `ForwardPosterior`.
    """

    causal = False

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        basis: Float[Tensor, "lag basis"],
        n_restarts: int,
        depth: int = 0,
        max_count: int = 1,
    ) -> None:
        super().__init__(n_visible, n_hidden, basis, n_restarts, depth, max_count)
        self.present = nn.Parameter(basis.new_zeros(n_restarts, n_hidden * max_count, n_visible))
        self.future = nn.Parameter(torch.zeros_like(self.past))

    def features(
        self,
        counts: Float[Tensor, "window visible padded_bin"],
        history: Float[Tensor, "window history_feature history_bin"] | None = None,
    ) -> Float[Tensor, "window feature bin"]:
        """Past, present and future of the bins that have `reach` bins on both sides; as `ForwardPosterior.features`."""
        n_lags = self.basis.shape[0]
        end = counts.shape[-1] - n_lags
        past = super().features(counts, history)
        parts = (past, counts[..., n_lags:end], future_features(counts[..., n_lags:], self.basis))
        # Put together feature by feature, as they lie.
        return torch.cat([part.transpose(0, 1) for part in parts]).transpose(0, 1)

    @staticmethod
    def n_features(n_visible: int, n_functions: int) -> int:
        """Rows of `features`."""
        return n_visible * (2 * n_functions + 1)

    def readouts(self) -> tuple[nn.Parameter, ...]:
        return self.past, self.present, self.future
