"""A result at a glance for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikefit.results.model import Result

_N_EDGES = 5


def summary_html(result: Result) -> str:
    """A small table of what was fitted, how well, and the strongest edges; works in light and dark notebooks."""
    rows = [("units", f"{result.n_visible} visible, {result.n_hidden} hidden")]
    n_dropped = sum(not row.kept for row in result.units)
    if n_dropped:
        rows.append(("dropped units", str(n_dropped)))
    rows.append(("bin width", f"{result.bin_width_s * 1e3:g} ms"))
    if result.lag_s.size:
        rows.append(("history", f"{result.lag_s[-1] * 1e3:g} ms"))
    for key, label in (
        ("heldout_nats_per_bin", "held-out objective, nats per bin"),
        ("heldout_bits_per_spike", "held-out bits per spike"),
        ("converged", "converged"),
    ):
        if result.metrics.get(key) is not None:
            rows.append((label, _show(result.metrics[key])))
    facts = "".join(
        f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows
    )
    table = result.edges()
    strongest = table[np.argsort(-np.abs(np.nan_to_num(table["weight"])), kind="stable")[:_N_EDGES]]
    edges = "".join(
        f"<tr><td>{html.escape(str(edge['pre_id']))} → {html.escape(str(edge['post_id']))}</td>"
        f"<td>{edge['weight']:+.3g}</td><td>{edge['peak_lag_s'] * 1e3:g} ms</td></tr>"
        for edge in strongest
    )
    doubts = "".join(f"<li>{html.escape(text)}</li>" for text in result.warnings)
    return (
        f"<div><strong>{html.escape(result.name)}</strong> <small>{type(result).__name__}</small><table>{facts}</table>"
        + (f"<table><tr><th>strongest edges</th><th>weight</th><th>peak lag</th></tr>{edges}</table>" if edges else "")
        + (f"<ul>{doubts}</ul>" if doubts else "")
        + "</div>"
    )


def _show(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
