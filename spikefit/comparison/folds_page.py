"""The part of a comparison's page about numbers of hidden units, fold by fold."""

from __future__ import annotations

import math

from markupsafe import Markup, escape

from spikefit.comparison.folds import FoldRow, FoldTable
from spikefit.comparison.side_by_side import Comparison
from spikefit.report.numbers import number, shown, signed
from spikefit.report.sections import Section
from spikefit.report.tables import Column, table_html


def folds_page_section(comparison: Comparison) -> Section:
    """The candidates of every result in its folds; a result without any says so.

    Args:
        comparison: of results; two with folds stand beside each other, too.
    """
    tables = comparison.folds
    lead = Markup(
        "<p>Gains over no hidden units, in nats per bin. In each fold every number of hidden units was fitted to the other folds and scored on "
        "bins of this one that it never saw: a gain that one fold makes alone is no gain to build on. The error of the mean is paired over the "
        "blocks of all folds. Scores with hidden units are lower bounds.</p>"
    )
    has_rows = any(table.rows for table in tables)
    parts = Markup("").join(_part(table) for table in tables)
    return Section(
        "folds", "Hidden units, fold by fold", (lead if has_rows else Markup("")) + parts + _pairs(comparison)
    )


def _pairs(comparison: Comparison) -> Markup:
    """Every two results that have folds, over the folds of both."""
    found = [(pair, pair.folds) for pair in comparison.pairs if pair.folds is not None]
    if not found:
        return Markup("")
    columns = [
        Column("result", [escape(pair.second) for pair, _ in found], text=True),
        Column("against", [escape(pair.first) for pair, _ in found], text=True),
        Column("better by, nats per bin", [signed(each.value) for _, each in found]),
        Column("its standard error", [number(each.error, 2) for _, each in found]),
        Column(
            "in each fold",
            [Markup(", ").join(map(signed, each.fold_difference_nats_per_bin)) or Markup("–") for _, each in found],
            text=True,
        ),
        Column("how", [escape(each.why) for _, each in found], prose=True),
    ]
    lead = Markup(
        "<h3>Results against each other</h3><p>Each with the number of hidden units that it kept, in folds that set aside the same "
        "stretches of time; the error is over folds, which are few.</p>"
    )
    return lead + table_html(columns, "differences between results in the folds of both")


def _number_tried(row: FoldRow) -> Markup:
    return Markup("<strong>{}, kept</strong>").format(number(row.n_hidden)) if row.chosen else number(row.n_hidden)


def _mean_gain(row: FoldRow) -> Markup:
    gain = signed(row.gain_nats_per_bin)
    if not row.n_hidden or not math.isfinite(row.gain_nats_per_bin_se):
        return gain
    return Markup("{} ± {}").format(gain, number(row.gain_nats_per_bin_se, 2))


def _part(table: FoldTable) -> Markup:
    said = Markup(" ").join(escape(text) for text in table.sentences())
    if not table.rows:
        return Markup("<p><strong>{}</strong>: {}</p>").format(table.name, said)
    rows = table.rows
    columns = [
        # What was kept stands in front: on a telephone the last columns are out of sight.
        Column("hidden units", [_number_tried(row) for row in rows], text=True),
        Column("mean gain", [_mean_gain(row) for row in rows]),
        *(
            Column(f"fold {k + 1}, {shown(bins)} bins", [signed(row.fold_gain_nats_per_bin[k]) for row in rows])
            for k, bins in enumerate(table.fold_bins)
        ),
    ]
    blocks = f", {table.blocks} blocks in all" if table.blocks else ""
    head = Markup("<h3>{}{}</h3><p>{}</p>").format(table.name, blocks, said)
    return head + table_html(columns, f"hidden units of {table.name} in each fold")
