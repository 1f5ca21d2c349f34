"""The part of the page about nulls by pairs of types: what no edge looks like from each type to each other, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.plots.nulls import null_curve
from spikefit.report.charts import Line, line_chart
from spikefit.report.numbers import number, signed
from spikefit.report.tables import Column, table_html
from spikefit.results import Result

MOST_PLOTS = 12
REACH = 5.0  # spreads to either side that are drawn
PAIRS_PER_BAR = 6.0
Row = dict[str, Any]
_SHARED = {
    "within": "small groups within a type",
    "between": "small groups between types",
    "rest": "small groups together",
    "all": "all pairs",
}


def rows_of(result: Result) -> list[Row]:
    """The nulls of the pairs of types, the largest group first; none where one null is for all pairs."""
    found = result.metrics.get("null_by_type")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list | tuple) else []


def nulls(result: Result, _table: NDArray[np.void]) -> Markup | None:
    """A table of the nulls, and a picture of each with the pairs that it was read from."""
    rows = rows_of(result)
    if not rows:
        return None
    lead = Markup(
        "<p>Units have types ({}), and what no edge looks like was read for each pair of types by itself, from the couplings over their "
        "standard errors with shared inputs taken off: their centre and how widely they scatter, 1 if the standard errors were right. The tail has one "
        "shape for all, 2 for a normal law, less for heavier tails. q-values are over all pairs together.{}</p>"
    ).format(str(result.metrics.get("pair_types")), _one_null(result))
    columns = [
        Column("from", [escape(row["pre_type"]) for row in rows], text=True),
        Column("to", [escape(row["post_type"]) for row in rows], text=True),
        Column("pairs", [number(row["n_pairs"]) for row in rows]),
        Column("null of", [_fitted_to(row) for row in rows], text=True),
        Column("centre", [signed(float(row["centre"])) for row in rows]),
        Column("spread", [number(row["spread"]) for row in rows]),
        Column("tail", [number(row["shape"]) for row in rows]),
        *_share_edges(rows),
        Column("edges", [number(row["n_edges"]) for row in rows]),
    ]
    return lead + table_html(columns, "nulls by pairs of types", scroll=len(rows) > 20) + _plots(result, rows)


def _one_null(result: Result) -> Markup:
    spread, n_edges = result.metrics.get("null_spread"), result.metrics.get("n_edges_one_null")
    if spread is None or n_edges is None:
        return Markup("")
    return Markup(
        " One null for all pairs would have a centre of {} and a spread of {}, and would call {} edges."
    ).format(signed(float(result.metrics.get("null_centre") or 0.0)), number(spread), number(n_edges))


def _fitted_to(row: Row) -> Markup:
    if row["fitted_to"] == "own":
        return Markup("its own")
    return Markup("{}, {}").format(_SHARED[row["fitted_to"]], number(row.get("n_fitted")))


def _share_edges(rows: list[Row]) -> list[Column]:
    if not any("share_edges" in row for row in rows):
        return []
    return [Column("share of edges, fitted beside", [number(row.get("share_edges")) for row in rows])]


def _plots(result: Result, rows: list[Row]) -> Markup:
    z = result.diagnostics.get("tested_z")
    if z is None:
        return Markup("")
    types = np.array([str(row.columns.get("pair_type", "")) for row in result.unit_rows[: result.n_visible]])
    figures = []
    for row in rows[:MOST_PLOTS]:
        members = np.outer(types == row["post_type"], types == row["pre_type"]) & np.isfinite(z)
        if members.any():
            figures.append(_plot(row, z[members]))
    caption = Markup(
        "<p>How often each size of coupling occurs, in standard errors: the pairs (blue steps), the null they are held against (orange), and what the "
        "standard errors alone would say (grey). Couplings beyond the picture are edges, or could be.</p>"
    )
    return caption + Markup('<div class="grid">{}</div>').format(Markup("").join(figures))


def _plot(row: Row, z: NDArray[np.float64]) -> Markup:
    centre, spread = float(row["centre"]), float(row["spread"])
    half = REACH * max(spread, 1.0)
    n_bars = int(np.clip(len(z) / PAIRS_PER_BAR, 12, 40))
    edges = np.linspace(centre - half, centre + half, n_bars + 1)
    density = np.histogram(z, edges)[0] / (len(z) * np.diff(edges))
    x = np.linspace(edges[0], edges[-1], 201)
    named = f"{row['pre_type']} → {row['post_type']}"
    chart = line_chart(
        [
            Line(x, null_curve(x, 0.0, 1.0, 2.0), "", "restart"),
            Line(np.repeat(edges, 2)[1:-1], np.repeat(density, 2), "", "training"),
            Line(x, null_curve(x, centre, max(spread, 1.0), float(row["shape"])), "", "heldout"),
        ],
        title=f"couplings {named} in standard errors, beside their null",
        x_label="coupling over standard error",
        y_label="density",
        size=(320, 240),
    )
    caption = Markup("{}: {} pairs, spread {}").format(named, number(row["n_pairs"]), number(spread))
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(caption, chart)
