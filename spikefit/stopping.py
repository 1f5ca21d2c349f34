"""Stopping a run on request without losing what it has done.

SIGTERM and SIGUSR1 (a cluster's warning before its time limit) and Ctrl-C ask the fit to stop at the next epoch, behind
a checkpoint. A second Ctrl-C, or one while there is nothing to keep, stops at once; files are whole in any case.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from spikefit.errors import Checkpointed

_ASKING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))

Hear = Callable[[int, FrameType | None], None]


def listen(hear: Hear) -> dict[int, Any]:
    """Let `hear` have the signals that ask to stop; in another thread than the main one it gets none.

    Returns:
        Who had them before, for `give_back`.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, hear) for number in _ASKING}


def give_back(before: dict[int, Any]) -> None:
    """Let those have the signals again who had them before `listen`."""
    for number, handler in before.items():
        signal.signal(number, handler)


class Stopper:
    """Listens to signals while it is entered; in another thread than the main one it hears none."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._patient = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopper:
        self._before = listen(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        give_back(self._before)
        self._before = {}

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """While this block runs, the first request waits for whoever asks `requested`."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def requested(self) -> bool:
        """Whether the run shall stop at the next good moment."""
        return self._asked is not None

    def leave(self, folder: Path | None) -> None:
        """Stop now.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            Checkpointed: after any other signal; the message says where to go on from.
        """
        if self._asked == signal.SIGINT:
            raise KeyboardInterrupt
        kept = folder is not None and any((folder / "checkpoints").glob("*.safetensors"))
        if kept:
            raise Checkpointed(
                f"stopped on request; a checkpoint is in {folder}.", hint="run the same command again with --resume"
            )
        raise Checkpointed("stopped on request before there was anything to keep.", hint="run the same command again")

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        again = self._asked is not None
        self._asked = number
        if again or not self._patient:
            self.leave(None)
