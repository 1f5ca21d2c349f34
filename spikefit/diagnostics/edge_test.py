"""What every test of edges starts from and ends in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Q_LEVEL = 0.05
OF_NORMAL = 1.4826  # standard deviations in a median absolute deviation of normal values: 1 / Φ⁻¹(3/4)


@dataclass(frozen=True, eq=False)
class EdgeTest:
    """The outcome of a test of all pairs.

    Attributes:
        p_value, q_value: (post, pre); NaN where there is no test.
        ci_low, ci_high: interval of the coupling with what is no edge taken off; NaN where there is no test.
        metrics: figures for `metrics.json`.
        notes: what the reader must know, as sentences.
        by_pair: figures of each pair for the diagnostics of a result, by name; (post, pre).
    """

    p_value: Array
    q_value: Array
    ci_low: Array
    ci_high: Array
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    by_pair: dict[str, Array] = field(default_factory=dict)


def no_test(shape: tuple[int, ...], *notes: str) -> EdgeTest:
    """No pair is tested, and why."""
    unknown = np.full(shape, np.nan)
    return EdgeTest(unknown, unknown, unknown, unknown, {"significance": "none", "n_tested_pairs": 0}, notes)


def spread_of(values: Array) -> float:
    """Standard deviation of the bulk of some values, from their median absolute deviation; edges in the tails do not move it."""
    return float(OF_NORMAL * np.median(np.abs(values - np.median(values))))


def z_scores(connectivity: Array, std_error: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Coupling over standard error, and which entries are pairs of two units that have one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = connectivity / std_error
    return z, np.isfinite(z) & ~np.eye(len(z), dtype=bool)
