"""Folders of SpikeInterface: a saved sorting (`spikes.npy` or `sorting_cached.npz`), or an analyzer with one in its `sorting`.

The folder names the class that wrote it, for SpikeInterface to import; here only its numbers are read.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders import npy
from spikefit.loaders.npy import read_npy
from spikefit.loaders.raw import NOT_A_NEURON, RawRecording, ReadOptions, from_trains, read_head, unique_ids

INFO, SPIKES, ARCHIVE = "numpysorting_info.json", "spikes.npy", "sorting_cached.npz"
MAX_JSON_BYTES = 2**26


def recognise(path: Path, head: bytes) -> bool:
    """Whether a folder holds a sorting."""
    return _sorting(path) is not None


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read a sorting with the properties of its units; those whose quality is `noise` are marked as no neurons.

    Raises:
        RecordingError: if it has several segments, or its files do not fit together.
    """
    folder = _sorting(path)
    if folder is None:
        raise RecordingError(
            f"{path.name}: not a sorting of SpikeInterface ({INFO} with {SPIKES}, or {ARCHIVE}, is missing).",
            hint="pass the folder that holds them",
        )
    if (folder / ARCHIVE).is_file():
        raw = replace(npy.read(folder / ARCHIVE, options), format="spikeinterface")
    else:
        raw = _from_spikes(folder, path, options)
    _add_properties(raw, folder, options)
    raw.warnings.append(
        "a sorting does not say when the recording ended: its end is taken from the last spike; pass --t-stop if you know better."
    )
    return raw


def _sorting(path: Path) -> Path | None:
    if not path.is_dir():
        return None
    for folder in (path, path / "sorting"):
        if ((folder / INFO).is_file() and (folder / SPIKES).is_file()) or (folder / ARCHIVE).is_file():
            return folder
    return None


def _from_spikes(folder: Path, path: Path, options: ReadOptions) -> RawRecording:
    info = _info(folder, path)
    spikes = read_npy(folder / SPIKES, options.limits).ravel()
    needed = ("sample_index", "unit_index", "segment_index")
    if spikes.dtype.names is None or not set(needed) <= set(spikes.dtype.names):
        raise RecordingError(
            f"{path.name}: {SPIKES} holds {spikes.dtype}, expected {', '.join(needed)}.", hint="save the sorting again"
        )
    samples, units, segments = (np.asarray(spikes[name]) for name in needed)
    if not all(part.dtype.kind in "iu" and part.ndim == 1 for part in (samples, units, segments)):
        raise RecordingError(f"{path.name}: {SPIKES} must hold whole numbers.", hint="save the sorting again")
    ids, rate_hz = info["unit_ids"], info["sampling_frequency"]
    if np.unique(segments).size > 1:
        raise RecordingError(
            f"{path.name}: the sorting has {np.unique(segments).size} segments, each with a clock of its own.",
            hint="save each segment to its own folder (sorting.select_segments([0]).save(folder=…))",
        )
    if units.size and not (int(units.min()) >= 0 and int(units.max()) < len(ids)):
        bad = (units < 0) | (units >= len(ids))
        raise RecordingError(
            f"{path.name}: {int(bad.sum())} spikes in {SPIKES} are of units that {INFO} does not list (first: spike "
            f"{int(np.argmax(bad))}, unit {int(units[np.argmax(bad)])} of {len(ids)}).",
            hint="copy the folder again, or save the sorting again",
        )
    warnings: list[str] = []
    order = np.argsort(units, kind="stable")
    edges = np.searchsorted(units[order], np.arange(len(ids) + 1))
    trains = [np.sort(samples[order[a:b]]) for a, b in itertools.pairwise(edges)]
    return from_trains(
        trains,
        unique_ids([str(unit) for unit in ids], warnings),
        format="spikeinterface",
        where=SPIKES,
        time_unit=f"samples@{rate_hz!r}",
        # The clock starts with the recording; where it stops, only the spikes tell.
        unit_intervals=[np.array([[0.0, np.inf]])],
        warnings=warnings,
    )


def _info(folder: Path, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_head(folder / INFO, MAX_JSON_BYTES))
        ids, rate_hz = list(found["unit_ids"]), float(found["sampling_frequency"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as fault:
        raise RecordingError(
            f"{path.name}: {INFO} must state unit_ids and sampling_frequency.",
            hint="copy the folder again, or save the sorting again",
        ) from fault
    if not 0 < rate_hz < 1e9:
        raise RecordingError(f"{path.name}: {INFO} states a sampling rate of {rate_hz} Hz.", hint="correct it there")
    return {"unit_ids": ids, "sampling_frequency": rate_hz}


def _add_properties(raw: RawRecording, folder: Path, options: ReadOptions) -> None:
    """Properties with one number or text per unit; others, and those that cannot be read, are passed over."""
    inside = folder / "properties"
    for file in sorted(inside.glob("*.npy")) if inside.is_dir() else []:
        try:
            values: NDArray[Any] = read_npy(file, options.limits)
        except RecordingError:
            continue
        if values.shape == (raw.n_units,) and values.dtype.kind in "fiubU":
            raw.unit_columns[file.stem] = values.astype(object) if values.dtype.kind == "U" else values
    for name in ("quality", "group", "KSLabel"):
        column = raw.unit_columns.get(name)
        if column is not None and any(str(text) == "noise" for text in column):
            raw.unit_columns[NOT_A_NEURON] = np.array(
                ["noise" if str(t) == "noise" else "" for t in column], dtype=object
            )
            return
