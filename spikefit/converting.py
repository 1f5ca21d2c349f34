"""A recording as a clean file: the kept units, the chosen time, one clock in seconds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikefit.errors import UsageError
from spikefit.exporters import recording_h5, recording_nwb
from spikefit.files import is_same_file, make_room_for, replacing
from spikefit.inspection import choose_units, covariates_not_offered, keep_chosen
from spikefit.reading import read_recording

if TYPE_CHECKING:
    from spikefit.config import Config

WRITERS = {".nwb": recording_nwb.write, ".h5": recording_h5.write, ".hdf5": recording_h5.write}


def convert(recording: str | Path, out: str | Path, config: Config, *, overwrite: bool = False) -> dict[str, Any]:
    """Read a recording as `infer` would and write what it would use, whole or not at all.

    Args:
        recording: any recording that can be read.
        out: the new file; its ending says the format, `.nwb`, `.h5` or `.hdf5`.
        config: the section `recording` chooses units and time, `checks` says what is doubtful.
        overwrite: replace a file that is there.

    Returns:
        What was written and what was left out, as plain values.

    Raises:
        UsageError: if `out` is no such name, is there already, is the recording itself or cannot be written to.
        RecordingError: if the recording cannot be read, or no unit is left.
    """
    out = Path(out)
    write = WRITERS.get(out.suffix.lower())
    if write is None:
        raise UsageError(f"{out}: expected a name that ends in {', '.join(WRITERS)}.", hint=f"pass {out.stem}.nwb, say")
    if is_same_file(out, recording):
        raise UsageError(
            f"{out} is the recording itself, which is never written to.", hint="pass another file to write"
        )
    if os.path.lexists(out) and (out.is_dir() or not overwrite):
        what = "is a folder" if out.is_dir() else "is there already; it was left as it is"
        raise UsageError(f"{out} {what}.", hint="pass another name" + ("" if out.is_dir() else ", or --overwrite"))
    trains = read_recording(recording, config)
    wanted = config.recording
    choices = choose_units(trains, units=wanted.units, min_spikes=wanted.min_spikes)
    kept = keep_chosen(trains, choices, at_least=1)
    make_room_for(out, hint="pass another name")
    with replacing(out) as scratch:
        lost = write(kept, scratch)
    return {
        "path": str(out),
        "format": "nwb" if out.suffix.lower() == ".nwb" else "hdf5",
        "n_units": kept.n_units,
        "n_spikes": kept.n_spikes,
        "duration_s": kept.duration_s,
        "left_out": [{"id": choice.id, "reason": choice.reason} for choice in choices if not choice.kept],
        "covariates": [name for name in kept.covariates if not any(f"{name!r}" in text for text in lost)],
        "warnings": [*trains.warnings, *covariates_not_offered(trains), *lost],
    }
