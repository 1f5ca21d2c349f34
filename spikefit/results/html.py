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
        + _folds(result)
        + (f"<ul>{doubts}</ul>" if doubts else "")
        + "</div>"
    )


def _folds(result: Result) -> str:
    """Numbers of hidden units that were tried in folds: gain over none, and in how many folds there is one; empty without folds."""
    tried = {row["n_hidden"]: row for row in result.metrics.get("candidates") or () if "cv_gain_nats_per_bin" in row}
    if not tried:
        return ""
    none = (tried.get(0) or {}).get("cv_fold_nats_per_bin") or ()
    rows = []
    for n_hidden, row in sorted(tried.items()):
        gain, error = row["cv_gain_nats_per_bin"], row.get("cv_gain_nats_per_bin_se")
        text = "–" if gain is None else f"{gain:+.3g}" + (f" ± {error:.2g}" if n_hidden and error is not None else "")
        folds = row.get("cv_fold_nats_per_bin") or ()
        pairs = [pair for pair in zip(folds, none, strict=False) if None not in pair]
        whole = n_hidden and len(pairs) == len(none) == len(folds) > 0
        better = f"{sum(score > base for score, base in pairs)} of {len(pairs)}" if whole else "–"
        name = f"<strong>{n_hidden}, kept</strong>" if n_hidden == result.n_hidden else str(n_hidden)
        rows.append(f"<tr><td>{name}</td><td>{text if n_hidden else '–'}</td><td>{better}</td></tr>")
    head = "<tr><th>hidden units</th><th>gain over none in folds, nats per bin</th><th>folds that gain</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _show(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
