"""The connectivity matrix as inline SVG, and the numbers behind it for the page's script."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.plots.matrix import colour_limit
from spikefit.report.charts import Floats
from spikefit.results import Result

# A hundred-odd rows can still be told apart on a screen; of larger results the units with the strongest edges are shown.
MAX_UNITS = 120
_SIDE = 720.0


def shown_units(result: Result) -> list[int]:
    """Places of the units that the page shows: all, or those with the strongest edges, in their own order."""
    if result.n_units <= MAX_UNITS:
        return list(range(result.n_units))
    size = np.abs(np.nan_to_num(np.array(result.connectivity, dtype=np.float64), posinf=0, neginf=0))
    np.fill_diagonal(size, 0)
    chosen: dict[int, None] = dict.fromkeys(
        range(result.n_visible, min(result.n_units, result.n_visible + MAX_UNITS // 2))
    )
    for place in np.argsort(-size, axis=None, kind="stable"):
        for unit in divmod(int(place), result.n_units):
            if len(chosen) < MAX_UNITS:
                chosen.setdefault(unit)
        if len(chosen) >= MAX_UNITS:
            break
    return sorted(chosen)


def orders(result: Result, units: list[int]) -> dict[str, list[int]]:
    """Ways to order the units shown, by name: positions within `units`."""
    found = {"as recorded": list(range(len(units)))}
    n_visible = sum(unit < result.n_visible for unit in units)
    if n_visible > 2:
        clustered = _clustered(result.connectivity[np.ix_(units, units)][:n_visible, :n_visible])
        found["by similarity"] = [*clustered, *range(n_visible, len(units))]
    rows = [result.unit_rows[unit] for unit in units]
    for key in dict.fromkeys(key for row in rows for key in row.columns):
        words = [row.columns.get(key) for row in rows[:n_visible]]
        if all(isinstance(word, str) for word in words) and 1 < len(set(words)) <= min(20, n_visible - 1):
            by_word = sorted(range(n_visible), key=lambda k: str(rows[k].columns[key]))
            found[f"by {key}"] = [*by_word, *range(n_visible, len(units))]
    return found


def _clustered(weights: Floats) -> list[int]:
    """Units with similar inputs and outputs beside each other: leaves of an average-linkage tree."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    own = np.nan_to_num(np.array(weights, dtype=np.float64), posinf=0, neginf=0)
    np.fill_diagonal(own, 0)
    features = np.concatenate([own, own.T], axis=1)
    return [int(k) for k in leaves_list(linkage(features, method="average", optimal_ordering=True))]


def matrix_svg(result: Result, units: list[int]) -> Markup:
    """The matrix with row receiving and column sending; the diagonal, own history, is left blank."""
    n = len(units)
    weights = np.array(result.connectivity, dtype=np.float64)[np.ix_(units, units)]
    np.fill_diagonal(weights, np.nan)
    limit, _ = colour_limit(weights)
    ids = [result.unit_id[unit] for unit in units]
    font = min(13.0, 0.8 * _SIDE / n)
    labelled = n <= 60
    room = min(170.0, 8 + font * 0.62 * max(len(text) for text in ids)) if labelled else 12.0
    left, top = room + 24, room + 34
    cell = _SIDE / n
    n_visible = sum(unit < result.n_visible for unit in units)
    parts = [
        f'<g transform="translate({left:.1f} {top:.1f})"><rect class="ground" width="{_SIDE:.0f}" height="{_SIDE:.0f}"/>'
    ]
    parts.append(f'<g id="cells">{_cells(weights, limit, cell)}</g>')
    if 0 < n_visible < n:
        edge = n_visible * cell
        parts.append(f'<path class="fence" d="M{edge:.1f} 0V{_SIDE:.0f}M0 {edge:.1f}H{_SIDE:.0f}"/>')
    parts.append('<rect id="cursor" class="cursor" hidden="" width="0" height="0"/></g>')
    if labelled:
        texts = [escape(text if len(text) <= 26 else f"{text[:12]}…{text[-12:]}") for text in ids]
        rows = "".join(
            f'<text x="{left - 5:.1f}" y="{top + (k + 0.5) * cell + font * 0.35:.1f}" text-anchor="end">{text}</text>'
            for k, text in enumerate(texts)
        )
        columns = "".join(
            f'<text transform="translate({left + (k + 0.5) * cell + font * 0.35:.1f} {top - 5:.1f}) rotate(-90)">{text}</text>'
            for k, text in enumerate(texts)
        )
        parts.append(
            f'<g id="rows" font-size="{font:.1f}">{rows}</g><g id="columns" font-size="{font:.1f}">{columns}</g>'
        )
    middle_x, middle_y = left + _SIDE / 2, top + _SIDE / 2
    parts.append(f'<text class="label" x="{middle_x:.0f}" y="16" text-anchor="middle">pre (sends)</text>')
    turned = f'transform="rotate(-90 14 {middle_y:.0f})" text-anchor="middle"'
    parts.append(f'<text class="label" x="14" y="{middle_y:.0f}" {turned}>post (receives)</text>')
    label = f"Connectivity matrix of {n} units; use the arrow keys to read single pairs"
    frame = f'viewBox="0 0 {left + _SIDE + 4:.0f} {top + _SIDE + 4:.0f}" data-left="{left:.1f}" data-top="{top:.1f}" data-side="{_SIDE:.0f}"'
    svg = f'<svg id="matrix-figure" class="matrix" {frame} data-limit="{limit!r}" role="img" tabindex="0" aria-label="{label}">'
    return Markup(f"{svg}{''.join(parts)}</svg>")


