"""Follows a batch while it runs: signals, events, the display, and the summary that is kept up to date."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Sequence
from types import FrameType
from typing import Any

from spikefit.batching.display import Display
from spikefit.batching.events import Follower, append_event
from spikefit.batching.jobs import Job
from spikefit.batching.outcome import Outcome
from spikefit.batching.places import Places, write_json
from spikefit.batching.summary import write_summary
from spikefit.errors import SpikefitError
from spikefit.stopping import give_back, listen

SUMMARY_EVERY_S = 30.0
LOOK_EVERY_S = 1.0


class Conductor:
    """The watch of a batch (see `spikefit.batching.engines`).

    Args:
        places: of the batch.
        jobs: all of them.
        outcomes: those that are known already; the others are added as they come.
        display: what a person sees.
        to_run: names of those that the engine is given.
        keep_going: go on after a job has failed.
    """

    def __init__(
        self,
        places: Places,
        jobs: Sequence[Job],
        outcomes: dict[str, Outcome],
        display: Display,
        *,
        to_run: Collection[str],
        keep_going: bool,
    ) -> None:
        self.stop = 0
        self.signal: int | None = None
        self.outcomes = outcomes
        self._places, self._jobs, self._display, self._keep_going = places, jobs, display, keep_going
        self._running: dict[str, dict[str, Any]] = {}
        self._followers: dict[str, Follower] = {}
        self._told: set[str] = set()
        self._ended: set[str] = set()
        self._names = set(to_run)
        self._summary_s = self._looked_s = time.monotonic()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Conductor:
        self._before = listen(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        give_back(self._before)
        self._display.end()

    def started(self, name: str) -> None:
        self._running.setdefault(name, {})
        self._followers.setdefault(name, Follower(self._places.job_events(name)))

    def expect(self, names: Iterable[str]) -> None:
        """Let `look` find these, too."""
        self._names |= set(names)

    def finished(self, outcome: Outcome) -> None:
        self.ended(outcome)
        self.outcomes[outcome.name] = outcome
        self._display.finished(outcome)
        if outcome.status == "failed" and not self._keep_going and not self.stop:
            self.stop = 1
            self.say("stopping the other jobs, because of --fail-fast")

    def ended(self, outcome: Outcome) -> None:
        """Note the end of a job, or of a share of one."""
        self._follow(outcome.name)
        if outcome.name not in self._told:
            # A process that was killed could not say so itself.
            append_event(
                self._places.events,
                "finished",
                job=outcome.name,
                status=outcome.status,
                reason=outcome.reason,
                wall_s=outcome.wall_s,
            )
        if outcome.kind == "WorkerDied":
            with contextlib.suppress(SpikefitError):  # a full disk must not end a batch; it is in the summary, too
                write_json(self._places.outcome(outcome.name), outcome.to_dict())
        self._ended.add(outcome.name)
        self._running.pop(outcome.name, None)
        self._followers.pop(outcome.name, None)

    def tick(self) -> None:
        for name in list(self._followers):
            self._follow(name)
        self._display.running(self._running)
        if time.monotonic() - self._summary_s > SUMMARY_EVERY_S:
            with contextlib.suppress(SpikefitError):  # it is written again at the end
                write_summary(self._places, self._jobs, self.outcomes)
            self._summary_s = time.monotonic()

    def look(self) -> None:
        """Find out which jobs have begun, for an engine that is not told."""
        if time.monotonic() - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        begun = {path.name.removesuffix(".jsonl") for path in self._places.job_events("x").parent.iterdir()}
        for name in begun & self._names - self._running.keys() - self.outcomes.keys() - self._ended:
            self.started(name)

    def say(self, text: str) -> None:
        self._display.say(text)

    def _follow(self, name: str) -> None:
        """Gather what a job told in its own file."""
        follower = self._followers.get(name)
        for event in follower.new() if follower is not None else ():
            kind = str(event.pop("event", ""))
            append_event(self._places.events, kind, **event)
            if kind == "progress" and name in self._running:
                self._running[name] = event
            if kind == "finished":
                self._told.add(name)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.signal = self.signal or number
        self.stop = min(self.stop + 1, 2)
