"""The edge table: one row per ordered pair of units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from spikefit.results.model import Result
    from spikefit.results.parts import Floats

# The order of the columns of edges.csv; other programs rely on it.
EDGE_COLUMNS = (
    "pre_id",
    "post_id",
    "pre_kind",
    "post_kind",
    "weight",
    "std_error",
    "ci_low",
    "ci_high",
    "p_value",
    "q_value",
    "peak_lag_s",
    "n_pre_spikes",
    "n_post_spikes",
)


# How well the data hold a coupling, and whether it hangs on where the fit started.
HOW_SURE = ("curvature", "variance_inflation", "restart_sd", "restart_agreement")

# The null that a pair was held against, where pairs of types have nulls of their own.
NULL_BY_PAIR = ("null_centre", "null_spread")

# Further columns, behind those, where the result holds the figure for its visible pairs.
PAIR_DIAGNOSTICS = ("n_spike_pairs", "correlogram_z", "shared_z", *NULL_BY_PAIR, "h0_weight", *HOW_SURE)


def edge_table(result: Result) -> NDArray[np.void]:
    """Every ordered pair of two different units, sender after sender; fields are `EDGE_COLUMNS`, then the known `PAIR_DIAGNOSTICS`."""
    n_units = result.n_units
    pre, post = np.divmod(np.arange(n_units * n_units), max(n_units, 1))
    pre, post = pre[pre != post], post[pre != post]
    ids = np.array(result.unit_id, dtype=np.str_)
    kinds = np.array(result.unit_kind, dtype=np.str_)
    n_spikes = np.array([row.n_spikes for row in result.unit_rows], dtype=np.int64)
    columns: dict[str, NDArray[np.generic]] = {
        "pre_id": ids[pre],
        "post_id": ids[post],
        "pre_kind": kinds[pre],
        "post_kind": kinds[post],
        "weight": result.connectivity[post, pre].astype(np.float64),
        "peak_lag_s": peak_lag_s(result)[post, pre],
        "n_pre_spikes": n_spikes[pre],
        "n_post_spikes": n_spikes[post],
    }
    for key in ("std_error", "ci_low", "ci_high", "p_value", "q_value"):
        columns[key] = getattr(result, key)[post, pre].astype(np.float64)
    further = tuple(key for key in PAIR_DIAGNOSTICS if key in result.diagnostics)
    for key in further:
        whole = np.full((n_units, n_units), np.nan)
        whole[result.visible, result.visible] = result.diagnostics[key]
        columns[key] = whole[post, pre]
    names = (*EDGE_COLUMNS, *further)
    table = np.empty(pre.size, dtype=[(key, columns[key].dtype) for key in names])
    for key in names:
        table[key] = columns[key]
    return table


def peak_lag_s(result: Result) -> Floats:
    """Lag at which each coupling filter is largest in absolute value, in seconds; `[post, pre]`.

    NaN where a filter is zero throughout, or not finite: such a filter has no peak.
    """
    if not result.lag_s.size or not result.n_units:
        return np.full((result.n_units, result.n_units), np.nan)
    size = np.abs(result.coupling_filters)
    peak: Floats = result.lag_s.astype(np.float64)[np.argmax(np.where(np.isnan(size), -1.0, size), axis=-1)]
    largest = size.max(axis=-1)
    return np.where(np.isfinite(largest) & (largest > 0), peak, np.nan)
