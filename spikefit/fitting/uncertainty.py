"""Standard errors of a fully observed GLM from its information matrix.

They are the curvature of the penalised likelihood, so they are right where the model is, and far too small where units
share an input that was not recorded.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.glm import GLMFit
from spikefit.fitting.products import Weights
from spikefit.models.link import LINKS

# Above this many multiplications the exact information of every unit would take longer than the fit.
MOST_MULTIPLICATIONS = 1.5e11


# Errors of every lag of every pair are wanted for looking at; above this many senders times lags nobody looks at all.
MOST_SENDERS_AND_LAGS = 4000


def connectivity_errors(
    design: Design, fit: GLMFit, basis: Float[Tensor, "lag basis"], *, ridge: float, link: str
) -> tuple[Float[Tensor, "post pre"], str]:
    """Standard error of every filter's sum over lags, and how it was made; see `coupling_errors`."""
    errors, how = _errors(design, fit, _projection(design, basis.double().sum(0, keepdim=True)), ridge, link)
    return errors, how


def coupling_errors(
    design: Design, fit: GLMFit, basis: Float[Tensor, "lag basis"], *, ridge: float, link: str
) -> tuple[Float[Tensor, "post pre"], Float[Tensor, "post pre lag"] | None, str]:
    """Standard errors of every filter's sum over lags and of its single lags, and how they were made.

    `information` is the inverse of each unit's own information matrix. Where that would be too much work, `shared
    information` takes the features' covariance for all units alike, times each unit's mean information per bin. The single
    lags are None for populations too large to look at pair by pair.

    Args:
        design: the bins that were fitted.
        fit: the optimum on them.
        basis: (lag, basis).
        ridge: the penalty of the fit.
        link: of the fit.
    """
    n_units, n_lags = design.n_units, len(basis)
    rows = basis.double().sum(0, keepdim=True)
    if n_units * n_lags <= MOST_SENDERS_AND_LAGS:
        rows = torch.cat([rows, basis.double()])
    errors, how = _errors(design, fit, _projection(design, rows), ridge, link)
    by_row = errors.unflatten(1, (n_units, len(rows)))
    return by_row[:, :, 0], by_row[:, :, 1:] if len(rows) > 1 else None, how


def _projection(design: Design, rows: Float[Tensor, "row basis"]) -> Float[Tensor, "feature column"]:
    """Column m · n_rows + r is row r read from the filter of sender m; covariates, behind the couplings, are in none."""
    one = torch.eye(design.n_units, dtype=torch.float64, device=design.device)
    columns = torch.zeros(design.n_features, design.n_units * len(rows), dtype=torch.float64, device=design.device)
    own = one[:, None, :, None] * rows.T.to(design.device)[None, :, None, :]
    columns[: design.n_couplings] = own.reshape(design.n_couplings, -1)
    return columns


def _errors(design: Design, fit: GLMFit, columns: Tensor, ridge: float, link: str) -> tuple[Tensor, str]:
    """Standard errors of the weights' products with some columns; (unit, column)."""
    if float(design.n_units) * design.n_bins * design.n_features**2 <= MOST_MULTIPLICATIONS:
        return _own_information(design, fit, columns, ridge, link), "information"
    return _shared_information(design, fit, columns, ridge, link), "shared information"


def _weights(features: Tensor, fit: GLMFit, link: str) -> Tensor:
    """Fisher information of the drive in every bin, f′² / f; (unit, bin)."""
    drive = torch.addmm(fit.baseline.to(features)[:, None], fit.weights.to(features), features)
    expected, slope = LINKS[link](drive)
    return slope * slope / expected


def _own_information(design: Design, fit: GLMFit, sums: Tensor, ridge: float, link: str) -> Tensor:
    n_units, n_features = design.n_units, design.n_features
    information = torch.zeros(n_units, n_features + 1, n_features + 1, dtype=torch.float64, device=design.device)
    for features, _ in design.blocks():
        with_one = torch.cat([features, torch.ones_like(features[:1])])
        for unit, weight in enumerate(_weights(features, fit, link)):
            information[unit] += (with_one * weight) @ with_one.T
    information.diagonal(dim1=1, dim2=2)[:, :-1] += ridge
    information.diagonal(dim1=1, dim2=2).add_(1e-9 * information.diagonal(dim1=1, dim2=2).amax(1, keepdim=True))
    padded = torch.cat([sums, torch.zeros_like(sums[:1])])
    # Unit by unit: all solutions at once would be larger than the matrices themselves.
    variance = torch.stack([(torch.linalg.solve(own, padded) * padded).sum(0) for own in information])
    return variance.clamp(min=0).sqrt()


def _shared_information(design: Design, fit: GLMFit, sums: Tensor, ridge: float, link: str) -> Tensor:
    spectrum, n_seen = fit.spectrum, 0
    assert spectrum is not None
    weight = torch.zeros(design.n_units, dtype=torch.float64, device=design.device)
    every = max(1, design.n_bins // (50 * design.n_features))
    weights, offset = Weights(fit.weights.to(design.dtype)), fit.baseline.to(design.dtype)
    for products, *_ in design.spikes(every):
        expected, slope = LINKS[link](products.drive(weights, offset))
        weight += (slope * slope / expected).sum(1, dtype=torch.float64)
        n_seen += expected.shape[1]
    values, vectors = spectrum.scales, spectrum.rotation
    total = weight[:, None] / n_seen * design.n_bins  # information of the drive over the recording, (unit, 1)
    inverse = 1 / (total * values.clamp(min=0) + max(ridge, 1e-9))
    variance: Tensor = inverse @ (vectors.T @ sums).square()
    return variance.sqrt()
