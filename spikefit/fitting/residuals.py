"""What the residuals of the fully observed GLM know about units that were not recorded.

A hidden unit that excites several visible ones leaves them firing together more than their own histories explain. Up
to noise on the diagonal, the covariance of the residuals summed over lags is then low-rank, one factor per hidden
unit. A covariance does not say how the factors are turned. Third moments do: hidden spikes are rare and large, so
the fluctuations that stand for one hidden unit are skewed, and mixtures of several less so. A varimax rotation, which
finds factors that each touch few units, is the other guess.

Source: Anandkumar, Ge, Hsu, Kakade & Telgarsky, "Tensor decompositions for learning latent variable models" (JMLR
2014), for whitening by second moments and turning by third ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.models.link import LINKS

FACTORING_ROUNDS = 100
VARIMAX_ROUNDS = 200
ROTATION_STARTS = 8
SMALLEST_FACTOR = 1e-6


ROTATIONS = ("skewed-between-units", "skewed", "varimax")


def residual_factors(
    design: Design, fit: GLMFit, *, n_factors: int, link: str, rotation: str = "varimax"
) -> Float[Tensor, "unit factor"]:
    """Joint fluctuations of the residuals, as extra spikes per standard deviation of each factor.

    Args:
        design: the bins to look at.
        fit: the fully observed GLM on the same units.
        n_factors: how many factors; where the residuals hold fewer, the last columns are zero.
        link: of the fit.
        rotation: one of `ROTATIONS`: `skewed` makes the factors' fluctuations as skewed as can be,
            `skewed-between-units` leaves out what a unit's own spikes add to the third moments, `varimax` makes each
            factor touch few units.

    Returns:
        Loadings in float64 on the CPU, strongest factor first, each with the sign that makes its fluctuations skewed
        to the right: spikes of a hidden unit are rare and large, silences long and shallow.
    """
    lags = max(2, design.n_lags // 2)
    covariance, variance = _lag_summed_covariance(design, fit, lags, link)
    scale = variance.clamp(min=1e-12).sqrt()
    loadings = _factor(covariance / scale[:, None] / scale, n_factors)
    if rotation == "varimax":
        loadings = _varimax(loadings)
    else:
        loadings = _most_skewed(design, fit, loadings, scale, link, between_units=rotation == "skewed-between-units")
    loadings = loadings * _skewness_sign(design, fit, loadings / scale[:, None], lags, link)
    loadings = loadings * scale[:, None]
    return loadings[:, loadings.norm(dim=0).argsort(descending=True)]


def _residual_blocks(design: Design, fit: GLMFit, link: str) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Residuals, zero where a unit is lost, and where that is, block after block."""
    for (features, counts), lost in zip(design.blocks(), design.lost(), strict=True):
        drive = torch.addmm(fit.baseline.to(features)[:, None], fit.weights.to(features), features)
        residual = counts - LINKS[link](drive)[0]
        yield (residual if lost is None else residual.masked_fill(lost, 0.0)), lost


def _box(signal: Tensor, lags: int) -> Tensor:
    """Sum over the `lags` bins on both sides and the bin itself; edges see what there is."""
    padded = torch.nn.functional.pad(signal, (lags + 1, lags))
    total = padded.double().cumsum(-1)
    return (total[..., 2 * lags + 1 :] - total[..., : -(2 * lags + 1)]).to(signal.dtype)


def _lag_summed_covariance(design: Design, fit: GLMFit, lags: int, link: str) -> tuple[Tensor, Tensor]:
    covariance = torch.zeros(design.n_units, design.n_units, dtype=torch.float64, device=design.device)
    variance = torch.zeros(design.n_units, dtype=torch.float64, device=design.device)
    n_lost = torch.zeros_like(covariance)  # bins in which one of two units is lost
    for residual, lost in _residual_blocks(design, fit, link):
        if lost is not None:
            seen = (~lost).to(residual)
            n_lost += lost.shape[1] - (seen @ seen.T).double()
        covariance += residual @ _box(residual, lags).T
        variance += residual.square().sum(1, dtype=torch.float64)
    covariance = 0.5 * (covariance + covariance.T)
    # Two units that were hardly observed together say little of each other: as much as a tenth of the bins would, at most.
    n_bins = (design.n_bins - n_lost).clamp(min=0.1 * design.n_bins)
    return (covariance / n_bins).cpu(), (variance / n_bins.diagonal()).cpu()


def _factor(covariance: Float[Tensor, "unit unit"], n_factors: int) -> Float[Tensor, "unit factor"]:
    """Principal-axis factoring: the best low-rank covariance off the diagonal, the diagonal being completed."""
    n_units = len(covariance)
    rank = min(n_factors, n_units)
    completed = covariance.clone()
    diagonal = 0.5 * covariance.diagonal()
    loadings = covariance.new_zeros(n_units, n_factors)
    for _ in range(FACTORING_ROUNDS):
        completed.diagonal().copy_(diagonal)
        values, vectors = torch.linalg.eigh(completed)
        loadings[:, :rank] = (vectors[:, -rank:] * values[-rank:].clamp(min=0).sqrt()).flip(1)
        before, diagonal = diagonal, loadings.square().sum(1)
        if (diagonal - before).abs().max() <= 1e-4 * diagonal.max():
            break
    return loadings


