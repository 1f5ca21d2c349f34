"""`spikefit config`: write, check and show settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from spikefit.cli.main import COMMANDS
from spikefit.cli.options import SpikefitCommand, config_option, given, json_option, overwrite_option, settings

EVERY_SECTION = ("recording", "model", "gradient", "fit", "run", "simulate", "batch", "slurm", "pvae")


@click.group("config", help=COMMANDS["config"])
def command() -> None:
    """The group; its sentence stands with the other commands'."""


@command.command("init", cls=SpikefitCommand)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="spikefit.yaml")
@overwrite_option
def init(path: Path, overwrite: bool) -> None:
    """Write a file to start from.

    It goes to PATH (spikefit.yaml; - is stdout) and holds every setting with its default and a comment.
    """
    from spikefit.config import commented_yaml
    from spikefit.errors import UsageError
    from spikefit.files import write_text

    if str(path) == "-":
        click.echo(commented_yaml(), nl=False)
        return
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already.", hint="pass another path, or --overwrite")
    write_text(path, commented_yaml())
    click.echo(f"wrote {path}; use it with `spikefit infer … -c {path}`")


@command.command("check", cls=SpikefitCommand)
@click.argument("path", type=click.Path(path_type=Path))
def check(path: Path) -> None:
    """List all faults of a file.

    All faults of PATH are listed at once; the exit code is 3 where there are any.
    """
    from spikefit.config import resolve_config

    resolved = resolve_config(path, environ={})
    n_given = sum(origin != "default" for origin in resolved.origin.values())
    click.echo(f"{path}: no faults; it sets {n_given} of {len(resolved.origin)} settings, the others are defaults")


@command.command("show", cls=SpikefitCommand)
@config_option
@settings(EVERY_SECTION)
@json_option("the values and their origins as JSON instead of YAML")
def show(config_file: Path | None, as_json: bool, **flags: Any) -> None:
    """Print the settings that hold.

    Each comes with where it was set: a flag, a SPIKEFIT_* variable, a line of a file, or nowhere (default).
    """
    from spikefit.cli.guard import show_warning
    from spikefit.config import resolve_config

    resolved = resolve_config(config_file, flags=given(flags))
    for note in resolved.notes:
        show_warning(note)
    if as_json:
        click.echo(json.dumps({"config": resolved.config.to_dict(), "origin": resolved.origin}, indent=2))
    else:
        click.echo(resolved.config.to_yaml(resolved.origin), nl=False)


@command.command("schema", cls=SpikefitCommand)
@click.option("--markdown", is_flag=True, default=False, help="Print the reference page instead.  [default: off]")
def schema(markdown: bool) -> None:
    """Print the JSON schema of a file.

    Editors and other programs can check a config with it.
    """
    from spikefit.config import config_schema, reference_page

    click.echo(reference_page() if markdown else json.dumps(config_schema(), indent=2), nl=not markdown)
