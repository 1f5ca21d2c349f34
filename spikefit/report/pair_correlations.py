"""Correlations of spike counts between recorded units, as recorded and in free runs of the fit."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from spikefit.report.numbers import number
from spikefit.report.scatter import scatter_chart
from spikefit.results import Result

MOST_PAIRS = 2000  # more points than this say no more
FEWEST_PAIRS = 3


def pair_correlations(result: Result) -> Markup:
    """A scatter of simulated against recorded correlations; empty where they are not known."""
    recorded = result.diagnostics.get("pair_correlation")
    simulated = result.diagnostics.get("simulated_pair_correlation")
    if recorded is None or simulated is None:
        return Markup("")
    a, b = (values[np.tril_indices(len(values), -1)] for values in (recorded, simulated))
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if a.size < FEWEST_PAIRS:
        return Markup("")
    lead = Markup(
        "<p>Counts of two units in the same stretches are correlated by {} as recorded and by {} in free runs (medians over {} pairs, sizes "
        "without sign). Correlation that the runs lack comes from something that all follow and that the model does not hold.</p>"
    ).format(number(float(np.median(np.abs(a))), 2), number(float(np.median(np.abs(b))), 2), number(int(a.size)))
    shown = np.linspace(0, a.size - 1, min(a.size, MOST_PAIRS)).round().astype(int)
    chart = scatter_chart(
        a[shown],
        b[shown],
        title="correlation of the counts of two units in free runs of the fit against the recorded one",
        x_label="recorded correlation",
        y_label="in free runs",
    )
    caption = Markup("One point for each pair of recorded units{}.").format(
        "" if shown.size == a.size else f", {MOST_PAIRS} of them"
    )
    return lead + Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(chart, caption)
