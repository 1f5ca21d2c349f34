"""What `spikefit inspect` says of a result: a few lines for whoever finds the folder a year later."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePath
from typing import Any

import click

from spikefit.cli.show import thousands
from spikefit.cli.summary import score_lines

MOST_DROPPED_SHOWN = 3


def echo_overview(path: Path, found: dict[str, Any]) -> None:
    """Print what `spikefit.results.overview` found.

    Args:
        path: as the user gave it.
        found: the overview.
    """
    maker = found.get("generator") or "spikefit"
    made = str(found.get("created_utc") or "").replace("T", " ").removesuffix("+00:00")
    source = found["recording"] or found["name"]
    click.echo(f"{path}: a result of {maker}, " + (f"made {made} UTC " if made else "") + f"from {source}")
    if found["argv"]:
        program, *words = (str(word) for word in found["argv"])
        click.echo(f"command: {shlex.join([PurePath(program).name, *words])}")
    click.echo(_units(found))
    for line in score_lines(found["metrics"], found["n_hidden"]):
        click.echo(line)
    edges = found["edges"]
    if edges["n_with_q_value"]:
        called, pairs = thousands(edges["n_called"]), thousands(edges["n_with_q_value"])
        click.echo(f"edges: {called} of {pairs} ordered pairs at q ≤ {edges['q_level']:g}")
    else:
        click.echo(f"edges: {thousands(edges['n_pairs'])} ordered pairs with a weight each; no q-values were computed")
    for text in found["warnings"]:
        click.echo(f"warning: {text}")
    click.echo("files: " + ", ".join(f"{name} ({_size(size)})" for name, size in found["files"].items()))
    click.echo("next: spikefit report makes its page again, spikefit export writes it for other programs")


def _units(found: dict[str, Any]) -> str:
    text = f"{found['n_visible']} recorded" + (f" + {found['n_hidden']} hidden" if found["n_hidden"] else "") + " units"
    dropped = found["dropped_units"]
    if dropped:
        named = "; ".join(f"{row['id']}: {row['reason']}" for row in dropped[:MOST_DROPPED_SHOWN])
        text += f" ({len(dropped)} left out: {named}{'; …' if len(dropped) > MOST_DROPPED_SHOWN else ''})"
    n_bins = found["metrics"].get("n_bins")
    text += f", {thousands(int(n_bins))} bins" if n_bins is not None else ", bins"
    text += f" of {1e3 * found['bin_width_s']:g} ms"
    return text + (f", history {1e3 * found['window_s']:g} ms" if found["window_s"] is not None else "")


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} bytes"
