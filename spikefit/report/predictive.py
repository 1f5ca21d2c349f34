"""The part of the page about free runs: recorded rates against those of the fitted network by itself."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.plots.activity import simulated_rates
from spikefit.report.numbers import number
from spikefit.report.pair_correlations import pair_correlations
from spikefit.report.scatter import scatter_chart
from spikefit.report.summary import metric
from spikefit.report.tables import Column, table_html
from spikefit.results import Result


def simulated(result: Result, _table: NDArray[np.void]) -> Markup | None:
    """Recorded and simulated rates; only where the fit was run by itself."""
    n_runs, n_runaway = metric(result, "simulated_runs"), metric(result, "simulated_runaway")
    rates = simulated_rates(result)
    if rates is None and not n_runs:
        return None
    parts = []
    if n_runs:
        lead = Markup(
            "<p>From {} places in the recording the fitted network was given the recorded past and then left to itself for {}. A fit "
            "that makes the recording goes on firing at the recorded rates."
        ).format(number(n_runs), number(metric(result, "simulated_run_s"), unit="s"))
        if n_runaway:
            lead += Markup(
                " In <strong>{} runs the activity ran away</strong>; they are left out below, so the rates that are left lean to the "
                "low side, and long free runs of this fit should not be trusted."
            ).format(number(n_runaway))
        parts.append(lead + Markup("</p>"))
    if rates is not None:
        recorded, simulated_hz, error = rates
        ids = list(result.unit_id[result.visible])
        chart = scatter_chart(
            recorded,
            simulated_hz,
            title="rate of every unit in free runs of the fit against its recorded rate",
            x_label="recorded rate, Hz",
            y_label="rate in free runs, Hz",
            names=ids,
            log=True,
            y_error=(simulated_hz - 2 * error, simulated_hz + 2 * error),
        )
        columns = [
            Column("unit", [escape(unit) for unit in ids], text=True),
            Column("recorded, Hz", [number(value) for value in recorded.tolist()]),
            Column("in free runs, Hz", [number(value) for value in simulated_hz.tolist()]),
            Column("standard error", [number(value) for value in error.tolist()]),
        ]
        table = table_html(columns, "recorded and simulated rates", scroll=True)
        caption = "One point for each recorded unit; bars are two standard errors over runs."
        parts.append(
            Markup(
                "<figure>{}<figcaption>{}</figcaption></figure><details><summary>As a table</summary>{}</details>"
            ).format(chart, caption, table)
        )
    parts.append(pair_correlations(result))
    return Markup("").join(parts)
