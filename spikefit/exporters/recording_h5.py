"""A recording as a plain HDF5 file that any program can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikefit.errors import UsageError
from spikefit.exporters.recording_covariates import add_to_h5
from spikefit.spikes import SpikeTrains


def write(trains: SpikeTrains, path: Path) -> list[str]:
    """Write `spike_times` with `spike_times_index`, `unit_names`, `intervals`, `epochs/NAME`, `unit_columns/NAME`, `covariates/NAME`.

    Returns:
        A sentence for each covariate that could not be read and is left out.

    Raises:
        UsageError: for an epoch or a column whose name HDF5 would take for a path.
    """
    import h5py

    text = h5py.string_dtype("utf-8")
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["time_unit"] = "s"
        file.attrs["name"] = trains.name
        for key, value in trains.session.items():
            file.attrs[f"session_{key.removeprefix('session_')}"] = value
        packed = {"compression": "gzip", "compression_opts": 4, "shuffle": True} if trains.n_spikes > 4096 else {}
        file.create_dataset("spike_times", data=trains.spike_times_s, **packed)
        file["spike_times"].attrs["description"] = "spike times in seconds, unit after unit; sorted within each unit"
        file.create_dataset("spike_times_index", data=trains.offsets[1:])
        file["spike_times_index"].attrs["description"] = "where each unit's spikes end in spike_times"
        file.create_dataset("unit_names", data=np.array(trains.unit_ids, dtype=object), dtype=text)
        file.create_dataset("intervals", data=trains.intervals_s)
        file["intervals"].attrs["description"] = "observed intervals in seconds, start and stop"
        if trains.lost_s:
            by_unit = trains.observed_by_unit()
            file.create_dataset("observed", data=np.concatenate(by_unit))
            file["observed"].attrs["description"] = "when each unit was observed, in seconds, unit after unit"
            file.create_dataset("observed_index", data=np.cumsum([len(rows) for rows in by_unit]))
            file["observed_index"].attrs["description"] = "where each unit's intervals end in observed"
        epochs = file.create_group("epochs", track_order=True)
        for name, rows in trains.epochs.items():
            epochs.create_dataset(_plain(name, "epoch"), data=rows)
        columns = file.create_group("unit_columns", track_order=True)
        for name, values in trains.unit_columns.items():
            if values.ndim != 1:
                continue
            if values.dtype.kind in "fiub":
                columns.create_dataset(_plain(name, "unit column"), data=values)
            else:
                cells = np.array([str(value) for value in values.tolist()], dtype=object)
                columns.create_dataset(_plain(name, "unit column"), data=cells, dtype=text)
        left_out: list[str] = []
        add_to_h5(file, trains.covariates, left_out)
    return left_out


def _plain(name: str, what: str) -> str:
    if not name or "/" in name or "\x00" in name or name in (".", ".."):
        raise UsageError(
            f"the {what} {name!r} cannot be named so in plain HDF5, which would take it for a path.",
            hint="convert to .nwb instead",
        )
    return name