def scale_svg(result: Result, units: list[int]) -> Markup:
    """The colours of the matrix with their values."""
    weights = np.array(result.connectivity, dtype=np.float64)[np.ix_(units, units)]
    np.fill_diagonal(weights, np.nan)
    limit, clipped = colour_limit(weights)
    boxes = "".join(
        f'<rect class="{"n" if k < 0 else "p"}" x="{150 + k * 10}" y="4" width="10" height="14" fill-opacity="{abs(k) / 10:.2f}"/>'
        for k in range(-10, 10)
    )
    low, high = (("≤ " if clipped & 2 else "") + f"−{limit:.3g}", ("≥ " if clipped & 1 else "") + f"+{limit:.3g}")
    texts = f'<text x="44" y="16" text-anchor="end">{low}</text><text x="256" y="16">{high}</text><text x="150" y="32" text-anchor="middle">0, drive per spike</text>'
    return Markup(
        f'<svg class="scale" viewBox="-20 0 340 36" role="img" aria-label="colours from {low} to {high} drive per spike">{boxes}{texts}</svg>'
    )


def matrix_data(result: Result, units: list[int]) -> dict[str, Any]:
    """What the page's script needs: full numbers, NaN as null."""
    block = np.ix_(units, units)

    def rows(matrix: NDArray[Any]) -> list[list[float | None]] | None:
        part = np.array(matrix, dtype=np.float64)[block]
        if np.isnan(part).all():
            return None
        return [[value if math.isfinite(value) else None for value in row] for row in part.tolist()]

    return {
        "ids": [result.unit_id[unit] for unit in units],
        "kinds": [result.unit_kind[unit] for unit in units],
        "weight": rows(result.connectivity),
        "low": rows(result.ci_low),
        "high": rows(result.ci_high),
        "q": rows(result.q_value),
        "orders": orders(result, units),
    }


def _cells(weights: Floats, limit: float, cell: float) -> str:
    parts = []
    for post, row in enumerate(weights.tolist()):
        for pre, weight in enumerate(row):
            if pre == post:
                parts.append(
                    f'<rect class="own" x="{pre * cell:.2f}" y="{post * cell:.2f}" width="{cell:.2f}" height="{cell:.2f}"/>'
                )
            elif math.isfinite(weight) and abs(weight) > 0.005 * limit:
                strength = min(abs(weight) / limit, 1.0)
                parts.append(
                    f'<rect class="{"p" if weight > 0 else "n"}" x="{pre * cell:.2f}" y="{post * cell:.2f}" '
                    f'width="{cell:.2f}" height="{cell:.2f}" fill-opacity="{strength:.2f}"/>'
                )
    return "".join(parts)
