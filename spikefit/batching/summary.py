"""The batch on one page and in one table: scores, edges, hidden units, and what failed with its reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikefit.batching.jobs import Job
from spikefit.batching.outcome import METRICS, Outcome
from spikefit.batching.places import Places
from spikefit.files import write_text
from spikefit.report.batch_page import batch_page
from spikefit.results.documents import clean_text

FIRST = ("name", "status", "recording", "folder")
LAST = ("n_warnings", "reason", "hint")


def rows_of(jobs: Sequence[Job], outcomes: dict[str, Outcome], out: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows, a row per job in their order."""
    varied = list(dict.fromkeys(key for job in jobs for key in job.varied))
    scores = (*METRICS, "n_edges")
    # A varied setting may share its name with a score; the column of the score keeps it.
    varied = [key for key in varied if key not in scores]
    rows = []
    for job in jobs:
        outcome = outcomes.get(job.name) or Outcome(job.name, "not run")
        rows.append(
            {
                "name": job.name,
                "status": outcome.status,
                "recording": job.recording,
                "folder": outcome.folder,
                **{key: job.varied.get(key, "") for key in varied},
                **{key: outcome.figures.get(key) for key in scores},
                "n_warnings": len(outcome.warnings) if outcome.figures else None,
                "reason": outcome.reason,
                "hint": outcome.hint,
            }
        )
    return [*FIRST, *varied, *scores, *LAST], rows


def write_summary(places: Places, jobs: Sequence[Job], outcomes: dict[str, Outcome]) -> None:
    """Write `summary.csv` and `summary.html`."""
    columns, rows = rows_of(jobs, outcomes, places.out)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[column]) for column in columns])
    write_text(places.out / "summary.csv", text.getvalue())
    varied = columns[len(FIRST) : -len((*METRICS, "n_edges", *LAST))]
    write_text(places.out / "summary.html", batch_page(places.out.name, rows, varied))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return clean_text(repr(value) if isinstance(value, float) else str(value))
