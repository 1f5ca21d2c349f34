"""MATLAB 7 files, read by `load` in MATLAB and Octave and by scipy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from spikefit.errors import UsageError
from spikefit.exporters.arrays import named_arrays
from spikefit.exporters.selection import Cut

_LARGEST_BYTES = 2**31 - 1


def write(cut: Cut, path: Path) -> None:
    """Write one variable `spikefit`, a struct; ids are a cell array, the series of the fit a struct `history`.

    Raises:
        UsageError: if an array is larger than the 2 GB that the format can hold.
    """
    from scipy.io import savemat

    fields = named_arrays(cut)
    for key, value in fields.items():
        if np.asarray(value).nbytes > _LARGEST_BYTES:
            raise UsageError(
                f"MATLAB 7 files hold at most 2 GB per array; {key} has {np.asarray(value).nbytes / 1e9:.1f} GB.",
                hint="export to h5, which MATLAB reads with h5read, or pass --visible-only",
            )
    fields["unit_id"] = _cells(cut.result.unit_id)
    fields["unit_kind"] = _cells(cut.result.unit_kind)
    history: dict[str, Any] = {}
    for key, series in cut.result.history.items():
        history[_field_name(key, history)] = series
    if history:
        fields["history"] = history
    savemat(path, {"spikefit": fields}, appendmat=False, do_compression=True, long_field_names=True, oned_as="column")


def _cells(texts: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.object_]]:
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = texts
    return cells


def _field_name(name: str, taken: dict[str, Any]) -> str:
    """`name` as a MATLAB field: letters, digits and underscores, a letter first, at most 63 of them."""
    field = re.sub(r"[^0-9A-Za-z_]", "_", name)[:55]
    field = field if field[:1].isalpha() else f"x{field}"
    while field in taken:
        field += "_"
    return field
