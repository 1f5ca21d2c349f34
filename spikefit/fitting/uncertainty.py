"""Standard errors of a fully observed GLM from its information matrix.

They are the curvature of the penalised likelihood, so they are right where the model is, and far too small where units
share an input that was not recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.collinearity import inflation, shared_variance_alone, variance_alone
from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.models.link import LINKS
from spikefit.models.products import Weights

# Above this many multiplications the exact information of every unit would take longer than the fit.
MOST_MULTIPLICATIONS = 1.5e11


# Errors of every lag of every pair are wanted for looking at; above this many senders times lags nobody looks at all.
MOST_SENDERS_AND_LAGS = 4000


Ridge = float | Float[Tensor, "unit feature"]
Free = Bool[Tensor, "unit feature"] | None


def connectivity_errors(
    design: Design, fit: GLMFit, basis: Float[Tensor, "lag basis"], *, ridge: Ridge, link: str, free: Free = None
) -> tuple[Float[Tensor, "post pre"], str]:
    """Standard error of every filter's sum over lags, and how it was made; see `coupling_errors`."""
    errors = errors_of_fit(design, fit, basis, ridge=ridge, link=link, free=free, by_lag=False)
    assert errors.how is not None
    return errors.sums, errors.how


@dataclass(frozen=True, eq=False)
class FitErrors:
    """Standard errors of a fit.

    Attributes:
        sums: of every filter's sum over lags.
        by_lag: of the single lags of every filter; None for populations too large to look at pair by pair.
        further: of weighted sums of the last features' weights; None where none were asked for.
        correlation: of the errors of each receiver's sums, (post or 1, pre, pre); one for all receivers where they share their information.
        how: `information` or `shared information`, see `errors_of_fit`, or `marginal scores` beside hidden units; None where there are none.
        inflation: variance of each sum over what it would be with no other sender, see `collinearity`; None where there are no errors.
    """

    sums: Float[Tensor, "post pre"]
    by_lag: Float[Tensor, "post pre lag"] | None
    further: Float[Tensor, "post row"] | None
    correlation: Float[Tensor, "own pre pre"] | None
    how: str | None
    inflation: Float[Tensor, "post pre"] | None = None


def curvature_of(errors: FitErrors) -> NDArray[np.float64] | None:
    """Information on every sum over lags with all other parameters at their best, 1 / variance; (post, pre), None without errors."""
    return None if errors.how is None else errors.sums.square().reciprocal().cpu().numpy()


def coupling_errors(
    design: Design, fit: GLMFit, basis: Float[Tensor, "lag basis"], *, ridge: Ridge, link: str, free: Free = None
) -> tuple[Float[Tensor, "post pre"], Float[Tensor, "post pre lag"] | None, str]:
    """Standard errors of every filter's sum over lags and of its single lags, and how they were made; see `errors_of_fit`."""
    errors = errors_of_fit(design, fit, basis, ridge=ridge, link=link, free=free)
    assert errors.how is not None
    return errors.sums, errors.by_lag, errors.how


