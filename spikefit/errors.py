"""Errors a person in the lab can mend, each with its own exit code.

The tree, with the exit code of the command line beside each::

    SpikefitError             1   anything of ours that has no better place
    ├── UsageError            2   a flag, a name or an output folder that cannot be used as given
    ├── ConfigError           3   a configuration with faults, all of them listed
    ├── RecordingError        4   a recording that cannot be read, or holds no usable units
    ├── ResultError           4   a result folder or file that cannot be read
    ├── DeviceError           5   a device that is not there, or ran out of memory
    ├── NotConvergedError     6   a fit that did not converge, when `--strict` asked for one that does
    └── Checkpointed         75   stopped on request with a checkpoint; run again with `--resume`

A programmer's mistake stays a `ValueError` or `TypeError`; `assert` states a belief about our own code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class SpikefitError(Exception):
    """A fault that the user can mend; it is shown as a message and a hint, never as a traceback.

    Args:
        message: what was found and what was expected, with the file or key and the units.
        hint: the next step, as a phrase that can follow "try:".
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions rebuild from `args` alone; the keyword would be lost between worker processes.
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[SpikefitError], message: str, hint: str | None) -> SpikefitError:
    return kind(message, hint=hint)


class UsageError(SpikefitError):
    """A flag, a name or an output folder cannot be used as given."""

    exit_code = 2


class ConfigError(SpikefitError):
    """A configuration has faults; the message lists all of them."""

    exit_code = 3


class RecordingError(SpikefitError):
    """A recording cannot be read, or holds nothing that can be used."""

    exit_code = 4


class ResultError(SpikefitError):
    """A result folder or one of its files cannot be read."""

    exit_code = 4


class DeviceError(SpikefitError):
    """A compute device is absent, unusable or out of memory."""

    exit_code = 5


class NotConvergedError(SpikefitError):
    """A fit did not converge although `strict` demanded it."""

    exit_code = 6

    @staticmethod
    def way_on(n_hidden: int) -> str:
        """The hint for a fit with so many hidden units."""
        if n_hidden:
            return "raise max_epochs, or look at the scores over training in report.html"
        return "raise ridge: max_epochs is for hidden units, and without them only couplings that the data leave open keep a fit from its optimum"


class Checkpointed(SpikefitError):
    """The run stopped on request and left a checkpoint to resume from."""

    exit_code = 75


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None where nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 8) -> str:
    """A hint for a name that does not exist: the nearest one that does, else a few that do."""
    names = [str(k) for k in known]
    guess = nearest(name, names)
    if guess is not None:
        return f"did you mean {guess!r}?"
    if not names:
        return "there are none to choose from"
    shown = ", ".join(repr(n) for n in names[:limit])
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"there are: {shown}{more}"
