"""The parts of the page about the fit: hidden units, scores, training, restarts."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.report.charts import Line, line_chart
from spikefit.report.numbers import number
from spikefit.report.summary import metric
from spikefit.report.tables import Column, table_html
from spikefit.results import Result

Edges = NDArray[np.void]


def hidden_units(result: Result, _table: Edges) -> Markup | None:
    """The posterior rates of the hidden units."""
    if result.hidden is None or not result.hidden.time_s.size or not result.n_hidden:
        return None
    rate_hz = np.asarray(result.hidden.expected_count, dtype=np.float64) / result.bin_width_s
    pieces = np.array_split(np.arange(rate_hz.shape[0]), min(600, rate_hz.shape[0]))
    time_s = np.array([result.hidden.time_s[piece[0]] for piece in pieces], dtype=np.float64)
    means = np.array([rate_hz[piece].mean(axis=0) for piece in pieces])
    highest = float(np.nanmax(means)) if np.isfinite(means).any() else 0.0
    charts = []
    for column, unit in enumerate(result.unit_id[result.hidden_units]):
        chart = line_chart(
            [Line(time_s, means[:, column], "", "hiddenline")],
            title=f"posterior rate of {unit} over the recording",
            x_label="time, s",
            y_label=f"{unit}, Hz",
            y_range=(0.0, highest * 1.05) if highest > 0 else None,
            size=(640, 140),
        )
        charts.append(chart)
    rows = result.unit_rows[result.n_visible :]
    columns = [
        Column("unit", [escape(row.id) for row in rows], text=True),
        Column("expected spikes", [number(row.n_spikes) for row in rows]),
        Column("mean rate, Hz", [number(row.rate_hz) for row in rows]),
    ]
    for key in dict.fromkeys(key for row in rows for key in row.columns):
        columns.append(Column(key, [number(row.columns.get(key)) for row in rows]))
    step = number(len(pieces[0]) * result.bin_width_s, unit="s")
    lead = Markup(
        "<p>Posterior mean rate of each hidden unit, averaged over stretches of {}; all on one scale.</p>"
    ).format(step)
    return lead + Markup("<figure>{}</figure>").format(Markup("").join(charts)) + table_html(columns, "hidden units")


def scores(result: Result, _table: Edges) -> Markup | None:
    """Held-out scores beside those of simpler models; only where there is one."""
    rows = []
    for label, name in (
        ("this fit", "heldout_nats_per_bin"),
        ("without hidden units", "h0_heldout_nats_per_bin"),
        ("constant rates", "constant_heldout_nats_per_bin"),
    ):
        if metric(result, name) is not None:
            rows.append((label, metric(result, name), metric(result, name.replace("nats_per_bin", "bits_per_spike"))))
    if len(rows) < 2:
        return None
    columns = [
        Column("model", [escape(label) for label, _, _ in rows], text=True),
        Column("held-out nats per bin", [number(nats, 6) for _, nats, _ in rows]),
    ]
    if any(bits is not None for _, _, bits in rows):
        columns.append(Column("bits per spike", [number(bits) for _, _, bits in rows]))
    return table_html(columns, "held-out scores")


def training(result: Result, _table: Edges) -> Markup | None:
    """The objective over the fit."""
    history = result.history
    parts: list[Markup] = []
    lines: list[Line] = []
    for key in sorted(history):
        if key.startswith("restart_") and key.endswith("_objective"):
            x = _steps(result, key.removesuffix("objective") + "step", history[key])
            lines.append(Line(x, history[key], "" if lines else "other restarts", "restart"))
    if "objective" in history:
        lines.append(
            Line(_steps(result, "objective_step", history["objective"]), history["objective"], "training", "training")
        )
    mark = None
    if "heldout" in history:
        x, y = _steps(result, "heldout_step", history["heldout"]), history["heldout"]
        error = history.get("heldout_se")
        band = (y - error, y + error) if error is not None and error.shape == y.shape else None
        lines.append(Line(x, y, "held out", "heldout", band))
        if np.isfinite(y).any():
            mark = float(metric(result, "best_step") or x[np.nanargmax(y)])
    unit = str(result.metrics.get("objective_unit") or "nats per bin")
    step_name = "iteration" if "newton_decrement" in history else "optimisation step"
    if lines:
        later = np.concatenate([line.y[min(line.y.size // 10, max(line.y.size - 1, 0)) :] for line in lines])
        later = later[np.isfinite(later)]
        limits = (float(np.quantile(later, 0.002)), float(later.max())) if later.size else None
        if limits is not None:
            spare = 0.06 * (limits[1] - limits[0]) or 0.01 * max(abs(limits[1]), 1.0)
            limits = (limits[0] - spare, limits[1] + spare)
        title = "objective over the fit, training and held out"
        parts.append(
            line_chart(lines, title=title, x_label=step_name, y_label=f"objective, {unit}", y_range=limits, mark_x=mark)
        )
        if mark is not None:
            parts.append(Markup("<p>The dashed line marks the step that was kept, {}.</p>").format(number(mark, 6)))
    if "newton_decrement" in history:
        values = history["newton_decrement"]
        line = Line(_steps(result, "newton_decrement_step", values), values, "", "training")
        title = "Newton decrement over the iterations"
        parts.append(
            line_chart(
                [line], title=title, x_label=step_name, y_label="Newton decrement, nats", log_y=True, size=(640, 220)
            )
        )
        parts.append(
            Markup("<p>The Newton decrement says how far, at most, the objective still was from its optimum.</p>")
        )
    body = Markup("").join(parts)
    return Markup("<figure>{}</figure>").format(body) if body else None


def _steps(result: Result, name: str, values: Any) -> Any:
    for key in (name, "step", "iteration"):
        if key in result.history and result.history[key].size == values.size:
            return result.history[key]
    return np.arange(values.size, dtype=np.float64)


def restarts(result: Result, _table: Edges) -> Markup | None:
    """What other starting points led to."""
    restarts = result.metrics.get("restarts")
    if not (isinstance(restarts, list | tuple) and restarts and all(isinstance(row, dict) for row in restarts)):
        return None
    keys = list(
        dict.fromkeys(key for row in restarts for key, value in row.items() if not isinstance(value, list | dict))
    )
    columns = [Column("restart", [number(k + 1) for k in range(len(restarts))])]
    columns += [Column(key.replace("_", " "), [number(row.get(key), 5) for row in restarts]) for key in keys]
    return Markup(
        "<p>Fits from other starting points; where they agree, the answer does not hang on luck.</p>"
    ) + table_html(columns, "restarts")
