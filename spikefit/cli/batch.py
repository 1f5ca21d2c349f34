"""`spikefit batch`: many recordings, many settings, here or on a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spikefit.cli.guard import Session, show_warning
from spikefit.cli.options import (
    SpikefitCommand,
    config_option,
    given,
    json_option,
    overwrite_option,
    quiet_and_verbose,
    settings,
)

if TYPE_CHECKING:
    from spikefit.batching import BatchResult
    from spikefit.batching.jobs import Job
    from spikefit.config import ResolvedConfig

SECTIONS = ("batch", "slurm", "recording", "model", "gradient", "fit", "run")
CONFIG_SUFFIXES = (".yaml", ".yml")


@click.command("batch", cls=SpikefitCommand)
@click.argument("sources", metavar="CONFIG|FILE...", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the results, one folder per job inside it.  [default: none, it is needed]",
)
@settings(SECTIONS)
@config_option
@click.option(
    "--keep-going/--fail-fast",
    default=True,
    help="Go on after a job has failed, or stop the others behind their checkpoints.  [default: keep-going]",
)
@click.option(
    "--only-failed", is_flag=True, default=False, help="Run those that failed last time, no others.  [default: off]"
)
@click.option(
    "--resume", is_flag=True, default=False, help="Go on from the checkpoints of stopped jobs.  [default: off]"
)
@click.option(
    "--dry-run",
    is_flag=True,
    default=False,
    help="List the jobs with memory and time estimates, and fit nothing.  [default: off]",
)
@click.option(
    "--print-script",
    is_flag=True,
    default=False,
    help="Write what Slurm needs to OUT/.batch and print the sbatch script, and submit nothing.  [default: off]",
)
@overwrite_option
@json_option("what came of every job as one JSON object instead of a table")
@quiet_and_verbose
@click.pass_context
def command(
    ctx: click.Context,
    /,
    sources: tuple[Path, ...],
    out: Path | None,
    config_file: Path | None,
    keep_going: bool,
    only_failed: bool,
    resume: bool,
    dry_run: bool,
    print_script: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Fit many recordings, or many settings, here or on a cluster.

    Each FILE is a recording or a pattern in quotes ('sub-*/*.nwb'); a CONFIG (.yaml) may name recordings, a table of
    sessions and a grid of settings. Jobs whose result is there already are not run again. OUT gets summary.csv,
    summary.html, events.jsonl and one result folder per job; the exit code is 10 where some failed.
    """
    configs = [path for path in sources if path.suffix.lower() in CONFIG_SUFFIXES]
    files = [path for path in sources if path not in configs]
    if len(configs) + (config_file is not None) > 1:
        ctx.fail("several config files were given; one may extend others (`extends:`)")
    if out is None and not dry_run:
        ctx.fail("-o OUT is missing: the folder for the results (--dry-run needs none)")
    if only_failed and overwrite:
        ctx.fail("--only-failed mends what is there, --overwrite replaces it: pass one of the two")

    from spikefit.config import resolve_config

    config_file = configs[0] if configs else config_file
    resolved = resolve_config(config_file, flags=given(flags))
    for note in resolved.notes:
        show_warning(note)
    base = _base(resolved, config_file)

    from spikefit import batching

    if dry_run or out is None:
        jobs = batching.find_jobs(files, resolved.config, origin=resolved.origin, base=base)
        _echo_plan(jobs, out, as_json=as_json)
        return
    session = ctx.find_object(Session)
    if session is not None:
        session.out = out
    if print_script:
        from spikefit.batching.engines.slurm import prepare_script

        jobs = batching.find_jobs(files, resolved.config, origin=resolved.origin, base=base)
        click.echo(prepare_script(out, jobs, resolved.config, overwrite=overwrite), nl=False)
        return

    from spikefit.batching.display import display_for

    result = batching.batch(
        files,
        out,
        config=resolved.config,
        origin=resolved.origin,
        base=base,
        overwrite=overwrite,
        resume=resume,
        only_failed=only_failed,
        keep_going=keep_going,
        display=display_for(quiet=quiet or as_json),
    )
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    elif not quiet:
        _echo_result(result, out)
    raise click.exceptions.Exit(result.exit_code)


