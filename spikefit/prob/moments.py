"""Mean, variance and mean derivative of soft spike counts, in closed form."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spikefit.prob.checks import check_expected_count, check_temperature
from spikefit.prob.edges import Edge, get_edge


class EatMoments(NamedTuple):
    """Moments of a soft count, each of the shape of the expected count.

    Attributes:
        mean: E[z].
        variance: Var[z].
        gradient_mean: E[dz/dλ], the factor by which the gradient of a linear function of z is off.
    """

    mean: Tensor
    variance: Tensor
    gradient_mean: Tensor


def eat_moments(expected_count: Tensor, *, edge: str = "cubic", temperature: float = 0.5) -> EatMoments:
    """Moments of `eat_counts` by Campbell's theorem, for any λ ≥ 0 and any τ > 0.

    The soft count sums h((1 − t)/τ) over the arrivals t of a Poisson process of rate λ on [0, ∞), so its mean is
    λ∫h dt and its variance λ∫h² dt. Both are linear in λ, and E[dz/dλ] = dE[z]/dλ. For compact edges and τ ≤ 1 the
    mean is λ itself and the derivative's mean is 1; the variance of the cubic is then λ(1 − 9τ/35). The sigmoid's mean
    is λτ·log(1 + e^(1/τ)), above λ for every τ; compact edges leave λ once τ > 1, when the edge starts before the bin.

    Args:
        expected_count: λ, float32 or float64, of any shape; differentiable.
        edge: cubic, sigmoid, linear, quintic or cosine.
        temperature: τ, half-width of the softened edge, as a fraction of the bin.

    Raises:
        TypeError: if `expected_count` is not a tensor of float32 or float64, or `temperature` is not a number.
        ValueError: if a value is out of its range, or the edge is unknown.
    """
    check_expected_count(expected_count)
    mean_factor, variance_factor = moment_factors(get_edge(edge), check_temperature(temperature))
    return EatMoments(
        mean=expected_count * mean_factor,
        variance=expected_count * variance_factor,
        gradient_mean=torch.full_like(expected_count, mean_factor),
    )


def moment_factors(edge: Edge, temperature: float) -> tuple[float, float]:
    """E[z]/λ and Var[z]/λ, which depend on the edge and the temperature alone."""
    start = 1 / temperature  # u of an arrival at time 0; the edge's integrals run up to it
    if edge.compact and start >= 1:
        # The symmetry of the edge makes the mean 1 exactly; what is left of the square comes from the band.
        return 1.0, 1 - temperature * (1 - edge.square_area(1.0))
    return temperature * edge.area(start), temperature * edge.square_area(start)
