"""The significant edges as a graph: units on a circle, edges as curves through its middle."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.results import Result

_MAX_EDGES = 400
_SIZE, _RADIUS = 640, 240


def network_svg(result: Result, edges: NDArray[np.void]) -> Markup:
    """Units that take part in `edges` on a circle; of very many edges the strongest are drawn."""
    edges = edges[np.argsort(-np.abs(edges["weight"]), kind="stable")[:_MAX_EDGES]]
    taking_part = {*edges["pre_id"].tolist(), *edges["post_id"].tolist()}
    ids = [unit for unit in result.unit_id if unit in taking_part]
    turn = {unit: 2 * math.pi * k / len(ids) - math.pi / 2 for k, unit in enumerate(ids)}
    middle = _SIZE / 2

    def at(unit: str, radius: float) -> tuple[float, float]:
        return middle + radius * math.cos(turn[unit]), middle + radius * math.sin(turn[unit])

    largest = float(np.abs(edges["weight"]).max()) or 1.0
    parts = [
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="5" markerHeight="5" orient="auto" '
        'markerUnits="userSpaceOnUse"><path d="M0 0L6 3L0 6z" fill="context-stroke"/></marker></defs>'
    ]
    for edge in edges:
        (x1, y1), (x2, y2) = at(edge["pre_id"], _RADIUS - 6), at(edge["post_id"], _RADIUS - 8)
        bend_x, bend_y = middle + 0.25 * (x1 + x2 - 2 * middle), middle + 0.25 * (y1 + y2 - 2 * middle)
        width = 0.6 + 2.6 * abs(float(edge["weight"])) / largest
        name = escape(
            f"{edge['pre_id']} → {edge['post_id']}: {edge['weight']:+.3g} drive per spike, q = {edge['q_value']:.2g}"
        )
        kind = "pos" if edge["weight"] > 0 else "neg"
        parts.append(
            f'<path class="edge {kind}" d="M{x1:.1f} {y1:.1f}Q{bend_x:.1f} {bend_y:.1f} {x2:.1f} {y2:.1f}" '
            f'stroke-width="{width:.2f}" marker-end="url(#tip)"><title>{name}</title></path>'
        )
    font = max(6.0, min(13.0, 2 * math.pi * _RADIUS / max(len(ids), 1) * 0.7))
    hidden = set(result.unit_id[result.hidden_units])
    for unit in ids:
        x, y = at(unit, _RADIUS)
        tx, ty = at(unit, _RADIUS + 9)
        degrees = math.degrees(turn[unit])
        flip = 90.1 < degrees % 360 < 269.9
        turned = f'transform="rotate({degrees + 180 if flip else degrees:.1f} {tx:.1f} {ty:.1f})"'
        parts.append(
            f'<circle class="{"node hiddenunit" if unit in hidden else "node"}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        )
        label = escape(unit if len(unit) <= 14 else f"{unit[:6]}…{unit[-6:]}")
        side = "end" if flip else "start"
        parts.append(
            f'<text x="{tx:.1f}" y="{ty:.1f}" font-size="{font:.1f}" text-anchor="{side}" dominant-baseline="middle" {turned}>{label}</text>'
        )
    about = f"graph of {len(edges)} significant edges among {len(ids)} units; the table below lists them"
    svg = f'<svg class="network" viewBox="0 0 {_SIZE} {_SIZE}" role="img" aria-label="{about}">{"".join(parts)}</svg>'
    return Markup(svg)
