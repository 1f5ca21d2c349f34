"""`spikefit simulate`: a recording with a known answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from spikefit.cli.guard import show_warning
from spikefit.cli.options import (
    SpikefitCommand,
    config_option,
    given,
    json_option,
    overwrite_option,
    quiet_and_verbose,
    settings,
)
from spikefit.cli.show import thousands


@click.command("simulate", cls=SpikefitCommand)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The recording to write, FILE.nwb; the truth goes beside it, to FILE.truth.h5.  [default: none, it is needed]",
)
@settings(["simulate"], also=("bin", "window", "link", "seed"))
@config_option
@click.option(
    "--dry-run",
    is_flag=True,
    default=False,
    help="Print bins, parameters, memory and a time estimate, and make nothing.  [default: off]",
)
@overwrite_option
@json_option("what was made as JSON instead of a table")
@quiet_and_verbose
def command(
    out: Path, config_file: Path | None, dry_run: bool, overwrite: bool, as_json: bool, quiet: bool, **flags: Any
) -> None:
    """Make a recording of a network whose connections are known.

    The network has recorded neurons with sparse connections and unrecorded drivers that excite many of them. The truth
    is written in the layout of connectivity.h5.
    """
    from spikefit.config import resolve_config

    resolved = resolve_config(config_file, flags=given(flags))
    for note in resolved.notes:
        show_warning(note)

    from spikefit import pipeline

    made = pipeline.simulate_to_file(out, config=resolved.config, overwrite=overwrite, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(made, indent=2))
    elif not quiet:
        (_echo_plan if dry_run else _echo)(made)


def _echo_plan(plan: dict[str, Any]) -> None:
    click.echo(f"{plan['recording']}: {plan['n_visible']} recorded units and {plan['n_hidden']} drivers")
    for name, value in (
        ("bins", thousands(plan["n_bins"])),
        ("parameters", thousands(plan["n_parameters"])),
        ("memory", f"about {max(1, round(plan['memory_bytes'] / 1e6))} MB beside the imports"),
        ("time", f"about {max(1, round(plan['time_s']))} s on one core"),
    ):
        click.echo(f"  {name:<11} {value}")


def _echo(made: dict[str, Any]) -> None:
    click.echo(
        f"{made['recording']}: {made['n_visible']} recorded units, {made['duration_s']:g} s, "
        f"{thousands(made['n_spikes'])} spikes ({made['mean_rate_hz']:.1f} Hz a unit), seed {made['seed']}"
    )
    click.echo(
        f"{made['truth']}: the truth, with {made['n_hidden']} unrecorded drivers and "
        f"{thousands(made['n_connections'])} connections between recorded units"
    )
