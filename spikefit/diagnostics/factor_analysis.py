"""Factor analysis by expectation maximisation on the covariance alone.

    x = mean + loadings · f + noise,  f ~ N(0, 1),  noise ~ N(0, diag(uniqueness))

Source: Rubin & Thayer, "EM algorithms for ML factor analysis" (Psychometrika 1982).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

MOST_ITERATIONS = 500
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class FactorAnalysis:
    """A fitted model.

    Attributes:
        mean: (variable,).
        loadings: (variable, factor).
        uniqueness: noise variance of each variable; (variable,).
        log_likelihood: in nats per observation that it was fitted to.
    """

    mean: Floats
    loadings: Floats
    uniqueness: Floats
    log_likelihood: float

    def transform(self, values: Floats) -> Floats:
        """Posterior means of the factors, (observation, factor)."""
        scaled = self.loadings / self.uniqueness[:, None]
        precision = np.eye(self.loadings.shape[1]) + self.loadings.T @ scaled
        return np.asarray(np.linalg.solve(precision, scaled.T @ (np.asarray(values) - self.mean).T).T)


def fit_factor_analysis(values: Floats, n_factors: int) -> FactorAnalysis:
    """Fit to observations (observation, variable).

    Raises:
        ValueError: if there are no factors, or as many as variables.
    """
    x = np.asarray(values, dtype=np.float64)
    if not 0 < n_factors < x.shape[1]:
        raise ValueError(f"factors must number from 1 to {x.shape[1] - 1}, got {n_factors}")
    mean = x.mean(axis=0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    variance = np.maximum(np.diag(covariance), 1e-12)
    # From the principal axes: where EM starts decides only how long it takes.
    powers, axes = np.linalg.eigh(covariance)
    loadings = axes[:, -n_factors:] * np.sqrt(np.maximum(powers[-n_factors:], 1e-12))
    uniqueness = np.maximum(variance - np.square(loadings).sum(axis=1), 0.05 * variance)
    before = -np.inf
    for _ in range(MOST_ITERATIONS):
        scaled = loadings / uniqueness[:, None]
        posterior = np.linalg.inv(np.eye(n_factors) + loadings.T @ scaled)
        cross = covariance @ scaled @ posterior
        second = posterior + posterior @ scaled.T @ cross
        loadings = np.linalg.solve(second, cross.T).T
        uniqueness = np.maximum(variance - (loadings * cross).sum(axis=1), 1e-4 * variance)
        now = _log_likelihood(covariance, loadings, uniqueness)
        if now - before < TOLERANCE:
            break
        before = now
    return FactorAnalysis(mean, loadings, uniqueness, _log_likelihood(covariance, loadings, uniqueness))


def _log_likelihood(covariance: Floats, loadings: Floats, uniqueness: Floats) -> float:
    model = loadings @ loadings.T + np.diag(uniqueness)
    _, log_determinant = np.linalg.slogdet(model)
    trace = np.trace(np.linalg.solve(model, covariance))
    return float(-0.5 * (len(model) * np.log(2 * np.pi) + log_determinant + trace))
