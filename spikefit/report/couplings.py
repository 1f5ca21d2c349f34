"""The parts of the page about couplings: matrix, graph, table, filters."""

from __future__ import annotations

import json

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.report.charts import Line, line_chart
from spikefit.report.matrix import matrix_data, matrix_svg, scale_svg, shown_units
from spikefit.report.network import network_svg
from spikefit.report.numbers import number, signed
from spikefit.report.summary import Q_LEVEL
from spikefit.report.tables import Column, table_html
from spikefit.results import Result

Edges = NDArray[np.void]

N_EDGES, N_FILTERS = 60, 12


def matrix(result: Result, _table: Edges) -> Markup | None:
    """The matrix with its colours, its order and the numbers under the pointer."""
    units = shown_units(result)
    if len(units) < 2:
        return None
    data = json.dumps(matrix_data(result, units), ensure_ascii=False, allow_nan=False)
    for sign, code in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
    ):  # nothing in it may end the script element
        data = data.replace(sign, code)
    part = ""
    if len(units) < result.n_units:
        part = Markup(
            " Shown are the {} units with the strongest couplings, of {}; <code>connectivity.h5</code> has all."
        ).format(number(len(units)), number(result.n_units))
    return Markup(
        "<p>Each row receives, each column sends. Red raises the receiver's drive, blue lowers it; the colours fade to the page "
        "at zero. The diagonal, each unit's history on itself, is grey.{}{}</p>"
        '<p class="tools" hidden><label>Order <select id="order"></select></label></p>'
        '<figure>{}<figcaption>{}<output id="readout" aria-live="polite"></output></figcaption></figure>'
        '<script type="application/json" id="matrix-data">{}</script>'
    ).format(
        Markup(" Hidden units stand behind the dashed line.") if result.n_hidden else "",
        part,
        matrix_svg(result, units),
        scale_svg(result, units),
        Markup(data),
    )


def network(result: Result, table: Edges) -> Markup | None:
    """The significant edges as a graph; only where significance was computed."""
    called = table[table["q_value"] <= Q_LEVEL]
    if not len(called):
        return None
    return Markup("<p>The {} edges called at q ≤ {}; the thicker, the stronger.</p><figure>{}</figure>").format(
        number(len(called)), Q_LEVEL, network_svg(result, called)
    )


def strongest(result: Result, table: Edges) -> Markup | None:
    """The strongest couplings as a table, or the most significant ones."""
    if not len(table):
        return None
    size = np.nan_to_num(np.abs(table["weight"]), nan=-1.0)
    known = np.isfinite(table["q_value"])
    # By q where there is significance, and by weight among equals.
    ranked = np.lexsort((-size, np.where(known, table["q_value"], 2.0)))[:N_EDGES]
    rows = table[ranked]
    columns = [
        Column("sender", [escape(text) for text in rows["pre_id"]], text=True),
        Column("receiver", [escape(text) for text in rows["post_id"]], text=True),
        Column("weight, drive per spike", [signed(v) for v in rows["weight"].tolist()]),
    ]
    for key, title in (
        ("std_error", "standard error"),
        ("ci_low", "interval from"),
        ("ci_high", "to"),
        ("p_value", "p"),
        ("q_value", "q"),
    ):
        if np.isfinite(table[key]).any():
            columns.append(Column(title, [number(v) for v in rows[key].tolist()]))
    columns += [
        Column("peak lag, ms", [number(v * 1e3) for v in rows["peak_lag_s"].tolist()]),
        Column("sender's spikes", [number(v) for v in rows["n_pre_spikes"].tolist()]),
        Column("receiver's spikes", [number(v) for v in rows["n_post_spikes"].tolist()]),
    ]
    lead = Markup(
        "<p>The first {} of {} ordered pairs, {}. <code>edges.csv</code> has all. Spikes of hidden units are expected ones.{}</p>"
    )
    outside = (rows["weight"] < rows["ci_low"]) | (rows["weight"] > rows["ci_high"])
    apart = Markup(
        " An interval is of what is left of a coupling when what shared inputs explain, and the middle of what no edge looks like, are taken off: a weight can lie outside its own."
    )
    how = "by q-value" if known.any() else "the largest weights first"
    return lead.format(number(len(rows)), number(len(table)), how, apart if outside.any() else "") + table_html(
        columns, "strongest couplings", scroll=True
    )


def filters(result: Result, table: Edges) -> Markup | None:
    """The coupling filters of the strongest pairs."""
    table = table[np.isfinite(table["weight"]) & (table["weight"] != 0)]
    if not len(table) or result.lag_s.size < 2:
        return None
    ranked = table[np.argsort(-np.abs(table["weight"]), kind="stable")]
    # Hidden units' couplings are the larger ones; the recorded pairs, which people ask about, keep two thirds of the room.
    is_recorded = (ranked["pre_kind"] == "visible") & (ranked["post_kind"] == "visible")
    n_hidden = max(min(int((~is_recorded).sum()), N_FILTERS // 3), N_FILTERS - int(is_recorded.sum()))
    rows = np.concatenate([ranked[is_recorded][: N_FILTERS - n_hidden], ranked[~is_recorded][:n_hidden]])
    filters = [result.filter_of(row["post_id"], row["pre_id"]) for row in rows]
    bands = [result.filter_band_of(row["post_id"], row["pre_id"]) for row in rows]
    drawn = [*filters, *(edge for band in bands if band is not None for edge in band)]
    finite = np.concatenate([f[np.isfinite(f)] for f in drawn] + [np.zeros(1)])
    limits = (float(finite.min()) * 1.08, float(finite.max()) * 1.08) if np.ptp(finite) else None
    charts = []
    for row, values, band in zip(rows, filters, bands, strict=True):
        name = f"{row['pre_id']} → {row['post_id']}"
        line = Line(result.lag_s * 1e3, values, "", "pos" if row["weight"] > 0 else "neg", band)
        chart = line_chart(
            [line],
            title=f"coupling filter {name}",
            x_label="lag, ms",
            y_label="drive per spike",
            y_range=limits,
            zero_line=True,
            size=(300, 190),
        )
        charts.append(Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(name, chart))
    lead = Markup(
        "<p>What one spike of the sender does to the receiver's drive, by lag, for the strongest pairs{}; all on one scale.{}</p>"
    )
    level = result.metrics.get("ci_level")
    about = Markup("")
    if isinstance(level, float) and any(band is not None for band in bands):
        about = Markup(" Bands: {} %, each lag by itself, with what shared inputs explain taken off.").format(
            number(100 * level)
        )
    first = " of recorded units, then for those with hidden ones" if n_hidden else ""
    return lead.format(first, about) + Markup('<div class="grid">{}</div>').format(Markup("").join(charts))
