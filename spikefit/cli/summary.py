"""What `spikefit infer` says when it is done: the answer in a few lines, and where to find the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from spikefit.cli.show import echo_table, plain_number, thousands
from spikefit.report.stability import stability_sentence

if TYPE_CHECKING:
    from spikefit.results import Result

STRONGEST = 8
MOST_NULLS = 12
_SHARED_NULLS = {
    "within": "within a type, small",
    "between": "between types, small",
    "rest": "small",
    "all": "small, null of all pairs",
}


def echo_summary(fit: Result, folder: Path) -> None:
    """Print unit counts, held-out scores, the strongest edges, warnings and the place of the files.

    Args:
        fit: what was fitted.
        folder: where its files are.
    """
    dropped = [row for row in fit.units if not row.kept]
    units = f"{fit.n_visible} recorded" + (f" + {fit.n_hidden} hidden" if fit.n_hidden else "") + " units"
    left_out = f" ({len(dropped)} left out, reasons in units.csv)" if dropped else ""
    bins = fit.metrics.get("n_bins")
    length = f", {thousands(int(bins))} bins of {1e3 * fit.bin_width_s:g} ms" if bins is not None else ""
    click.echo(f"{fit.name}: {units}{left_out}{length}")
    if fit.covariates is not None:
        click.echo(covariate_line(fit.metrics))
    for line in score_lines(fit.metrics, fit.n_hidden):
        click.echo(line)
    n_edges, n_pairs = fit.metrics.get("n_edges"), fit.metrics.get("n_tested_pairs")
    if n_edges is not None and n_pairs:
        click.echo(edge_line(fit.metrics))
        least = _number(fit.metrics, "detectable_weight")
        if least is not None:
            click.echo(f"a coupling of the median pair would be called from {least:.2g} drive per spike on")
        _echo_nulls(fit.metrics)
    if fit.metrics.get("hidden_choice"):
        click.echo(str(fit.metrics["hidden_choice"]))
    stable = stability_sentence(fit)
    if stable is not None and fit.metrics.get("hidden_stability"):
        click.echo(stable.rstrip("."))
    _echo_candidates(fit)
    _echo_edges(fit)
    if fit.warnings:
        click.echo("")
    for text in fit.warnings:
        click.echo(f"warning: {text}")
    click.echo("")
    click.echo(f"results are in {folder}{'/' if not str(folder).endswith('/') else ''} (connectivity.h5, edges.csv, …)")


def _echo_candidates(fit: Result) -> None:
    """Held-out scores of every number of hidden units that was tried, where there were several."""
    candidates = fit.metrics.get("candidates") or ()
    if len(candidates) <= 1:
        return
    click.echo("")
    # The evidence lower bound first, then what the choice was made by.
    gains = {
        "heldout_gain_nats_per_bin": "gain over none",
        "heldout_iwae_gain_nats_per_bin": "by importance-weighted bound",
        "cv_gain_nats_per_bin": "in folds",
    }
    shown = [key for key in gains if any(key in row for row in candidates)]
    echo_table(
        ("hidden units", "held out, nats per bin", *(gains[key] for key in shown), ""),
        [
            (
                str(row["n_hidden"]),
                _signed(_number(row, "heldout_nats_per_bin"), None),
                *(_signed(_number(row, key), _number(row, f"{key}_se")) for key in shown),
                "← kept" if row["n_hidden"] == fit.n_hidden else "",
            )
            for row in candidates
        ],
        numbers=tuple(range(2 + len(shown))),
    )


def _echo_edges(fit: Result) -> None:
    """The strongest edges, or the most certain where they were tested."""
    edges = fit.edges()
    edges = edges[np.isfinite(edges["weight"])]
    if not edges.size:
        return
    # By q where there is one, and by size among equals.
    q = np.where(np.isfinite(edges["q_value"]), edges["q_value"], 2.0)
    strongest = edges[np.lexsort((-np.abs(edges["weight"]), q))[:STRONGEST]]
    first = "most certain" if np.isfinite(edges["q_value"]).any() else "strongest"
    # A column of dashes tells nothing: what was not asked for is not shown.
    columns = {"weight": "weight", "std_error": "std. error", "q_value": "q", "peak_lag_s": "peak lag (ms)"}
    shown = [name for name in columns if np.isfinite(strongest[name]).any()]
    click.echo("")
    echo_table(
        ("from", "to", *(columns[name] for name in shown)),
        [
            (
                str(edge["pre_id"]),
                str(edge["post_id"]),
                *(plain_number(float(edge[name]) * (1e3 if name == "peak_lag_s" else 1)) for name in shown),
            )
            for edge in strongest
        ],
        title=f"{first} of {thousands(int(edges.size))} connections (weight: summed over lags, in units of the drive):",
        numbers=tuple(range(2, 2 + len(shown))),
    )


def covariate_line(metrics: Mapping[str, Any]) -> str:
    """Which covariates were taken, and how far each moves the drive of the median unit and of the one it moves most."""
    told = [
        f"{row['name']} ({row['basis']}, moves the drive by {row['drive_sd_median']:.2g}, at most {row['drive_sd_largest']:.2g})"
        for row in metrics.get("covariates") or ()
    ]
    return f"covariates: {', '.join(told)}"


def edge_line(metrics: Mapping[str, Any]) -> str:
    """How many edges are called, and against what."""
    n_inputs = int(metrics.get("n_shared_inputs") or 0)
    inputs = f", {n_inputs} shared input{'s' if n_inputs > 1 else ''} taken off" if n_inputs else ""
    level, spread = _number(metrics, "n_edges_q_level"), _number(metrics, "null_spread")
    width = "" if spread is None else f" (null spread {spread:.2f}, 1 if the standard errors were right{inputs})"
    if metrics.get("null_by_type"):
        alone = thousands(int(metrics["n_edges_one_null"]))
        width = f" (nulls by {metrics['pair_types']}{inputs}; one null for all would call {alone})"
    if metrics.get("n_surrogates"):
        width = f" (against {thousands(int(metrics['n_surrogates']))} surrogates, {metrics['significance']})"
    if metrics.get("tested_on"):
        width += f", tested on the {metrics['tested_on']}"
    called, pairs = thousands(int(metrics["n_edges"])), thousands(int(metrics["n_tested_pairs"]))
    return f"edges: {called} of {pairs} pairs of recorded units at q ≤ {level:g}{width}"


def _echo_nulls(metrics: Mapping[str, Any]) -> None:
    """What no edge looks like from each type to each other; types that share a null stand in one line."""
    by_null: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in metrics.get("null_by_type") or ():
        own = row["fitted_to"] == "own"
        by_null.setdefault((row["pre_type"], row["post_type"]) if own else (row["fitted_to"],), []).append(row)
    if not by_null:
        return
    lines = []
    for key, rows in list(by_null.items())[:MOST_NULLS]:
        null = rows[0]
        several = (f"{len(rows)} pairs of types", _SHARED_NULLS.get(key[0], key[0]))
        lines.append(
            (
                *(key if len(key) > 1 else several),
                thousands(sum(int(row["n_pairs"]) for row in rows)),
                f"{null['centre']:+.2f}",
                f"{null['spread']:.2f}",
                f"{null['shape']:g}",
                thousands(sum(int(row["n_edges"]) for row in rows)),
            )
        )
    click.echo("")
    echo_table(
        ("from", "to", "pairs", "centre", "spread", "tail", "edges"),
        lines,
        title="what no edge looks like, by type (spread 1 if the standard errors were right, tail 2 if it is normal):",
        numbers=(2, 3, 4, 5, 6),
    )
    if len(by_null) > MOST_NULLS:
        click.echo(f"… and {len(by_null) - MOST_NULLS} more (null_by_type in metrics.json)")


def score_lines(metrics: Mapping[str, Any], n_hidden: int) -> list[str]:
    """How well the fit predicts spikes it never saw, and whether the hidden units helped."""
    lines = []
    nats, bits = _number(metrics, "heldout_nats_per_bin"), _number(metrics, "heldout_bits_per_spike")
    if nats is not None:
        spread = _number(metrics, "heldout_bits_per_spike_se")
        also = f"; {_signed(bits, spread, 3)} bits per spike over constant rates" if bits is not None else ""
        lines.append(f"held out: {nats:.4f} nats per bin{also}")
    gain, error = _number(metrics, "heldout_gain_nats_per_bin"), _number(metrics, "heldout_gain_se")
    if n_hidden and gain is not None:
        clear = error is None or abs(gain) > 2 * error
        verdict = "hidden units help" if gain > 0 else "no hidden units would predict better"
        drive = " but the common drive" if metrics.get("h0_common_drive") else ""
        lines.append(
            f"against no hidden units{drive}: {_signed(gain, error)} nats per bin: "
            + (verdict if clear else "within twice its standard error, so hidden units are not needed")
        )
    fit_s, wall_s = _number(metrics, "fit_s"), _number(metrics, "wall_s")
    if fit_s is not None:
        whole = f" ({wall_s:.1f} s in all)" if wall_s is not None else ""
        state = "not converged" if metrics.get("converged") is False else "converged"
        lines.append(f"{state} in {fit_s:.1f} s{whole}")
    return lines


def _signed(value: float | None, error: float | None, decimals: int = 4) -> str:
    if value is None:
        return "–"
    return f"{value:+.{decimals}f}" + (f" ± {error:.{decimals}f}" if error else "")


def _number(metrics: Mapping[str, Any], name: str) -> float | None:
    value = metrics.get(name)
    return float(value) if value is not None and math.isfinite(float(value)) else None
