"""`spikefit infer`: the main job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from spikefit.addresses import name_of_recording
from spikefit.cli.guard import Session, show_warning
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
from spikefit.machine import place_in_team

SECTIONS = ("recording", "model", "gradient", "fit", "run")


@click.command("infer", cls=SpikefitCommand)
@click.argument("recordings", metavar="FILE...", type=RecordingPath(), nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the results; with several files, one folder per file inside it.  [default: none, it is needed]",
)
@settings(SECTIONS)
@config_option
@click.option(
    "--dry-run",
    is_flag=True,
    default=False,
    help="Print bins, parameters, memory and a time estimate, and fit nothing.  [default: off]",
)
@click.option(
    "--resume", is_flag=True, default=False, help="Go on from the checkpoint that a stopped run left.  [default: off]"
)
@overwrite_option
@json_option("the content of metrics.json (a list with several files) instead of a table")
@quiet_and_verbose
@click.pass_context
def command(
    ctx: click.Context,
    /,
    recordings: tuple[Path | str, ...],
    out: Path | None,
    config_file: Path | None,
    dry_run: bool,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Find the connections between the units of a recording.

    Fits a network with or without hidden units to the spikes in FILE and writes the connectivity, its figures and all
    that is needed to repeat the fit to the folder given with -o. The recording itself is never written to.
    """
    if out is None and not dry_run:
        ctx.fail("-o OUT is missing: the folder for the results (--dry-run needs none)")
    if resume and overwrite:
        ctx.fail("--resume goes on with what is there, --overwrite replaces it: pass one of the two")

    from spikefit.config import resolve_config
    from spikefit.progress import progress_for

    resolved = resolve_config(config_file, flags=given(flags))
    first = (place_in_team() or (0, 1))[0] == 0
    for note in resolved.notes if first else ():
        show_warning(note)

    from spikefit import pipeline

    if (out is None or dry_run) and not first:
        return
    if out is None or dry_run:
        plan = pipeline.plan(recordings, config=resolved.config)
        click.echo(json.dumps(plan.to_dict(), indent=2) if as_json else "\n".join(plan.lines()))
        return
    session = ctx.find_object(Session)
    if session is not None:
        session.out = out
    progress = progress_for(quiet=quiet or as_json or not first)
    try:
        fits = pipeline.infer(
            recordings,
            out,
            config=resolved.config,
            origin=resolved.origin,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
            together=True,
        )
    finally:
        progress.abandon()
    if not first:
        return  # one process tells what all have found
    if as_json:
        texts = [fit.metrics_json().rstrip("\n") for fit in fits]
        click.echo(texts[0] if len(texts) == 1 else "[\n" + ",\n".join(texts) + "\n]")
    elif not quiet:
        from spikefit.cli.summary import echo_summary

        for place, (recording, fit) in enumerate(zip(recordings, fits, strict=True)):
            if place:
                click.echo("")
            echo_summary(fit, out if len(fits) == 1 else out / name_of_recording(recording).split(".")[0])
