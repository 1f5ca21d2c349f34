"""Scatter plots as inline SVG, coloured by the page so that they follow light and dark."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape

from spikefit.report.charts import LEFT_OF_LABELS, Floats, axis_frame

# More points than these would make a page heavy and hide one another.
MAX_POINTS = 3000
_RIGHT, _TOP, _BOTTOM = 14, 10, 42


def scatter_chart(
    x: Floats,
    y: Floats,
    *,
    title: str,
    x_label: str,
    y_label: str,
    names: list[str] | None = None,
    diagonal: bool = True,
    log: bool = False,
    y_error: tuple[Floats, Floats] | None = None,
    size: tuple[int, int] = (420, 380),
) -> Markup:
    """Points over two axes with the same limits; empty where no point is finite.

    Args:
        x: where the points lie across.
        y: where they lie upwards.
        title: the chart in a sentence, for screen readers.
        x_label: with its unit.
        y_label: with its unit.
        names: what each point is, shown by browsers when the pointer rests on it.
        diagonal: draw the line of equal values; both axes then have the same limits.
        log: logarithmic axes; points that are not above zero are left out.
        y_error: lower and upper end of an upright bar through each point.
        size: width and height of the drawing's own units.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    kept = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & (((x > 0) & (y > 0)) if log else True))
    if not kept.size:
        return Markup("")
    if kept.size > MAX_POINTS:
        far = np.argsort(-(np.abs(x[kept]) + np.abs(y[kept])), kind="stable")
        # The outermost, and every so many of the rest.
        kept = kept[np.r_[far[: MAX_POINTS // 2], far[MAX_POINTS // 2 :: -(-2 * kept.size // MAX_POINTS)]]]
    low, high = (np.asarray(edge, dtype=np.float64)[kept] for edge in y_error) if y_error else (None, None)
    x, y = x[kept], y[kept]
    if log:
        x, y = np.log10(x), np.log10(y)
        if low is not None and high is not None:
            floor = float(min(x.min(), y.min())) - 1
            low, high = (np.log10(np.maximum(edge, 10**floor)) for edge in (low, high))
    x_range, y_range = _limits(x), _limits(y if low is None or high is None else np.r_[y, low, high])
    if diagonal:
        x_range = y_range = (min(x_range[0], y_range[0]), max(x_range[1], y_range[1]))
    width, height = size
    left = LEFT_OF_LABELS
    frame = axis_frame(width, height, left, x_range, y_range, x_label, y_label, log=log)

    def across(values: Floats) -> Floats:
        return np.asarray(left + (values - x_range[0]) / (x_range[1] - x_range[0]) * (width - left - _RIGHT))

    def down(values: Floats) -> Floats:
        share = (values - y_range[0]) / (y_range[1] - y_range[0])
        return np.asarray(np.clip(height - _BOTTOM - share * (height - _TOP - _BOTTOM), _TOP, height - _BOTTOM))

    parts = [frame]
    if diagonal:
        ends = np.array(x_range)
        (a, b), (c, d) = across(ends), down(ends)
        parts.append(f'<path class="mark" d="M{a:.1f} {c:.1f}L{b:.1f} {d:.1f}"/>')
    if low is not None and high is not None:
        bars = "".join(
            f"M{a:.1f} {b:.1f}V{c:.1f}" for a, b, c in zip(across(x), down(low), down(high), strict=True) if b - c > 0.5
        )
        parts.append(f'<path class="whisker" d="{bars}"/>')
    parts.append(_points(across(x), down(y), None if names is None else [names[k] for k in kept]))
    about = f'class="chart scatter" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"'
    return Markup(f"<svg {about}>{''.join(parts)}</svg>")


def _points(x: Floats, y: Floats, names: list[str] | None) -> str:
    if names is None:
        return "".join(f'<circle class="point" cx="{a:.1f}" cy="{b:.1f}" r="2.2"/>' for a, b in zip(x, y, strict=True))
    return "".join(
        f'<circle class="point" cx="{a:.1f}" cy="{b:.1f}" r="2.6"><title>{escape(name)}</title></circle>'
        for a, b, name in zip(x, y, names, strict=True)
    )


def _limits(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    spare = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - spare, high + spare
