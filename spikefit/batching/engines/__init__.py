"""The engines of a batch: they run the same jobs, by the same function, in different places.

An engine gets orders and a watch. It tells the watch of each outcome, lets it breathe between (`tick`), and obeys
`stop`: 1 asks running jobs to write their checkpoints and end, 2 ends them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from spikefit.batching.jobs import Job
from spikefit.batching.outcome import Outcome

Order = dict[str, Any]
TICK_S = 0.2


class Watch(Protocol):
    """What an engine reports to and is told by."""

    @property
    def stop(self) -> int:
        """What is asked: 0 to go on, 1 to stop behind a checkpoint, 2 to end at once."""

    def started(self, name: str) -> None:
        """A job was given to a worker."""

    def finished(self, outcome: Outcome) -> None:
        """A job has ended."""

    def tick(self) -> None:
        """Some time has passed."""

    def look(self) -> None:
        """Find out which jobs have begun, for an engine that is not told."""

    def say(self, text: str) -> None:
        """Something worth a line."""


class Engine(Protocol):
    """A place where jobs run."""

    def describe(self, n_jobs: int) -> str:
        """Where the jobs will run, in words."""

    def run(self, orders: Sequence[Order], watch: Watch) -> None:
        """Run jobs until all have ended or a stop is asked for.

        Raises:
            SpikefitError: if the place cannot be used at all.
        """


def died(job: Job, reason: str, hint: str = "") -> Outcome:
    """The outcome of a job whose process is gone."""
    return Outcome(job.name, "failed", "", reason, hint, "WorkerDied", 5, key=job.key)
