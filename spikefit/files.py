"""Files that appear whole or not at all.

Every file spikefit writes goes through `replacing`: it is written beside its final place under a name that no
reader looks for, flushed to the disk, and renamed. A run that is killed, or a disk that fills, leaves the earlier
file as it was and at most a stray `.*.partial` that the next run sweeps away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from spikefit.errors import SpikefitError, UsageError

PARTIAL_SUFFIX = ".partial"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; when the block ends well it takes the place of `path`.

    Raises:
        SpikefitError: if the disk is full, or the folder cannot be written to; `path` is then as it was before.
    """
    path = Path(path)
    # The suffix of `path` stays last, so that writers that choose a format by the ending choose rightly.
    scratch = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}{path.suffix}")
    try:
        yield scratch
        flush(scratch)
        os.replace(scratch, path)
        _flush_folder(path.parent)
    except OSError as fault:
        raise explain_os_error(fault, path) from fault
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()


@contextlib.contextmanager
def writing_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a scratch folder; when the block ends well its files and folders take their places in `folder`.

    Whatever lies in `folder` beside them stays there.

    Raises:
        UsageError: if `folder` is a file, or holds anything and `overwrite` is not set, or cannot be written to.
        SpikefitError: if the disk is full.
    """
    try:
        if os.path.lexists(folder) and not folder.is_dir():
            raise UsageError(f"{folder} is there already and is not a folder.", hint="pass another -o")
        if folder.is_dir() and any(folder.iterdir()) and not overwrite:
            raise UsageError(
                f"{folder} is there already; it was left as it is.", hint="pass --overwrite, or another -o"
            )
    except OSError as fault:
        raise explain_os_error(fault, folder) from fault
    _make_parents(folder, "pass another -o")
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    try:
        staging.mkdir()
        yield staging
        written = [path for path in sorted(staging.rglob("*")) if path.is_file()]
        for path in written:
            flush(path)
        if not folder.exists():
            os.replace(staging, folder)
        else:
            for path in written:
                place = folder / path.relative_to(staging)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, place)
        _flush_folder(folder)
    except OSError as fault:
        raise explain_os_error(fault, folder) from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")


def sweep_partials(folder: Path) -> None:
    """Remove what an earlier run that was killed left half-written in `folder`."""
    for stray in folder.glob(f".*{PARTIAL_SUFFIX}*"):
        with contextlib.suppress(OSError):
            stray.unlink()


def make_room_for(path: Path, *, hint: str = "pass another -o") -> None:
    """Make the folder that `path` shall lie in, and sweep away what an earlier run left half-written there.

    Raises:
        UsageError: if a part of the path is a file, or the place cannot be written to; `hint` says what to pass instead.
        SpikefitError: if the disk is full.
    """
    _make_parents(path, hint)
    try:
        sweep_partials(path.parent)
    except OSError as fault:
        raise explain_os_error(fault, path) from fault


def _make_parents(path: Path, hint: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as fault:
        raise UsageError(f"{path}: a part of this path is a file, not a folder.", hint=hint) from fault
    except OSError as fault:
        raise explain_os_error(fault, path) from fault


def is_same_file(path: Path, other: object) -> bool:
    """Whether `other` names the very file that lies at `path`; an address, or a file that is gone, is none."""
    try:
        return isinstance(other, str | os.PathLike) and os.path.samefile(path, other)
    except (OSError, ValueError):
        return False


def explain_os_error(fault: OSError, path: Path) -> SpikefitError:
    """What the operating system said about writing `path`, as a message with a next step."""
    text = str(fault).lower()
    if fault.errno in (errno.ENOSPC, errno.EDQUOT) or "no space left" in text or "quota" in text:
        return SpikefitError(
            f"{path}: the disk is full (or a quota is reached); nothing was left half-written.",
            hint="free some space, or pass another folder with -o",
        )
    if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UsageError(
            f"{path}: this place cannot be written to ({os.strerror(fault.errno)}).",
            hint="pass a folder of your own with -o",
        )
    if fault.errno == errno.ENAMETOOLONG:
        return UsageError(f"{path.name[:60]}…: the file name is too long for this disk.", hint="pass a shorter -o")
    return SpikefitError(f"{path}: could not be written: {fault}.", hint="check the disk and pass another -o")


def flush(path: Path) -> None:
    """Wait until the disk holds what was written to a file, or which names a folder holds."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    # Without this the rename itself may be lost when the machine loses power; some network disks refuse it.
    with contextlib.suppress(OSError):
        flush(folder)
