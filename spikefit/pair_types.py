"""A type for every unit, so that pairs of types can be looked at apart: from a column of the unit table, or a table of text.

    unit_id,type
    ca1-*,pyramidal
    ca1-7,basket

A pattern stands for all units whose ids it matches. A later line overrules an earlier one; two lines that name the same unit
must agree.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError, did_you_mean, nearest
from spikefit.pair_rules import check_names, matching
from spikefit.small_tables import read_small_table

COLUMNS = ("unit_id", "type")
NONE = "none"
TABLE_SUFFIX = ".csv"
MOST_SHOWN = 6

Pair = tuple[str, str]
Of = Literal["own", "within", "between", "rest", "all"]


def is_table(source: str) -> bool:
    """Whether `pair_types` names a table and not a column; a table's name ends in `.csv`."""
    return source.lower().endswith(TABLE_SUFFIX)


def types_in_table(path: str | Path, unit_ids: Sequence[str], *, known: Collection[str] = ()) -> tuple[str, ...]:
    """The type of each unit by a table; empty where it says nothing of a unit.

    Args:
        path: comma-separated, with the heading `unit_id,type` in any order.
        unit_ids: of the whole recording.
        known: ids of units that were left out of it, which the table may name all the same.

    Raises:
        UsageError: if the table cannot be read, names an unknown unit, or gives a unit two types.
    """
    path = Path(path)
    lines = read_small_table(
        path,
        COLUMNS,
        what="unit types",
        example="unit-1,pyramidal",
        line_hint="each line names a unit, or a pattern (ca1-*), and its type",
        smaller_hint="write groups of units as patterns (ca1-*)",
    )
    found = [""] * len(unit_ids)
    first: dict[str, tuple[int, str]] = {}
    for line, (unit, kind) in lines:
        line_before, kind_before = first.setdefault(unit, (line, kind))
        if kind != kind_before:
            raise UsageError(
                f"{path.name}, line {line}: {unit!r} is of type {kind!r} here and of type {kind_before!r} on line {line_before}.",
                hint="leave one of the lines out",
            )
        if unit not in known:
            check_names([unit], unit_ids, f"{path.name}, line {line}, unit_id")
        for row in matching(unit, unit_ids).tolist():
            found[row] = kind
    return tuple(found)


def types_in_column(values: NDArray[Any]) -> tuple[str, ...]:
    """The values of a column of the unit table as types; empty where there is none (an empty text, or NaN)."""
    return tuple(_as_type(value.item() if isinstance(value, np.generic) else value) for value in values)


