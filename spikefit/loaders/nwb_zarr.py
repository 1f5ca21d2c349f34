"""NWB in a Zarr folder, as `hdmf_zarr` writes it; read by zarr alone, which is an extra."""

from __future__ import annotations

from pathlib import Path

from spikefit.loaders import nwb
from spikefit.loaders.raw import RawRecording, ReadOptions
from spikefit.loaders.zarr_folder import attributes_of


def recognise(path: Path, head: bytes) -> bool:
    """Whether a folder says that it is NWB."""
    return path.is_dir() and "nwb_version" in attributes_of(path)


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read spike times, observed intervals, epochs and unit columns.

    Raises:
        RecordingError: if zarr is not installed, and as `spikefit.loaders.nwb.read`.
    """
    raw = nwb.read(path, options)
    raw.format = "nwb-zarr"
    return raw
