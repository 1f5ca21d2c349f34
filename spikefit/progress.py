"""How a long piece of work tells what it is doing: not at all, in plain lines now and then, or with a bar.

Everything goes to stderr; stdout is for results. Work reports often and cheaply; what is shown, and how often, is
decided here.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0
WORTH_A_LINE_S = 1.0


class Progress(Protocol):
    """What work is given to report to. One stage runs at a time; starting the next ends the one before."""

    def start(self, stage: str, total: float | None) -> None:
        """Begin a stage.

        Args:
            stage: what is being done, for people: `fitting 2 hidden units, restart 1 of 3`.
            total: what `done` will reach; None where nobody can tell.
        """

    def update(self, done: float, **figures: float) -> None:
        """Say how far the stage is.

        Args:
            done: from 0 to the stage's total.
            **figures: numbers worth seeing, named for people: `nats_per_bin=-8.61`.
        """

    def finish(self) -> None:
        """End the stage."""

    def note(self, text: str) -> None:
        """Say something once: a warning, a choice that was made."""


class Display(Progress, Protocol):
    """A progress that a person sees."""

    def abandon(self) -> None:
        """Leave the screen as it should be, without a word, because the work ended early."""


class SilentProgress:
    """Says nothing."""

    def start(self, stage: str, total: float | None) -> None:
        pass

    def update(self, done: float, **figures: float) -> None:
        pass

    def finish(self) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def abandon(self) -> None:
        pass


class LineProgress:
    """One plain line when a stage starts and ends, and now and then between, for logs and pipes.

    Args:
        stream: where the lines go.
        every_s: least seconds between two lines of one stage.
        clock: tells the time in seconds.
    """

    def __init__(
        self, stream: TextIO, *, every_s: float = SECONDS_BETWEEN_LINES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._every_s = every_s
        self._clock = clock
        self._stage: str | None = None
        self._total: float | None = None
        self._started_s = self._last_s = 0.0
        self._figures: dict[str, float] = {}

    def start(self, stage: str, total: float | None) -> None:
        self.finish()
        self._stage, self._total, self._figures = stage, total, {}
        self._started_s = self._last_s = self._clock()
        self._say(f"{stage} …")

    def update(self, done: float, **figures: float) -> None:
        self._figures = figures
        now_s = self._clock()
        if self._stage is None or now_s - self._last_s < self._every_s:
            return
        self._last_s = now_s
        told = [_share(done, self._total), _figures(figures), f"{now_s - self._started_s:.0f} s"]
        self._say(f"{self._stage}: {', '.join(text for text in told if text)}")

    def finish(self) -> None:
        if self._stage is None:
            return
        spent_s, figures = self._clock() - self._started_s, _figures(self._figures)
        # The end of what took no time and says no number is told by the next line.
        if spent_s >= WORTH_A_LINE_S or figures:
            self._say(f"{self._stage}: done in {spent_s:.1f} s" + (f", {figures}" if figures else ""))
        self._stage = None

    def note(self, text: str) -> None:
        self._say(text)

    def abandon(self) -> None:
        self._stage = None

    def _say(self, text: str) -> None:
        # Whoever read our progress may have gone; the work goes on.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text + "\n")
            self._stream.flush()


class BarProgress:
    """A live bar on a terminal.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        # Numbers in our texts are for reading, not for colours of a syntax highlighter.
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[figures]}", markup=False),
            console=Console(file=stream, highlight=False),
            transient=True,
        )
        self._task: TaskID | None = None
        self._stage = ""
        self._started_s = 0.0

    def start(self, stage: str, total: float | None) -> None:
        self.finish()
        self._stage, self._started_s = stage, time.monotonic()
        self._bars.start()
        self._task = self._bars.add_task(stage, total=total, figures="")

    def update(self, done: float, **figures: float) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done, figures=_figures(figures))

    def finish(self) -> None:
        if self._task is None:
            return
        figures = self._bars.tasks[-1].fields.get("figures", "")
        self.abandon()
        spent = f"{self._stage}: done in {time.monotonic() - self._started_s:.1f} s"
        self.note(f"{spent}, {figures}" if figures else spent)

    def note(self, text: str) -> None:
        self._bars.console.print(text, markup=False, soft_wrap=True)

    def abandon(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._bars.stop()
            self._task = None


def progress_for(stream: TextIO | None = None, *, quiet: bool = False) -> Display:
    """The progress that fits a stream: a bar on a terminal, plain lines elsewhere, nothing when quiet.

    Args:
        stream: where it is shown; stderr where not given.
        quiet: show nothing at all.
    """
    shown = sys.stderr if stream is None else stream
    if quiet:
        return SilentProgress()
    return BarProgress(shown) if shown.isatty() else LineProgress(shown)


def _share(done: float, total: float | None) -> str:
    return f"{min(100 * done / total, 100):.0f} %" if total else ""


def _figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())
