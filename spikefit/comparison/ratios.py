"""Ratios of sums over blocks of time, with their errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def ratio_and_error(numerator: Any, denominator: Any) -> tuple[float, float]:
    """Σa / Σb and its standard error over blocks that are independent of one another.

    Args:
        numerator: a of every block.
        denominator: b of every block, above zero.
    """
    a, b = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    total = float(b.sum())
    if total <= 0:
        return math.nan, math.nan
    value = float(a.sum()) / total
    if a.size < 2:
        return value, math.nan
    spread = float(np.square(a - value * b).sum()) * a.size / (a.size - 1)
    return value, math.sqrt(spread) / total
