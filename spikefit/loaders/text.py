"""Tables of text with one spike per line: a time and a unit, with commas, semicolons, tabs or spaces between."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError, UsageError
from spikefit.loaders.hdf5_names import TIMES, UNITS
from spikefit.loaders.raw import (
    RawRecording,
    ReadOptions,
    damaged,
    from_labels,
    parse_time_unit,
    read_head,
    refuse_much_text,
    unique_ids,
)

# A comma may stand for the point, where something else divides the columns.
NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
# `time (ms)`, `spike_time_ms`, `t [s]`
HEADING = re.compile(r"(?P<name>.*?)[\s_]*[\[(]?(?P<unit>s|sec|seconds|ms|us|µs|ns|min)[\])]?", re.IGNORECASE)


def recognise(path: Path, head: bytes) -> bool:
    """Whether the first lines of a file are a table with a number in each."""
    if path.is_dir() or b"\0" in head or not head:
        return False
    try:
        lines = lines_of(head.decode("utf-8-sig"))
    except UnicodeDecodeError as fault:
        # The first bytes may end inside a letter; anything else is no text.
        if fault.start < len(head) - 4:
            return False
        lines = lines_of(head[: fault.start].decode("utf-8-sig"))
    whole = lines[:-1] if len(lines) > 2 else lines
    if len(whole) < 2:
        return False
    separator = separator_of(whole[1])
    rows = [split(line, separator) for line in whole[1:20]]
    return all(len(row) == len(rows[0]) >= 2 and any(NUMBER.fullmatch(cell) for cell in row) for row in rows)


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read a table of spikes. A heading may name the columns and the unit of time; without one the column with fractions, or
    with more different values, is taken for the times.

    Raises:
        RecordingError: if no column holds times, or a line does not fit.
    """
    refuse_much_text(path, options.limits)
    if b"\0" in read_head(path, 4096):
        raise RecordingError(f"{path.name}: this is no text.", hint="leave --format out")
    lines = lines_in(path)
    separator = separator_of(lines[min(1, len(lines) - 1)])
    heading = split(lines[0], separator)
    has_heading = not any(NUMBER.fullmatch(cell) for cell in heading)
    rows = [split(line, separator) for line in lines[has_heading:]]
    width = len(heading)
    odd = next((k for k, row in enumerate(rows) if len(row) != width), None)
    if odd is not None:
        raise RecordingError(
            f"{path.name}: line {odd + 1 + has_heading} has {len(rows[odd])} columns, the first has {width}.",
            hint="every line needs a time and a unit",
        )
    if not rows:
        raise RecordingError(f"{path.name}: the table has a heading but no spikes.", hint="was it written to the end?")
    columns = [list(column) for column in zip(*rows, strict=True)]
    time_at, unit_at, time_unit = _which(heading if has_heading else [], columns, path)
    times = _times(columns[time_at], path, has_heading)
    warnings: list[str] = []
    if not has_heading:
        warnings.append(
            f"the table has no heading: column {time_at + 1} is taken for the times and column {unit_at + 1} for the units."
        )
    present, labels = np.unique(np.array(columns[unit_at]), return_inverse=True)
    order = sorted(range(present.size), key=lambda k: _numeric_first(str(present[k])))
    place = np.empty(present.size, dtype=np.int64)
    place[order] = np.arange(present.size)
    flat, offsets = from_labels(times, place[labels], present.size)
    return RawRecording(
        flat,
        offsets,
        unique_ids([str(present[k]) for k in order], warnings),
        format="text",
        where=f"column {time_at + 1}",
        time_unit=time_unit,
        warnings=warnings,
    )


def lines_in(path: Path) -> list[str]:
    """The lines of a file that hold something, as `lines_of` gives them.

    Raises:
        RecordingError: if there are none, or the file cannot be read.
    """
    try:
        lines = lines_of(path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError as fault:
        raise damaged(path, "", fault) from fault
    if not lines:
        raise RecordingError(f"{path.name}: there is no line of text in the file.", hint="was it written to the end?")
    return lines


def lines_of(text: str) -> list[str]:
    """The lines that hold something: neither empty nor a comment."""
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "%"))]


def separator_of(line: str) -> str | None:
    """The sign between columns; None for spaces."""
    return next((sign for sign in ("\t", ";", ",") if sign in line), None)


def split(line: str, separator: str | None) -> list[str]:
    """The cells of a line."""
    return [cell.strip().strip('"') for cell in line.split(separator)]


def as_numbers(cells: list[str]) -> NDArray[np.float64]:
    """Numbers from cells of text.

    Raises:
        ValueError: if one is none.
    """
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        return np.array([cell.replace(",", ".") for cell in cells], dtype=np.float64)


def _which(heading: list[str], columns: list[list[str]], path: Path) -> tuple[int, int, str | None]:
    """The columns of times and units, and the unit of time that the heading states."""
    names, units_of_time = [], []
    for title in heading:
        lowered = title.lower()
        match = HEADING.fullmatch(lowered)
        names.append(match["name"].strip() if match and match["name"].strip() else lowered)
        units_of_time.append(match["unit"] if match and match["name"].strip() else None)
    times = [k for k, title in enumerate(heading) if names[k] in (*TIMES, "time") or title.lower() in TIMES]
    units = [k for k, title in enumerate(heading) if title.lower() in UNITS and k not in times]
    if times and units:
        return times[0], units[0], _known_unit(units_of_time[times[0]])
    numeric = [k for k, column in enumerate(columns) if all(NUMBER.fullmatch(cell) for cell in column[:1000])]
    if heading or len(columns) != 2 or not numeric:
        found = ", ".join(heading) if heading else f"{len(columns)} columns without a heading"
        raise RecordingError(
            f"{path.name}: it cannot be told which columns hold the times and the units (found: {found}).",
            hint="give the table the heading `time,unit`",
        )
    if len(numeric) == 1:
        return numeric[0], 1 - numeric[0], None
    fractions = [any("." in cell or "," in cell or "e" in cell.lower() for cell in columns[k][:1000]) for k in (0, 1)]
    if fractions[0] != fractions[1]:
        time_at = 0 if fractions[0] else 1
    else:
        time_at = 0 if len(set(columns[0])) >= len(set(columns[1])) else 1
    return time_at, 1 - time_at, None


def _known_unit(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parse_time_unit(text)
    except UsageError:
        return None
    return text


def _times(column: list[str], path: Path, has_heading: bool) -> NDArray[np.float64]:
    try:
        return as_numbers(column)
    except ValueError as fault:
        bad = next(k for k, cell in enumerate(column) if not NUMBER.fullmatch(cell))
        raise RecordingError(
            f"{path.name}: line {bad + 1 + has_heading} has {column[bad]!r} where a time was expected.",
            hint="remove the line, or correct it",
        ) from fault


def _numeric_first(label: str) -> tuple[int, float, str]:
    return (
        (0, float(label.replace(",", ".")), label)
        if NUMBER.fullmatch(label) and "n" not in label.lower()
        else (1, 0.0, label)
    )
