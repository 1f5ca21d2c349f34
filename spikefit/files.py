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
        _fsync(scratch)
        os.replace(scratch, path)
        _fsync_folder(path.parent)
    except OSError as fault:
        raise explain_os_error(fault, path) from fault
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")


def sweep_partials(folder: Path) -> None:
    """Remove what an earlier run that was killed left half-written in `folder`."""
    for stray in folder.glob(f".*{PARTIAL_SUFFIX}*"):
        with contextlib.suppress(OSError):
            stray.unlink()


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


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync_folder(folder: Path) -> None:
    # Without this the rename itself may be lost when the machine loses power; some network disks refuse it.
    with contextlib.suppress(OSError):
        _fsync(folder)
