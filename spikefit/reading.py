"""From a file or a recording in memory to the spikes that an analysis uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spikefit.intervals import intersection_of, union_of
from spikefit.loaders import read
from spikefit.loaders.lost_time import read_lost_time
from spikefit.spikes import SpikeTrains

if TYPE_CHECKING:
    from spikefit.config import Config


def read_recording(recording: str | Path | SpikeTrains, config: Config) -> SpikeTrains:
    """Read a recording as the config says, and restrict it to the chosen epochs and intervals."""
    wanted = config.recording
    if isinstance(recording, SpikeTrains):
        trains = recording
    else:
        trains = read(
            recording,
            format=wanted.format,
            units_table=wanted.units_table,
            mapping=dict(wanted.mapping) or None,
            covariates=wanted.covariates,
            time_unit=wanted.time_unit,
            t_start_s=wanted.t_start,
            t_stop_s=wanted.t_stop,
            clip=wanted.clip,
            drop_units=wanted.drop_unit,
            follow_links=wanted.follow_links,
            observed=wanted.observed,
            checks=config.checks,
        )
    if wanted.lost_time is not None:
        trains = read_lost_time(Path(wanted.lost_time), trains, known=wanted.drop_unit)
    if wanted.epochs:
        trains = trains.restrict_to_epochs(wanted.epochs)
    if wanted.interval:
        trains = _inside(trains, wanted.interval)
    return trains


def _inside(trains: SpikeTrains, wanted: Sequence[tuple[float | None, float | None]]) -> SpikeTrains:
    """The recording inside some intervals, with a warning for each in which nothing was observed."""
    start_s, stop_s = trains.t_start_s, trains.t_stop_s
    intervals = [[start_s if a is None else a, stop_s if b is None else b] for a, b in wanted]
    kept = trains.restrict(intervals)
    empty = [
        f"{a:g}:{b:g}"
        for a, b in intervals
        if not len(intersection_of(trains.intervals_s, union_of(np.array([[a, b]]))))
    ]
    if not empty:
        return kept
    told = (
        f"{trains.name}: nothing was observed inside the interval{'s' if len(empty) > 1 else ''} {', '.join(empty)} "
        f"(recorded from {start_s:g} s to {stop_s:g} s)"
    )
    return dataclasses.replace(kept, warnings=(*kept.warnings, told))
