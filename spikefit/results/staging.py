"""Several files that take their places in a folder together: written aside first, then renamed one after the other."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from spikefit.files import PARTIAL_SUFFIX, explain_os_error, flush
from spikefit.results.layout import STAGING_PREFIX


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder inside `folder` to write to; it is gone afterwards, whatever happened.

    Raises:
        SpikefitError: in place of any OSError of the block.
    """
    staging = folder / f"{STAGING_PREFIX}{secrets.token_hex(4)}{PARTIAL_SUFFIX}"
    try:
        staging.mkdir()
        yield staging
    except OSError as fault:
        raise explain_os_error(fault, folder) from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def move_all(staging: Path, folder: Path, names: list[str]) -> None:
    """Flush every file and rename it to its place; where one rename fails, take the earlier ones back."""
    for name in names:
        flush(staging / name)
    kept = staging / "earlier"
    kept.mkdir()
    there_before = {name for name in names if os.path.lexists(folder / name)}
    for name in there_before:
        with contextlib.suppress(OSError):  # on a disk without hard links there is no way back
            os.link(folder / name, kept / name)
    moved = []
    try:
        for name in names:
            moved.append(name)
            os.replace(staging / name, folder / name)
    except OSError:
        for name in moved:
            with contextlib.suppress(OSError):
                if name not in there_before:
                    (folder / name).unlink(missing_ok=True)
                elif (kept / name).exists():
                    os.replace(kept / name, folder / name)
        raise
    with contextlib.suppress(OSError):  # some network disks refuse to flush a folder
        flush(folder)
