"""When single units were lost, from a table of text.

    unit_id,start_s,stop_s
    ca1-7,1800,3600
    ca1-9,0,95.5

Whatever the format of the recording, and beside what its file says itself.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Collection
from pathlib import Path

from spikefit.errors import UsageError, did_you_mean
from spikefit.intervals import EDGE_TOLERANCE_S
from spikefit.spikes import SpikeTrains

COLUMNS = ("unit_id", "start_s", "stop_s")
MOST_BYTES = 64 * 1024**2


def read_lost_time(path: Path, trains: SpikeTrains, *, known: Collection[str] = ()) -> SpikeTrains:
    """Take units for lost when a table says so; their spikes there are left out, and a warning says how many.

    Args:
        path: comma-separated, with the heading `unit_id,start_s,stop_s` in any order; overlapping lines count once.
        trains: the recording.
        known: ids of units that were left out of it, which the table may name all the same.

    Raises:
        UsageError: if the table cannot be read, or a line names an unknown unit or time outside the recording.
    """
    lost: dict[str, list[tuple[float, float]]] = {}
    for line, unit_id, start_s, stop_s in _lines(path):
        if unit_id not in trains.unit_ids:
            if unit_id in known:
                continue
            raise UsageError(
                f"{path.name}, line {line}: the recording has no unit {unit_id!r}.",
                hint=did_you_mean(unit_id, trains.unit_ids),
            )
        if start_s < trains.t_start_s - EDGE_TOLERANCE_S or stop_s > trains.t_stop_s + EDGE_TOLERANCE_S:
            raise UsageError(
                f"{path.name}, line {line}: unit {unit_id!r} cannot be lost from {start_s:g} s to {stop_s:g} s; the recording runs "
                f"from {trains.t_start_s:g} s to {trains.t_stop_s:g} s.",
                hint="give times in seconds on the clock of the recording, inside of it",
            )
        lost.setdefault(unit_id, []).append((start_s, stop_s))
    if not lost:
        return trains
    out = trains.lose(lost)
    n_gone = trains.n_spikes - out.n_spikes
    told = f"{path.name}: {len(lost)} of {trains.n_units} units are lost for part of the recording"
    told += f"; {n_gone} of their spikes lie in that time and were left out." if n_gone else "."
    return dataclasses.replace(out, warnings=(*out.warnings, told))


def _lines(path: Path) -> list[tuple[int, str, float, float]]:
    """Number, unit, start and stop of every line.

    Raises:
        UsageError: if the table cannot be read or a line does not fit.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(
                f"{path.name}: {size / 1e6:.0f} MB are more than the limit of {MOST_BYTES / 1e6:.0f} MB for a table of lost time.",
                hint="merge intervals that touch",
            )
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except FileNotFoundError as fault:
        raise UsageError(f"{path}: there is no such table of lost time.", hint="check the path") from fault
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise UsageError(
            f"{path}: the table of lost time cannot be read ({fault}).", hint="save it as a CSV file in UTF-8"
        ) from fault
    heading = [cell.strip() for cell in rows[0]] if rows else []
    if sorted(heading) != sorted(COLUMNS):
        found = ",".join(heading) or "nothing"
        raise UsageError(
            f"{path.name}: the first line must be {','.join(COLUMNS)}, found {found}.",
            hint="a line below it reads unit-1,1800,3600",
        )
    place = [heading.index(column) for column in COLUMNS]
    out = []
    for line, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        try:
            unit_id, start_s, stop_s = cells[place[0]], float(cells[place[1]]), float(cells[place[2]])
        except (ValueError, IndexError):
            unit_id, start_s, stop_s = "", math.nan, math.nan
        if len(cells) != len(COLUMNS) or not unit_id or not (math.isfinite(start_s) and start_s < stop_s < math.inf):
            raise UsageError(
                f"{path.name}, line {line}: expected {','.join(COLUMNS)}, found {','.join(row)!r}.",
                hint="each line names a unit and two times in seconds, the later one behind",
            )
        out.append((line, unit_id, start_s, stop_s))
    return out
