"""What solving a GLM leaves behind, and what it says of counts."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.processes import add_up
from spikefit.models.link import LINKS
from spikefit.models.negative_binomial import Moments, empty_bin, rising
from spikefit.models.products import Weights


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of the features' covariance, from part of the bins.

    Attributes:
        scales: ascending; (feature,).
        rotation: in columns; (feature, feature).
        own: covariances of each unit's own history, where that has features of its own; those are no part of the two above.
        whole: covariance of all features in their order, where own history has some; None where the two above tell it.
    """

    scales: Float[Tensor, " feature"]
    rotation: Float[Tensor, "feature feature"]
    own: Float[Tensor, "unit own own"] | None = None
    whole: Float[Tensor, "all_features all_features"] | None = None

    @property
    def n_features(self) -> int:
        """All features, those of own history included."""
        return len(self.scales) + (0 if self.own is None else self.own.shape[0] * self.own.shape[1])


@dataclass(frozen=True, eq=False)
class GLMFit:
    """The optimum of the penalised log-likelihood.

    Attributes:
        weights: (unit, feature), float64.
        baseline: (unit,), drive with nobody spiking, float64.
        decrement: estimated distance of each unit to its optimum, in nats; (unit,).
        converged: whether every unit came within the tolerance.
        objective: penalised log-likelihood in nats after each iteration, summed over units.
        dispersion: of negative-binomial counts; None where they are Poisson.
        kkt: how far each unit is from the optimality conditions, in nats per unit of weight, where the problem has corners; (unit,).
        spectrum: of the features, so that a fit that starts from this one need not find it again.
    """

    weights: Float[Tensor, "unit feature"]
    baseline: Float[Tensor, " unit"]
    decrement: Float[Tensor, " unit"]
    converged: bool
    objective: list[float] = field(default_factory=list)
    kkt: Float[Tensor, " unit"] | None = None
    spectrum: Spectrum | None = None
    dispersion: Float[Tensor, " unit"] | None = None


def glm_log_likelihood(design: Design, fit: GLMFit, *, link: str = "softplus") -> Float[Tensor, " unit"]:
    """Log-likelihood of every unit in nats, summed over the design's bins, without the penalty; counts' factorials included."""
    weights, baseline = fit.weights.to(design.dtype), fit.baseline.to(design.dtype)

    part = design.own_part()

    def sum_up() -> Tensor:
        total = torch.zeros(design.n_units, dtype=torch.float64, device=design.device)
        arranged, alpha = Weights(weights), fit.dispersion
        for (products, unit, bin_, count), lost in zip(part.spikes(), part.lost(), strict=True):
            expected, _ = LINKS[link](products.drive(arranged, baseline))
            if lost is not None:
                expected = expected.masked_fill(lost, 0.0)
            if alpha is None:
                total -= expected.sum(1, dtype=torch.float64)
            else:
                total -= empty_bin(expected.double(), alpha[:, None]).sum(1)
                scattered = rising(alpha, int(count.max()) if len(count) else 0)[unit, count.long()]
                scattered -= count * torch.log1p(alpha[unit] * expected[unit, bin_])
                total.index_add_(0, unit, scattered)
            at_spikes = count.double() * expected[unit, bin_].double().log() - torch.lgamma(count.double() + 1)
            total.index_add_(0, unit, at_spikes)
        return total

    total = part.within_memory(sum_up)
    add_up([total])
    return total


def dispersion_of(design: Design, fit: GLMFit, *, link: str) -> Float[Tensor, " unit"]:
    """The dispersion of every unit that makes its counts likeliest, given what a fit expects; float64."""
    weights, baseline = fit.weights.to(design.dtype), fit.baseline.to(design.dtype)

    def sum_up() -> Tensor:
        moments, arranged = Moments(design.n_units, design.device), Weights(weights)
        for (products, unit, bin_, count), lost in zip(design.spikes(), design.lost(), strict=True):
            expected, _ = LINKS[link](products.drive(arranged, baseline))
            moments.add(expected, unit, bin_, count, lost)
        return moments.dispersion()

    return design.within_memory(sum_up)
