"""MATLAB files of version 5 to 7.2: a block as Neo saves it, or variables with spike times in the layouts labs use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError, UsageError
from spikefit.loaders.columns import from_columns
from spikefit.loaders.mat5 import read_variables
from spikefit.loaders.neo import check_blocks, with_trains
from spikefit.loaders.raw import RawRecording, ReadOptions, in_seconds
from spikefit.loaders.segments import Segment, Train, from_segments

HEADER = b"MATLAB 5.0 MAT-file"


def recognise(path: Path, head: bytes) -> bool:
    """Whether the first bytes of a file are those of MATLAB 5 to 7.2."""
    return head.startswith(HEADER)


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read spike times from a MATLAB file.

    Raises:
        RecordingError: if the file is damaged, or its variables hold no spike times in a known layout.
    """
    variables = read_variables(path, options.limits)
    block = variables.get("block")
    if isinstance(block, dict) and "segments" in block:
        check_blocks(1, path)
        segments = [_segment(segment, path) for segment in _structs(block["segments"])]
        return from_segments(with_trains(segments, path), path, "matlab")
    structs = {name: value for name, value in variables.items() if isinstance(value, dict)}
    wanted = options.units_table
    for fields in [structs[wanted]] if wanted in structs else [variables, *structs.values()]:
        found = from_columns(fields, path, "matlab")
        if found is not None:
            return found
    listed = ", ".join(f"{name} ({_kind(value)})" for name, value in list(variables.items())[:8]) or "nothing"
    raise RecordingError(
        f"{path.name}: a MATLAB file without spike times in a layout that is known (it holds {listed}).",
        hint="save a cell array `spike_times` with the times of one unit in each cell, in seconds",
    )


def _segment(segment: dict[str, Any], path: Path) -> Segment:
    trains = []
    for k, train in enumerate(_structs(segment.get("spiketrains"))):
        times = _seconds(train, "times", path)
        start, stop = _seconds(train, "t_start", path), _seconds(train, "t_stop", path)
        if start.size != 1 or stop.size != 1:
            raise RecordingError(
                f"{path.name}: spike train {k} has no start or no end.", hint="write it again with t_start and t_stop"
            )
        name = train.get("name")
        trains.append(
            Train(
                name=name.strip() if isinstance(name, str) and name.strip() else f"unit{k}",
                times_s=times,
                start_s=float(start[0]),
                stop_s=float(stop[0]),
                annotations=_plain(train.get("annotations")),
            )
        )
    epochs = []
    for epoch in _structs(segment.get("epochs")):
        starts, lengths = _seconds(epoch, "times", path), _seconds(epoch, "durations", path)
        if lengths.size not in (1, starts.size):
            raise RecordingError(
                f"{path.name}: an epoch has {starts.size} starts and {lengths.size} durations.",
                hint="write the block again with Neo",
            )
        labels = epoch.get("labels")
        texts = labels if isinstance(labels, list) else [labels]
        for k, (a, length) in enumerate(zip(starts, np.broadcast_to(lengths, starts.shape), strict=True)):
            text = texts[k] if k < len(texts) else None
            label = text if isinstance(text, str) and text.strip() else epoch.get("name")
            epochs.append(
                (label.strip() if isinstance(label, str) and label.strip() else "epochs", float(a), float(a + length))
            )
    return Segment(trains, epochs)


def _structs(value: Any) -> list[dict[str, Any]]:
    """A struct, an array of them, or a cell array of them, as a list."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, dict)]


def _seconds(fields: dict[str, Any], name: str, path: Path) -> NDArray[np.float64]:
    value, unit = fields.get(name), fields.get(f"{name}_units")
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise RecordingError(f"{path.name}: {name} holds no numbers.", hint="write the block again with Neo")
    try:
        return in_seconds(value.ravel(), unit if isinstance(unit, str) else "s")
    except UsageError as fault:
        raise RecordingError(
            f"{path.name}: {name} is in units of {unit!r}, expected a time.",
            hint="write it again with times in seconds",
        ) from fault


def _plain(annotations: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in annotations.items() if isinstance(annotations, dict) else ():
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiu":
            found[key] = float(value.ravel()[0])
        elif isinstance(value, str) and value != "Py_None":
            found[key] = value
    return found


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return " × ".join(str(n) for n in value.shape) + " numbers"
    return next(
        (name for kind, name in ((str, "text"), (list, "cells"), (dict, "struct")) if isinstance(value, kind)), "other"
    )
