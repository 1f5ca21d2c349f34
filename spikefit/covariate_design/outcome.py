"""What a fit says of its covariates, in the form of a result, and back into columns for another recording."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.covariate_columns import CovariateColumns, FittedTerm
from spikefit.results import CovariateTerms

Array = NDArray[np.float64]


def covariate_terms(columns: CovariateColumns, weights: Array, std_error: Array | None) -> CovariateTerms:
    """The covariates' part of a result.

    Args:
        columns: what was fitted.
        weights: (unit, column).
        std_error: of the weights and then of all points of the curves, (unit, column + curve · point); None where not known.
    """
    n_units, n_columns = weights.shape
    x = np.array([curve.x for curve in columns.curves])
    drive = np.stack([weights @ curve.rows.T for curve in columns.curves], axis=1)
    if std_error is None:
        std_error = np.full((n_units, n_columns + x.size), np.nan)
    return CovariateTerms(
        column=columns.names,
        covariate=tuple(term.name for term in columns.terms for _ in term.columns),
        basis=tuple(term.basis for term in columns.terms for _ in term.columns),
        mean=np.concatenate([term.mean for term in columns.terms]),
        sd=np.concatenate([term.sd for term in columns.terms]),
        weights=weights,
        std_error=std_error[:, :n_columns],
        curve=tuple(curve.name for curve in columns.curves),
        curve_label=tuple(curve.x_label for curve in columns.curves),
        curve_x=x,
        curve_drive=drive,
        curve_std_error=std_error[:, n_columns:].reshape(drive.shape),
        terms_json=tuple(json.dumps(term.to_dict(), ensure_ascii=False) for term in columns.terms),
    )


def fitted_terms(found: CovariateTerms) -> tuple[FittedTerm, ...]:
    """What makes the columns again in another recording."""
    return tuple(FittedTerm.from_dict(json.loads(text)) for text in found.terms_json)


def covariate_metrics(columns: CovariateColumns, found: CovariateTerms) -> dict[str, Any]:
    """For `metrics.json`: each covariate with its basis, and how far it moves the drive."""
    of_term = np.array(found.covariate)
    rows = []
    for term in columns.terms:
        own = of_term == term.name
        known = columns.values[columns.known][:, own].astype(np.float64)
        covariance = known.T @ known / max(1, len(known))
        drive_sd = np.sqrt(
            np.einsum("uc,cd,ud->u", found.weights[:, own], covariance, found.weights[:, own]).clip(min=0)
        )
        rows.append(
            {
                "name": term.name,
                "basis": term.basis,
                "unit": term.unit,
                "n_columns": len(term.columns),
                "mean": list(term.value_mean),
                "sd": list(term.value_sd),
                "share_known": term.share_known,
                "drive_sd_median": float(np.median(drive_sd)),
                "drive_sd_largest": float(drive_sd.max()),
            }
        )
    return {"covariates": rows, "n_bins_without_covariates": int((~columns.known).sum())}
