"""From a file or a recording in memory to the spikes that an analysis uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
        start_s, stop_s = trains.t_start_s, trains.t_stop_s
        trains = trains.restrict(
            [[start_s if a is None else a, stop_s if b is None else b] for a, b in wanted.interval]
        )
    return trains
