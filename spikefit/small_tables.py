"""Small tables that a person writes: comma-separated text with a fixed heading, read with a word on what is wrong and where."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from spikefit.errors import UsageError

MOST_BYTES = 64 * 1024**2


def read_small_table(
    path: Path, columns: Sequence[str], *, what: str, example: str, line_hint: str, smaller_hint: str
) -> list[tuple[int, list[str]]]:
    """Number and cells of every line that is not empty, the cells in the order of `columns`.

    Args:
        path: of the table.
        columns: its heading, in any order in the file.
        what: it is a table of, for messages.
        example: of a line.
        line_hint: what a line must hold.
        smaller_hint: how to make a table that is too large smaller.

    Raises:
        UsageError: if there is no such file, it cannot be read, it has another heading, or a line lacks a cell.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(
                f"{path.name}: {size / 1e6:.0f} MB are more than the limit of {MOST_BYTES / 1e6:.0f} MB for a table of {what}.",
                hint=smaller_hint,
            )
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except FileNotFoundError as fault:
        raise UsageError(f"{path}: there is no such table of {what}.", hint="check the path") from fault
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise UsageError(
            f"{path}: the table of {what} cannot be read ({fault}).", hint="save it as a CSV file in UTF-8"
        ) from fault
    heading = [cell.strip() for cell in rows[0]] if rows else []
    if sorted(heading) != sorted(columns):
        raise UsageError(
            f"{path.name}: the first line must be {','.join(columns)}, found {','.join(heading) or 'nothing'}.",
            hint=f"a line below it reads {example}",
        )
    place = [heading.index(column) for column in columns]
    out = []
    for line, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(columns) or not all(cells):
            raise misfit(path, line, row, columns, hint=line_hint)
        out.append((line, [cells[k] for k in place]))
    return out


def misfit(path: Path, line: int, found: Sequence[str], columns: Sequence[str], *, hint: str) -> UsageError:
    """A line that does not fit the heading."""
    return UsageError(f"{path.name}, line {line}: expected {','.join(columns)}, found {','.join(found)!r}.", hint=hint)
