"""What no export may take the place of, not even when told to overwrite: the recording, and a result's own files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikefit.errors import UsageError
from spikefit.files import explain_os_error, is_same_file
from spikefit.results import Result
from spikefit.results.layout import DERIVED_FILES, MAIN_FILE, RESULT_FILES
from spikefit.results.saving import sha256_of

# An exported connectivity.h5 lies in a folder without this one and may be replaced.
_BESIDE_MAIN_FILE = "metrics.json"


def refuse_to_replace_originals(path: Path, result: Result, *recordings: str | os.PathLike[str] | None) -> None:
    """Make sure that writing to `path` destroys nothing that only a new recording or a new fit could bring back.

    Args:
        path: where something is to be written.
        result: what is written; its provenance knows the recording by path and checksum.
        recordings: further recordings that take part.

    Raises:
        UsageError: if `path` is a recording of this result, a result folder, or one of the files that make one up.
    """
    try:
        if not os.path.lexists(path):
            return
        known = result.provenance.get("input")
        known = known if isinstance(known, Mapping) else {}
        if any(is_same_file(path, other) for other in (known.get("path"), *recordings)) or _same_bytes(path, known):
            raise UsageError(f"{path} is the recording itself, which is never written to.", hint="pass another -o")
        folder = path if path.is_dir() else path.parent
        is_result_folder = all((folder / name).is_file() for name in (MAIN_FILE, _BESIDE_MAIN_FILE))
        own = {*RESULT_FILES} - {*DERIVED_FILES}
        if is_result_folder and (path.is_dir() or path.name in own):
            what = "is a result folder" if path.is_dir() else "is part of a result"
            raise UsageError(f"{path} {what}, and stays as the fit left it.", hint="pass another -o")
    except OSError as fault:
        raise explain_os_error(fault, path) from fault


def _same_bytes(path: Path, known: Mapping[str, Any]) -> bool:
    """Whether `path` is the file of this size and checksum, wherever it was moved to."""
    if not path.is_file() or path.stat().st_size != known.get("bytes"):
        return False
    return sha256_of(path) == known.get("sha256")
