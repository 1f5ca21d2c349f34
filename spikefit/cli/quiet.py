"""Warnings and log records of libraries stay off the terminal; -v shows them, and the log of a result keeps them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import click

from spikefit.cli.guard import Session


@contextlib.contextmanager
def quiet_libraries(session: Session) -> Iterator[None]:
    """Send warnings into the log for as long as a command runs.

    Args:
        session: says whether the command was given -v.
    """
    root = logging.getLogger()
    # Without any handler Python prints records from WARNING on to stderr.
    handler = _VerboseHandler(session)
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)


class _VerboseHandler(logging.Handler):
    """Shows records on stderr when the command was given -v, drops them otherwise."""

    def __init__(self, session: Session) -> None:
        super().__init__(level=logging.WARNING)
        self._session = session
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if self._session.verbose:
            click.echo(self.format(record), err=True)
