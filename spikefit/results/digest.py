"""A fingerprint of everything a result says, so that a damaged file is never read as a sound one."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.results.documents import to_json
from spikefit.results.parts import COVARIATE_ARRAYS, COVARIATE_TEXTS, PAIR_STATISTICS

if TYPE_CHECKING:
    from spikefit.results.model import Result

_ARRAYS = ("connectivity", "coupling_filters", "lag_s", "baseline", *PAIR_STATISTICS)


def digest(result: Result) -> str:
    """SHA-256 over every field of `result`; equal for a result and the same one read back from its file."""
    total = hashlib.sha256()
    for key in _ARRAYS:
        _add_array(total, key, getattr(result, key))
    if result.hidden is not None:
        _add_array(total, "hidden/time_s", result.hidden.time_s)
        _add_array(total, "hidden/expected_count", result.hidden.expected_count)
    if result.common_drive is not None:
        for key in ("time_constant_s", "weights", "level_hz"):
            _add_array(total, f"common_drive/{key}", getattr(result.common_drive, key))
    if result.covariates is not None:
        for key in COVARIATE_ARRAYS:
            _add_array(total, f"covariates/{key}", getattr(result.covariates, key))
        total.update(json.dumps([getattr(result.covariates, key) for key in COVARIATE_TEXTS]).encode())
    if result.excerpt is not None:
        _add_array(total, "excerpt/interval_s", np.array([result.excerpt.start_s, result.excerpt.stop_s]))
        _add_array(total, "excerpt/spike_time_s", result.excerpt.spike_time_s)
        _add_array(total, "excerpt/unit", result.excerpt.unit)
    for key, values in sorted(result.diagnostics.items()):
        _add_array(total, f"diagnostics/{key}", values)
    for key, series in sorted(result.history.items()):
        _add_array(total, f"history/{key}", series)
    for key, value in sorted(result.parameters.items()):
        _add_array(total, f"parameters/{key}", value)
    rows = [
        [
            row.id,
            row.kind,
            row.kept,
            row.reason,
            row.n_spikes,
            repr(row.rate_hz),
            sorted((k, repr(v)) for k, v in row.columns.items()),
        ]
        for row in result.units
    ]
    words = [result.name, result.unit_id, result.unit_kind, repr(result.bin_width_s), result.warnings, rows]
    total.update(json.dumps(words).encode())
    for document in documents_of(result).values():
        total.update(document.encode())
    return total.hexdigest()


def documents_of(result: Result) -> dict[str, str]:
    """The nested parts of a result as compact JSON, by the name of the root attribute that holds them."""
    return {
        f"{key}_json": to_json(getattr(result, key), indent=None)
        for key in ("config", "config_origin", "metrics", "provenance")
    }


def _add_array(total: Any, name: str, values: Any) -> None:
    array = np.asarray(values, order="C")
    if array.dtype.kind == "f" and array.size and np.isnan(array).all():
        array = np.full_like(array, np.nan)  # NaN has many bit patterns; where nothing is known there is but one
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    total.update(f"{name} {array.dtype.str} {array.shape}".encode())
    total.update(array.tobytes())
