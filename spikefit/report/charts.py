"""Line charts as inline SVG, coloured by the page so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_MAX_POINTS = 600
_RIGHT, _TOP, _BOTTOM = 14, 10, 42
LEFT_OF_LABELS = 62


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        x, y: its points; values that are not finite break nothing, they are left out.
        label: its name in the legend; empty for none.
        style: class of the page's style sheet.
        band: lower and upper edge of a band round it.
    """

    x: Floats
    y: Floats
    label: str
    style: str
    band: tuple[Floats, Floats] | None = None


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_y: bool = False,
    y_range: tuple[float, float] | None = None,
    mark_x: float | None = None,
    zero_line: bool = False,
    size: tuple[int, int] = (640, 300),
) -> Markup:
    """A chart with axes, ticks and labels; `title` is what a screen reader says.

    Args:
        lines: what to draw, later ones on top.
        title: the chart in a sentence.
        x_label: with its unit.
        y_label: with its unit.
        log_y: draw logarithms; values that are not above zero are left out.
        y_range: limits of the vertical axis; by default those of the values.
        mark_x: where to draw an upright dashed line.
        zero_line: draw a line at zero.
        size: width and height of the drawing's own units.
    """
    points = [_finite(line, log_y) for line in lines]
    if not any(x.size for x, _ in points):
        return Markup("")
    width, height = size
    x_low, x_high = _limits([x for x, _ in points], margin=0.0)
    y_low, y_high = _limits([y for _, y in points], margin=0.05)
    if y_range is not None:
        y_low, y_high = (math.log10(v) for v in y_range) if log_y else y_range

    marks = _y_marks(y_low, y_high, 5 if height > 200 else 3, log_y)
    left = 38 + 7 * max((3 if log_y else len(text) for _, text in marks), default=3)

    def place(x: Floats, y: Floats) -> str:
        across = left + (x - x_low) / (x_high - x_low) * (width - left - _RIGHT)
        down = height - _BOTTOM - (y - y_low) / (y_high - y_low) * (height - _TOP - _BOTTOM)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, np.clip(down, -1e4, 1e4), strict=True))

    parts = [_axes(width, height, left, (x_low, x_high), (y_low, y_high), marks, x_label, y_label)]
    inside = f'<svg x="{left}" y="{_TOP}" width="{width - left - _RIGHT}" height="{height - _TOP - _BOTTOM}" '
    parts.append(f'{inside}viewBox="{left} {_TOP} {width - left - _RIGHT} {height - _TOP - _BOTTOM}">')
    if zero_line and y_low < 0 < y_high:
        parts.append(f'<polyline class="zero" points="{place(np.array([x_low, x_high]), np.zeros(2))}"/>')
    for line, (x, y) in zip(lines, points, strict=True):
        if line.band is not None:
            low, high = line.band
            edge_x, edge_y = np.concatenate([line.x, line.x[::-1]]), np.concatenate([low, high[::-1]])
            kept = np.isfinite(edge_y)
            parts.append(f'<polygon class="band {line.style}" points="{place(edge_x[kept], edge_y[kept])}"/>')
        if x.size == 1:
            a, b = place(x, y).split(",")
            parts.append(f'<circle class="dot {line.style}" cx="{a}" cy="{b}" r="3"/>')
        elif x.size:
            parts.append(f'<polyline class="line {line.style}" points="{place(*_thinned(x, y))}"/>')
    if mark_x is not None and x_low <= mark_x <= x_high:
        parts.append(f'<polyline class="mark" points="{place(np.array([mark_x] * 2), np.array([y_low, y_high]))}"/>')
    parts.append("</svg>")
    named = [line for line in lines if line.label]
    legend = "".join(f'<span class="key {line.style}">{escape(line.label)}</span>' for line in named)
    svg = f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return Markup(svg + (f'<p class="legend">{legend}</p>' if len(named) > 1 else ""))


def ticks(low: float, high: float, n_wanted: int = 5) -> list[float]:
    """Round numbers between `low` and `high`, about `n_wanted` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / max(n_wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def axis_frame(
    width: int,
    height: int,
    left: int,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_label: str,
    y_label: str,
    *,
    log: bool = False,
) -> str:
    """Axes with ticks and labels; with `log` both ranges are powers of ten."""
    y_marks = _y_marks(*y_range, 5, log)
    x_marks = _y_marks(*x_range, 5, log)
    return _axes(width, height, left, x_range, y_range, y_marks, x_label, y_label, x_marks)


def _axes(
    width: int,
    height: int,
    left: int,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    y_marks: list[tuple[float, str]],
    x_label: str,
    y_label: str,
    x_marks: list[tuple[float, str]] | None = None,
) -> str:
    bottom, right = height - _BOTTOM, width - _RIGHT
    parts = [f'<path class="axis" d="M{left} {_TOP}V{bottom}H{right}"/>']
    for value, text in x_marks or [(value, _tick_text(value)) for value in ticks(*x_range, 6 if width > 400 else 3)]:
        x = left + (value - x_range[0]) / (x_range[1] - x_range[0]) * (right - left)
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
    for value, text in y_marks:
        y = bottom - (value - y_range[0]) / (y_range[1] - y_range[0]) * (bottom - _TOP)
        parts.append(f'<path class="axis" d="M{left} {y:.1f}h-4"/>')
        parts.append(f'<text x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    middle = (_TOP + bottom) / 2
    parts.append(
        f'<text class="label" x="{(left + right) / 2:.0f}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>'
    )
    turned = f'transform="rotate(-90 13 {middle:.0f})" text-anchor="middle"'
    parts.append(f'<text class="label" x="13" y="{middle:.0f}" {turned}>{escape(y_label)}</text>')
    return "".join(parts)


def _y_marks(low: float, high: float, n_wanted: int, log_y: bool) -> list[tuple[float, str]]:
    """Places of the ticks and what stands beside them; on a logarithmic axis whole powers of ten."""
    if not log_y:
        return [(value, _tick_text(value)) for value in ticks(low, high, n_wanted)]
    whole = [value for value in ticks(low, high, n_wanted) if abs(value - round(value)) < 1e-9]
    return [(value, f'10<tspan dy="-5" font-size="9">{_tick_text(round(value))}</tspan>') for value in whole]


def _tick_text(value: float) -> str:
    # A tick is a whole multiple of a round step, so ten significant digits hold it without the rounding of the product.
    text = f"{0.0 if abs(value) < 1e-12 else value:.10g}"
    return text.replace("-", "−")


def _finite(line: Line, log_y: bool) -> tuple[Floats, Floats]:
    x, y = np.asarray(line.x, dtype=np.float64), np.asarray(line.y, dtype=np.float64)
    kept = np.isfinite(x) & np.isfinite(y) & ((y > 0) if log_y else True)
    return x[kept], np.log10(y[kept]) if log_y else y[kept]


def _limits(values: list[Floats], margin: float) -> tuple[float, float]:
    flat = np.concatenate(values)
    low, high = float(flat.min()), float(flat.max())
    spare = margin * (high - low) if high > low else max(abs(high), 1.0) * 0.05
    return low - spare, high + spare


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Fewer points that look the same: the lowest and highest of every stretch."""
    if x.size <= 2 * _MAX_POINTS:
        return x, y
    kept = []
    for stretch in np.array_split(np.arange(x.size), _MAX_POINTS):
        kept += sorted({int(stretch[np.argmin(y[stretch])]), int(stretch[np.argmax(y[stretch])])})
    return x[kept], y[kept]
