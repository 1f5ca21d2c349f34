"""Which recordings a batch is about: files, patterns, or a table with one recording per row."""

from __future__ import annotations

import csv
import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spikefit.batching.jobs import Session
from spikefit.config import JOB_SECTIONS, all_keys, keys_of
from spikefit.errors import ConfigError, UsageError, did_you_mean

_COLUMNS = ("path", "name")
_ABSENT = ("", "n/a", "N/A", "NA")  # BIDS tables write n/a
_MOST_BYTES = 64_000_000


def find_sessions(patterns: Iterable[str | Path], base: Path) -> list[Session]:
    """The recordings that paths and patterns name, each once.

    A path that exists is taken as it is, whatever signs it holds; anything else is a pattern (`*`, `?`, `[…]`, `**`).

    Raises:
        UsageError: if some name nothing; all of them are listed.
    """
    found: dict[Path, Session] = {}
    missing = []
    for pattern in patterns:
        path = Path(os.path.abspath(base / pattern))
        if os.path.lexists(path):
            matches = [path]
        else:
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        if not matches:
            missing.append(str(pattern))
        for match in matches:
            found.setdefault(match, Session(match, {}))
    if missing:
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise UsageError(f"there is no such recording: {shown}.", hint="a pattern such as 'sub-*/*.nwb' needs quotes")
    return list(found.values())


def read_sessions(table: Path) -> list[Session]:
    """Read a table: a column `path`, relative to the table; `name` for the result; any setting by its key.

    Empty cells and `n/a` leave a setting as it is for all. Tabs separate columns in a file that ends in `.tsv`.

    Raises:
        ConfigError: with all faults of the table, row by row.
    """
    rows = _rows(table)
    header = [cell.strip() for cell in rows[0]] if rows else []
    keys = {key.name: key for key in keys_of(JOB_SECTIONS)}
    columns = [name.replace("-", "_") for name in header]
    faults = []
    if "path" not in columns:
        faults.append(f"there is no column `path`; found {', '.join(header) or 'nothing'}")
    for name in columns:
        if name not in _COLUMNS and name not in keys:
            faults.append(f"column {name!r}: there is no such setting; {did_you_mean(name, [*_COLUMNS, *keys])}")
        if columns.count(name) > 1:
            faults.append(f"column {name!r} stands {columns.count(name)} times")
    sessions: list[Session] = []
    seen: dict[Any, int] = {}
    if not faults:
        for number, row in enumerate(rows[1:], start=2):
            if not any(cell.strip() for cell in row):
                continue
            session, wrong = _session(table, number, columns, row)
            faults += wrong
            if session is None:
                continue
            same = (session.path, tuple(sorted((k, str(v)) for k, v in session.overrides.items())))
            if same in seen:
                faults.append(f"row {number} says the same as row {seen[same]}")
            seen.setdefault(same, number)
            sessions.append(session)
        if not sessions and not faults:
            faults.append("there are no rows below the header")
    if faults:
        raise ConfigError(_listing(table, faults), hint="one row per recording: path,units,epochs,…")
    return sessions


def _rows(table: Path) -> list[list[str]]:
    try:
        with table.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError as fault:
        raise ConfigError(f"{table}: there is no such table of sessions.") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(
            f"{table}: this is no UTF-8 text (byte {fault.start}).", hint="save it as CSV UTF-8"
        ) from fault
    except OSError as fault:
        raise ConfigError(f"{table}: cannot be read: {fault.strerror or fault}.") from fault
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{table}: this is too long for a table of sessions (more than {_MOST_BYTES:,} bytes).")
    first = text.split("\n", 1)[0]
    separator = "\t" if table.suffix.lower() == ".tsv" else ";" if ";" in first and "," not in first else ","
    try:
        return list(csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True))
    except csv.Error as fault:
        raise ConfigError(f"{table}: this is not a table that can be read: {fault}.") from fault


def _session(table: Path, number: int, columns: Sequence[str], row: Sequence[str]) -> tuple[Session | None, list[str]]:
    from spikefit.config import Config

    if len(row) != len(columns):
        return None, [f"row {number} has {len(row)} cells, the header {len(columns)}"]
    cells = {name: cell.strip() for name, cell in zip(columns, row, strict=True)}
    given = {name: cell for name, cell in cells.items() if name not in _COLUMNS and cell not in _ABSENT}
    faults = []
    overrides: dict[str, Any] = {}
    for name, cell in given.items():
        value: Any = [part.strip() for part in cell.split(",")] if all_keys()[name].is_list else cell
        try:
            Config().replace(**{name: value})
            overrides[name] = value
        except ConfigError as fault:
            # A contradiction with a default may be none with the other settings of the batch.
            if f"{name}=: {name}: " in fault.message:
                faults.append(f"row {number}, {name}: {fault.message.partition(f'{name}=: {name}: ')[2]}")
            else:
                overrides[name] = value
    text = cells["path"]
    if not text:
        faults.append(f"row {number}: path is empty")
        return None, faults
    expanded = expand(text, table.parent)
    if expanded is None:
        faults.append(f"row {number}: {text} names an environment variable that is not set")
        return None, faults
    path = Path(os.path.abspath(table.parent / expanded))
    if not os.path.lexists(path):
        faults.append(f"row {number}: there is no such recording: {text}")
    return Session(path, overrides, cells.get("name", ""), f"{table.name} row {number}"), faults


def expand(text: str, base: Path) -> str | None:
    """A path from a file with its variables and `~` filled in; None where a variable is not set.

    What is there under just this name is taken as it is, whatever signs it holds.
    """
    if os.path.lexists(base / text):
        return text
    expanded = os.path.expanduser(os.path.expandvars(text))
    return None if re.search(r"\$(\w+|\{\w+\})", expanded) else expanded


def _listing(table: Path, faults: Sequence[str]) -> str:
    if len(faults) == 1:
        return f"{table.name}: {faults[0]}"
    shown = "\n".join(f"  - {text}" for text in faults[:50])
    more = f"\n  … and {len(faults) - 50} more" if len(faults) > 50 else ""
    return f"{table.name} has {len(faults)} faults:\n{shown}{more}"
