"""The part of the page about covariates: what each does to the drive of each unit."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.report.charts import Line, line_chart
from spikefit.report.numbers import number
from spikefit.report.tables import Column, table_html
from spikefit.results import CovariateTerms, Result

MOST_UNITS = 8  # drawn per covariate; the rest is in the table and the file
MOST_CURVES = 24
Z = 1.6448536269514722  # of a 90 % interval


def sentence(result: Result) -> Markup | None:
    """Which covariates the fit listens to, for the summary."""
    if result.covariates is None:
        return None
    names = list(dict.fromkeys(result.covariates.covariate))
    text = Markup("Each unit also listens to {}.").format(", ".join(names))
    missing = int(result.metrics.get("n_bins_without_covariates") or 0)
    if missing:
        text += Markup(" {} bins in which they are not known were left out.").format(number(missing))
    return text


def covariates(result: Result, _table: NDArray[np.void]) -> Markup | None:
    """A picture of every curve, for the units that it moves most, and a table of all weights."""
    found = result.covariates
    if found is None:
        return None
    lead = Markup(
        "<p>What each covariate adds to the drive of a unit, less its average over the recording; over lags, what "
        "one bin in which the value is one standard deviation up adds later. The {} units that it moves most are drawn{}. Weights are "
        "drive per standard deviation of a column; couplings are what is left when the covariates have had their say.</p>"
    ).format(number(MOST_UNITS), _about_bands(found))
    figures = [_plot(result, found, k) for k in range(min(len(found.curve), MOST_CURVES))]
    grid = Markup('<div class="grid">{}</div>').format(Markup("").join(figures))
    weights = Markup("<details><summary>All weights</summary>{}</details>").format(_weights(result, found))
    return lead + _overview(result) + grid + weights


def _about_bands(found: CovariateTerms) -> str:
    return ", the strongest with a 90 % band" if np.isfinite(found.curve_std_error).any() else ", without error bands"


def _overview(result: Result) -> Markup:
    rows = [row for row in result.metrics.get("covariates") or () if isinstance(row, dict)]
    if not rows:
        return Markup("")
    columns = [
        Column("covariate", [escape(row["name"]) for row in rows], text=True),
        Column("basis", [escape(row["basis"]) for row in rows], text=True),
        Column("columns", [number(row["n_columns"]) for row in rows]),
        Column("mean", [_several(row["mean"]) for row in rows]),
        Column("sd", [_several(row["sd"]) for row in rows]),
        Column("unit", [escape(row.get("unit") or "–") for row in rows], text=True),
        Column("drive moved, sd, median unit", [number(row["drive_sd_median"]) for row in rows]),
        Column("strongest unit", [number(row["drive_sd_largest"]) for row in rows]),
    ]
    return table_html(columns, "covariates of the fit")


def _several(values: object) -> Markup:
    listed = values if isinstance(values, list | tuple) else [values]
    return Markup(", ").join(number(value) for value in listed)


def _plot(result: Result, found: CovariateTerms, k: int) -> Markup:
    drive, error = found.curve_drive[:, k], found.curve_std_error[:, k]
    order = np.argsort(-np.nan_to_num(np.ptp(drive, axis=1)), kind="stable")[:MOST_UNITS]
    lines = []
    for place in order[::-1].tolist():  # the strongest on top
        first = place == order[0]
        band = None
        if first and np.isfinite(error[place]).all():
            band = (drive[place] - Z * error[place], drive[place] + Z * error[place])
        lines.append(Line(found.curve_x[k], drive[place], "", "training" if first else "restart", band))
    chart = line_chart(
        lines,
        title=f"drive over {found.curve[k]} of the units that it moves most",
        x_label=found.curve_label[k],
        y_label="drive",
        zero_line=True,
        size=(320, 240),
    )
    strongest = result.unit_id[int(order[0])]
    caption = Markup("{}: strongest in {}").format(found.curve[k], strongest)
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(caption, chart)


def _weights(result: Result, found: CovariateTerms) -> Markup:
    columns = [Column("unit", [escape(unit) for unit in result.unit_id], text=True)]
    for place, name in enumerate(found.column):
        cells = []
        for weight, error in zip(found.weights[:, place].tolist(), found.std_error[:, place].tolist(), strict=True):
            cells.append(number(weight) + (Markup(" ± ") + number(error, 2) if np.isfinite(error) else Markup("")))
        columns.append(Column(escape(name), cells))
    return table_html(columns, "weights of the covariates' columns", scroll=True)
