"""What happens in a batch, one JSON object per line, for dashboards and for the batch itself.

A job writes to a file of its own, wherever it runs; the batch gathers those files into `events.jsonl`. So no two
computers ever write to one file. Every line has `event`, `time_utc` and `job`:

    started    attempt
    progress   stage, done (epochs or steps), share (0 to 1, or null), and figures of the fit (nats_per_bin, …)
    note       text
    finished   status (done, failed, stopped), reason, wall_s
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spikefit.results.documents import to_json

LEAST_BETWEEN_S = 0.5


def append_event(path: Path, event: str, **values: Any) -> None:
    """Add one line; a disk that refuses it costs the line, not the work."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = to_json({"event": event, "time_utc": now, **values}, indent=None) + "\n"
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, line.encode("utf-8"))
        finally:
            os.close(descriptor)


class EventProgress:
    """Tells the progress of one job as events, at most one in half a second.

    Args:
        path: the job's file of events.
        job: its name.
    """

    def __init__(self, path: Path, job: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._job, self._clock = path, job, clock
        self._stage, self._total, self._last_s = "", None, float("-inf")  # type: str, float | None, float

    def start(self, stage: str, total: float | None) -> None:
        self._stage, self._total = stage, total
        self._tell(0.0, {})

    def update(self, done: float, **figures: float) -> None:
        self._tell(done, figures)

    def finish(self) -> None:
        pass

    def note(self, text: str) -> None:
        append_event(self._path, "note", job=self._job, text=text)

    def _tell(self, done: float, figures: dict[str, float]) -> None:
        now_s = self._clock()
        if now_s - self._last_s < LEAST_BETWEEN_S:
            return
        self._last_s = now_s
        share = min(done / self._total, 1.0) if self._total else None
        append_event(self._path, "progress", job=self._job, stage=self._stage, done=done, share=share, **figures)


class Follower:
    """Reads whole lines as they are added to a file.

    Args:
        path: need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def new(self) -> list[dict[str, Any]]:
        """The events that came since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        events = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    events.append(event)
        return events