def errors_of_fit(
    design: Design,
    fit: GLMFit,
    basis: Float[Tensor, "lag basis"],
    *,
    ridge: Ridge,
    link: str,
    free: Free = None,
    further: Float[Tensor, "row column"] | None = None,
    by_lag: bool = True,
    shared: bool = False,
) -> FitErrors:
    """Standard errors of couplings, and of weighted sums of what stands behind them.

    `information` is the inverse of each unit's own information matrix. Where that would be too much work, `shared
    information` takes the features' covariance for all units alike, times each unit's mean information per bin. The single
    lags are None for populations too large to look at pair by pair.

    Args:
        design: the bins that were fitted.
        fit: the optimum on them.
        basis: (lag, basis).
        ridge: the penalty of the fit, or that of every weight.
        link: of the fit.
        further: weighted sums of the weights of the last features, as many as it has columns.
        free: which weights were fitted; None for all. What rests on none of them has no error: NaN. `shared information`
            takes the others for fitted too, which errs on the wide side.
        by_lag: give the errors of single lags too.
        shared: take the `shared information` whatever the size; it costs next to nothing.
    """
    n_units, n_lags = design.n_units, len(basis)
    rows = basis.double().sum(0, keepdim=True)
    if by_lag and n_units * n_lags <= MOST_SENDERS_AND_LAGS:
        rows = torch.cat([rows, basis.double()])
    columns = _projection(design, rows)
    n_coupling_columns = columns.shape[1]
    if further is not None:
        added = columns.new_zeros(design.n_features, len(further))
        added[design.n_features - further.shape[1] :] = further.to(columns).T
        columns = torch.cat([columns, added], dim=1)
    sums = slice(0, n_coupling_columns, len(rows))
    errors, found, how = _errors(design, fit, columns, ridge, link, free, sums, rows[0], shared=shared)
    by_row = errors[:, :n_coupling_columns].unflatten(1, (n_units, len(rows)))
    return FitErrors(
        sums=by_row[:, :, 0],
        by_lag=by_row[:, :, 1:] if len(rows) > 1 else None,
        further=None if further is None else errors[:, n_coupling_columns:],
        correlation=correlation_of(found.covariance),
        how=how,
        inflation=inflation(by_row[:, :, 0].square(), found.alone),
    )


def _projection(design: Design, rows: Float[Tensor, "row basis"]) -> Float[Tensor, "feature column"]:
    """Column m · n_rows + r is row r read from the filter of sender m; covariates, behind the couplings, are in none."""
    one = torch.eye(design.n_units, dtype=torch.float64, device=design.device)
    columns = torch.zeros(design.n_features, design.n_units * len(rows), dtype=torch.float64, device=design.device)
    own = one[:, None, :, None] * rows.T.to(design.device)[None, :, None, :]
    columns[: design.n_couplings] = own.reshape(design.n_couplings, -1)
    return columns


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of the sums over lags: the covariance of their errors, and each one's variance with no other sender."""

    covariance: Float[Tensor, "own pre pre"]
    alone: Float[Tensor, "post pre"]


def _errors(
    design: Design,
    fit: GLMFit,
    columns: Tensor,
    ridge: Ridge,
    link: str,
    free: Free,
    sums: slice,
    row: Tensor,
    *,
    shared: bool,
) -> tuple[Tensor, _Sums, str]:
    """Standard errors of the weights' products with some columns, (unit, column), and what goes with those of the sums."""
    few = float(design.n_units) * design.n_bins * design.n_features**2 <= MOST_MULTIPLICATIONS
    make, how = (_shared_information, "shared information") if shared or not few else (_own_information, "information")
    errors, found = make(design, fit, columns, ridge, link, free, sums, row)
    if free is not None:
        errors[(free.double() @ columns.abs()) == 0] = torch.nan
    return errors, found, how


def correlation_of(covariance: Float[Tensor, "own pre pre"]) -> Float[Tensor, "own pre pre"]:
    """Entries without a variance of their own go with no other."""
    scale = covariance.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    inverse = torch.where(scale > 0, 1 / scale.clamp(min=1e-300), 0.0)
    correlation = covariance * inverse[:, :, None] * inverse[:, None, :]
    correlation.diagonal(dim1=1, dim2=2).fill_(1.0)
    return correlation


def _weights(features: Tensor, fit: GLMFit, link: str) -> Tensor:
    """Fisher information of the drive in every bin, f′² / f; (unit, bin)."""
    drive = torch.addmm(fit.baseline.to(features)[:, None], fit.weights.to(features), features)
    expected, slope = LINKS[link](drive)
    return _information(expected, slope, fit)


def _information(expected: Tensor, slope: Tensor, fit: GLMFit) -> Tensor:
    """f′² / f of Poisson counts, less by 1 + αf where they scatter more; (unit, bin)."""
    information = slope * slope / expected
    return (
        information if fit.dispersion is None else information / (1 + fit.dispersion.to(expected)[:, None] * expected)
    )


