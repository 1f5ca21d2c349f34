"""Reading a result back: from one file, without torch and without a GPU."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from spikefit.errors import ResultError
from spikefit.results.checking import fault_in
from spikefit.results.digest import digest
from spikefit.results.h5file import Damaged, from_h5
from spikefit.results.json_schema import METRICS_SCHEMA
from spikefit.results.layout import DATA_FILES, DERIVED_FILES, MAIN_FILE
from spikefit.results.model import Result
from spikefit.results.saving import sha256_of
from spikefit.results.schema import FORMAT, FORMAT_MINOR, FORMAT_VERSION

ResultT = TypeVar("ResultT", bound=Result)

# Larger files beside a result are told apart by their size alone; hashing them would make opening slow.
_HASHED_BYTES = 16 * 2**20

# How the warning ends that files beside the main one are not those of the result.
ALONE = f"{MAIN_FILE} alone was read"

# What h5py and json raise on bytes that make no sense; KeyError and UnicodeDecodeError are among their children.
_BROKEN = (
    Damaged,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    OverflowError,
)


def load_result(path: str | Path, cls: type[ResultT] = Result) -> ResultT:  # type: ignore[assignment]
    """Read a result from its folder or from its `connectivity.h5`; needs neither torch nor a GPU.

    Files beside `connectivity.h5` that belong to another save are named in `warnings` of what is returned.

    Raises:
        ResultError: if there is no result, half of one, a damaged one, or one of a newer format.
    """
    import h5py

    main = _main_file(Path(path))
    try:
        with h5py.File(main, "r") as file:
            _check_format(file, main)
            minor = int(file.attrs.get("format_minor", 0))
            expected, listed = str(file.attrs.get("content_sha256", "")), str(file.attrs.get("side_files_json", "{}"))
            result = cls(**from_h5(file))
        side_files = json.loads(listed)
    except ResultError:
        raise
    except PermissionError as fault:
        raise ResultError(f"{main}: reading this file is not allowed.", hint="ask its owner, or copy it") from fault
    except _BROKEN as fault:
        raise _damaged(main, str(fault)) from fault
    if minor <= FORMAT_MINOR and expected != digest(result):
        raise _damaged(main, "its content does not match its checksum: it was changed since it was written")
    fault_found = fault_in(result.metrics, METRICS_SCHEMA)
    if fault_found is not None:
        raise _damaged(main, f"its metrics make no sense: {fault_found}")
    # Those that are made from the result alone may be made again, by a later version, too.
    own = {name: known for name, known in side_files.items() if name not in DERIVED_FILES}
    strangers = [name for name, known in own.items() if not _matches(main.with_name(name), known)]
    if strangers:
        text = (
            f"{', '.join(strangers)} beside {MAIN_FILE} {'is' if len(strangers) == 1 else 'are'} not as this result wrote "
            f"{'it' if len(strangers) == 1 else 'them'}: changed by hand, or by a save that was cut off; {ALONE}"
        )
        result = dataclasses.replace(result, warnings=(*result.warnings, text))
    return result


def doubts_of_opening(result: Result) -> tuple[str, ...]:
    """Those of its warnings that are about the files it was opened from, which whoever works on with it must hear."""
    return tuple(text for text in result.warnings if text.endswith(ALONE))


def _main_file(path: Path) -> Path:
    try:
        if path.is_file():
            return path
        if not path.is_dir():
            raise ResultError(f"{path}: there is no such file or folder.", hint="pass the folder given to -o")
        if (path / MAIN_FILE).is_file():
            return path / MAIN_FILE
        half = [name for name in DATA_FILES if (path / name).is_file()]
        # A save that was killed leaves a hidden folder, which is nobody's result.
        folders = (child.parent.name for child in path.glob(f"*/{MAIN_FILE}"))
        inside = sorted(name for name in folders if not name.startswith("."))
        shown = sorted(child.name for child in path.iterdir() if not child.name.startswith("."))
    except OSError as fault:
        raise ResultError(
            f"{path}: could not be read: {fault.strerror or fault}.", hint="check the folder's rights"
        ) from fault
    if half:
        raise ResultError(
            f"{path} holds half a result ({', '.join(half[:4])}, but no {MAIN_FILE}): the run that wrote it was cut off.",
            hint="run the fit again with --overwrite, or with --resume if it left a checkpoint",
        )
    if inside:
        raise ResultError(
            f"{path} is no result itself but holds {len(inside)} ({', '.join(inside[:4])}{', …' if len(inside) > 4 else ''}).",
            hint=f"pass one of them, as in {path / inside[0]}",
        )
    listing = f"found: {', '.join(shown[:6])}{', …' if len(shown) > 6 else ''}" if shown else "it is empty"
    raise ResultError(f"{path} is not a result folder: no {MAIN_FILE} ({listing}).", hint="pass the folder given to -o")


def _check_format(file: Any, path: Path) -> None:
    found = file.attrs.get("format")
    if found != FORMAT:
        names = ", ".join(f"/{name}" for name in list(file)[:6]) or "nothing"
        recording = found is None and ("units" in file or "session_start_time" in file)
        raise ResultError(
            f"{path} is HDF5 but not a result of spikefit (expected format {FORMAT!r}, found {names}).",
            hint="this looks like a recording: spikefit inspect takes those"
            if recording
            else "pass the folder given to -o",
        )
    version = int(file.attrs["format_version"])
    if version > FORMAT_VERSION:
        raise ResultError(
            f"{path} was written by {file.attrs.get('generator', 'a newer spikefit')} in format {version}; "
            f"this spikefit reads formats up to {FORMAT_VERSION}.",
            hint="pip install --upgrade spikefit",
        )


def _damaged(path: Path, detail: str) -> ResultError:
    detail = " ".join(detail.split())[:200]
    if path.stat().st_size == 0:
        detail = "it is empty"
    elif "file signature not found" in detail:
        detail = "it is not HDF5"
    return ResultError(
        f"{path}: this result cannot be read: {detail or 'its bytes make no sense'}.",
        hint="copy it again from where it was made, or run the fit again",
    )


def _matches(path: Path, known: Mapping[str, Any]) -> bool:
    """Whether a file is the one that was listed; one that was deleted is no stranger."""
    try:
        size = path.stat().st_size
        if size != known["bytes"]:
            return False
        return size > _HASHED_BYTES or sha256_of(path) == known["sha256"]
    except FileNotFoundError:
        return True
    except OSError:
        return False
