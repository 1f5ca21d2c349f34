"""What a person sees of a batch: a live table on a terminal, a line per job elsewhere; on stderr, both."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from spikefit.batching.outcome import Outcome

SECONDS_BETWEEN_LINES = 60.0
MOST_SHOWN = 12


class Display(Protocol):
    """What a batch tells of itself."""

    def begin(self, n_jobs: int, n_known: int) -> None:
        """So many jobs, so many of them done already."""

    def running(self, jobs: dict[str, dict[str, Any]]) -> None:
        """The jobs under way, each with its last event of progress; told often."""

    def finished(self, outcome: Outcome) -> None:
        """A job has ended."""

    def say(self, text: str) -> None:
        """Something worth a line."""

    def end(self) -> None:
        """Leave the screen as it should be."""


class NoDisplay:
    """Shows nothing."""

    def begin(self, n_jobs: int, n_known: int) -> None:
        pass

    def running(self, jobs: dict[str, dict[str, Any]]) -> None:
        pass

    def finished(self, outcome: Outcome) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def end(self) -> None:
        pass


class LineDisplay:
    """A line per job that ends, and now and then what is running.

    Args:
        stream: where the lines go.
        clock: tells the time in seconds.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._n_jobs = self._n_ended = 0
        self._last_s = clock()

    def begin(self, n_jobs: int, n_known: int) -> None:
        self._n_jobs, self._n_ended = n_jobs, n_known

    def running(self, jobs: dict[str, dict[str, Any]]) -> None:
        if not jobs or self._clock() - self._last_s < SECONDS_BETWEEN_LINES:
            return
        shown = [f"{name} ({progress_text(event)})" for name, event in list(jobs.items())[:MOST_SHOWN]]
        more = f" and {len(jobs) - MOST_SHOWN} more" if len(jobs) > MOST_SHOWN else ""
        self.say(f"running: {', '.join(shown)}{more}")

    def finished(self, outcome: Outcome) -> None:
        self._n_ended += 1
        self.say(f"[{self._n_ended}/{self._n_jobs}] {outcome_text(outcome)}")

    def say(self, text: str) -> None:
        self._last_s = self._clock()
        # Whoever read our progress may have gone; the work goes on.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text + "\n")
            self._stream.flush()

    def end(self) -> None:
        pass


class TableDisplay:
    """A live table of what is running, below a line per job that has ended.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, transient=True, refresh_per_second=4)
        self._n_jobs = self._n_ended = self._n_failed = 0
        self._began_s = time.monotonic()

    def begin(self, n_jobs: int, n_known: int) -> None:
        self._n_jobs, self._n_ended = n_jobs, n_known
        self._live.start()

    def running(self, jobs: dict[str, dict[str, Any]]) -> None:
        from rich.table import Table
        from rich.text import Text

        spent_s = time.monotonic() - self._began_s
        title = f"{self._n_ended} of {self._n_jobs} done, {self._n_failed} failed, {len(jobs)} running, {spent_s:.0f} s"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
        for name, event in list(jobs.items())[:MOST_SHOWN]:
            table.add_row(Text(name), Text(progress_text(event)))
        if len(jobs) > MOST_SHOWN:
            table.add_row(f"and {len(jobs) - MOST_SHOWN} more", "")
        self._live.update(table)

    def finished(self, outcome: Outcome) -> None:
        self._n_ended += 1
        self._n_failed += outcome.status == "failed"
        self.say(outcome_text(outcome))

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def end(self) -> None:
        self._live.stop()


def display_for(stream: TextIO | None = None, *, quiet: bool = False) -> Display:
    """The display that fits a stream; stderr where none is given."""
    shown = sys.stderr if stream is None else stream
    if quiet:
        return NoDisplay()
    return TableDisplay(shown) if shown.isatty() else LineDisplay(shown)


def outcome_text(outcome: Outcome) -> str:
    """One line about a job that has ended."""
    if outcome.status == "done":
        bits = outcome.figures.get("heldout_bits_per_spike")
        score = f", {bits:+.3f} bits per spike" if bits is not None else ""
        doubt = "" if outcome.figures.get("converged") else ", not converged"
        return f"{outcome.name}: done in {outcome.wall_s:.1f} s{score}{doubt}"
    if outcome.status == "failed":
        return f"{outcome.name}: FAILED: {outcome.reason}"
    return f"{outcome.name}: {outcome.status}"


def progress_text(event: dict[str, Any]) -> str:
    """How far a running job is."""
    if not event:
        return "starting"
    text = str(event.get("stage", ""))
    share, nats = event.get("share"), event.get("nats_per_bin")
    if isinstance(share, int | float):
        text += f", {100 * share:.0f} %"
    return text + (f", {nats:.4f} nats per bin" if isinstance(nats, int | float) else "")
