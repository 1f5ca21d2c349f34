"""Texts with one unit per line: its spike times, with tabs, spaces, commas or semicolons between, as Neo's `AsciiSpikeTrainIO` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.raw import RawRecording, ReadOptions, from_trains, refuse_much_text
from spikefit.loaders.text import NUMBER, as_numbers, lines_in, lines_of, separator_of, split

# No table of spikes has so many columns of numbers; a train of so few spikes may be a line of a table that was cut off.
MOST_COLUMNS = 8
LEAST_SPIKES = 3


def recognise(path: Path, head: bytes) -> bool:
    """Whether the first lines are rows of numbers alone, of different lengths or too long for the columns of a table."""
    if path.is_dir() or not head or b"\0" in head:
        return False
    try:
        lines = lines_of(head.decode("ascii"))
    except UnicodeDecodeError:
        return False
    # The last line may be cut by the end of what was read, or of the file.
    rows = [_cells(line) for line in (lines[:-1] if len(lines) > 2 else lines)]
    if len(lines) == 1:
        rows = [row[:-1] for row in rows]
    if not rows or not all(NUMBER.fullmatch(cell) for row in rows for cell in row):
        return False
    sizes = {len(row) for row in rows}
    return min(sizes) > MOST_COLUMNS or (len(sizes) > 1 and max(sizes) > LEAST_SPIKES)


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read a unit per line; an empty line is no unit.

    Raises:
        RecordingError: if something else than numbers stands in a line.
    """
    refuse_much_text(path, options.limits)
    trains = [_train(line, row, path) for row, line in enumerate(lines_in(path))]
    return from_trains(
        trains,
        [str(row) for row in range(len(trains))],
        format="trains",
        where="its lines",
        warnings=["the file has no heading: every line is taken for one unit, its numbers for spike times."],
    )


def _cells(line: str) -> list[str]:
    return [cell for cell in split(line, separator_of(line)) if cell]


def _train(line: str, row: int, path: Path) -> NDArray[np.float64]:
    cells = _cells(line)
    try:
        # Some programs write the spikes of a unit in the order in which they were found.
        return np.sort(as_numbers(cells))
    except ValueError:
        bad = next(cell for cell in cells if not NUMBER.fullmatch(cell))
        raise RecordingError(
            f"{path.name}: line {row + 1} has {bad[:40]!r} where a time was expected.",
            hint="remove the line, or correct it",
        ) from None
