"""The names of the files in a result folder, and the claim on the folder before the work starts."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from spikefit.errors import UsageError
from spikefit.files import PARTIAL_SUFFIX, explain_os_error, sweep_partials
from spikefit.marks import DATA_FILES as DATA_FILES
from spikefit.marks import MAIN_FILE as MAIN_FILE

FIGURE_FORMATS = ("png", "svg", "pdf")
FIGURE_STEMS = ("connectivity", "training", "filters", "hidden", "rates")
FIGURE_FILES = tuple(f"{stem}.{ending}" for stem in FIGURE_STEMS for ending in FIGURE_FORMATS)
# What later steps put beside a result; a new result makes them stale.
DERIVED_FILES = ("report.html", "graph.graphml")
RESULT_FILES = (MAIN_FILE, *DATA_FILES, *FIGURE_FILES, *DERIVED_FILES)

# A save that is under way lives in a folder of this name until it is whole.
STAGING_PREFIX = ".new-"


def claim_output(folder: str | Path, *, overwrite: bool = False, resume: bool = False) -> Path:
    """Make sure, before any work starts, that a result can be written to `folder`.

    Makes the folder, proves that it takes a file and sweeps away what killed runs left half-written. An earlier
    result stays as it is.

    Args:
        folder: where the result shall go; parents are made too.
        overwrite: an earlier result may be replaced.
        resume: an earlier result or half of one is what the run goes on from.

    Raises:
        UsageError: if `folder` is a file, cannot be written to, or holds a result that may not be replaced.
        SpikefitError: if the disk is full.
    """
    folder = Path(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file; results need a folder.", hint="pass another folder with -o")
        found = _result_files_in(folder)
        if found and not (overwrite or resume):
            raise UsageError(_refusal(folder, found), hint="pass --overwrite to replace it, or another folder with -o")
        folder.mkdir(parents=True, exist_ok=True)
        sweep_partials(folder)
        for stray in folder.glob(f"{STAGING_PREFIX}*{PARTIAL_SUFFIX}"):
            shutil.rmtree(stray, ignore_errors=True)
        probe = folder / f".probe.{secrets.token_hex(4)}{PARTIAL_SUFFIX}"
        try:
            probe.write_bytes(b"\n")
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
    except (FileExistsError, NotADirectoryError) as fault:
        raise UsageError(
            f"{folder}: a part of this path is a file, not a folder.", hint="pass another folder with -o"
        ) from fault
    except OSError as fault:
        raise explain_os_error(fault, folder) from fault
    return folder


def _result_files_in(folder: Path) -> list[str]:
    return [name for name in RESULT_FILES if os.path.lexists(folder / name)]


def _refusal(folder: Path, found: list[str]) -> str:
    if MAIN_FILE in found:
        return f"{folder} already holds a result ({MAIN_FILE}); it was left as it is."
    return f"{folder} holds files named like those of a result ({', '.join(found[:4])}); they were left as they are."
