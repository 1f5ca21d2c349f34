"""The page about what a recording can resolve, in the style of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from spikefit.recovery.hidden_page import NAMES, hidden_section
from spikefit.report.charts import Line, line_chart
from spikefit.report.numbers import number
from spikefit.report.page import page_html
from spikefit.report.scatter import scatter_chart
from spikefit.report.sections import Section
from spikefit.report.tables import Column, table_html

if TYPE_CHECKING:
    from spikefit.recovery.outcome import Recovery


def recovery_html(recovery: Recovery) -> str:
    """The whole page as one text."""
    sections = [Section("summary", "What this recording can resolve", _summary(recovery))]
    sections.append(Section("scores", "Found and called", _scores(recovery)))
    lengths = _lengths(recovery)
    if lengths:
        sections.append(Section("lengths", "Against the length of the recording", lengths))
    if recovery.hidden.runs:
        sections.append(Section("hidden", "Against the number of unrecorded neurons", hidden_section(recovery)))
    if recovery.edges:
        sections.append(Section("weights", "True and estimated couplings", _weights(recovery)))
    about = "Simulated from a fit of spikefit, and fitted again with the same settings"
    return page_html(sections, name=recovery.name, title=f"{recovery.name}: recovery", about=about)


def _summary(recovery: Recovery) -> Markup:
    text = Markup("<p><strong>{}</strong></p>").format(recovery.sentence())
    if recovery.hidden.runs:
        text += Markup("<p><strong>{}</strong></p>").format(recovery.hidden.sentence())
    text += Markup(
        "<p>For edges of the fit the truth is {}. Random networks have the same units, rates, length and number of edges.</p>"
    ).format(recovery.truth_rule)
    notes = Markup("").join(Markup("<li>{}</li>").format(note) for note in recovery.notes)
    return text + (
        Markup('<div class="warnings"><h3>Read with care</h3><ul>{}</ul></div>').format(notes) if notes else ""
    )


def _scores(recovery: Recovery) -> Markup:
    rows = recovery.means()

    def column(title: str, key: str) -> Column:
        return Column(title, [number(row[key]) for row in rows])

    columns = [
        Column("network", [NAMES[row["network"]] for row in rows], text=True),
        column("lengths", "length"),
        # What is asked first stands first: on a telephone the last columns are out of sight.
        column("recall", "recall"),
        column("false discoveries", "false_discovery_proportion"),
        column("true edges", "n_true"),
        column("called", "n_called"),
        column("precision", "precision"),
        column("average precision", "average_precision"),
        column("r of weights", "weight_correlation"),
        column("coverage", "coverage"),
        column("coverage, edges", "edge_coverage"),
        column("simulations", "n_seeds"),
    ]
    if any(row["n_hidden_true"] or row["n_hidden_fitted"] for row in rows):
        columns += [column("hidden units", "n_hidden_true"), column("hidden units found", "n_hidden_found")]
    lead = Markup("<p>Means over simulations. Edges are called at q ≤ {}; intervals should cover 0.9.</p>")
    return lead.format(number(recovery.q)) + table_html(columns, "recovery")


def _lengths(recovery: Recovery) -> Markup | None:
    rows = recovery.means()
    charts = []
    for kind in dict.fromkeys(row["network"] for row in rows):
        group = sorted((row for row in rows if row["network"] == kind), key=lambda row: row["length"])
        if len(group) < 2:
            continue
        length = np.array([row["length"] for row in group])
        lines = [
            Line(length, _values(group, "recall"), "recall", "training"),
            Line(length, _values(group, "false_discovery_proportion"), "false discoveries", "heldout"),
        ]
        title = f"recall and false discoveries against length, {NAMES[kind]}"
        chart = line_chart(lines, title=title, x_label="lengths of the recording", y_label="share", y_range=(0, 1.02), size=(420, 260))  # fmt: skip
        charts.append(Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(NAMES[kind], chart))
    return Markup('<div class="grid wide">{}</div>').format(Markup("").join(charts)) if charts else None


def _values(rows: list[dict[str, Any]], key: str) -> Any:
    return np.array([row[key] for row in rows], dtype=np.float64)


def _weights(recovery: Recovery) -> Markup:
    charts = []
    for kind in dict.fromkeys(edge.network for edge in recovery.edges):
        edges = [edge for edge in recovery.edges if edge.network == kind and abs(edge.estimate) < 1e6]
        chart = scatter_chart(
            np.array([edge.weight for edge in edges]),
            np.array([edge.estimate for edge in edges]),
            title=f"estimated against true couplings of the edges, {NAMES[kind]}",
            x_label="true, drive per spike",
            y_label="estimated, drive per spike",
        )
        charts.append(Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(NAMES[kind], chart))
    lead = Markup("<p>One point for each true edge of each simulation, at all lengths.</p>")
    return lead + Markup('<div class="grid wide">{}</div>').format(Markup("").join(charts))
