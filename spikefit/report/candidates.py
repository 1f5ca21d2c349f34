"""The part of the page about how many hidden units: the scores of all that were tried, as a table and a curve."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from spikefit.report.charts import Line, line_chart
from spikefit.report.numbers import number
from spikefit.report.tables import Column, table_html
from spikefit.results import Result

# What the curve shows, the first that is there: what the choice was made by.
_CHOSEN_BY = {
    "cv_gain_nats_per_bin": "gain over none in folds",
    "heldout_iwae_gain_nats_per_bin": "gain over none, importance-weighted",
    "heldout_gain_nats_per_bin": "gain over none",
}


def candidates(result: Result, _table: NDArray[np.void]) -> Markup | None:
    """Fits with other numbers of hidden units beside this one; only where several were tried, or auto chose."""
    tried, why = result.metrics.get("candidates"), result.metrics.get("hidden_choice")
    said = Markup("<p>{}.</p>").format(str(why)) if why else Markup("")
    if not (isinstance(tried, list | tuple) and len(tried) > 1 and all(isinstance(row, dict) for row in tried)):
        return said or None
    columns = [
        Column("hidden units", [number(row.get("n_hidden")) for row in tried]),
        Column("held out, nats per bin", [number(row.get("heldout_nats_per_bin"), 6) for row in tried]),
        Column("standard error", [number(row.get("heldout_nats_per_bin_se")) for row in tried]),
        *_gain(tried, "heldout_gain_nats_per_bin", "gain over none"),
        *_gain(tried, "heldout_iwae_gain_nats_per_bin", "gain, importance-weighted"),
        *_gain(tried, "cv_gain_nats_per_bin", "gain in folds"),
        Column(
            "kept",
            [Markup("yes") if row.get("n_hidden") == result.n_hidden else Markup("") for row in tried],
            text=True,
        ),
    ]
    lead = Markup(
        "<p>Held-out score by the number of hidden units. The gain is paired over the same bins, so its error is the smaller.{}</p>"
    ).format(_folds(result))
    return said + lead + _curve(result, list(tried)) + table_html(columns, "hidden units tried")


def _gain(tried: Any, key: str, heading: str) -> list[Column]:
    if not any(key in row for row in tried):
        return []
    return [
        Column(heading, [number(row.get(key)) for row in tried]),
        Column("its standard error", [number(row.get(f"{key}_se")) for row in tried]),
    ]


def _folds(result: Result) -> str:
    parts = ""
    if result.metrics.get("iwae_draws"):
        parts += (
            f" The importance-weighted bound is taken from {result.metrics['iwae_draws']} draws of the hidden spikes and lies closer to the "
            "likelihood than the bound of one."
        )
    cross = result.metrics.get("cross_validation")
    if isinstance(cross, dict):
        parts += (
            f" In folds: the training bins were set aside in turn in {cross.get('folds')} parts, a window purged round each, and every number of "
            f"hidden units was fitted to the rest; errors are over {cross.get('blocks')} blocks."
        )
    return parts


def _curve(result: Result, tried: list[dict[str, Any]]) -> Markup:
    key = next(key for key in _CHOSEN_BY if any(key in row for row in tried))
    rows = sorted(tried, key=lambda row: int(row["n_hidden"]))
    x = np.array([row["n_hidden"] for row in rows], dtype=np.float64)
    # None gains nothing over itself, without error.
    gain = np.array([_value(row, key) if row["n_hidden"] else 0.0 for row in rows])
    error = np.array([_value(row, f"{key}_se") if row["n_hidden"] else 0.0 for row in rows])
    if not np.isfinite(gain).all():
        return Markup("")
    band = (gain - error, gain + error) if np.isfinite(error).all() else None
    shown = np.nan_to_num(error)
    margin = 0.05 * float(np.ptp([*(gain - shown), *(gain + shown)])) or 1e-3
    chart = line_chart(
        [Line(x, gain, "", "heldout", band)],
        title="held-out gain by the number of hidden units",
        x_label="hidden units",
        y_label="gain, nats per bin",
        y_range=(float((gain - shown).min()) - margin, float((gain + shown).max()) + margin),
        size=(640, 260),
        mark_x=float(result.n_hidden),
    )
    caption = Markup("{} and its standard error; the dashed line marks the number that was kept.").format(
        _CHOSEN_BY[key].capitalize()
    )
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(chart, caption)


def _value(row: dict[str, Any], key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else float("nan")
