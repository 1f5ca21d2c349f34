"""`connectivity.h5`: the whole result in one file, written with and read by h5py alone.

The file is built in memory and handed over as bytes: HDF5 that meets a full disk keeps a half-open file that can take
the process down at its end, whereas a plain write just fails.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikefit.results.digest import digest, documents_of
from spikefit.results.model import Result
from spikefit.results.parts import (
    COVARIATE_ARRAYS,
    COVARIATE_TEXTS,
    HIDDEN,
    PAIR_STATISTICS,
    CommonDriveTerm,
    CovariateTerms,
    Excerpt,
    HiddenActivity,
    UnitRow,
)
from spikefit.results.schema import (
    ABOUT,
    FORMAT,
    FORMAT_MINOR,
    FORMAT_VERSION,
    About,
    about_column,
    about_history,
    about_parameter,
)

if TYPE_CHECKING:
    import h5py

# The statistics that come only when they were asked for; the others are there always, NaN where not known.
_ONLY_WHEN_KNOWN = ("p_value", "q_value")
_SMALL_BYTES = 4096


def to_h5(result: Result, *, generator: str, created_utc: str, side_files: Mapping[str, Any]) -> bytes:
    """The bytes of `connectivity.h5`.

    Args:
        result: what to write, all of it.
        generator: the program and its version.
        created_utc: ISO time.
        side_files: size and sha256 of the other files of the folder, by name.
    """
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["format_minor"] = FORMAT_MINOR
        file.attrs["bin_width_s"] = result.bin_width_s
        file.attrs["generator"] = generator
        file.attrs["created_utc"] = created_utc
        file.attrs["name"] = result.name
        file.attrs["content_sha256"] = digest(result)
        file.attrs["side_files_json"] = json.dumps(side_files)
        file.attrs["warnings_json"] = json.dumps(result.warnings, ensure_ascii=False)
        for key, document in documents_of(result).items():
            file.attrs[key] = document
        for key in ("unit_id", "unit_kind", "connectivity", "coupling_filters", "lag_s", "baseline", *PAIR_STATISTICS):
            values = getattr(result, key)
            if key in _ONLY_WHEN_KNOWN and np.isnan(values).all():
                continue
            _put(file, key, values, ABOUT[key])
        if result.hidden is not None:
            _put(file, "hidden/time_s", result.hidden.time_s, ABOUT["hidden/time_s"])
            _put(file, "hidden/expected_count", result.hidden.expected_count, ABOUT["hidden/expected_count"])
        if result.common_drive is not None:
            for key in ("time_constant_s", "weights", "level_hz"):
                path = f"common_drive/{key}"
                _put(file, path, np.asarray(getattr(result.common_drive, key)), ABOUT[path])
        if result.covariates is not None:
            for key in (*COVARIATE_TEXTS, *COVARIATE_ARRAYS):
                _put(file, f"covariates/{key}", getattr(result.covariates, key), ABOUT[f"covariates/{key}"])
        if result.excerpt is not None:
            interval_s = np.array([result.excerpt.start_s, result.excerpt.stop_s])
            _put(file, "excerpt/interval_s", interval_s, ABOUT["excerpt/interval_s"])
            for key in ("spike_time_s", "unit"):
                _put(file, f"excerpt/{key}", getattr(result.excerpt, key), ABOUT[f"excerpt/{key}"])
        for key, series in result.diagnostics.items():
            _put(file, f"diagnostics/{key}", series, ABOUT[f"diagnostics/{key}"])
        for key, series in result.history.items():
            _put(file, f"history/{key}", series, about_history(key, result.metrics))
        for key, value in result.parameters.items():
            _put(file, f"parameters/{key}", value, about_parameter(key, value.ndim))
        _put_units(file, result.units)
    return buffer.getvalue()


def _put_units(file: h5py.File, units: tuple[UnitRow, ...]) -> None:
    for key in ("id", "kind", "kept", "reason", "n_spikes", "rate_hz"):
        values = [getattr(row, key) for row in units]
        _put(file, f"units/{key}", _column(values, key)[0], ABOUT[f"units/{key}"])
    names = list(dict.fromkeys(key for row in units for key in row.columns))
    for place, name in enumerate(names):
        path = f"units/columns/{place:03d}"  # a column may be called anything, a dataset may not
        values, encoding = _column([row.columns.get(name) for row in units], name)
        dataset = _put(file, path, values, about_column(name))
        dataset.attrs["name"] = name
        dataset.attrs["encoding"] = encoding


def _column(values: list[Any], name: str) -> tuple[Any, str]:
    """Values of one column as an array, and how to read it: as they are, or each cell as JSON ('' for no value)."""
    kinds = {type(value) for value in values}
    if name == "kept" or kinds == {bool}:
        return np.array(values, dtype=np.bool_), "bool"
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return np.array(values, dtype=np.int64), "int"
    if kinds == {float}:
        return np.array(values, dtype=np.float64), "float"
    if kinds == {str}:
        return values, "text"
    return ["" if value is None else json.dumps(value) for value in values], "json"


def _put(file: h5py.File, path: str, values: Any, about: About) -> h5py.Dataset:
    import h5py

    if isinstance(values, np.ndarray):
        packed = _packs(values)
        options: dict[str, Any] = {}
        if values.ndim > 0 and values.nbytes >= _SMALL_BYTES:
            # HDF5 checks its own checksum in every reader, not just in ours.
            options = {"chunks": True, "fletcher32": True}
        if packed:
            options |= {"compression": "gzip", "compression_opts": 4, "shuffle": True}
        dataset = file.create_dataset(path, data=values, **options)
    else:
        cells = np.array([str(value) for value in values], dtype=object)
        dataset = file.create_dataset(path, data=cells, shape=(len(cells),), dtype=h5py.string_dtype("utf-8"))
    for key, text in about._asdict().items():
        dataset.attrs[key] = text
    return dataset


def _packs(values: NDArray[Any]) -> bool:
    """Whether compression saves a fifth or more, judged by a stretch of the values as the filter would see it."""
    if values.ndim == 0 or values.nbytes < _SMALL_BYTES:
        return False
    stretch = np.ascontiguousarray(values).reshape(-1)[:16384]
    shuffled = stretch.view(np.uint8).reshape(stretch.size, -1).T.tobytes()
    return len(zlib.compress(shuffled, 4)) < 0.8 * len(shuffled)


class Damaged(Exception):
    """What is wrong inside a file that calls itself a result."""


def from_h5(file: h5py.File) -> dict[str, Any]:
    """The fields of `Result` out of an open `connectivity.h5` of a version that we read.

    Raises:
        Damaged: if something is missing or does not fit; whatever h5py raises on broken bytes passes through.
    """
    unit_id = _texts(file, "unit_id")
    n_units = len(unit_id)
    n_lags = _get(file, "lag_s").shape[0]
    pair = (n_units, n_units)
    fields: dict[str, Any] = {
        "unit_id": unit_id,
        "unit_kind": _texts(file, "unit_kind", (n_units,)),
        "bin_width_s": float(file.attrs["bin_width_s"]),
        "lag_s": _array(file, "lag_s", (n_lags,)),
        "baseline": _array(file, "baseline", (n_units,)),
        "connectivity": _array(file, "connectivity", pair),
        "coupling_filters": _array(file, "coupling_filters", (*pair, n_lags)),
        "name": str(file.attrs.get("name", "recording")),
        "warnings": tuple(json.loads(file.attrs.get("warnings_json", "[]"))),
    }
    for key in PAIR_STATISTICS:
        fields[key] = _array(file, key, pair) if key in file else None
    for key in ("config", "config_origin", "metrics", "provenance"):
        fields[key] = json.loads(file.attrs.get(f"{key}_json", "{}"))
        if not isinstance(fields[key], dict):
            raise Damaged(f"{key}_json is not a mapping")
    if "hidden" in file:
        time_s = _array(file, "hidden/time_s")
        n_hidden = fields["unit_kind"].count(HIDDEN)
        fields["hidden"] = HiddenActivity(time_s, _array(file, "hidden/expected_count", (time_s.size, n_hidden)))
    if "common_drive" in file:
        time_constant_s = _array(file, "common_drive/time_constant_s")
        fields["common_drive"] = CommonDriveTerm(
            time_constant_s,
            _array(file, "common_drive/weights", (n_units, time_constant_s.size)),
            float(_array(file, "common_drive/level_hz", ())),
        )
    if "covariates" in file:
        parts: dict[str, Any] = {key: _texts(file, f"covariates/{key}") for key in COVARIATE_TEXTS}
        parts |= {key: _array(file, f"covariates/{key}") for key in COVARIATE_ARRAYS}
        fields["covariates"] = CovariateTerms(**parts)
    if "excerpt" in file:
        start_s, stop_s = _array(file, "excerpt/interval_s", (2,)).tolist()
        times = _array(file, "excerpt/spike_time_s")
        fields["excerpt"] = Excerpt(start_s, stop_s, times, _array(file, "excerpt/unit", times.shape))
    known = [key for key in _members(file, "diagnostics") if f"diagnostics/{key}" in ABOUT]
    fields["diagnostics"] = {key: _array(file, f"diagnostics/{key}") for key in known}
    fields["history"] = {key: _array(file, f"history/{key}") for key in _members(file, "history")}
    fields["parameters"] = {key: _array(file, f"parameters/{key}") for key in _members(file, "parameters")}
    fields["units"] = _unit_rows(file)
    return fields


def _unit_rows(file: h5py.File) -> tuple[UnitRow, ...]:
    ids = _texts(file, "units/id")
    shape = (len(ids),)
    columns: dict[str, list[Any]] = {}
    for place in _members(file, "units/columns"):
        dataset = _get(file, f"units/columns/{place}")
        encoding, name = str(dataset.attrs["encoding"]), str(dataset.attrs["name"])
        if encoding in ("text", "json"):
            texts = _texts(file, f"units/columns/{place}", shape)
            columns[name] = [(json.loads(t) if t else None) if encoding == "json" else t for t in texts]
        else:
            columns[name] = _array(file, f"units/columns/{place}", shape).tolist()
    parts = zip(
        ids,
        _texts(file, "units/kind", shape),
        _array(file, "units/kept", shape).tolist(),
        _texts(file, "units/reason", shape),
        _array(file, "units/n_spikes", shape).tolist(),
        _array(file, "units/rate_hz", shape).tolist(),
        strict=True,
    )
    rows = []
    for row, (unit_id, kind, kept, reason, n_spikes, rate_hz) in enumerate(parts):
        further = {key: values[row] for key, values in columns.items() if values[row] is not None}
        rows.append(UnitRow(unit_id, kind, kept, reason, n_spikes, rate_hz, further))
    return tuple(rows)


def _get(file: h5py.File, path: str) -> h5py.Dataset:
    import h5py

    link = file.get(path, getlink=True)
    if link is None:
        raise Damaged(f"/{path} is missing")
    dataset = file[path] if isinstance(link, h5py.HardLink) else None
    # What a result says lies in its own bytes: links and storage elsewhere could be made to read any file.
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise Damaged(f"/{path} is not a dataset of this file")
    return dataset


def _members(file: h5py.File, path: str) -> list[str]:
    import h5py

    if path not in file:
        return []
    group = file[path]
    if not isinstance(group, h5py.Group):
        raise Damaged(f"/{path} is not a group")
    return list(group)


def _array(file: h5py.File, path: str, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    dataset = _get(file, path)
    if shape is not None and dataset.shape != shape:
        raise Damaged(f"/{path} has shape {dataset.shape}, expected {shape}")
    if dataset.dtype.kind not in "fiub":
        raise Damaged(f"/{path} does not hold numbers")
    return np.asarray(dataset[()])


def _texts(file: h5py.File, path: str, shape: tuple[int, ...] | None = None) -> tuple[str, ...]:
    dataset = _get(file, path)
    if len(dataset.shape) != 1 or (shape is not None and dataset.shape != shape):
        raise Damaged(f"/{path} has shape {dataset.shape}, expected {shape or 'one axis'}")
    return tuple(dataset.asstr("utf-8")[()].tolist())
