"""Latents as a new NWB file: one time series per recording in `/processing/latents`."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from spikefit.results.latents import ABOUT, Latents


def write_nwb(latents: Latents, path: Path) -> None:
    """Write the posterior expected counts, and drawn ones where there are some, one series per recording."""
    from pynwb import NWBHDF5IO, NWBFile, TimeSeries

    digest = hashlib.sha256(np.ascontiguousarray(latents.expected_count).tobytes()).hexdigest()
    file = NWBFile(
        session_description=f"Latents of {', '.join(latents.session_name)} by spikefit pvae. "
        "When the session started is not known; the date is a placeholder.",
        identifier=digest,
        session_start_time=datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
        source_script="spikefit pvae encode",
        source_script_file_name="spikefit",
    )
    module = file.create_processing_module("latents", "latent spike counts inferred from the recorded units")
    for place, name in enumerate(latents.session_name):
        bins = latents.arrays["session"] == place
        time_s = latents.time_s[bins]
        stem = "latents" if len(latents.session_name) == 1 else f"latents_{place}"
        about = f"{ABOUT['expected_count'].description}; {name}; one column per latent, at bin starts, gaps left out"
        clock = _clock(time_s, latents.bin_width_s)
        module.add(
            TimeSeries(name=stem, description=about, data=latents.expected_count[bins], unit="spikes per bin", **clock)
        )
        for draw, counts in enumerate(latents.arrays.get("counts", ())):
            module.add(
                TimeSeries(
                    name=f"{stem}_draw_{draw}",
                    description=f"{ABOUT['counts'].description}; {name}",
                    data=counts[bins],
                    unit="spikes per bin",
                    **clock,
                )
            )
    with NWBHDF5IO(str(path), mode="w") as io:
        io.write(file)


def _clock(time_s: np.ndarray[Any, np.dtype[np.float64]], bin_width_s: float) -> dict[str, Any]:
    regular = time_s.size > 1 and np.allclose(np.diff(time_s), bin_width_s, rtol=1e-6, atol=1e-9)
    return {"starting_time": float(time_s[0]), "rate": 1 / bin_width_s} if regular else {"timestamps": time_s}
