"""Simpler methods beside a fit, on a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from spikefit.comparison.methods import Array, BaselineTable
from spikefit.report.numbers import number, signed
from spikefit.report.page import page_html
from spikefit.report.sections import Section
from spikefit.report.tables import Column, table_html

MOST_PAIRS = 50
LONG = 15


def methods_html(table: BaselineTable) -> str:
    """A page of one result beside simpler methods."""
    return page_html(
        [methods_page_section((table,))],
        name=table.name,
        title=f"{table.name}: simpler methods",
        about=f"a result of spikefit beside simpler methods on the same recording; {len(table.unit_id)} recorded units",
    )


def methods_page_section(tables: Sequence[BaselineTable]) -> Section:
    """The section of a page about some results, each beside simpler methods."""
    headed = len(tables) > 1
    body = Markup("").join(
        (Markup("<h3>{}</h3>").format(table.name) if headed else Markup("")) + methods_section(table)
        for table in tables
    )
    return Section("methods", "Beside simpler methods", body)


def methods_section(table: BaselineTable) -> Markup:
    """The table of the methods, and where each ranks the pairs that the fit calls."""
    lead = Markup(
        "<p>What simpler methods make of the same spikes. Correlograms have p-values, but whatever makes two units fire together counts as "
        "an edge for them; methods without p-values name their strongest pairs, as many as the fit calls.{}</p>"
    ).format(_against_truth(table))
    notes = Markup("").join(Markup("<p>{}</p>").format(note) for note in table.notes)
    return lead + _methods(table) + notes + _ranks(table)


def _against_truth(table: BaselineTable) -> str:
    if table.true is None:
        return ""
    return (
        f" The true network is known: {int(table.true.sum())} of {table.true.size - len(table.true)} ordered pairs are connected. False is the "
        "share of the edges called that are none; AUC and average precision are of the ranking of all pairs."
    )


def _methods(table: BaselineTable) -> Markup:
    rows = table.rows
    columns = [
        Column("method", [escape(row.method) for row in rows], text=True),
        Column("edges", [number(row.called) for row in rows]),
        Column("in the fit, too", [number(row.also_in_fit) for row in rows]),
        Column("rank r with the fit", [number(row.rank_correlation) for row in rows]),
    ]
    if any(math.isfinite(row.auc) for row in rows):
        columns += [
            Column("AUC", [number(row.auc) for row in rows]),
            Column("average precision", [number(row.average_precision) for row in rows]),
            Column("false", [number(row.false_share) for row in rows]),
            Column("recall", [number(row.recall) for row in rows]),
        ]
    columns.append(Column("edges are", [escape(row.rule) for row in rows], text=True))
    return table_html(columns, f"{table.name} beside simpler methods")


def _ranks(table: BaselineTable) -> Markup:
    """Where every method ranks the pairs that the fit calls, the strongest first."""
    fit = table.methods[0]
    size = np.where(fit.called, np.abs(fit.strength), -1.0)
    order = np.argsort(-size, axis=None, kind="stable")[: min(MOST_PAIRS, int(fit.called.sum()))]
    if not order.size:
        return Markup("")
    post, pre = np.unravel_index(order, size.shape)
    columns = [
        Column("from", [escape(table.unit_id[k]) for k in pre], text=True),
        Column("to", [escape(table.unit_id[k]) for k in post], text=True),
        Column("weight", [signed(float(value)) for value in fit.strength[post, pre]]),
    ]
    for method in table.methods:
        places = ranks(method.strength)[post, pre].tolist()
        columns.append(Column(f"rank, {method.name}", [number(int(k) if math.isfinite(k) else k) for k in places]))
    if table.true is not None:
        columns.append(Column("a true edge", [number(bool(value)) for value in table.true[post, pre]], text=True))
    n_pairs = fit.called.size - len(fit.called)
    many = f", the {MOST_PAIRS} strongest" if fit.called.sum() > MOST_PAIRS else ""
    lead = Markup(
        "<p>The edges of the fit{}, and the place of each among the {} ordered pairs by the size that every method gives it.</p>"
    ).format(many, number(n_pairs))
    return lead + table_html(columns, f"edges of {table.name} by every method", scroll=len(order) > LONG)


def ranks(strength: Array) -> Array:
    """Place of each pair by size, the largest 1; pairs of one size share the first of their places, unknown ones are NaN."""
    size = np.abs(strength)
    known = np.isfinite(size)
    ascending = np.sort(size[known])
    out = np.full(size.shape, np.nan)
    out[known] = ascending.size - np.searchsorted(ascending, size[known], side="right") + 1
    return out
