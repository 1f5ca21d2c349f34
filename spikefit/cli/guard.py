"""From any end of a command to a message and an exit code; nobody should meet a traceback by surprise."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from spikefit.errors import DeviceError, SpikefitError
from spikefit.machine import place_in_team

DONE, INTERNAL, MEMORY, INTERRUPTED = 0, 1, DeviceError.exit_code, 130
LOG_NAME = "spikefit.log"


@dataclass
class Session:
    """What is known of the running command once something goes wrong.

    Attributes:
        verbose: how many -v were given.
        out: the output folder, where the command has one.
    """

    verbose: int = 0
    out: Path | None = None


class OutputClosed(Exception):
    """Whoever read our output has gone, as `head` does; the work itself did not fail."""


def run_guarded(work: Callable[[], Any], session: Session) -> int:
    """Run a command and turn whatever happens into an exit code, with a message on stderr where there is one to give."""
    try:
        _allow_any_sign()
        code = work()
        sys.stdout.flush()
    except SpikefitError as fault:
        if _first_to_speak():
            _say(fault.message, fault.hint)
        return fault.exit_code
    except click.ClickException as fault:
        if _first_to_speak():
            fault.show()
        return fault.exit_code
    except (click.Abort, KeyboardInterrupt):
        if _first_to_speak():
            _say("interrupted.", _way_on(session.out))
        return INTERRUPTED
    except (OutputClosed, BrokenPipeError):
        _forget_stdout()
        return DONE
    except Exception as fault:
        if not _first_to_speak():
            return MEMORY if _is_out_of_memory(fault) else INTERNAL
        if _is_out_of_memory(fault):
            _say(
                f"the memory is not enough: {_first_line(fault)}.",
                "use a wider --bin, a shorter --window, fewer --hidden units or an --interval; --dry-run tells what is needed",
            )
            return MEMORY
        _report_internal(fault, session)
        return INTERNAL
    return code if isinstance(code, int) else DONE


def _first_to_speak() -> bool:
    """Whether this process shall tell of a fault; of several that `torchrun` started the first to meet it does."""
    if place_in_team() is None:
        return True
    from spikefit.fitting.processes import first_to_speak

    return first_to_speak()


def show_warning(text: str) -> None:
    """One warning on stderr."""
    click.echo(click.style("warning: ", fg="yellow") + text, err=True)


def _say(message: str, hint: str | None = None) -> None:
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True)
    if hint:
        click.echo(f"  try: {hint}", err=True)


def _way_on(out: Path | None) -> str | None:
    """How to go on after an interrupt, where a checkpoint was left."""
    if out is None or not (any(out.glob("checkpoints/*")) or any(out.glob("*/checkpoints/*"))):
        return None
    return "run the same command again with --resume to go on from the last checkpoint"


def _report_internal(fault: BaseException, session: Session) -> None:
    import traceback

    text = "".join(traceback.format_exception(fault))
    log = _append_to_log(text, session.out)
    if session.verbose:
        click.echo(text, err=True)
    _say(f"spikefit stopped on a fault of its own: {type(fault).__name__}: {_first_line(fault)}")
    if log is not None:
        where = f"the whole traceback is in {log}"
    else:
        where = "the whole traceback is above" if session.verbose else "-v shows the whole traceback"
    click.echo(
        f"  {where}. Please report it to spikefit's issue tracker, with the traceback, the command and what "
        "`spikefit doctor` prints.",
        err=True,
    )


def _append_to_log(text: str, out: Path | None) -> Path | None:
    """Keep the traceback with the results, where there is a place for results."""
    if out is None or not out.is_dir():
        return None
    import datetime

    log = out / LOG_NAME
    try:
        with log.open("a", encoding="utf-8") as stream:
            stream.write(
                f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')} internal fault\n{text}\n"
            )
    except OSError:
        return None
    return log


def _first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(fault).__name__


def _is_out_of_memory(fault: BaseException) -> bool:
    # torch must not be imported to recognise its errors; on the CPU it raises a plain RuntimeError.
    is_torch = type(fault).__name__ == "OutOfMemoryError" and type(fault).__module__.startswith("torch")
    text = str(fault).lower() if isinstance(fault, RuntimeError) else ""
    return isinstance(fault, MemoryError) or is_torch or "can't allocate memory" in text or "out of memory" in text


def _allow_any_sign() -> None:
    """Let a terminal without UTF-8 show a question mark for a sign it lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def _forget_stdout() -> None:
    """Point stdout nowhere, so that the interpreter's own flush at exit does not complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
