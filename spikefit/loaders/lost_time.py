"""When single units were lost, from a table of text.

    unit_id,start_s,stop_s
    ca1-7,1800,3600
    ca1-9,0,95.5

Whatever the format of the recording, and beside what its file says itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from pathlib import Path

from spikefit.errors import UsageError, did_you_mean
from spikefit.intervals import EDGE_TOLERANCE_S
from spikefit.small_tables import misfit, read_small_table
from spikefit.spikes import SpikeTrains

COLUMNS = ("unit_id", "start_s", "stop_s")


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
    hint = "each line names a unit and two times in seconds, the later one behind"
    lines = read_small_table(
        path,
        COLUMNS,
        what="lost time",
        example="unit-1,1800,3600",
        line_hint=hint,
        smaller_hint="merge intervals that touch",
    )
    out = []
    for line, cells in lines:
        try:
            start_s, stop_s = float(cells[1]), float(cells[2])
        except ValueError:
            start_s, stop_s = math.nan, math.nan
        if not (math.isfinite(start_s) and start_s < stop_s < math.inf):
            raise misfit(path, line, cells, COLUMNS, hint=hint)
        out.append((line, cells[0], start_s, stop_s))
    return out
