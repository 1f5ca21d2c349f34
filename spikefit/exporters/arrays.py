"""A result as named arrays, the form that the array formats share."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikefit.exporters.selection import Cut

_PAIRS = ("connectivity", "coupling_filters", "std_error", "ci_low", "ci_high", "p_value", "q_value")


def named_arrays(cut: Cut) -> dict[str, Any]:
    """Arrays by name; `selected` marks the chosen edges, `dims` says which way round the matrices stand."""
    result = cut.result
    arrays: dict[str, Any] = {key: cut.oriented(getattr(result, key)) for key in _PAIRS}
    arrays |= {
        "selected": cut.oriented(cut.is_edge),
        "dims": f"{cut.dims}, lag" if result.lag_s.size else cut.dims,
        "orientation": cut.meaning,
        "lag_s": result.lag_s,
        "baseline": result.baseline,
        "bin_width_s": result.bin_width_s,
        "n_spikes": np.array([row.n_spikes for row in result.unit_rows], dtype=np.int64),
        "rate_hz": np.array([row.rate_hz for row in result.unit_rows], dtype=np.float64),
        "name": result.name,
        "metrics_json": result.metrics_json(),
    }
    if result.hidden is not None:
        arrays["hidden_time_s"] = result.hidden.time_s
        arrays["hidden_expected_count"] = result.hidden.expected_count
    return arrays
