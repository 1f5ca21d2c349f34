"""What a recording can resolve, as files: a page, the numbers and tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikefit.errors import UsageError
from spikefit.files import writing_folder
from spikefit.recovery.hidden import HiddenRun
from spikefit.recovery.page import recovery_html
from spikefit.recovery.scores import RecoveryScore
from spikefit.results.layout import MAIN_FILE
from spikefit.results.tables import write_table

if TYPE_CHECKING:
    from spikefit.recovery.outcome import Recovery


def save_recovery(recovery: Recovery, folder: Path, *, overwrite: bool) -> Path:
    """Write the files; see `Recovery.save`."""
    from spikefit.recovery.outcome import TrueEdge

    check_place(folder, overwrite=overwrite)
    with writing_folder(folder, overwrite=overwrite) as staging:
        (staging / "recover.html").write_text(recovery_html(recovery), encoding="utf-8", newline="\n")
        numbers = json.dumps(recovery.to_dict(), indent=2, ensure_ascii=False)
        (staging / "recover.json").write_text(numbers + "\n", encoding="utf-8")
        write_table(staging / "runs.csv", *_table(RecoveryScore, recovery.scores))
        write_table(staging / "true_edges.csv", *_table(TrueEdge, recovery.edges))
        if recovery.hidden.runs:
            rows = [list(run.row().values()) for run in recovery.hidden.runs]
            write_table(staging / "hidden.csv", HiddenRun.header(), rows)
    return folder


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder before the work.

    Raises:
        UsageError: if it holds a result, or anything and `overwrite` is not set.
    """
    if (folder / MAIN_FILE).exists():
        raise UsageError(f"{folder} holds a result, and stays as the fit left it.", hint="pass another -o")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise UsageError(f"{folder} is there already; it was left as it is.", hint="pass --overwrite, or another -o")


def _table(kind: type[Any], items: Iterable[Any]) -> tuple[list[str], Iterable[list[Any]]]:
    header = [item.name for item in fields(kind)]
    return header, ([asdict(item)[key] for key in header] for item in items)
