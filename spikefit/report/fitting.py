"""The parts of the page about the fit: hidden units, scores, training, restarts."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.plots.activity import RATE, RATE_SE
from spikefit.plots.training import later_limits, restart_series
from spikefit.report.charts import Line, line_chart
from spikefit.report.numbers import number
from spikefit.report.raster import raster_svg
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
    for key in dict.fromkeys(key for row in rows for key in row.columns if key not in (RATE, RATE_SE)):
        columns.append(Column(key.replace("_", " "), [number(row.columns.get(key)) for row in rows]))
    step = number(len(pieces[0]) * result.bin_width_s, unit="s")
    lead = Markup(
        "<p>Posterior mean rate of each hidden unit, averaged over stretches of {}; all on one scale.</p>"
    ).format(step)
    beside = Markup("")
    if result.excerpt is not None:
        beside = Markup(
            "<p>The {} in which the hidden units vary most: spikes of the recorded units, and under them what the fit says of the "
            "hidden ones in the same bins.</p><figure>{}</figure>"
        ).format(number(result.excerpt.stop_s - result.excerpt.start_s, unit="s"), raster_svg(result))
    whole = Markup("<figure>{}</figure>").format(Markup("").join(charts))
    return beside + lead + whole + table_html(columns, "hidden units")


def scores(result: Result, _table: Edges) -> Markup | None:
    """Held-out scores beside those of simpler models; only where there is one."""
    rows = []
    for label, name in (
        ("this fit", "heldout_nats_per_bin"),
        ("without hidden units", "h0_heldout_nats_per_bin"),
        ("constant rates", "constant_heldout_nats_per_bin"),
    ):
        itself = name.startswith("h0_") and not result.n_hidden
        if metric(result, name) is not None and not itself:
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
    for key, steps in restart_series(history):
        lines.append(Line(_steps(result, steps, history[key]), history[key], "" if lines else "restarts", "restart"))
    if "objective" in history:
        lines.append(
            Line(_steps(result, "objective_step", history["objective"]), history["objective"], "training", "training")
        )
    if "polish" in history:
        values = history["polish"]
        lines.append(Line(_steps(result, "polish_step", values), values, "polish on all bins", "polish"))
    mark = None
    if "heldout" in history:
        x, y = _steps(result, "heldout_step", history["heldout"]), history["heldout"]
        error = history.get("heldout_se")
        band = (y - error, y + error) if error is not None and error.shape == y.shape else None
        lines.append(Line(x, y, "held out", "heldout", band))
        if np.isfinite(y).any():
            mark = float(metric(result, "best_step") or x[np.nanargmax(y)])
    unit = str(result.metrics.get("objective_unit") or "nats per bin")
    step_name = "iteration" if "newton_decrement" in history else "step of the fit"
    if lines:
        finite = [
            (line.x[kept], line.y[kept]) for line in lines if (kept := np.isfinite(line.x) & np.isfinite(line.y)).any()
        ]
        limits = later_limits(finite) if finite else None
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
    """Where other starting points led to."""
    rows = []
    for key, steps in restart_series(result.history):
        values = result.history[key]
        if key.endswith("_heldout") and np.isfinite(values).any():
            step = _steps(result, steps, values)
            best = int(np.nanargmax(values))
            rows.append((int(key.split("_")[1]), float(values[best]), float(step[best])))
    if len(rows) < 2:
        return None
    scores = [best for _, best, _ in rows]
    columns = [
        Column("restart", [number(k) for k, _, _ in rows]),
        Column("best held out, nats per bin", [number(best, 6) for _, best, _ in rows]),
        Column("at step", [number(step) for _, _, step in rows]),
    ]
    lead = Markup(
        "<p>Fits from {} starting points, before the best one was carried on. Their best held-out objectives lie within {} nats "
        "per bin; where restarts agree, the answer does not hang on luck.</p>"
    )
    return lead.format(number(len(rows)), number(max(scores) - min(scores))) + table_html(columns, "restarts")
