"""Recordings that come in segments, as Neo divides them: each segment with trains and epochs of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.intervals import Intervals
from spikefit.loaders.raw import NOT_A_NEURON, RawRecording, from_trains, unique_ids

_UNSORTED = re.compile(r"unsorted|noise|artefact|artifact", re.IGNORECASE)


@dataclass
class Train:
    """One unit's spikes in one segment; all times in seconds."""

    name: str
    times_s: NDArray[np.float64]
    start_s: float
    stop_s: float
    annotations: dict[str, Any] = field(default_factory=dict)


@dataclass
class Segment:
    """A stretch of recording; epochs are (label, start, stop) in seconds."""

    trains: list[Train]
    epochs: list[tuple[str, float, float]] = field(default_factory=list)


def from_segments(segments: Sequence[Segment], path: Path, format_name: str) -> RawRecording:
    """One recording from segments: each is an observed interval.

    Segments whose times overlap are trials on a clock of their own; they are refused, because nothing says where they belong
    on the recording's clock.

    Args:
        segments: those that hold trains, in any order.
        path: the file.
        format_name: the name of the format.

    Raises:
        RecordingError: if segments overlap, or it cannot be told which of their trains are one unit.
    """
    warnings: list[str] = []
    intervals = np.array([_extent(segment) for segment in segments], dtype=np.float64).reshape(-1, 2)
    if len(segments) > 1:
        order = np.argsort(intervals[:, 0], kind="stable")
        segments, intervals = [segments[k] for k in order], intervals[order]
        overlap = np.flatnonzero(intervals[1:, 0] < intervals[:-1, 1])
        if overlap.size:
            k = int(overlap[0])
            raise RecordingError(
                f"{path.name}: {len(segments)} segments overlap in time (one runs from {intervals[k, 0]:g} s to "
                f"{intervals[k, 1]:g} s, the next from {intervals[k + 1, 0]:g} s): each has a clock of its own.",
                hint="write the segments one after the other on one clock, or each to its own file",
            )
        warnings.append(f"the file holds {len(segments)} segments; each is taken as an observed interval of its own.")
    members = _units(segments, path)
    names = [trains[0].name for trains in members]
    return from_trains(
        [np.concatenate([train.times_s for train in trains]) for trains in members],
        unique_ids(names, warnings),
        format=format_name,
        where="the spike trains",
        time_unit="s",
        unit_intervals=[intervals],
        epochs=_epochs(segments),
        unit_columns=_annotations([trains[0] for trains in members], names),
        warnings=warnings,
    )


def _extent(segment: Segment) -> tuple[float, float]:
    start = min(train.start_s for train in segment.trains)
    stop = max(train.stop_s for train in segment.trains)
    return start, stop if stop > start else float(np.nextafter(start, np.inf))


def _units(segments: Sequence[Segment], path: Path) -> list[list[Train]]:
    """The trains of each unit: by position where every segment has as many, else by name."""
    sizes = {len(segment.trains) for segment in segments}
    if len(sizes) == 1:
        return [list(trains) for trains in zip(*(segment.trains for segment in segments), strict=True)]
    by_name: dict[str, list[Train]] = {}
    for segment in segments:
        if len({train.name for train in segment.trains}) != len(segment.trains):
            raise RecordingError(
                f"{path.name}: segments hold {min(sizes)} to {max(sizes)} trains and names repeat, "
                "so it cannot be told which trains are one unit.",
                hint="give every unit a name of its own in the file",
            )
        for train in segment.trains:
            by_name.setdefault(train.name, []).append(train)
    return list(by_name.values())


def _annotations(trains: Sequence[Train], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Annotations with one text or number per train, as unit columns."""
    columns: dict[str, NDArray[Any]] = {}
    for key in dict.fromkeys(key for train in trains for key in train.annotations):
        values = [train.annotations.get(key) for train in trains]
        if key == "nix_name" or not all(isinstance(v, str | int | float | np.integer | np.floating) for v in values):
            continue
        numeric = all(not isinstance(v, str) for v in values)
        columns[str(key)] = np.array(values, dtype=np.float64 if numeric else object)
    noise = [_UNSORTED.search(name) for name in names]
    if any(noise):
        columns[NOT_A_NEURON] = np.array([found[0].lower() if found else "" for found in noise], dtype=object)
    return columns


def _epochs(segments: Sequence[Segment]) -> dict[str, Intervals]:
    named: dict[str, list[tuple[float, float]]] = {}
    for segment in segments:
        for label, start, stop in segment.epochs:
            named.setdefault(label, []).append((start, stop))
    return {name: np.array(rows, dtype=np.float64) for name, rows in named.items()}
