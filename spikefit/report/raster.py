"""Spikes of the recorded units in a short stretch, with the hidden units' posterior rates under them, as inline SVG."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape

from spikefit.plots.activity import shown_rates
from spikefit.report.charts import ticks
from spikefit.results import Result

_WIDTH, _RIGHT, _TOP, _BOTTOM, _GAP = 960, 14, 8, 40, 10
_MOST_NAMED = 40


def raster_svg(result: Result) -> Markup:
    """The excerpt of the recording above the posterior rates of the same time, all on one clock."""
    excerpt = result.excerpt
    assert excerpt is not None
    n, names = result.n_visible, result.unit_id[: result.n_visible]
    named = n <= _MOST_NAMED
    row = min(14.0, max(3.0, 420 / max(n, 1)))
    longest = max(len(text) for text in (*result.unit_id[n:], *(names if named else ())))
    left = min(150.0, 34 + 6.6 * longest)
    time_s, rate_hz = shown_rates(result, most=960)
    top_hz = float(np.nanmax(rate_hz, initial=0.0)) * 1.05 or 1.0
    lane = 46.0
    raster_height = n * row
    height = _TOP + raster_height + _GAP + result.n_hidden * (lane + _GAP) + _BOTTOM
    scale = (_WIDTH - left - _RIGHT) / (excerpt.stop_s - excerpt.start_s)
    parts = [_spikes(result, left, scale, row)]
    if named:
        font = min(12.0, row)
        labels = "".join(
            f'<text x="{left - 6:.1f}" y="{_TOP + (k + 0.5) * row + 0.35 * font:.1f}" text-anchor="end">{_short(name)}</text>'
            for k, name in enumerate(names)
        )
        parts.append(f'<g font-size="{font:.1f}">{labels}</g>')
    else:
        middle = _TOP + raster_height / 2
        turned = f'transform="rotate(-90 13 {middle:.0f})" text-anchor="middle"'
        parts.append(f'<text class="label" x="13" y="{middle:.0f}" {turned}>{n} recorded units</text>')
    y = _TOP + raster_height + _GAP
    width_s = result.bin_width_s if time_s.size < 2 else float(time_s[1] - time_s[0])
    edges = left + (np.append(time_s, time_s[-1:] + width_s) - excerpt.start_s) * scale
    edges = np.clip(edges, left, _WIDTH - _RIGHT)
    for k, name in enumerate(result.unit_id[n:]):
        bottom = y + lane
        heights = np.clip(np.nan_to_num(rate_hz[:, k]) / top_hz, 0, 1) * lane
        steps = "".join(f"V{bottom - h:.1f}H{x:.1f}" for h, x in zip(heights, edges[1:], strict=True))
        start = f"{edges[0]:.1f}" if edges.size else f"{left:.1f}"
        parts.append(f'<path class="fill hiddenline" d="M{start} {bottom:.1f}{steps}V{bottom:.1f}z"/>')
        parts.append(f'<path class="axis" d="M{left:.1f} {y:.1f}V{bottom:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 9:.1f}" text-anchor="end">{top_hz:.3g} Hz</text>')
        parts.append(f'<text x="{left - 6:.1f}" y="{y + lane / 2 + 10:.1f}" text-anchor="end">{_short(name)}</text>')
        y = bottom + _GAP
    y -= _GAP
    for value in ticks(excerpt.start_s, excerpt.stop_s, 8):
        x = left + (value - excerpt.start_s) * scale
        parts.append(f'<path class="axis" d="M{x:.1f} {y:.1f}v4"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle">{value:.10g}</text>')
    middle_x = (left + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle_x:.0f}" y="{height - 4:.0f}" text-anchor="middle">time in the recording, s</text>'
    )
    about = f"spikes of {n} recorded units and posterior rates of {result.n_hidden} hidden ones over the same time"
    box = f'class="raster" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{about}"'
    return Markup(f"<svg {box}>{''.join(parts)}</svg>")


def _spikes(result: Result, left: float, scale: float, row: float) -> str:
    """One path for every unit: a short upright line for each spike."""
    excerpt = result.excerpt
    assert excerpt is not None
    paths = []
    for k in range(result.n_visible):
        x = left + (excerpt.spike_time_s[excerpt.unit == k] - excerpt.start_s) * scale
        top = _TOP + (k + 0.12) * row
        # A raster has fewer pixels than spikes: those on one pixel are one line.
        lines = "".join(f"M{place:g} {top:.1f}v{0.76 * row:.1f}" for place in np.unique(np.round(x, 1)).tolist())
        if lines:
            paths.append(f'<path class="spike" d="{lines}"/>')
    return "".join(paths)


def _short(text: str) -> str:
    return escape(text if len(text) <= 20 else f"{text[:9]}…{text[-9:]}")
