"""Work that falls into independent pieces: one after the other here, or each where there is room for it.

A fit names the stages that fall into pieces (`hidden`: one per number of hidden units; `fold`: one per fold of a
cross-validation; `surrogates`: one per so many of them) and hands them to a `Spread`, which is `one_by_one` unless its caller brings another. Every piece leaves what it found as a file beside the
fit and starts from that file where it is there. So whoever wants a fit done in several places lets each of them do one
`Share` of a stage by the very same call, and then makes the fit, which finds all pieces done. No function and no
object ever travels, and the bits are those of a fit that did it all alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

SURROGATES_PER_PIECE = 25

Item = TypeVar("Item")
Found = TypeVar("Found")


@runtime_checkable  # the tests check the types of what a fit is given
class Spread(Protocol):
    """How the pieces of a stage are done."""

    def __call__(self, stage: str, function: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
        """Do a piece for each item.

        Args:
            stage: one word.
            function: leaves what it found as a file, and starts from that file when it is resumed.
            items: one per piece; the same ones, in the same order, in every process.

        Returns:
            What the function gave, in the order of the items.
        """


def one_by_one(stage: str, function: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """Do all pieces here, in their order."""
    return [function(item) for item in items]


class ShareDone(Exception):
    """A share is done, and nothing more was wanted."""


@dataclass(frozen=True)
class Share:
    """One share of the pieces of a stage; the fit that is given it ends when they are done.

    Args:
        stage: the stage; others are done as a whole.
        number: which share, from 0.
        of: how many shares there are.
    """

    stage: str
    number: int
    of: int

    def __call__(self, stage: str, function: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
        """Do this share's pieces.

        Raises:
            ShareDone: behind the last of them.
        """
        if stage != self.stage:
            return one_by_one(stage, function, items)
        # From the last, which is the largest, so that the longest work begins first.
        for item in list(items)[::-1][self.number :: self.of]:
            function(item)
        raise ShareDone
