"""How much too small couplings come out because of input that the fit does not see.

Input that is not in the model makes the true expected count λ of a bin move about the one that the fit expects. A fit finds the
coupling on the mean over that input, and the mean bends less than the link does: with s(λ) the slope of the link where it is λ, a coupling
comes out as

    attenuation = E[s(λ)] / s(E[λ])

times what it is, to first order, whether or not the input goes with any sender. Nothing of the input need be known to tell it, because of Poisson counts y
the mean of s(λ) is that of a function of the counts:

* exponential: s(λ) = λ, the mean of y. The attenuation is 1: of all links with a bend this one alone loses nothing.
* softplus: s(λ) = 1 − e^−λ, the share of bins with a spike.
* bounded sigmoid with ceiling c: s(λ) = λ (1 − λ / c), the mean of y − y (y − 1) / c.

Counts that scatter for another reason than moving rates (refractory units in wide bins, several units taken for one) are beside this. It is
never taken to be above 1.

Source of the bias: Gail, Wieand and Piantadosi, "Biased estimates of treatment effect in randomized experiments with nonlinear regressions and
omitted covariates" (Biometrika 71, 1984).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.processes import add_up
from spikefit.models.ceiling import SIGMOID_CEILING
from spikefit.models.link import LINKS
from spikefit.models.products import Weights


def attenuation_of(design: Design, fit: GLMFit, *, link: str) -> Float[Tensor, " unit"]:
    """By receiver, what share of a coupling's size the fit shows; float64, above 0 and at most 1, which is none lost.

    Args:
        design: the bins that were fitted, with Poisson counts.
        fit: the optimum on them.
        link: of the fit.
    """
    if link == "exp":
        return torch.ones(design.n_units, dtype=torch.float64, device=design.device)
    weights, baseline, part = Weights(fit.weights.to(design.dtype)), fit.baseline.to(design.dtype), design.own_part()

    def sum_up() -> Tensor:
        sums = torch.zeros(2, design.n_units, dtype=torch.float64, device=design.device)  # slopes seen, and expected
        for (products, unit, _, count), lost in zip(part.spikes(), part.lost(), strict=True):
            _, slope = LINKS[link](products.drive(weights, baseline))
            if lost is not None:
                slope = slope.masked_fill(lost, 0.0)
            sums[0].index_add_(0, unit, _seen(count.double(), link))
            sums[1] += slope.sum(1, dtype=torch.float64)
        return sums

    sums = part.within_memory(sum_up)
    add_up([sums])
    return torch.where(sums[0] > 0, sums[0] / sums[1].clamp(min=1e-300), 1.0).clamp(max=1.0)


def _seen(count: Tensor, link: str) -> Tensor:
    """What an occupied bin adds to the sum whose mean is that of the true slopes."""
    return torch.ones_like(count) if link == "softplus" else count - count * (count - 1) / SIGMOID_CEILING
