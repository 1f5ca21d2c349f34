"""Numpy's .npz; nothing in it needs pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikefit.exporters.arrays import named_arrays
from spikefit.exporters.selection import Cut


def write(cut: Cut, path: Path) -> None:
    """Write every array under its own name, `history_…` for the series of the fit; texts are arrays of text."""
    arrays: dict[str, Any] = {key: np.asarray(value) for key, value in named_arrays(cut).items()}
    arrays["unit_id"] = np.array(cut.result.unit_id, dtype=np.str_)
    arrays["unit_kind"] = np.array(cut.result.unit_kind, dtype=np.str_)
    arrays |= {f"history_{key}": series for key, series in cut.result.history.items()}
    with path.open("wb") as handle:  # an open file keeps its name; numpy would add an ending
        np.savez_compressed(handle, **arrays)
