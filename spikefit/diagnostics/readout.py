"""Read-outs from features: Poisson regression to counts, ridge regression to real values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

RIDGES = (1.0, 10.0, 100.0, 1000.0)
MOST_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class PoissonReadout:
    """log expected count = features · weights + intercept.

    Attributes:
        weights: (feature, unit).
        intercept: (unit,).
    """

    weights: Floats
    intercept: Floats

    def predict(self, features: Floats) -> Floats:
        """Expected counts, (bin, unit)."""
        drive = np.asarray(features, dtype=np.float64) @ self.weights + self.intercept
        return np.asarray(np.exp(np.clip(drive, -20, 10)))


def fit_poisson_readout(features: Floats, counts: NDArray[Any], *, ridge: float) -> PoissonReadout:
    """Poisson regression of every unit on shared features; the problem is convex and solved by L-BFGS.

    It is solved in coordinates in which the curvature at the mean rate is the identity, all units together, so that
    some tens of passes do.

    Args:
        features: (bin, feature).
        counts: (bin, unit).
        ridge: penalty ridge / 2 · |weights|² in nats, on standardised features.
    """
    from scipy.optimize import minimize

    x, y = np.asarray(features, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-12] = 1.0
    x = (x - mean) / scale
    n_bins, n_units = y.shape
    base = np.log(np.maximum(y.mean(axis=0), 0.5 / n_bins))
    values, vectors = np.linalg.eigh(x.T @ x / n_bins)
    curvature = n_bins * np.exp(base) * np.maximum(values, 0)[:, None] + ridge
    step, base_step = 1 / np.sqrt(curvature), 1 / np.sqrt(n_bins * np.exp(base))
    rotated = x @ vectors

    def objective(flat: Floats) -> tuple[float, Floats]:
        free = flat.reshape(-1, n_units)
        weights = free[:-1] * step
        drive = np.clip(rotated @ weights + (base + free[-1] * base_step), -30, 15)
        expected = np.exp(drive)
        value = float((expected - y * drive).sum() + 0.5 * ridge * np.square(weights).sum())
        expected -= y
        gradient = (rotated.T @ expected + ridge * weights) * step
        return value, np.vstack([gradient, expected.sum(axis=0) * base_step]).ravel()

    start = np.zeros((x.shape[1] + 1) * n_units)
    options = {"maxiter": MOST_ITERATIONS, "ftol": 1e-10}
    free = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x.reshape(-1, n_units)
    weights = vectors @ (free[:-1] * step) / scale[:, None]
    return PoissonReadout(weights, base + free[-1] * base_step - mean @ weights)


def ridge_regression(features: Floats, targets: Floats, *, ridge: float) -> tuple[Floats, Floats]:
    """Weights (feature, target) and intercept (target,); the penalty is on standardised features, counted in bins."""
    x, y = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-12] = 1.0
    z = (x - mean) / scale
    centre = y.mean(axis=0)
    weights = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ (y - centre)) / scale[:, None]
    return weights, centre - mean @ weights


def r_squared(predicted: Floats, targets: Floats) -> float:
    """Share of the targets' variance that is explained, over all targets together; 1 is all of it."""
    residual = np.square(targets - predicted).sum()
    return float(1 - residual / np.square(targets - targets.mean(axis=0)).sum())


def decode(train: tuple[Floats, Floats], heldout: tuple[Floats, Floats], *, ridges: Sequence[float] = RIDGES) -> float:
    """Held-out R² of a ridge read-out, the penalty chosen on the last fifth of the training bins.

    Args:
        train: features (bin, feature) and targets (bin, target) to learn from; bins with a target of NaN are left out.
        heldout: the same, to be judged on.
        ridges: penalties to choose from.
    """
    (x, y), (x_test, y_test) = _known(*train), _known(*heldout)
    cut = max(1, int(0.8 * len(x)))

    def score(ridge: float) -> float:
        weights, intercept = ridge_regression(x[:cut], y[:cut], ridge=ridge)
        return r_squared(x[cut:] @ weights + intercept, y[cut:])

    weights, intercept = ridge_regression(x, y, ridge=max(ridges, key=score))
    return r_squared(x_test @ weights + intercept, y_test)


def _known(features: Floats, targets: Floats) -> tuple[Floats, Floats]:
    kept = np.isfinite(targets).all(axis=1)
    return features[kept], targets[kept]
