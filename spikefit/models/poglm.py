"""The partially observable GLM: visible and hidden Poisson units coupled through filters on their past spikes.

    drive[n, t] = baseline[n] + Σ visible weights · visible history + Σ hidden weights · hidden history
                  + Σ covariate weights · covariates
    expected_count = link(drive);   counts ~ Poisson(expected_count)

Several restarts live side by side along a leading `restart` axis: they share the visible features and so cost one
wider matrix product, not a loop. Visible units come first on every unit axis.

Source: Li et al., "A differentiable partially observable GLM with forward-backward message passing" (ICML 2024).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikefit.models.coupling import filters_from_weights, history_features, times_features
from spikefit.models.hidden_drive import with_hidden
from spikefit.models.negative_binomial import LARGEST_DISPERSION, SMALLEST_DISPERSION
from spikefit.models.own_history import may_use
from spikefit.models.posteriors import POSTERIORS
from spikefit.models.visible_input import InputWeights, Spikes, visible_drive, visible_input


class POGLMNetwork(nn.Module):
    """Parameters of the generative side and of the posterior, for `n_restarts` restarts.

    Args:
        n_visible: recorded units.
        n_hidden: hidden units, at least one.
        basis: (lag, basis); its device and dtype are the model's.
        link: `softplus`, `exp` or `sigmoid`.
        family: of the posterior over hidden counts, `poisson` or `categorical` (at most `max_count` spikes per bin).
        posterior: what it sees: `forward-backward`, `forward` or `forward-self`.
        n_restarts: independent sets of parameters.
        n_covariates: columns of covariates that every unit listens to.
        posterior_depth: residual convolutions in the posterior's read-out.
        n_coupling_functions: functions of the basis that couplings are made of, the rest being for own history (see
            `own_history.py`); None for all, own history included.
        max_count: most hidden spikes per bin in a categorical posterior.
        scattered: whether counts of the visible units are negative-binomial; hidden ones are Poisson either way.
    """

    basis: Tensor

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        basis: Float[Tensor, "lag basis"],
        *,
        link: str,
        family: str = "poisson",
        posterior: str = "forward-backward",
        n_restarts: int = 1,
        n_covariates: int = 0,
        posterior_depth: int = 0,
        n_coupling_functions: int | None = None,
        max_count: int = 1,
        scattered: bool = False,
    ) -> None:
        super().__init__()
        self.n_visible, self.n_hidden, self.link, self.family = n_visible, n_hidden, link, family
        self.max_count = max_count
        self.register_buffer("basis", basis)
        n_units, n_functions = n_visible + n_hidden, basis.shape[1]
        self.baseline = nn.Parameter(basis.new_zeros(n_restarts, n_units))
        self.visible_weights = nn.Parameter(basis.new_zeros(n_restarts, n_units, n_visible * n_functions))
        self.hidden_weights = nn.Parameter(basis.new_zeros(n_restarts, n_units, n_hidden * n_functions))
        self.n_covariates = n_covariates
        self.n_coupling_functions = basis.shape[1] if n_coupling_functions is None else n_coupling_functions
        # A parameter without numbers would only stand in the way of files.
        self.covariate_weights = (
            nn.Parameter(basis.new_zeros(n_restarts, n_units, n_covariates)) if n_covariates else None
        )
        self.scattered = scattered
        self.log_dispersion = nn.Parameter(basis.new_full((n_restarts, n_visible), -3.0)) if scattered else None
        self.posterior_name = posterior
        self.posterior = POSTERIORS[posterior](n_visible, n_hidden, basis, n_restarts, posterior_depth, max_count)

    @property
    def n_restarts(self) -> int:
        return self.baseline.shape[0]

    @property
    def n_lags(self) -> int:
        return self.basis.shape[0]

    @property
    def context(self) -> tuple[int, int]:
        """Bins of visible counts needed before and after the scored ones.

        Hidden spikes one window back act on the first scored bin, and the posterior of those looks its own reach
        further.
        """
        before, after = self.posterior.reach
        return self.n_lags + before, after

    def in_core(self, history: Float[Tensor, "window feature bin"]) -> Float[Tensor, "window feature core_bin"]:
        """The part of the history of all bins from one window of lags on that belongs to the scored ones."""
        return history[..., self.context[0] - self.n_lags :]

    def like(self, *, n_hidden: int | None = None, n_restarts: int | None = None) -> POGLMNetwork:
        """A network of the same kind with another number of hidden units or restarts; its parameters are zero."""
        return POGLMNetwork(
            self.n_visible,
            self.n_hidden if n_hidden is None else n_hidden,
            self.basis,
            link=self.link,
            family=self.family,
            posterior=self.posterior_name,
            n_restarts=self.n_restarts if n_restarts is None else n_restarts,
            n_covariates=self.n_covariates,
            posterior_depth=self.posterior.depth,
            n_coupling_functions=self.n_coupling_functions,
            max_count=self.max_count,
            scattered=self.scattered,
        )

    @property
    def dispersion(self) -> Float[Tensor, "restart visible"] | None:
        """Of negative-binomial counts; None where they are Poisson."""
        if self.log_dispersion is None:
            return None
        return self.log_dispersion.clamp(math.log(SMALLEST_DISPERSION), math.log(LARGEST_DISPERSION)).exp()

    @torch.no_grad()
    def hold_own_functions(self) -> None:
        """Put back to zero, in place, what couplings have of the functions for own history, and the other way round."""
        n_functions = self.basis.shape[1]
        if self.n_coupling_functions == n_functions:
            return
        n_units, n_visible = self.n_visible + self.n_hidden, self.n_visible
        for weights, senders in (
            (self.visible_weights, range(n_visible)),
            (self.hidden_weights, range(n_visible, n_units)),
        ):
            weights.mul_(may_use(n_units, senders, n_functions, self.n_coupling_functions, weights.device))

    def read(
        self,
        counts: Float[Tensor, "window visible padded_bin"],
        covariates: Float[Tensor, "window column bin"] | None = None,
        spikes: Spikes | None = None,
    ) -> tuple[Float[Tensor, "window restart unit bin"], Float[Tensor, "window restart rate read_bin"]]:
        """What the visible counts say to all units in the scored bins, and to the posterior in these and those before them.

        Args:
            counts: with `context` around the scored bins.
            covariates: in the scored bins, where the model listens to some.
            spikes: of all occupied bins, where they are at hand.
        """
        before, after = self.context
        if self.posterior.deep is not None:
            history = history_features(counts[..., : counts.shape[-1] - after], self.basis)
            posterior = self.posterior.drive(self.posterior.features(counts, history))
            return self.visible_drive(self.in_core(history), covariates), posterior
        n_core = counts.shape[-1] - before - after
        past, *rest = (readout.flatten(0, 1) for readout in self.posterior.readouts())
        weights = InputWeights(self.visible_weights.flatten(0, 1), past, *rest)
        core, read = visible_drive(visible_input(counts, self.basis, n_core, spikes), weights)
        posterior = read.unflatten(1, (self.n_restarts, -1)) + self.posterior.offset[..., None]
        return self._with_offsets(core.unflatten(1, (self.n_restarts, -1)), covariates), posterior

    def visible_drive(
        self,
        history: Float[Tensor, "window feature bin"],
        covariates: Float[Tensor, "window column bin"] | None = None,
    ) -> Float[Tensor, "window restart unit bin"]:
        """Baseline, visible couplings and covariates: one product for all restarts, and none per draw."""
        n_restarts, n_units, n_features = self.visible_weights.shape
        product = times_features(self.visible_weights.reshape(-1, n_features), history)
        return self._with_offsets(product.unflatten(-2, (n_restarts, n_units)), covariates)

    def _with_offsets(self, drive: Tensor, covariates: Tensor | None) -> Tensor:
        """Baseline and covariates on top of the visible couplings."""
        if self.covariate_weights is not None:
            assert covariates is not None
            flat = self.covariate_weights.reshape(-1, self.n_covariates)
            drive = drive + (flat @ covariates).unflatten(-2, drive.shape[1:3])
        return drive + self.baseline[..., None]

    def drive(
        self,
        visible: Float[Tensor, "window restart unit bin"],
        hidden: Float[Tensor, "draw window restart hidden padded_bin"],
    ) -> Float[Tensor, "draw window restart unit bin"]:
        """The whole drive: what visible counts say, and the draws of the hidden ones from `n_lags` bins before."""
        return with_hidden(visible, hidden, self.hidden_weights, self.basis)

    def hidden_drive(
        self, hidden: Float[Tensor, "draw window restart hidden padded_bin"]
    ) -> Float[Tensor, "draw window restart unit bin"]:
        """What hidden spikes add to every unit, for the bins behind the first `n_lags`."""
        return self.hidden_weights @ history_features(hidden, self.basis)

    def coupling_filters(self) -> Float[Tensor, "restart post pre lag"]:
        """All filters, visible senders first."""
        return torch.cat(
            [filters_from_weights(w, self.basis) for w in (self.visible_weights, self.hidden_weights)], dim=2
        )
