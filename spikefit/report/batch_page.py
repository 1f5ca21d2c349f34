"""One self-contained page about many sessions: what came out of each, and what failed and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from spikefit.report.numbers import number
from spikefit.report.tables import Column, table_html
from spikefit.results.documents import clean_text

Row = Mapping[str, Any]

_WORDS = {"done": "done", "failed": "failed", "stopped": "stopped", "not run": "not run"}
_SCORES = (
    ("n_visible", "units", 3, ""),
    ("n_hidden", "hidden units", 3, ""),
    ("n_bins", "bins", 3, ""),
    ("heldout_bits_per_spike", "bits per spike", 3, ""),
    ("heldout_nats_per_bin", "nats per bin", 5, ""),
    ("n_edges", "edges at q ≤ 0.05", 3, ""),
    ("converged", "converged", 3, ""),
    ("n_warnings", "warnings", 3, ""),
    ("wall_s", "time, s", 3, ""),
)


def batch_page(name: str, rows: Sequence[Row], varied: Sequence[str]) -> str:
    """The whole page as one text.

    Args:
        name: of the batch.
        rows: one per job: `name`, `status`, `folder`, `recording`, the scores of `metrics.json`, `reason` and `hint`.
        varied: settings that differ between the jobs, also in the rows.
    """
    import jinja2

    def asset(file: str) -> Markup:
        return Markup(resources.files("spikefit.report").joinpath("templates", file).read_text(encoding="utf-8"))

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spikefit.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    counts = {status: sum(row["status"] == status for row in rows) for status in _WORDS}
    told = ", ".join(f"{count} {_WORDS[status]}" for status, count in counts.items() if count) or "none"
    unfinished = [row for row in rows if row["status"] != "done"]
    finished = [row for row in rows if row["n_bins"] is not None]
    return environment.get_template("batch.html.j2").render(
        name=clean_text(name),
        n_jobs=len(rows),
        told=told,
        unfinished=_unfinished(unfinished) if unfinished else "",
        told_unfinished=_what_to_do(counts),
        finished=_finished(finished, [key for key in varied if any(row[key] for row in finished)]) if finished else "",
        style=asset("page.css"),
        script=asset("page.js"),
    )


def _what_to_do(counts: Mapping[str, int]) -> str:
    texts = []
    if counts["failed"]:
        texts.append("Run the same command again with --only-failed once the reasons below are mended.")
    if counts["stopped"]:
        texts.append("Run it with --resume to go on with what was stopped.")
    if counts["not run"]:
        texts.append("What was not run yet is run by the same command again.")
    return " ".join(texts)


def _unfinished(rows: Sequence[Row]) -> Markup:
    columns = [
        Column("name", [_text(row["name"]) for row in rows], text=True),
        Column("status", [_text(row["status"]) for row in rows], text=True),
        Column("why", [_text(row["reason"]) for row in rows], prose=True),
        Column("what helps", [_text(row["hint"]) for row in rows], prose=True),
        Column("recording", [_text(row["recording"]) for row in rows], prose=True),
    ]
    return table_html(columns, "Jobs without a good end")


def _finished(rows: Sequence[Row], varied: Sequence[str]) -> Markup:
    columns = [Column("name", [_link(row) for row in rows], text=True)]
    columns += [Column(key, [_text(row[key]) for row in rows], text=True) for key in varied]
    for key, title, digits, unit in _SCORES:
        if any(row[key] is not None for row in rows):
            columns.append(Column(title, [number(row[key], digits, unit) for row in rows]))
    return table_html(columns, "Results of all sessions")


def _link(row: Row) -> Markup:
    target = quote(str(row["folder"])) + "/report.html"
    return Markup('<a href="{}">{}</a>').format(target, _text(row["name"]))


def _text(value: Any) -> str:
    return clean_text(str(value))
