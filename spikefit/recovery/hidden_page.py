"""The section about unrecorded neurons on the page about what a recording can resolve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from spikefit.recovery.hidden import BY_Q
from spikefit.recovery.jobs import FIT, RANDOM, WITH, WITHOUT
from spikefit.recovery.scores import FOUND_CORRELATION
from spikefit.report.charts import Line, line_chart
from spikefit.report.numbers import number
from spikefit.report.tables import Column, table_html

if TYPE_CHECKING:
    from spikefit.recovery.outcome import Recovery

NAMES = {FIT: "the fit itself", RANDOM: "random networks like it"}
WAYS = {WITHOUT: "without hidden units", WITH: "with hidden units"}
STYLES = {WITHOUT: "heldout", WITH: "training"}


def hidden_section(recovery: Recovery) -> Markup:
    """What the numbers are of, two charts, and the table."""
    against = recovery.hidden
    how = "with the settings of the result" if against.own_settings else "with as many of them as there are"
    lead = Markup(
        "<p>These simulated recordings are {} the recording; {}. Networks of one seed have the same recorded part, whatever is unrecorded. "
        "Fits with hidden units are made {}. An unrecorded neuron is found where a hidden unit follows its spikes (r ≥ {}, matched one to one).</p>"
    ).format(_times(against.runs[0].score.length), against.unrecorded, how, number(FOUND_CORRELATION))
    rows = against.means()
    return lead + _charts(rows) + _table(rows, recovery.q)


def _times(length: float) -> str:
    return "as long as" if length == 1 else f"{length:g} times as long as"


def _charts(rows: list[dict[str, Any]]) -> Markup:
    charts = []
    random = [row for row in rows if row["network"] == RANDOM]
    for key, name in (("false_discovery_proportion", "false discoveries"), ("recall", "recall")):
        lines = []
        for way, label in WAYS.items():
            group = [row for row in random if row["fitted"] == way]
            if group:
                at, values = (np.array([row[k] for row in group], dtype=np.float64) for k in ("n_hidden_true", key))
                lines.append(Line(at, values, label, STYLES[way]))
        if len({row["n_hidden_true"] for row in random}) < 2:
            continue
        title = f"{name} against the number of unrecorded neurons"
        chart = line_chart(lines, title=title, x_label="unrecorded neurons", y_label=name, y_range=(0, 1.02), size=(400, 260))  # fmt: skip
        charts.append(Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(name, chart))
    return Markup('<div class="grid wide">{}</div>').format(Markup("").join(charts)) if charts else Markup("")


def _table(rows: list[dict[str, Any]], q: float) -> Markup:
    def column(title: str, key: str) -> Column:
        return Column(title, [number(row[key]) for row in rows])

    columns = [
        column("unrecorded", "n_hidden_true"),
        Column("hidden units", [_fitted(row) for row in rows], text=True),
        column("false discoveries", "false_discovery_proportion"),
        column("recall", "recall"),
        column("average precision", "average_precision"),
        column("unrecorded found", "n_hidden_found"),
        column("true edges", "n_true"),
        column("called", "n_called"),
        column("coverage", "coverage"),
        column("coverage, edges", "edge_coverage"),
    ]
    if any(row["network"] == FIT for row in rows):
        columns.insert(0, Column("network", [NAMES[row["network"]] for row in rows], text=True))
    if any(row["called_by"] != BY_Q for row in rows):
        columns.append(Column("called by", [row["called_by"] for row in rows], text=True))
    lead = Markup("<p>{}; edges are called at q ≤ {}, and intervals should cover 0.9.</p>")
    return lead.format(_means_over(max(row["n_seeds"] for row in rows)), number(q)) + table_html(
        columns, "recovery beside unrecorded neurons"
    )


def _fitted(row: dict[str, Any]) -> str:
    return "without" if row["fitted"] == WITHOUT else f"with {row['n_hidden_fitted']:g}"


def _means_over(n: int) -> str:
    return "One simulation of each" if n == 1 else f"Means over {n} simulations of each"
