"""The curve of an empirical null, for pictures; scipy-free, since pages are made without it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def null_curve(x: Floats, centre: float, spread: float, shape: float) -> Floats:
    """Density of the generalised normal law that holds 68 % of its mass within `spread` of its centre; shape of `x`.

    Args:
        x: where.
        centre: its median.
        spread: half the width of its central 68 %.
        shape: β; 2 for a normal law, less for heavier tails.
    """
    # The mass within the spread does not know its scale, so the width of the unit law is found on a grid.
    grid = np.linspace(0.0, 60.0, 60_001)
    step = np.exp(-(grid**shape))
    mass = np.concatenate([[0.0], np.cumsum((step[1:] + step[:-1]) / 2)])
    one_sigma = float(np.interp(math.erf(math.sqrt(0.5)) * mass[-1], mass, grid))
    scale = spread / one_sigma
    return np.asarray(np.exp(-(np.abs((x - centre) / scale) ** shape)) * shape / (2 * scale * math.gamma(1 / shape)))
