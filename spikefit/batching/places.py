"""Where a batch keeps what it knows: `.batch/` inside the output folder, plain JSON all of it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikefit.files import sweep_partials, write_text
from spikefit.results.documents import to_json

FOLDER = ".batch"


@dataclass(frozen=True)
class Places:
    """The files of a batch.

    Args:
        out: the output folder, absolute.
    """

    out: Path

    @property
    def own(self) -> Path:
        """What the batch keeps for itself."""
        return self.out / FOLDER

    @property
    def manifest(self) -> Path:
        """The jobs, in order."""
        return self.own / "manifest.json"

    @property
    def events(self) -> Path:
        """What happened, for programs that follow it."""
        return self.out / "events.jsonl"

    def result(self, name: str) -> Path:
        """The result folder of a job."""
        return self.out / name

    def outcome(self, name: str) -> Path:
        """How a job ended."""
        return self.own / "outcomes" / f"{name}.json"

    def job_events(self, name: str) -> Path:
        """What a running job tells, wherever it runs."""
        return self.own / "events" / f"{name}.jsonl"

    def worker_log(self, number: int) -> Path:
        """What the libraries of a worker process print."""
        return self.own / "workers" / f"{number}.log"

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.own, self.own / "outcomes", self.own / "events", self.own / "workers"):
            folder.mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove what a batch that was killed left half-written; for whoever holds the lock."""
        for folder in (self.out, self.own, *self.own.glob("*/"), *self.out.glob("*/checkpoints")):
            sweep_partials(folder)


def write_json(path: Path, value: Any) -> None:
    """Write plain values, whole or not at all."""
    write_text(path, to_json(value))


def read_json(path: Path) -> Any:
    """Plain values from a file; None where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None
