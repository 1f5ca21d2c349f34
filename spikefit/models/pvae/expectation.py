"""What is to be expected of every unit over the whole posterior, E_q[mean(drive)].

The mean at the latents' expected counts lies below it, by as much as half: rates are convex in the drive, and a drive that
a few latent spikes may or may not raise is spread out.

For decoders that sum, the first three cumulants of the drive are exact, and the mean is taken over a law that has them, by
Cornish and Fisher's expansion round a normal one (Cornish & Fisher, "Moments and cumulants in the specification of
distributions", Revue de l'Institut International de Statistique 1938). An `mlp` decoder has no such cumulants. There the
mean is taken over quantiles of the latents at scrambled Sobol points: the same points in every bin, so that how a recording
is cut into windows changes nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.models.pvae.decoders import MlpDecoder
from spikefit.models.pvae.network import PVAE

# Nodes and weights of Gauss and Hermite for a mean over a standard normal variable.
_nodes, _weights = np.polynomial.hermite_e.hermegauss(9)
NORMAL_NODES = tuple(zip(_nodes.tolist(), (_weights / _weights.sum()).tolist(), strict=True))
SOBOL_POINTS, SOBOL_SEED = 64, 20_240_102
LARGEST_COUNT = 1000  # far beyond any latent's


@torch.no_grad()
def expected_value(
    model: PVAE, expected: Float[Tensor, "window latent padded"], inside: Float[Tensor, "window 1 padded"]
) -> Float[Tensor, "window unit bin"]:
    """The observations' expected values.

    Args:
        model: with its parameters.
        expected: posterior expected counts of the latents.
        inside: 1 for bins of the segment; outside them stands the prior's expected count.
    """
    observation, decoder = model.observation, model.decoder
    if isinstance(decoder, MlpDecoder):
        points = torch.quasirandom.SobolEngine(expected.shape[1], scramble=True, seed=SOBOL_SEED).draw(SOBOL_POINTS)
        total = torch.zeros(())
        for point in points.to(expected.device):
            counts = poisson_quantile(expected, point[:, None])
            total = total + observation.mean(model.drive(model.fill(counts, inside)))
        return total / SOBOL_POINTS
    drive = model.drive(model.fill(expected, inside))
    if not observation.whole_counts:
        return observation.mean(drive)
    spread = decoder.cumulant(2, expected * inside).clamp(min=1e-12).sqrt()
    bend = decoder.cumulant(3, expected * inside) / (6 * spread.square())
    value = torch.zeros_like(drive)
    for node, weight in NORMAL_NODES:
        value += weight * observation.mean(drive + node * spread + (node * node - 1) * bend)
    return value


def poisson_quantile(
    expected_count: Float[Tensor, "*shape"], probability: Float[Tensor, "#*shape"]
) -> Float[Tensor, "*shape"]:
    """The smallest counts whose distribution function lies above a probability.

    Args:
        expected_count: λ, above zero.
        probability: in [0, 1).
    """
    log_rate, rate = expected_count.double().log(), expected_count.double()
    log_term, counts = -rate, torch.zeros_like(rate)
    distribution = log_term.exp()
    for count in range(1, LARGEST_COUNT):
        above = distribution <= probability
        if not bool(above.any()):
            break
        counts += above
        log_term = log_term + log_rate - np.log(count)
        distribution = distribution + log_term.exp()
    return counts.to(expected_count.dtype)
