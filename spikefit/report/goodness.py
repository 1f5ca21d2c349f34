"""The part of the page about goodness of fit: KS plots of rescaled intervals, and the scores of every unit."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.plots.activity import FANO, FANO_SIMULATED
from spikefit.report.charts import Line, line_chart
from spikefit.report.numbers import number
from spikefit.report.tables import Column, table_html
from spikefit.results import Result

# Columns of the unit table that stand in this part of the page, with their headings.
HEADINGS = {
    "judged_spikes": "spikes",
    "bits_per_spike": "bits per spike",
    "pseudo_r2": "pseudo-R²",
    "ks_distance": "KS distance",
    "ks_p_value": "p",
    "ks_q_value": "q over units",
    "interval_correlation": "correlation of successive intervals",
    "interval_correlation_p_value": "p over ten lags",
    FANO: "Fano factor",
    FANO_SIMULATED: "in free runs",
}
Q_LEVEL = 0.05
MOST_PLOTS = 24
BAND = 1.358  # of the KS distance times √n: 95 % of right fits stay inside
MOST_NAMED = 12


def failed_units(result: Result) -> list[int]:
    """Places of the recorded units whose rescaled intervals are not those of the fit, the worst first."""
    q, distance = unit_values(result, "ks_q_value"), unit_values(result, "ks_distance")
    failed = np.flatnonzero(q <= Q_LEVEL)
    return [int(k) for k in failed[np.argsort(-distance[failed], kind="stable")]]


def unit_values(result: Result, name: str) -> NDArray[np.float64]:
    """A column of the recorded units; NaN where it is not known."""
    rows = result.unit_rows[: result.n_visible]
    return np.array([_number(row.columns.get(name)) for row in rows], dtype=np.float64)


def sentence(result: Result) -> Markup | None:
    """How many units the fit describes, for the summary."""
    tested = int(result.metrics.get("ks_units_tested") or 0)
    if not tested:
        return None
    failed = failed_units(result)
    where = "on held-out bins" if result.metrics.get("goodness_heldout") else "on the bins it was fitted to"
    lead = Markup("By time rescaling {}, ").format(where)
    if not failed:
        return lead + Markup("the fit describes all {} units that have enough spikes to tell.").format(number(tested))
    named = ", ".join(result.unit_id[k] for k in failed[:MOST_NAMED]) + (", …" if len(failed) > MOST_NAMED else "")
    return lead + Markup("{} of {} units are not described by the fit (q ≤ {}, worst first): {}.").format(
        number(len(failed)), number(tested), Q_LEVEL, named
    )


def goodness(result: Result, _table: NDArray[np.void]) -> Markup | None:
    """KS plots and scores of every recorded unit; only where goodness of fit was computed."""
    curves = result.diagnostics.get("ks_curve")
    if curves is None or "ks_units_tested" not in result.metrics:
        return None
    parts = [
        Markup("<p>{}</p>").format(sentence(result) or "No unit has enough spikes for a test of its intervals."),
        _lead(result),
    ]
    distance = unit_values(result, "ks_distance")
    order = [int(k) for k in np.argsort(-np.nan_to_num(distance, nan=-1.0), kind="stable") if np.isfinite(distance[k])]
    figures = Markup("").join(_plot(result, k, curves[k]) for k in order[:MOST_PLOTS])
    parts.append(Markup('<div class="grid">{}</div>').format(figures))
    if len(order) > MOST_PLOTS:
        parts.append(Markup("<p>The {} units with the largest distance are drawn.</p>").format(number(MOST_PLOTS)))
    columns = [Column("unit", [escape(unit) for unit in result.unit_id[result.visible]], text=True)]
    for name, heading in HEADINGS.items():
        columns.append(Column(heading, [number(value) for value in unit_values(result, name).tolist()]))
    table = table_html(columns, "goodness of fit of every unit", scroll=True)
    return Markup("").join([*parts, Markup("<details><summary>As a table</summary>{}</details>").format(table)])


def _lead(result: Result) -> Markup:
    text = Markup(
        "<p>Time is stretched by what the fit expects of a unit; if that is right, the intervals between its spikes are exponential and "
        "the line below follows the diagonal, inside the band in 95 of 100 units. With many spikes even a small misfit leaves the band: "
        "the distance says how large it is."
    )
    if result.n_hidden:
        text += Markup(
            " <strong>With hidden units</strong> the expected count is a mean over draws from their posterior, which has seen the spikes "
            "it is held against: a unit that fails here fails indeed, one that passes has proved less."
        )
    return text + Markup("</p>")


def _plot(result: Result, k: int, curve: NDArray[np.float64]) -> Markup:
    levels = np.linspace(0.0, 1.0, curve.size)
    row = result.unit_rows[k]
    distance, p = _number(row.columns.get("ks_distance")), _number(row.columns.get("ks_p_value"))
    half = BAND / np.sqrt(_number(row.columns.get("judged_spikes")))
    chart = line_chart(
        [
            Line(levels, levels, "", "zero", band=(np.clip(levels - half, 0, 1), np.clip(levels + half, 0, 1))),
            Line(levels, curve, "", "training"),
        ],
        title=f"rescaled intervals of unit {row.id}, KS distance {distance:.3g}",
        x_label="if the fit is right",
        y_label="found",
        y_range=(0.0, 1.0),
        size=(240, 220),
    )
    caption = Markup("{}: distance {}, p = {}").format(escape(row.id), number(distance), number(p, 2))
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(caption, chart)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
