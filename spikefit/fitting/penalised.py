"""The penalised log-likelihood of every unit: its value, its gradient, and what is known of its curvature.

The features are centred (the baseline takes up the rest), which makes baseline and weights separate in the curvature.
Sums over bins are taken in float64 whatever the features are kept in.
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit, Spectrum
from spikefit.fitting.own_blocks import OwnBlocks
from spikefit.fitting.processes import add_up
from spikefit.models.link import LINKS, inverse_link
from spikefit.models.negative_binomial import empty_bin
from spikefit.models.products import Weights

GRAM_BINS_PER_FEATURE = 50  # more bins would not make a better preconditioner
OWN_BINS_PER_FEATURE = 400  # of an information matrix of a unit's own
MOST_OWN_MULTIPLICATIONS = 4e11  # beyond this, going on with the shared matrix is the lesser evil
MOST_OWN_BYTES = 1 << 30


class PenalisedGLM:
    """What is minimised: minus the log-likelihood, with a ridge, in the weights on centred features and the drive at their mean.

    A weight that is not free has no gradient and no part in a direction.

    Args:
        design: features and counts.
        ridge: as that of `fit_glm`.
        link: `softplus`, `exp` or `sigmoid`.
        free: which weights may differ from zero, (unit, feature); None for all.
        spectrum: of the features, where it is known already.
        dispersion: of negative-binomial counts, (unit,); None for Poisson counts.

    Attributes:
        mean: of every feature over all bins; (feature,).
        mean_count: of every unit over the bins in which it was observed; (unit,).
        n_own_bins: those bins; (unit,), or one number where it is the same for all.
        start_drive: at which a unit without couplings has its mean count; (unit,).
        baseline_curvature: Fisher information of that drive, in nats; (unit,).
        spectrum: of the features.
        parts: which features are shared, and which are a unit's own.
    """

    def __init__(
        self,
        design: Design,
        ridge: float | Tensor,
        link: str,
        free: Tensor | None = None,
        spectrum: Spectrum | None = None,
        dispersion: Tensor | None = None,
    ) -> None:
        self.dispersion = dispersion
        self.design, self.ridge, self.link, self.link_name, self.free = design, ridge, LINKS[link], link, free
        self.part = design.own_part()
        self._measure(spectrum)

    def ridge_of(self, units: Tensor) -> float | Tensor:
        """Penalties of some units' weights."""
        return self.ridge[units] if isinstance(self.ridge, Tensor) else self.ridge

    def hold(self, values: Tensor, units: Tensor) -> Tensor:
        """Put zeros, in place, where some units' weights are not free; (unit, feature and more behind)."""
        if self.free is not None:
            values[:, : self.design.n_features].mul_(self.free[units])
        return values

    @functools.cached_property
    def gram(self) -> Float[Tensor, "feature feature"]:
        """Covariance of the features."""
        if self.spectrum.whole is not None:
            return self.spectrum.whole
        return (self.spectrum.rotation * self.spectrum.scales) @ self.spectrum.rotation.T

    def _measure(self, known: Spectrum | None) -> None:
        """Feature means and counts from every bin, the Gram matrix from as many blocks as it needs."""
        d = self.design
        self.mean = d.feature_sums() / d.n_bins
        self.n_own_bins = d.own_bins()
        self.mean_count = d.count_sums() / self.n_own_bins
        self.parts = OwnBlocks(d)
        if known is None or known.n_features != d.n_features:
            every = max(1, d.n_bins // max(1, GRAM_BINS_PER_FEATURE * d.n_features))
            gram, n_seen = self.part.within_memory(lambda: self.part.gram(self.mean, every))
            add_up([gram, n_seen])
            whole = gram / n_seen
            shared, own = self.parts.split(whole)
            scales, rotation = torch.linalg.eigh(shared)
            known = Spectrum(scales, rotation, own, None if own is None else whole)
        self.spectrum = known
        r = self.mean_count.clamp(min=0.5 / self.n_own_bins)
        self.start_drive = inverse_link(self.link_name, r)
        expected, slope = self.link(self.start_drive)
        information = slope.square() / expected
        if self.dispersion is not None:
            information = information / (1 + self.dispersion * expected)
        self.baseline_curvature = information * self.n_own_bins

    def information_of(self, params: Tensor, units: Tensor) -> Float[Tensor, "unit row column"] | None:
        """Fisher information and penalty of some units' free weights and drive; None where it would cost too much."""
        d = self.design
        size = d.n_features + 1
        every = max(1, d.n_bins // (OWN_BINS_PER_FEATURE * size))
        if (
            float(len(units)) * (d.n_bins / every) * size**2 > MOST_OWN_MULTIPLICATIONS
            or 8 * len(units) * size**2 > MOST_OWN_BYTES
        ):
            return None
        information, n_seen = self.part.within_memory(lambda: self._information(params, units, every))
        add_up([information, n_seen])
        information *= d.n_bins / n_seen
        diagonal = information.diagonal(dim1=1, dim2=2)
        diagonal[:, :-1] += self.ridge_of(units)
        diagonal += 1e-6 * diagonal.amax(1, keepdim=True)
        if self.free is not None:
            free = torch.nn.functional.pad(self.free[units].to(information), (0, 1), value=1.0)
            information *= free[:, :, None] * free[:, None, :]
            diagonal += 1 - free
        return information

    def _information(self, params: Tensor, units: Tensor, every: int) -> tuple[Tensor, Tensor]:
        """The units' Fisher information on some blocks, (unit, feature + 1, feature + 1), and the bins seen."""
        d = self.design
        size = d.n_features + 1
        weights64, drive64 = params[units, :-1], params[units, -1]
        offset = (drive64 - weights64 @ self.mean).to(d.dtype)[:, None]
        centre = self.mean.to(d.dtype)[:, None]
        information = torch.zeros(len(units), size, size, dtype=torch.float64, device=d.device)
        n_seen = 0
        for (features, _), lost in zip(self.part.blocks(every), self.part.lost(every), strict=True):
            expected, slope = self.link(torch.addmm(offset, weights64.to(d.dtype), features))
            root = slope / expected.sqrt()
            if self.dispersion is not None:
                root = root / (1 + self.dispersion[units].to(root)[:, None] * expected).sqrt()
            if lost is not None:
                root = root.masked_fill(lost[units], 0.0)
            centred = torch.cat([features - centre, torch.ones_like(features[:1])])
            for row in range(len(units)):
                scaled = centred * root[row]
                information[row] += scaled @ scaled.T
            n_seen += features.shape[1]
        return information, torch.tensor(float(n_seen), dtype=torch.float64, device=d.device)

    def evaluate(self, params: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """Penalised negative log-likelihood in nats and its gradient, for some units; counts' factorials left out.

        `params` is (unit, feature + 1): weights on centred features, then the drive at the mean features.
        """
        value, gradient = self.part.within_memory(lambda: self._evaluate(params, units))
        add_up([value, gradient])
        weights, ridge = params[:, :-1], self.ridge_of(units)
        value += 0.5 * (ridge * weights.square()).sum(1)
        gradient[:, :-1] -= gradient[:, -1:] * self.mean
        gradient[:, :-1] += ridge * weights
        return value, self.hold(gradient, units)

    def _evaluate(self, params: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """Without the penalty, on features that are not centred, from this process's part of the bins."""
        d = self.design
        weights64, drive64 = params[:, :-1], params[:, -1]
        weights = weights64.to(d.dtype)
        offset = (drive64 - weights64 @ self.mean).to(d.dtype)
        value = params.new_zeros(len(params))
        gradient = torch.zeros_like(params)
        row_of = torch.full((d.n_units,), -1, device=d.device)
        row_of[units] = torch.arange(len(units), device=d.device)
        arranged = Weights(weights)
        alpha = None if self.dispersion is None else self.dispersion[units].to(d.dtype)
        for (products, unit, bin_, count), lost in zip(self.part.spikes(), self.part.lost(), strict=True):
            expected, slope = self.link(products.drive(arranged, offset))
            if lost is not None:  # where a unit is lost there are no spikes of it, and nothing was to be expected
                own = lost if len(units) == d.n_units else lost[units]
                expected, slope = expected.masked_fill(own, 0.0), slope.masked_fill(own, 0.0)
            row = row_of[unit]
            if len(units) < d.n_units:
                mine = row >= 0
                row, bin_, count = row[mine], bin_[mine], count[mine]
            at_spikes = expected[row, bin_]
            value.index_add_(0, row, (count * at_spikes.log()).double(), alpha=-1)
            if alpha is None:
                value += expected.sum(1, dtype=torch.float64)
            else:
                value += empty_bin(expected, alpha[:, None]).sum(1, dtype=torch.float64)
                value.index_add_(0, row, (count * torch.log1p(alpha[row] * at_spikes)).double())
                slope = slope / (1 + alpha[:, None] * expected)
            # d/d drive of (f − x log f) is slope · (1 − x/f); the second part lives where there are spikes.
            residual = slope.clone() if slope is expected else slope
            residual[row, bin_] *= 1 - count / at_spikes
            gradient[:, :-1] += products.against(residual).double()
            gradient[:, -1] += residual.sum(1, dtype=torch.float64)
        return value, gradient

    def begin(self, start: GLMFit | None) -> Float[Tensor, "unit parameter"]:
        """Where to start: from another fit, or from constant rates."""
        d = self.design
        params = torch.zeros(d.n_units, d.n_features + 1, dtype=torch.float64, device=d.device)
        if start is None:
            params[:, -1] = self.start_drive
        else:
            params[:, :-1] = start.weights
            params[:, -1] = start.baseline + start.weights @ self.mean
            self.hold(params, torch.arange(d.n_units, device=d.device))
        return params
