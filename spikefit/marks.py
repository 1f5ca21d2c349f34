"""By what a result is known from the outside; light, so that a command can ask before it loads anything."""

from __future__ import annotations

from pathlib import Path

# The root attribute `format` of a result's main file.
FORMAT = "spikefit-connectivity"
MAIN_FILE = "connectivity.h5"
DATA_FILES = ("edges.csv", "units.csv", "metrics.json", "config.yaml", "provenance.json", "model.safetensors")

# Held-out scores are kept by pieces of time of this length, so that fits with other bins can be paired.
PIECE_S = 0.5

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_result(path: str | Path) -> bool:
    """Whether `path` is a result or meant as one: its folder, its `connectivity.h5`, half of one or a folder of several.

    Only what is there is looked at; whether it can be read is another question.
    """
    path = Path(path)
    try:
        if path.is_dir():
            half = sum((path / name).is_file() for name in DATA_FILES) > 1
            return (path / MAIN_FILE).is_file() or half or any(path.glob(f"*/{MAIN_FILE}"))
        return path.is_file() and _has_our_mark(path)
    except OSError:
        return False


def _has_our_mark(path: Path) -> bool:
    with path.open("rb") as handle:
        if handle.read(len(_HDF5_SIGNATURE)) != _HDF5_SIGNATURE:
            return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except (OSError, RuntimeError, LookupError, ValueError, TypeError):
        return False  # damaged: whoever reads it next says so
