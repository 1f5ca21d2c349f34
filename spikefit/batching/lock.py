"""One batch at a time in a folder: a lock that names its owner, and that is known to be stale when the owner is gone.

On the owner's own computer the process is asked for. From another computer, which can see nothing but the shared disk,
the lock is stale when its owner has not touched it for minutes; the time is taken from that disk, not from a clock here.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spikefit.errors import UsageError
from spikefit.files import explain_os_error

TOUCH_EVERY_S = 20.0
STALE_AFTER_S = 300.0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[list[str]]:
    """Hold the lock of a batch's folder.

    Args:
        folder: must be there.

    Yields:
        Remarks: that a stale lock was taken over.

    Raises:
        UsageError: if another batch is at work there.
    """
    path = folder / "lock"
    token = secrets.token_hex(8)
    remarks = _take(path, token)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep_alive, args=(path, stop), daemon=True)
    keeper.start()
    try:
        yield remarks
    finally:
        stop.set()
        keeper.join()
        if _owner(path).get("token") == token:
            with contextlib.suppress(OSError):
                path.unlink()


def _take(path: Path, token: str) -> list[str]:
    me = {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid()), "token": token}
    remarks: list[str] = []
    aside = path.with_name(f"lock.{token}")
    try:
        aside.write_text(json.dumps(me), encoding="utf-8")
        for _ in range(3):
            try:
                _claim(aside, path)
                return remarks
            except FileExistsError:
                pass
            owner = _owner(path)
            reason = _stale(path, owner)
            if reason is None:
                raise UsageError(
                    f"another batch is at work in {path.parent.parent} (process {owner.get('pid', '?')} on "
                    f"{owner.get('host', 'another computer')}).",
                    hint="wait for it or stop it, or pass another folder with -o",
                )
            _remove(path, owner)
            remarks.append(f"took over from a batch that is gone: {reason}")
    except OSError as fault:
        raise explain_os_error(fault, path) from fault
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
    raise UsageError(f"another batch has just begun in {path.parent.parent}.", hint="wait for it")


def _claim(aside: Path, path: Path) -> None:
    """Put the lock in its place, whole at once, and only where none is; true on network disks, too."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        with path.open("x", encoding="utf-8") as file:
            file.write(aside.read_text(encoding="utf-8"))


def _remove(path: Path, stale: dict[str, Any]) -> None:
    """Take a stale lock away, but never the fresh one of somebody who was quicker."""
    aside = path.with_name(f"lock.stale.{secrets.token_hex(4)}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    if _owner(aside) != stale:
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink()


def _stale(path: Path, owner: dict[str, Any]) -> str | None:
    """Why the lock's owner must be gone; None where it may be at work."""
    if owner.get("host") == socket.gethostname():
        pid = owner.get("pid")
        if isinstance(pid, int) and _is_running(pid) and _started(pid) == owner.get("started"):
            return None
        return f"process {pid} on this computer has ended"
    try:
        probe = path.with_name(f"lock.probe.{secrets.token_hex(4)}")
        probe.touch()
        age_s = probe.stat().st_mtime - path.stat().st_mtime
        probe.unlink()
    except FileNotFoundError:
        return "its lock was just given back"
    if age_s < STALE_AFTER_S:
        return None
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')} gave no sign for {age_s / 60:.0f} minutes"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str:
    """When a process began, where the system tells; process numbers are used again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _owner(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _keep_alive(path: Path, stop: threading.Event) -> None:
    while not stop.wait(TOUCH_EVERY_S):
        with contextlib.suppress(OSError):
            os.utime(path)
