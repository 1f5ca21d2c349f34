"""`spikefit convert`: a recording as a clean NWB or HDF5 file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from spikefit.cli.guard import show_warning
from spikefit.cli.options import (
    RecordingPath,
    SpikefitCommand,
    config_option,
    given,
    json_option,
    overwrite_option,
    quiet_and_verbose,
    settings,
)
from spikefit.cli.show import thousands


@click.command("convert", cls=SpikefitCommand)
@click.argument("recording", metavar="IN", type=RecordingPath())
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@settings(["recording"])
@config_option
@overwrite_option
@json_option("what was written as JSON instead of a line")
@quiet_and_verbose
def command(
    recording: Path | str,
    out: Path,
    config_file: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Write a clean copy of a recording: kept units, chosen time, seconds.

    OUT ends in .nwb for NWB, in .h5 for plain HDF5. What is written is what `spikefit infer` would use of IN with the same
    flags: units with their columns, observed intervals, epochs; and its covariates, whole. IN is not changed.
    """
    from spikefit.cli.inspect import settings_for_reading
    from spikefit.converting import convert

    made = convert(recording, out, settings_for_reading(config_file, given(flags)), overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(made, indent=2, ensure_ascii=False))
        return
    for text in made["warnings"] if not quiet else ():
        show_warning(text)
    if not quiet:
        n = len(made["covariates"])
        left = f", {len(made['left_out'])} left out" if made["left_out"] else ""
        click.echo(
            f"{out} ({made['format']}): {made['n_units']} units{left}, {thousands(made['n_spikes'])} spikes, "
            f"{made['duration_s']:.1f} s observed" + (f", {n} covariate{'s' if n > 1 else ''}" if n else "")
        )
