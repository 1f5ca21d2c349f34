"""The evidence lower bound of a Poisson VAE over windows.

    ELBO = Σ_t E_q[ log p(x_t | z) ] − β Σ_t KL( q(z_t) ‖ p(z_t) )

The divergence is closed form. The first term is drawn, or closed form as well where the model has it. A window is
charged for the latents of its own bins; those beside it, which its decoder also reads, are charged to their own window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.pvae.data import LatentBatch, parts
from spikefit.models.pvae.network import PVAE
from spikefit.prob.estimators import PathwiseDraws
from spikefit.prob.poisson import sample_poisson
from spikefit.prob.protocol import Draws, Estimator

# From expected counts to drawn ones, with what the gradient needs.
Draw = Callable[[Tensor], Draws]


@dataclass(frozen=True, eq=False)
class Bound:
    """The parts of the bound in nats, summed over a window's explained bins.

    Attributes:
        log_likelihood: of the observed values, constants included.
        divergence: of the posterior from the prior.
        correction: zero in value; added to the sum over windows of the draws' mean, it makes the gradient right.
    """

    log_likelihood: Float[Tensor, "draw window"]
    divergence: Float[Tensor, "window"]
    correction: Float[Tensor, ""]

    def total(self, beta: float = 1.0) -> Float[Tensor, "draw window"]:
        """The bound."""
        return self.log_likelihood - beta * self.divergence


def soft_draws(estimator: Estimator, n_draws: int, generator: torch.Generator) -> Draw:
    """Draws for training."""
    return lambda expected: estimator.draw(expected, n_draws=n_draws, generator=generator)


def whole_draws(n_draws: int, generator: torch.Generator) -> Draw:
    """Whole counts, for scores; no gradient flows through them."""
    return lambda expected: PathwiseDraws(sample_poisson(expected.expand(n_draws, *expected.shape), generator))


def bound(
    model: PVAE, batch: LatentBatch, draw: Draw | None, *, present: Float[Tensor, "window unit"] | None = None
) -> Bound:
    """The bound on each window.

    Args:
        model: with its parameters.
        batch: from `windows_of`.
        draw: draws the latents; None takes the closed form, as one draw.
        present: which units the encoder is shown; None for all. All are explained.

    Raises:
        ValueError: without draws for a model that has no closed form.
    """
    counts, inside = parts(batch)
    edge, reach = model.encoder.reach, model.decoder.reach
    residual = model.residual(counts, inside, present)
    expected = model.expected(residual)
    n_bins = counts.shape[2] - 2 * (edge + reach)
    values = counts[:, :, edge + reach : edge + reach + n_bins]
    scored = values.new_ones(len(values), n_bins) if batch.scored is None else batch.scored.to(values.dtype)
    own = residual[:, :, reach : reach + n_bins]
    divergence = (model.divergence(own).sum(1) * scored).sum(1)
    if draw is None:
        by_bin = model.expected_log_prob(expected, values).sum(1)[None]
        return Bound((by_bin * scored).sum(2), divergence, divergence.new_zeros(()))
    draws = draw(expected)
    drive = model.drive(model.fill(draws.counts, inside[:, :, edge : edge + residual.shape[2]]))
    log_likelihood = (model.observation.log_prob(drive, values).sum(2) * scored).sum(2)
    return Bound(log_likelihood, divergence, draws.correction(log_likelihood))
