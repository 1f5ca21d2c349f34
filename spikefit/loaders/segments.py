"""Recordings that come in segments, as Neo divides them: each segment with trains and epochs of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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


def from_segments(
    segments: Sequence[Segment], path: Path, format_name: str, *, states_length: bool = True
) -> RawRecording:
    """One recording from segments: each is an observed interval.

    Segments that all start at the same time are trials, each on a clock of its own: they are laid one behind the other.
    Others whose times overlap are refused, because nothing says where they belong on the recording's clock.

    Args:
        segments: those that hold trains, in any order.
        path: the file.
        format_name: the name of the format.
        states_length: whether starts and stops come from the file, and not from the spikes.

    Raises:
        RecordingError: if segments overlap, or it cannot be told which of their trains are one unit.
    """
    warnings: list[str] = []
    intervals = np.array([_extent(segment) for segment in segments], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(intervals).all():
        raise RecordingError(
            f"{path.name}: a segment has no start or no end.", hint="was the recording ended before it was copied?"
        )
    epochs = _epochs(segments)
    if len(segments) > 1 and np.ptp(intervals[:, 0]) == 0:
        segments, intervals = _laid_out(segments, intervals)
        epochs = _epochs(segments) | {"trials": intervals}
        warnings.append(
            f"the file holds {len(segments)} segments that each start at their own zero: they are laid one behind the other, "
            "as trials, and the times shown are not those in the file."
        )
    elif len(segments) > 1:
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
        unit_intervals=[intervals] if states_length or len(segments) > 1 else None,
        epochs=epochs,
        unit_columns=_annotations([trains[0] for trains in members], names),
        warnings=warnings,
    )


def _laid_out(segments: Sequence[Segment], intervals: Intervals) -> tuple[list[Segment], Intervals]:
    """Trials one behind the other, the first where it was."""
    start_s = float(intervals[0, 0])
    edges = start_s + np.concatenate([[0.0], np.cumsum(intervals[:, 1] - intervals[:, 0])])
    moved = []
    for segment, edge in zip(segments, edges[:-1].tolist(), strict=True):
        shift = edge - start_s
        trains = [
            replace(train, times_s=train.times_s + shift, start_s=train.start_s + shift, stop_s=train.stop_s + shift)
            for train in segment.trains
        ]
        moved.append(Segment(trains, [(label, a + shift, b + shift) for label, a, b in segment.epochs]))
    return moved, np.stack([edges[:-1], edges[1:]], axis=1)


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
