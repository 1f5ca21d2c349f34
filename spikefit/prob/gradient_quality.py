"""How good a gradient estimator is, judged by its draws beside the exact gradient."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class GradientQuality(NamedTuple):
    """Figures of merit of a gradient estimator; every one is for a single draw unless it says otherwise.

    Attributes:
        relative_bias: ‖E[g] − g*‖ / ‖g*‖, with what the Monte-Carlo error adds on average taken out (at least 0).
        relative_noise: root of the total variance of a draw, over ‖g*‖.
        signal_to_noise: ‖g*‖² over the total variance.
        cosine_of_mean: cosine between the mean of all draws and g*.
        mean_cosine: mean over draws of the cosine with g*.
        bias_energy: ½ bᵀHb with b = E[g] − g*, the Monte-Carlo part taken out; NaN without a Hessian.
        noise_energy: ½ tr(HΣ) with Σ the covariance of a draw; NaN without a Hessian.
    """

    relative_bias: float
    relative_noise: float
    signal_to_noise: float
    cosine_of_mean: float
    mean_cosine: float
    bias_energy: float
    noise_energy: float


def gradient_quality(
    gradients: Float[Tensor, "draw parameter"],
    exact: Float[Tensor, " parameter"],
    hessian: Float[Tensor, "parameter parameter"] | None = None,
) -> GradientQuality:
    """Compare draws of a gradient with the exact one.

    A step along a gradient that is off by e raises a loss of Hessian H by ½ eᵀHe to second order beyond what the exact
    step would. Its mean over draws splits into the part of the bias and the part of the noise: the two energies.

    Args:
        gradients: independent draws of the estimated gradient, at least two.
        exact: g*, the true gradient, not all zero.
        hessian: H, the true Hessian at the same place.

    Raises:
        ValueError: if there are fewer than two draws, a value is not finite, or the exact gradient vanishes.
    """
    if gradients.shape[0] < 2:
        raise ValueError(f"gradients must hold at least 2 draws, got {gradients.shape[0]}")
    draws, truth = gradients.detach().double(), exact.detach().double()
    if not bool(torch.isfinite(draws).all() & torch.isfinite(truth).all()):
        raise ValueError("gradients and exact must be finite")
    size = truth.norm()
    if not size > 0:
        raise ValueError("exact is zero everywhere; bias and cosine are then without a scale")
    n_draws = draws.shape[0]
    mean = draws.mean(0)
    bias = mean - truth
    deviations = draws - mean
    variance = deviations.square().sum() / (n_draws - 1)
    squared_bias = (bias.square().sum() - variance / n_draws).clamp(min=0)
    bias_energy = noise_energy = float("nan")
    if hessian is not None:
        curvature = hessian.detach().double()
        noise = 0.5 * ((deviations @ curvature) * deviations).sum() / (n_draws - 1)
        bias_energy = float(0.5 * bias @ curvature @ bias - noise / n_draws)
        noise_energy = float(noise)
    norms = draws.norm(dim=1)
    # A draw of exactly zero points nowhere and counts as at right angles.
    cosines = torch.where(norms > 0, (draws @ truth) / (norms * size).clamp(min=1e-300), 0.0)
    return GradientQuality(
        relative_bias=float(squared_bias.sqrt() / size),
        relative_noise=float(variance.sqrt() / size),
        signal_to_noise=float(size.square() / variance) if variance > 0 else float("inf"),
        cosine_of_mean=float(mean @ truth / (mean.norm() * size)) if mean.norm() > 0 else 0.0,
        mean_cosine=float(cosines.mean()),
        bias_energy=bias_energy,
        noise_energy=noise_energy,
    )
