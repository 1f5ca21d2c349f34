"""How a key of the configuration shows itself on the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hint:
    """How a key shows itself on the command line.

    Args:
        metavar: the word that stands for the value in `--help`.
        flag: whether the key is a flag at all; thresholds of checks are not, there are too many.
    """

    metavar: str | None = None
    flag: bool = True
