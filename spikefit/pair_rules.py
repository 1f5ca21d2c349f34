"""Pairs of units that are known beforehand to be connected or not, from a table of text.

    pre_id,post_id,rule
    *,basket-3,forbidden
    g1-12,basket-3,required

A pattern (`*`, `ca1-*`) stands for all units whose ids it matches; a unit whose id is written like that is meant first.
A later line overrules an earlier one. A line with a pattern speaks of pairs of two different units: what a unit's own spikes
do to it is only touched where its id stands in both columns.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError, did_you_mean
from spikefit.small_tables import read_small_table

COLUMNS = ("pre_id", "post_id", "rule")
RULES = ("forbidden", "required")
MOST_LINES_NAMED = 5
_PATTERN = re.compile(r"[*?\[]")


class PairRule(NamedTuple):
    """One line of the table.

    Attributes:
        pre: id or pattern of the sender.
        post: id or pattern of the receiver.
        rule: `forbidden` or `required`.
        line: of the table, for messages.
    """

    pre: str
    post: str
    rule: str
    line: int


def read_pair_rules(path: str | Path) -> tuple[PairRule, ...]:
    """Read a table of pairs.

    Args:
        path: comma-separated, with the heading `pre_id,post_id,rule` in any order.

    Raises:
        UsageError: if there is no such file, it has another heading, or a line does not fit.
    """
    path = Path(path)
    lines = read_small_table(
        path,
        COLUMNS,
        what="pairs",
        example="unit-1,unit-2,forbidden",
        line_hint="each line names a sender, a receiver and forbidden or required",
        smaller_hint="write groups of units as patterns (ca1-*)",
    )
    rules = []
    for line, (pre, post, rule) in lines:
        if rule.lower() not in RULES:
            raise UsageError(
                f"{path.name}, line {line}: the rule must be forbidden or required, found {rule!r}.",
                hint=did_you_mean(rule, RULES),
            )
        rules.append(PairRule(pre, post, rule.lower(), line))
    return tuple(rules)


def check_names(names: Iterable[str], unit_ids: Sequence[str], source: str) -> None:
    """Refuse ids and patterns that mean no unit of the recording.

    Raises:
        UsageError: naming `source`, the id, and the nearest there is.
    """
    for name in names:
        if not len(matching(name, unit_ids)):
            kind = "no unit matches the pattern" if _PATTERN.search(name) else "the recording has no unit"
            raise UsageError(f"{source}: {kind} {name!r}.", hint=did_you_mean(name, unit_ids))


def check_pair_rules(rules: Iterable[PairRule], unit_ids: Sequence[str], source: str) -> None:
    """Refuse rules that name units the recording does not have.

    Args:
        rules: of one table.
        unit_ids: of the whole recording, units that the fit leaves out included.
        source: name of the table, for the message.

    Raises:
        UsageError: naming line and id, the nearest id there is, and the lines that are wrong as well.
    """
    faults: dict[int, UsageError] = {}
    for rule in rules:
        for column, name in (("pre_id", rule.pre), ("post_id", rule.post)):
            try:
                check_names([name], unit_ids, f"{source}, line {rule.line}, {column}")
            except UsageError as fault:
                faults.setdefault(rule.line, fault)
    if not faults:
        return
    (_, first), *others = faults.items()
    more = ", ".join(str(line) for line, _ in others[:MOST_LINES_NAMED]) + (
        ", …" if len(others) > MOST_LINES_NAMED else ""
    )
    also = (
        f" Line{'s' if len(others) > 1 else ''} {more} name{'s' if len(others) == 1 else ''} no unit either."
        if others
        else ""
    )
    raise UsageError(first.message + also, hint=first.hint)


def pair_tables(rules: Iterable[PairRule], unit_ids: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which couplings are forbidden, and which are required; (post, pre) each.

    Args:
        rules: in their order.
        unit_ids: of the fitted units; rules about others say nothing.
    """
    n = len(unit_ids)
    forbidden, required = np.zeros((n, n), dtype=bool), np.zeros((n, n), dtype=bool)
    itself = np.eye(n, dtype=bool)
    for rule in rules:
        pre, post = matching(rule.pre, unit_ids), matching(rule.post, unit_ids)
        pairs = np.zeros((n, n), dtype=bool)
        pairs[np.ix_(post, pre)] = True
        if rule.pre != rule.post or rule.pre not in unit_ids:
            pairs &= ~itself
        forbidden[pairs], required[pairs] = rule.rule == "forbidden", rule.rule == "required"
    return forbidden, required


def matching(name: str, unit_ids: Sequence[str]) -> NDArray[np.int64]:
    """Indices of the units that an id or a pattern means."""
    if name in unit_ids:
        return np.array([unit_ids.index(name)], dtype=np.int64)
    if not _PATTERN.search(name):
        return np.empty(0, dtype=np.int64)
    match = re.compile(fnmatch.translate(name)).match
    return np.array([k for k, unit in enumerate(unit_ids) if match(unit)], dtype=np.int64)