def _base(resolved: ResolvedConfig, config_file: Path | None) -> Path:
    """What relative paths are relative to: the config file that holds them, else the current folder."""
    from_flags = all(
        resolved.origin[key].startswith(("flag ", "environment ", "default")) for key in ("files", "sessions")
    )
    return Path.cwd() if config_file is None or from_flags else config_file.parent


def _echo_plan(jobs: list[Job], out: Path | None, *, as_json: bool) -> None:
    """The jobs with what each would take; one that cannot be read says so."""
    from spikefit.batching import known_outcomes, plan_job
    from spikefit.errors import SpikefitError

    known = known_outcomes(out, jobs) if out is not None and out.is_dir() else {}
    planned: list[dict[str, Any]] = []
    for job in jobs:
        entry: dict[str, Any] = {"name": job.name, "recording": job.recording, "varied": job.varied}
        if job.name in known:
            entry["state"] = "done already"
        else:
            try:
                (found,) = plan_job(job).to_dict()["jobs"]
                entry |= {"state": "to run", **{key: value for key, value in found.items() if key != "name"}}
            except SpikefitError as fault:
                entry |= {"state": "cannot be used", "reason": fault.message, "hint": fault.hint}
        planned.append(entry)
    if as_json:
        click.echo(json.dumps({"jobs": planned}, indent=2))
        return
    from spikefit.cli.show import echo_table

    rows = [
        (
            entry["name"],
            entry["state"],
            str(entry.get("n_units", "")),
            f"{entry['memory_bytes'] / 1e9:.1f} GB" if "memory_bytes" in entry else "",
            _minutes(entry["time_s"]) if "time_s" in entry else "",
        )
        for entry in planned
    ]
    echo_table(("job", "state", "units", "memory", "time on one core"), rows, numbers=(2, 3, 4))
    for entry in planned:
        if "reason" in entry:
            show_warning(f"{entry['name']}: {entry['reason']}")
    total_s = sum(entry.get("time_s", 0.0) for entry in planned)
    largest = max((entry.get("memory_bytes", 0) for entry in planned), default=0)
    to_run = sum(entry["state"] == "to run" for entry in planned)
    click.echo("")
    click.echo(
        f"{len(planned)} jobs, {to_run} to run: about {_minutes(total_s)} on one core in all, "
        f"{largest / 1e9:.1f} GB for the largest"
    )


def _echo_result(result: BatchResult, out: Path) -> None:
    from spikefit.cli.show import echo_table, plain_number

    failed = [outcome for outcome in result.outcomes if outcome.status != "done"]
    done = [outcome for outcome in result.outcomes if outcome.status == "done"]
    if done:
        rows = []
        for outcome in done[:MOST_ROWS]:
            bits = outcome.figures.get("heldout_bits_per_spike")
            rows.append(
                (
                    outcome.name,
                    str(outcome.figures.get("n_visible", "")),
                    str(outcome.figures.get("n_hidden", "")),
                    plain_number(bits),
                    "yes" if outcome.figures.get("converged") else "no",
                    "before" if outcome.again else f"{outcome.wall_s:.1f} s",
                )
            )
        echo_table(("job", "units", "hidden", "bits per spike", "converged", "time"), rows, numbers=(1, 2, 3, 5))
        if len(done) > MOST_ROWS:
            click.echo(f"… and {len(done) - MOST_ROWS} more")
        click.echo("")
    for outcome in failed[:MOST_ROWS]:
        click.echo(f"{outcome.name}: {outcome.status}" + (f": {outcome.reason}" if outcome.reason else ""))
        if outcome.hint:
            click.echo(f"  try: {outcome.hint}")
    counts = [f"{result.count(status)} {status}" for status in ("done", "failed", "stopped", "not run")]
    click.echo(f"{len(result.outcomes)} jobs: {', '.join(text for text in counts if not text.startswith('0 '))}")
    click.echo(f"results are in {out}{'/' if not str(out).endswith('/') else ''} (summary.html, summary.csv, …)")


MOST_ROWS = 40


def _minutes(time_s: float) -> str:
    if time_s < 90:
        return f"{max(1, round(time_s))} s"
    return f"{time_s / 60:.0f} min" if time_s < 5400 else f"{time_s / 3600:.1f} h"