def _own_information(
    design: Design, fit: GLMFit, sums: Tensor, ridge: Ridge, link: str, free: Free, couplings: slice, row: Tensor
) -> tuple[Tensor, _Sums]:
    n_units, n_features = design.n_units, design.n_features
    information = torch.zeros(n_units, n_features + 1, n_features + 1, dtype=torch.float64, device=design.device)
    for (features, _), lost in zip(design.blocks(), design.lost(), strict=True):
        with_one = torch.cat([features, torch.ones_like(features[:1])])
        weights = _weights(features, fit, link)
        for unit, weight in enumerate(weights if lost is None else weights.masked_fill(lost, 0.0)):
            information[unit] += (with_one * weight) @ with_one.T
    information.diagonal(dim1=1, dim2=2)[:, :-1] += ridge
    information.diagonal(dim1=1, dim2=2).add_(1e-9 * information.diagonal(dim1=1, dim2=2).amax(1, keepdim=True))
    padded = torch.cat([sums, torch.zeros_like(sums[:1])])
    # Unit by unit: all solutions at once would be larger than the matrices themselves.
    variance, covariance, alone = [], [], []
    for unit, own in enumerate(information):
        kept = None if free is None else torch.nn.functional.pad(free[unit], (0, 1), value=True)
        of_all, of_couplings = _variance(own, padded, kept, couplings)
        variance.append(of_all)
        covariance.append(of_couplings)
        alone.append(variance_alone(own, row, n_units, kept))
    found = _Sums(torch.stack(covariance), torch.stack(alone))
    return torch.stack(variance).clamp(min=0).sqrt(), found


def _variance(information: Tensor, columns: Tensor, kept: Tensor | None, couplings: slice) -> tuple[Tensor, Tensor]:
    """Of one unit's products, from the information of its free weights and baseline; and the covariance of some of them."""
    if kept is not None:
        information, columns = information[kept][:, kept], columns[kept]
    solved = torch.linalg.solve(information, columns)
    return (solved * columns).sum(0), columns[:, couplings].T @ solved[:, couplings]


def _shared_information(
    design: Design, fit: GLMFit, sums: Tensor, ridge: Ridge, link: str, free: Free, couplings: slice, row: Tensor
) -> tuple[Tensor, _Sums]:
    """Features of own history are no part of what units share; what rests on them has no error here: NaN."""
    own, everything = design.own_features, sums
    if own is not None:
        sums = sums[~own]
    spectrum, n_seen = fit.spectrum, 0
    assert spectrum is not None
    weight = torch.zeros(design.n_units, dtype=torch.float64, device=design.device)
    every = max(1, design.n_bins // (50 * design.n_features))
    weights, offset = Weights(fit.weights.to(design.dtype)), fit.baseline.to(design.dtype)
    for (products, *_), lost in zip(design.spikes(every), design.lost(every), strict=True):
        expected, slope = LINKS[link](products.drive(weights, offset))
        information = _information(expected, slope, fit)
        if lost is not None:
            information = information.masked_fill(lost, 0.0)
        weight += information.sum(1, dtype=torch.float64)
        n_seen += expected.shape[1]
    values, vectors = spectrum.scales, spectrum.rotation
    total = weight[:, None] / n_seen * design.n_bins  # information of the drive over the recording, (unit, 1)
    mean_ridge = ridge.mean(1, keepdim=True).clamp(min=1e-9) if isinstance(ridge, Tensor) else max(ridge, 1e-9)
    inverse = 1 / (total * values.clamp(min=0) + mean_ridge)
    rotated = vectors.T @ sums
    variance: Tensor = inverse @ rotated.square()
    on_couplings = rotated[:, couplings]
    covariance = (on_couplings.T * inverse.mean(0)) @ on_couplings
    if free is not None and own is not None:
        variance[((free & own).double() @ everything.abs()) > 0] = torch.nan
    # The covariance of each sender's coupling features; those of own history, the last of each sender, are no part of it.
    by_sender = vectors[: design.n_units * design.n_coupling_functions].unflatten(0, (design.n_units, -1))
    of_sender = (by_sender * values.clamp(min=0)) @ by_sender.transpose(1, 2)
    alone = shared_variance_alone(of_sender, row[: design.n_coupling_functions], total, mean_ridge)
    return variance.sqrt(), _Sums(covariance[None], alone)