def _varimax(loadings: Float[Tensor, "unit factor"]) -> Float[Tensor, "unit factor"]:
    """The rotation in which each factor touches few units.

    Source: Kaiser, "The varimax criterion for analytic rotation in factor analysis" (Psychometrika 1958).
    """
    n_units, n_factors = loadings.shape
    rotation = torch.eye(n_factors, dtype=loadings.dtype)
    for _ in range(VARIMAX_ROUNDS):
        turned = loadings @ rotation
        u, _, v = torch.linalg.svd(loadings.T @ (turned**3 - turned * turned.square().sum(0) / n_units))
        before, rotation = rotation, u @ v
        if (rotation - before).abs().max() < 1e-7:
            break
    return loadings @ rotation


def _most_skewed(
    design: Design, fit: GLMFit, loadings: Tensor, scale: Tensor, link: str, *, between_units: bool
) -> Float[Tensor, "unit factor"]:
    """The rotation in which the factors' fluctuations are most skewed: the one that makes Σ (third moment)² largest."""
    sides, sizes, _ = torch.linalg.svd(loadings, full_matrices=False)
    present = sizes > SMALLEST_FACTOR * sizes.max().clamp(min=1e-12)
    sides, sizes = sides[:, present], sizes[present]
    n_factors = len(sizes)
    if not n_factors:
        return loadings
    whitening = sides / sizes / scale[:, None]
    third = third_moments(design, fit, whitening, link, between_units=between_units)
    turned = torch.zeros_like(loadings)
    turned[:, :n_factors] = (sides * sizes) @ most_skewed_rotation(third)
    return turned


def most_skewed_rotation(third: Float[Tensor, "factor factor factor"]) -> Float[Tensor, "factor factor"]:
    """The rotation, as columns, that makes Σ (third moment along a column)² largest; the best of a few starts."""
    n_factors = len(third)
    best, best_value = torch.eye(n_factors, dtype=third.dtype), -1.0
    generator = torch.Generator().manual_seed(0)
    for _ in range(ROTATION_STARTS):
        rotation = torch.linalg.qr(torch.randn(n_factors, n_factors, dtype=third.dtype, generator=generator))[0]
        for _ in range(VARIMAX_ROUNDS):
            slope = torch.einsum("abc,bh,ch->ah", third, rotation, rotation)
            u, _, v = torch.linalg.svd(slope * (slope * rotation).sum(0))
            before, rotation = rotation, u @ v
            if (rotation - before).abs().max() < 1e-7:
                break
        value = torch.einsum("abc,ah,bh,ch->h", third, rotation, rotation, rotation).square().sum().item()
        if value > best_value:
            best, best_value = rotation, value
    return best


def third_moments(
    design: Design, fit: GLMFit, whitening: Tensor, link: str, *, between_units: bool
) -> Float[Tensor, "factor factor factor"]:
    """E[uuu] of the residuals summed over a few bins, u = whiteningᵀ · residual.

    Args:
        design: the bins to look at.
        fit: the fully observed GLM on the same units.
        whitening: (unit, factor).
        link: of the fit.
        between_units: leave out products in which a unit meets itself; its own Poisson noise is skewed, too.
    """
    n_units, n_factors = whitening.shape
    third = torch.zeros(n_factors, n_factors, n_factors, dtype=torch.float64)
    with_square = torch.zeros(n_units, n_factors, dtype=torch.float64)
    cube = torch.zeros(n_units, dtype=torch.float64)
    on_device = whitening.to(design.device, design.dtype)
    lags = max(1, design.n_lags // 3)
    for residual, _ in _residual_blocks(design, fit, link):
        activity = _box(residual, lags)
        activity = activity - activity.mean(1, keepdim=True)
        u = on_device.T @ activity
        pairs = (u[:, None] * u).flatten(0, 1)
        third += (pairs @ u.T).double().cpu().view_as(third)
        if between_units:
            squared = activity.square()
            with_square += (squared @ u.T).double().cpu()
            cube += (squared * activity).sum(1, dtype=torch.float64).cpu()
    if between_units:
        own = torch.einsum("ia,ib,ic->abc", whitening, whitening, with_square)
        third -= own + own.permute(0, 2, 1) + own.permute(2, 1, 0)
        third += 2 * torch.einsum("ia,ib,ic,i->abc", whitening, whitening, whitening, cube)
    return third / design.n_bins


def _skewness_sign(design: Design, fit: GLMFit, weights: Tensor, lags: int, link: str) -> Float[Tensor, " factor"]:
    third = weights.new_zeros(weights.shape[1])
    on_device = weights.to(design.device, design.dtype)
    for residual, _ in _residual_blocks(design, fit, link):
        activity = _box(on_device.T @ residual, lags)
        third += (activity - activity.mean(1, keepdim=True)).double().pow(3).sum(1).cpu()
    return torch.where(third < 0, -1.0, 1.0).to(weights.dtype)
