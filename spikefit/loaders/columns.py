"""Recordings from named arrays, wherever they come from: MATLAB variables, the members of an npz file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.binned import BIN_WIDTHS, from_counts
from spikefit.loaders.hdf5_names import INDEX, PER_UNIT_GROUPS, TIMES, UNIT_NAMES, UNITS
from spikefit.loaders.raw import RawRecording, from_labels, from_trains, unique_ids

COUNTS = ("counts", "spike_counts", "binned_spikes")
IDS = (*UNIT_NAMES, "UID", "cluID", "cluster_id", "id")


def from_columns(columns: Mapping[str, Any], path: Path, format_name: str) -> RawRecording | None:
    """A recording from named values, or None where they are laid out in no way that is known.

    Args:
        columns: by name: arrays of numbers or texts, lists of arrays (one per unit), or other values, which are passed over.
        path: the file.
        format_name: the name of the format.

    Raises:
        RecordingError: if the values contradict each other.
    """
    found = _cells(columns, path, format_name) or _flat(columns, path, format_name)
    if found is None:
        counts = _first(columns, COUNTS)
        if counts is None or counts.ndim not in (2, 3):
            return None
        width = next((float(v) * s for n, s in BIN_WIDTHS.items() if (v := _number(columns, n)) is not None), None)
        names = _names(columns)
        ids = tuple(names) if names is not None and len(names) in counts.shape[-2:] else None
        return from_counts(counts, width, path, "counts", format_name=format_name, unit_ids=ids)
    found.time_unit = _text(columns, ("time_unit", "time_units"))
    start, stop = _number(columns, "t_start"), _number(columns, "t_stop")
    if start is not None or stop is not None:
        found.unit_intervals = [np.array([[-np.inf if start is None else start, np.inf if stop is None else stop]])]
    return found


def trains_of(values: Any) -> list[NDArray[np.float64]] | None:
    """One train per item of a list of vectors; None where the list holds anything else."""
    if not isinstance(values, list) or not values:
        return None
    trains = []
    for value in values:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            return None
        if value.size and max(value.shape, default=0) != value.size:
            return None
        trains.append(value.astype(np.float64).ravel())
    return trains


def _cells(columns: Mapping[str, Any], path: Path, format_name: str) -> RawRecording | None:
    wanted = {*TIMES, *PER_UNIT_GROUPS}
    for name, value in columns.items():
        trains = trains_of(value) if name.lower() in wanted else None
        if trains is not None:
            warnings: list[str] = []
            names = _names(columns)
            known = (
                names if names is not None and len(names) == len(trains) else [str(k + 1) for k in range(len(trains))]
            )
            return from_trains(trains, unique_ids(known, warnings), format=format_name, where=name, warnings=warnings)
    return None


def _flat(columns: Mapping[str, Any], path: Path, format_name: str) -> RawRecording | None:
    times, units = _first(columns, TIMES), _first(columns, UNITS, texts=True)
    if times is None or times.dtype.kind not in "fiu":
        return None
    where = next(name for name in TIMES if isinstance(columns.get(name), np.ndarray))
    flat, warnings = times.ravel(), list[str]()
    if units is not None and units.size == times.size:
        present, rows = np.unique(units.ravel(), return_inverse=True)
        names = _names(columns)
        if names is not None and present.dtype.kind in "fiu" and present.size and len(names) > int(present.max()) >= 0:
            rows, ids = units.ravel().astype(np.int64), unique_ids(names, warnings)
        else:
            ids = unique_ids([_label(value) for value in present], warnings)
        sorted_times, offsets = from_labels(flat, rows, len(ids))
        return RawRecording(sorted_times, offsets, ids, format=format_name, where=where, warnings=warnings)
    index = _first(columns, INDEX)
    if index is None or index.dtype.kind not in "fiu":
        return None
    ends = index.ravel().astype(np.int64)
    offsets = (
        ends if ends.size and ends[0] == 0 and ends[-1] == flat.size else np.concatenate([[0], ends]).astype(np.int64)
    )
    if np.any(np.diff(offsets) < 0) or offsets[-1] > flat.size:
        raise RecordingError(
            f"{path.name}: the index does not divide {flat.size} spikes (it must rise from 0 to {flat.size}).",
            hint="write it again from its source",
        )
    names = _names(columns)
    known = names if names is not None and len(names) == offsets.size - 1 else [str(k) for k in range(offsets.size - 1)]
    return RawRecording(
        flat[: offsets[-1]].astype(np.float64), offsets, unique_ids(known, warnings), format=format_name, where=where,
        warnings=warnings,
    )  # fmt: skip


def _label(value: Any) -> str:
    number = isinstance(value, np.floating | np.integer)
    return f"{int(value)}" if number and float(value).is_integer() else str(value)


def _first(columns: Mapping[str, Any], names: Sequence[str], *, texts: bool = False) -> NDArray[Any] | None:
    kinds = "fiuUS" if texts else "fiu"
    for name in names:
        value = columns.get(name)
        if isinstance(value, np.ndarray) and value.dtype.kind in kinds and value.size:
            return value
    return None


def _names(columns: Mapping[str, Any]) -> list[str] | None:
    for name in IDS:
        value = columns.get(name)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return list(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiuUS" and value.size:
            return [_label(item) for item in value.ravel()]
    return None


def _number(columns: Mapping[str, Any], name: str) -> float | None:
    value = columns.get(name)
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiu":
        return float(value.ravel()[0])
    return None


def _text(columns: Mapping[str, Any], names: Sequence[str]) -> str | None:
    for name in names:
        value = columns.get(name)
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind == "U":
            value = str(value.ravel()[0])
        if isinstance(value, str):
            return value
    return None
