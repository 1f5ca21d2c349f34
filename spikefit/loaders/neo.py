"""Formats that the Neo library reads. Which reader to use is decided here, from the content.

Neo is only given readers that read: its pickle reader runs code from the file and its Plexon 2 reader downloads a
library, so neither is ever reached. Names of trains repeat or are missing in many formats and are never taken as keys.
"""

from __future__ import annotations

import re
import warnings as python_warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.raw import RawRecording, SourceFile
from spikefit.loaders.segments import Segment, Train, from_segments

# A name of a unit of measurement; Neo hands these texts to a parser that would also work out 9**9**9.
_NAME = r"[A-Za-zµμ°%_][A-Za-z0-9µμ_]{0,20}(?:(?:\*\*|\^)-?\d(?:\.\d)?)?"
_UNIT_TEXT = re.compile(rf"(?:1 ?/ ?)?{_NAME}(?: ?[*/. ] ?{_NAME}){{0,6}}")


def read_with(open_blocks: Callable[[], list[Any]], path: Path, format_name: str) -> RawRecording:
    """Read spike trains from what a Neo reader gives.

    Args:
        open_blocks: gives the blocks of the file; the warnings of Neo and the libraries below it are kept off the terminal.
        path: the file.
        format_name: the name of the format.

    Raises:
        RecordingError: if the reader fails, there are several blocks or none, or the segments do not fit together.
    """
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")
            blocks = open_blocks()
    except RecordingError:
        raise
    except Exception as fault:  # Neo's readers raise whatever the code beneath them does
        reason = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise RecordingError(
            f"{path.name}: Neo could not read the file as {format_name} ({type(fault).__name__}: {reason}).",
            hint="if it is another format, say which with --format; otherwise the file is damaged",
        ) from fault
    blocks = [block for block in blocks if block is not None and block.segments]
    check_blocks(len(blocks), path)
    segments = [_segment(segment, path) for segment in blocks[0].segments]
    return from_segments(with_trains(segments, path), path, format_name)


def check_blocks(n_blocks: int, path: Path) -> None:
    """Refuse a file that does not hold exactly one block, which is Neo's word for a recording.

    Raises:
        RecordingError: saying how many there are.
    """
    if n_blocks != 1:
        raise RecordingError(
            f"{path.name}: the file holds {n_blocks} blocks with data, expected one recording.",
            hint="save each block to a file of its own" if n_blocks else "was it written to the end?",
        )


def with_trains(segments: list[Segment], path: Path) -> list[Segment]:
    """The segments that hold spike trains.

    Raises:
        RecordingError: if none does.
    """
    found = [segment for segment in segments if segment.trains]
    if not found:
        raise RecordingError(
            f"{path.name}: the file holds no spike trains ({len(segments)} segments without any).",
            hint="sort the spikes first, or point at the file that holds the sorted ones",
        )
    return found


def _segment(segment: Any, path: Path) -> Segment:
    trains = [
        Train(
            name=_name_of(train, k),
            times_s=_seconds(train.times, path),
            start_s=float(_seconds(train.t_start, path)[0]),
            stop_s=float(_seconds(train.t_stop, path)[0]),
            annotations=dict(train.annotations),
        )
        for k, train in enumerate(segment.spiketrains)
    ]
    epochs = []
    for epoch in segment.epochs:
        starts, lengths = _seconds(epoch.times, path), _seconds(epoch.durations, path)
        labels = [str(label) for label in np.ravel(epoch.labels)] if epoch.labels is not None else []
        for k, (start, length) in enumerate(zip(starts, np.broadcast_to(lengths, starts.shape), strict=True)):
            label = labels[k] if k < len(labels) and labels[k] else str(epoch.name or "epochs")
            epochs.append((label, float(start), float(start + length)))
    return Segment(trains, epochs)


def _name_of(train: Any, row: int) -> str:
    for name in (train.name, train.annotations.get("unit_name"), train.annotations.get("id")):
        if name is not None and str(name).strip():
            return str(name).strip()
    return f"unit{row}"


def _seconds(quantity: Any, path: Path) -> NDArray[np.float64]:
    """A quantity with a unit of time, in seconds; each train keeps the unit it was written in."""
    try:
        return np.asarray(quantity.rescale("s").magnitude, dtype=np.float64).ravel()
    except (ValueError, TypeError, AttributeError) as fault:
        raise RecordingError(
            f"{path.name}: a spike train or an epoch is in units of {getattr(quantity, 'dimensionality', 'nothing')}, "
            "expected a time.",
            hint="write it again with times in seconds",
        ) from fault


def check_unit_texts(texts: set[str], path: SourceFile) -> None:
    """Refuse names of units of measurement that are no names; the library beneath Neo works them out as formulas.

    Raises:
        RecordingError: naming the first.
    """
    for text in sorted(texts):
        if len(text) > 60 or not _UNIT_TEXT.fullmatch(text):
            raise RecordingError(
                f"{path.name}: {text[:40]!r} is not a unit of measurement.",
                hint="the file is damaged: copy or write it again",
            )
