"""Covariates in tables of text: a column of times, `time_s` say, and a column for each thing that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikefit.covariates import Covariate, Samples
from spikefit.errors import RecordingError, UsageError
from spikefit.loaders.raw import ReadLimits, damaged, in_seconds, number_of_bytes
from spikefit.loaders.text import HEADING, lines_of, separator_of, split

ENDINGS = (".csv", ".tsv", ".txt")
TIME_NAMES = ("time", "times", "timestamp", "timestamps", "t")
_LOST = {"": "nan", "na": "nan", "n/a": "nan", "null": "nan"}


@dataclass(frozen=True)
class _Rows:
    """Hands out samples that were read to find out what they are."""

    samples: Samples

    def __call__(self) -> Samples:
        return self.samples


def read_table(name: str, path: Path, limits: ReadLimits) -> Covariate:
    """A table as one covariate with a column for each of its columns but the time.

    Args:
        name: what to call it.
        path: a table with a heading.
        limits: how much may be read.

    Raises:
        UsageError: if there is no such file.
        RecordingError: if it has no column of times, or a line does not fit.
    """
    try:
        size = path.stat().st_size
        if size > limits.max_covariate_bytes:
            raise RecordingError(
                f"{path.name}: {number_of_bytes(size)} of text are more than the limit of {number_of_bytes(limits.max_covariate_bytes)}.",
                hint="write it to HDF5, which is far smaller",
            )
        lines = lines_of(path.read_text(encoding="utf-8-sig", errors="replace"))
    except FileNotFoundError as fault:
        raise UsageError(f"{path}: there is no such file of covariates.", hint="check the path") from fault
    except OSError as fault:
        raise damaged(path, "", fault) from fault
    if len(lines) < 2:
        raise RecordingError(
            f"{path.name}: the table holds no samples.", hint="it needs a heading and a line per sample"
        )
    separator = separator_of(lines[0])
    heading = split(lines[0], separator)
    time_at, time_unit = _time_column(heading, path)
    rows = [split(line, separator) for line in lines[1:]]
    odd = next((k for k, row in enumerate(rows) if len(row) != len(heading)), None)
    if odd is not None:
        raise RecordingError(
            f"{path.name}: line {odd + 2} has {len(rows[odd])} columns, the heading has {len(heading)}.",
            hint="every line needs a value for each column; nan where it was lost",
        )
    table = np.stack([_numbers(heading[k], [row[k] for row in rows], path) for k in range(len(heading))], axis=1)
    others = [k for k in range(len(heading)) if k != time_at]
    time_s = in_seconds(table[:, time_at], time_unit)
    titles = [_title_and_unit(heading[k]) for k in others]
    units = {unit for _, unit in titles}
    return Covariate(
        name,
        len(rows),
        tuple(title for title, _ in titles),
        units.pop() if len(units) == 1 else "",
        _Rows(Samples(time_s, table[:, others])),
        start_s=float(time_s[0]),
        stop_s=float(time_s[-1]),
        where=path.name,
    )


def _time_column(heading: list[str], path: Path) -> tuple[int, str]:
    for k, title in enumerate(heading):
        lowered = title.lower()
        match = HEADING.fullmatch(lowered)
        if lowered in TIME_NAMES:
            return k, "s"
        if match and match["name"].strip(" _") in TIME_NAMES:
            return k, match["unit"]
    raise RecordingError(
        f"{path.name}: no column holds the times (found: {', '.join(heading)[:200]}).",
        hint="call it `time_s`, and give the table a heading",
    )


def _title_and_unit(title: str) -> tuple[str, str]:
    """`speed (cm/s)` → `speed`, `cm/s`."""
    for opening, closing in (("(", ")"), ("[", "]")):
        if title.endswith(closing) and opening in title:
            name, _, unit = title[:-1].rpartition(opening)
            return name.strip(), unit.strip()
    return title, ""


def _numbers(title: str, column: list[str], path: Path) -> NDArray[np.float64]:
    values = np.empty(len(column))
    for k, cell in enumerate(column):
        try:
            values[k] = float(_LOST.get(cell.lower(), cell))
        except ValueError:
            raise RecordingError(
                f"{path.name}: line {k + 2} has {cell!r} in the column {title!r}, where a number was expected.",
                hint="write nan where a value was lost",
            ) from None
    return values
