"""A linear decoder with squared error: the one model where every gradient is known in closed form.

f(z) = ‖x − Wz‖² with independent Poisson z of mean λ. It serves the exact estimator as its closed form, and the
comparison of estimators as its truth.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def squared_error(
    counts: Float[Tensor, "*batch latent"],
    decoder: Float[Tensor, "pixel latent"],
    target: Float[Tensor, "*#batch pixel"],
) -> Float[Tensor, "*batch"]:
    """‖x − Wz‖² of each draw."""
    return (target - counts @ decoder.T).square().sum(-1)


def effect_of_one_more(
    counts: Float[Tensor, "*batch latent"],
    decoder: Float[Tensor, "pixel latent"],
    target: Float[Tensor, "*#batch pixel"],
) -> Float[Tensor, "*batch latent"]:
    """f(z + eᵢ) − f(z) = ‖wᵢ‖² − 2wᵢᵀ(x − Wz), for all latents at once."""
    return decoder.square().sum(0) - 2 * (target - counts @ decoder.T) @ decoder


def expected_squared_error(
    expected_count: Float[Tensor, "*batch latent"],
    decoder: Float[Tensor, "pixel latent"],
    target: Float[Tensor, "*#batch pixel"],
) -> Float[Tensor, "*batch"]:
    """E[f] = ‖x − Wλ‖² + Σᵢ λᵢ‖wᵢ‖², differentiable in everything."""
    return squared_error(expected_count, decoder, target) + expected_count @ decoder.square().sum(0)


def gradient_and_hessian(
    expected_count: Float[Tensor, "latent"], decoder: Float[Tensor, "pixel latent"], target: Float[Tensor, "pixel"]
) -> tuple[Float[Tensor, "latent"], Float[Tensor, "latent latent"]]:
    """Gradient and Hessian of E[f] in the log-rates log λ.

    In λ they are −2Wᵀ(x − Wλ) + ‖wᵢ‖² and 2WᵀW; the chain rule through λ = exp(log λ) does the rest.
    """
    in_rates = effect_of_one_more(expected_count, decoder, target)
    gradient = expected_count * in_rates
    hessian = 2 * (decoder.T @ decoder) * expected_count[:, None] * expected_count
    return gradient, hessian + gradient.diag()