def _as_type(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return f"{value:g}"  # 3.0 is the type 3: tables read by pandas hold whole numbers so
    return " ".join(str(value).split())


def usable_columns(columns: Mapping[str, NDArray[Any]]) -> list[str]:
    """Names of the columns that could hold types: one value per unit."""
    return [name for name, values in columns.items() if np.asarray(values).ndim == 1]


def types_of_units(
    source: str,
    unit_ids: Sequence[str],
    columns: Mapping[str, NDArray[Any]] | None,
    *,
    known: Collection[str] = (),
) -> tuple[str, ...]:
    """The type of each unit of a recording; empty where nothing is said of a unit.

    Args:
        source: name of a column, or of a table that ends in `.csv`.
        unit_ids: of the whole recording.
        columns: of its unit table; None where only counts are known.
        known: ids of units that were left out of it.

    Raises:
        UsageError: if there is no such column, with those that there are, or the table is wrong.
    """
    if is_table(source):
        return types_in_table(source, unit_ids, known=known)
    if columns is None:
        raise UsageError(
            f"counts alone do not hold unit columns, and pair_types asks for {source!r}.",
            hint="fit the recording itself (spikefit.read), or give a table of types (unit_id,type) whose name ends in .csv",
        )
    there = usable_columns(columns)
    if source in there:
        return types_in_column(columns[source])
    if Path(source).is_file():
        raise UsageError(
            f"pair_types: the recording has no unit column {source!r}, and a table of types must have a name that ends in .csv.",
            hint="rename the file",
        )
    if not there:
        raise UsageError(
            f"pair_types: the recording has no unit column {source!r}; it has none at all.",
            hint="give a table of types (unit_id,type) whose name ends in .csv",
        )
    raise UsageError(
        f"pair_types: the recording has no unit column {source!r}; it has {', '.join(there)}.",
        hint=did_you_mean(source, there) if nearest(source, there) else "`spikefit inspect` shows what is in each",
    )


def describe_columns(
    columns: Mapping[str, NDArray[Any]], unit_ids: Sequence[str], kept: Sequence[bool], *, least: int
) -> list[dict[str, Any]]:
    """What each unit column would come to as types of pairs, for `spikefit inspect`.

    Args:
        columns: of the unit table.
        unit_ids: of all units.
        kept: which of them would be used.
        least: as for `fault_of`.

    Returns:
        For each column `name`, `types` (units by type, the most frequent first; empty where nearly every unit has its own),
        `for_pair_types` and, where that is false, `reason`.
    """
    chosen = [row for row, used in enumerate(kept) if used]
    ids = [unit_ids[row] for row in chosen]
    out = []
    for name in usable_columns(columns):
        found = types_in_column(np.asarray(columns[name]))
        types = tuple(found[row] for row in chosen)
        fault = fault_of(types, ids, least=least)
        counted = Counter(kind for kind in types if kind)
        told = dict(counted.most_common()) if len(counted) <= max(1, len(types) // 2) else {}
        out.append(
            {"name": name, "types": told, "for_pair_types": fault is None, "reason": "" if fault is None else fault[0]}
        )
    return out


def group_sizes(types: Sequence[str]) -> dict[Pair, int]:
    """Ordered pairs of two different units by (type of the sender, type of the receiver), types in alphabetical order."""
    n = dict(sorted(Counter(types).items()))
    return {(pre, post): n[pre] * (n[post] - (pre == post)) for pre in n for post in n}


def null_of_each(sizes: Mapping[Pair, int], least: int) -> dict[Pair, Of]:
    """Which null each pair of types gets.

    One of its `own` where it has enough pairs. Pairs of types that are too small share one: those `within` a type, those `between` two types;
    where neither have enough, the `rest` together; and where that is too few, the null of `all` pairs.

    Args:
        sizes: pairs of units by (type of the sender, type of the receiver).
        least: how many a null needs.
    """
    small = {pair: size for pair, size in sizes.items() if size < least}
    within, between = _within_and_between(small)
    together: Of = "rest" if within + between >= least else "all"
    shared: dict[bool, Of] = {True: "within", False: "between"}
    enough = {True: within >= least, False: between >= least}
    if not any(enough.values()):
        shared = dict.fromkeys(shared, together)
    else:
        shared = {same: name if enough[same] else "all" for same, name in shared.items()}
    return {pair: shared[pair[0] == pair[1]] if pair in small else "own" for pair in sizes}


def _within_and_between(sizes: Mapping[Pair, int]) -> tuple[int, int]:
    within = sum(size for (pre, post), size in sizes.items() if pre == post)
    return within, sum(sizes.values()) - within


def fault_of(types: Sequence[str], unit_ids: Sequence[str], *, least: int) -> tuple[str, str] | None:
    """Why types cannot be used, and what to do; None where they can.

    Args:
        types: of the units that are used.
        unit_ids: their ids.
        least: how many ordered pairs a null needs.
    """
    bare = [unit for unit, kind in zip(unit_ids, types, strict=True) if not kind]
    if bare:
        shown = ", ".join(bare[:MOST_SHOWN]) + (", …" if len(bare) > MOST_SHOWN else "")
        count = f"{len(bare)} of {len(unit_ids)} units {'has' if len(bare) == 1 else 'have'} no type ({shown})"
        return (
            count,
            "leave these units out (--units), or give a table (unit_id,type) with a type for each, unknown if need be",
        )
    kinds = sorted(set(types))
    if len(kinds) < 2:
        return (
            f"all {len(unit_ids)} units are of one type, {kinds[0]!r}" if kinds else "there are no units",
            _LEAVE_AWAY,
        )
    sizes = group_sizes(types)
    given = set(null_of_each(sizes, least).values())
    if "own" in given or {"within", "between"} <= given:
        return None
    most = max(sizes, key=lambda key: sizes[key])
    within, between = _within_and_between(sizes)
    return (
        f"{len(kinds)} types, and no pair of types has the {least} pairs of units that a null of its own needs (most: {most[0]} → {most[1]} "
        f"with {sizes[most]}; within types {within} in all, between types {between})",
        "give fewer, larger types, or leave --pair-types away for one null of all pairs",
    )


_LEAVE_AWAY = "leave --pair-types away: one null of all pairs is what that comes to"
