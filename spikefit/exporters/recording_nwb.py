"""A recording as a new NWB file: its units with their columns, what was observed of them, its epochs and its covariates."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from spikefit.exporters.nwb_session import free_name, nwb_file
from spikefit.exporters.recording_covariates import add_to_nwb
from spikefit.spikes import SpikeTrains


def write(trains: SpikeTrains, path: Path) -> list[str]:
    """Write a file that pynwb's validator accepts; all spikes of all units in one dataset.

    Unit ids are the column `unit_name`; a column whose name NWB keeps for itself gets the prefix `unit_`. The epoch `trials` is
    the table of trials, every other one a tag in the table of epochs; covariates are series in the module `behavior`. Columns
    with more than one value per unit stay behind.

    Returns:
        A sentence for each covariate that could not be read and is left out.
    """
    from hdmf.common import VectorData, VectorIndex
    from pynwb import NWBHDF5IO
    from pynwb.misc import Units

    content = hashlib.sha256(trains.spike_times_s.tobytes())
    content.update(repr((trains.unit_ids, trains.offsets.tolist(), trains.intervals_s.tolist())).encode())
    file = nwb_file(
        trains.session,
        description=trains.session.get("session_description") or f"Spike trains of {trains.name}, written by spikefit.",
        identifier=content.hexdigest(),
        source_script="spikefit convert",
        source_script_file_name="spikefit",
        keywords=["spike trains"],
    )
    ends = trains.offsets[1:].astype(np.uint64)
    times = VectorData(name="spike_times", description="spike times in seconds", data=trains.spike_times_s)
    by_unit = trains.observed_by_unit()
    observed = VectorData(
        name="obs_intervals", description="when the unit was observed, in seconds", data=np.concatenate(by_unit)
    )
    observed_ends = np.cumsum([len(rows) for rows in by_unit]).astype(np.uint64)
    columns: list[Any] = [
        VectorIndex(name="spike_times_index", data=ends, target=times),
        times,
        VectorIndex(name="obs_intervals_index", data=observed_ends, target=observed),
        observed,
        VectorData(name="unit_name", description="id of the unit", data=list(trains.unit_ids)),
    ]
    taken: dict[str, Any] = {"unit_name": None}
    for key, values in trains.unit_columns.items():
        same_as_ids = key == "unit_name" and [str(value) for value in values.tolist()] == list(trains.unit_ids)
        if values.ndim != 1 or same_as_ids or key == "nwb_id":
            continue
        name = free_name(key, taken)
        taken[name] = None
        # pynwb knows no column of numpy's own text type.
        data = values if values.dtype.kind in "fiub" else [str(value) for value in values.tolist()]
        columns.append(VectorData(name=name, description=f"column {key!r} of the recording's unit table", data=data))
    ids = np.arange(trains.n_units)
    known = trains.unit_columns.get("nwb_id")
    if known is not None and np.unique(known).size == ids.size and known.dtype.kind in "iu" and known.min() >= 0:
        ids = known
    file.units = Units(name="units", description="units of the recording", columns=columns, id=ids)
    for name, rows in trains.epochs.items():
        for start_s, stop_s in rows.tolist():
            if name == "trials":
                file.add_trial(start_time=start_s, stop_time=stop_s)
            else:
                file.add_epoch(start_time=start_s, stop_time=stop_s, tags=[name])
    left_out: list[str] = []
    add_to_nwb(file, trains.covariates, left_out)
    with NWBHDF5IO(str(path), mode="w") as io:
        io.write(file)
    return left_out
