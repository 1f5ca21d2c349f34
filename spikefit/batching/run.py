"""Many sessions: find them, see what is done, run the rest on an engine, and say what came of it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikefit.batching.conductor import Conductor
from spikefit.batching.display import Display, NoDisplay
from spikefit.batching.engines import Engine, Order
from spikefit.batching.events import append_event
from spikefit.batching.jobs import Job, make_jobs
from spikefit.batching.known import KnownResults, in_the_way, is_half_of_ours, last_outcome
from spikefit.batching.lock import locked
from spikefit.batching.outcome import Outcome
from spikefit.batching.places import Places
from spikefit.batching.sessions import expand, find_sessions, read_sessions
from spikefit.batching.shares import run_shares
from spikefit.batching.summary import write_summary
from spikefit.config import Config
from spikefit.config.resolve import DEFAULT
from spikefit.errors import Checkpointed, SpikefitError, UsageError
from spikefit.files import explain_os_error
from spikefit.planning import Plan

Recordings = str | Path | Sequence[str | Path]

SOME_FAILED = 10
INTERRUPTED = 130


@dataclass(frozen=True)
class BatchResult:
    """What came of a batch.

    Attributes:
        out: the output folder.
        outcomes: one per job, in their order.
        signal: the signal that stopped it, or None.
    """

    out: Path
    outcomes: tuple[Outcome, ...]
    signal: int | None = None

    def count(self, status: str) -> int:
        """How many jobs ended so: done, failed, stopped, not run."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        if self.signal == signal.SIGINT:
            return INTERRUPTED
        if self.signal is not None:
            return Checkpointed.exit_code
        if self.count("failed"):
            return SOME_FAILED
        return Checkpointed.exit_code if self.count("stopped") else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "out": str(self.out),
            "n_jobs": len(self.outcomes),
            "n_done": self.count("done"),
            "n_done_before": sum(outcome.again for outcome in self.outcomes),
            "n_failed": self.count("failed"),
            "n_stopped": self.count("stopped"),
            "n_not_run": self.count("not run"),
            "jobs": [outcome.to_dict() for outcome in self.outcomes],
        }


def batch(
    recordings: Recordings = (),
    out: str | Path | None = None,
    *,
    config: Config | None = None,
    origin: Mapping[str, str] | None = None,
    base: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    only_failed: bool = False,
    keep_going: bool = True,
    display: Display | None = None,
    **settings: Any,
) -> BatchResult:
    """Infer the connections in many recordings, each in a folder of its own inside `out`.

    A job whose result is there already, made from the same data with the same settings, is not run again. A job that
    fails is told of in the result, in `summary.csv` and in `summary.html`, and the others go on.

    Args:
        recordings: paths and patterns, besides those that the config names.
        out: output folder; one batch at a time works in it.
        config: all settings; its section `batch` names recordings, a grid and the engine.
        origin: where each setting came from, by key, for the record.
        base: folder that paths in the config are relative to; the current one where None.
        overwrite: replace results of other data or settings that are in the way.
        resume: jobs that were stopped go on from their checkpoints.
        only_failed: run the jobs that failed last time, and no others.
        keep_going: go on after a job has failed; otherwise the running ones are stopped behind a checkpoint.
        display: what a person sees meanwhile.
        settings: single settings by the words of the command line (`hidden=2`, `grid={"hidden": [0, 2]}`, `jobs=4`).

    Raises:
        SpikefitError: for what is wrong before any job is started; see `spikefit.errors`.
    """
    config, origin = _with(config, origin, settings)
    if out is None:
        raise UsageError("a batch needs a folder for its results.", hint="pass out=, or -o on the command line")
    jobs = find_jobs(recordings, config, origin=origin, base=base)
    display = display or NoDisplay()
    places = Places(Path(os.path.abspath(out)))
    _make_folders(places, jobs)
    with locked(places.own) as remarks:
        places.sweep()
        for text in remarks:
            display.say(text)
        outcomes, todo = _sort_out(places, jobs, only_failed=only_failed)
        orders = [_order(places, job, resume, overwrite) for job in _cleared(places, todo, outcomes, overwrite)]
        todo = [Job(**order["job"]) for order in orders]
        jobs = _renamed(jobs, todo)
        conductor = Conductor(places, jobs, outcomes, display, to_run=[job.name for job in todo], keep_going=keep_going)
        _run(places, config, jobs, orders, conductor, display)
    told = tuple(outcomes.get(job.name) or Outcome(job.name, "not run", key=job.key) for job in jobs)
    return BatchResult(places.out, told, conductor.signal)


def find_jobs(
    recordings: Recordings,
    config: Config,
    *,
    origin: Mapping[str, str] | None = None,
    base: str | Path | None = None,
) -> list[Job]:
    """The jobs of a batch, in order; nothing is read but the table of sessions.

    Raises:
        SpikefitError: if a recording is not there, the table has faults, or there are too many jobs.
    """
    given = [recordings] if isinstance(recordings, str | Path) else list(recordings)
    home = Path(base) if base is not None else Path.cwd()
    sessions = find_sessions(given, Path.cwd())
    sessions += find_sessions([_expanded(text, "files", home) for text in config.batch.files], home)
    if config.batch.sessions is not None:
        sessions += read_sessions(home / _expanded(config.batch.sessions, "sessions", home))
    if not sessions:
        raise UsageError(
            "there are no recordings to work on.",
            hint="name files, a table with --sessions, or `files:` in a config",
        )
    return make_jobs(sessions, config, origin or {})


def plan_job(job: Job) -> Plan:
    """What one job would take; the recording is read, nothing is fitted.

    Raises:
        SpikefitError: if the recording cannot be used.
    """
    from spikefit.pipeline import plan

    return plan(Path(job.recording), config=Config(**job.config))


def known_outcomes(out: str | Path, jobs: Sequence[Job]) -> dict[str, Outcome]:
    """Outcomes of the jobs whose result is in `out` already, by name."""
    places = Places(Path(os.path.abspath(out)))
    known = KnownResults(places)
    found = {job.name: known.outcome_of(job) for job in jobs}
    return {name: outcome for name, outcome in found.items() if outcome is not None}


def prepared(out: str | Path, jobs: Sequence[Job], *, overwrite: bool) -> tuple[Places, list[Order]]:
    """The orders for whatever is not done yet, for somebody who will start them by other means.

    Raises:
        UsageError: if all is done, or results of other settings are in the way.
    """
    places = Places(Path(os.path.abspath(out)))
    _make_folders(places, jobs)
    with locked(places.own):
        outcomes, todo = _sort_out(places, jobs, only_failed=False)
        if not todo:
            raise UsageError(f"all {len(jobs)} jobs are done already; there is nothing to submit.")
        return places, [_order(places, job, True, overwrite) for job in _cleared(places, todo, outcomes, overwrite)]


def engine_for(places: Places, config: Config) -> Engine:
    """The engine that the config names."""
    if config.batch.executor == "dask":
        from spikefit.batching.engines.dask import DaskEngine

        return DaskEngine(places, config)
    if config.batch.executor == "slurm":
        from spikefit.batching.engines.slurm import SlurmEngine

        return SlurmEngine(places, config)
    from spikefit.batching.engines.local import LocalEngine

    return LocalEngine(places, config)


def _with(
    config: Config | None, origin: Mapping[str, str] | None, settings: Mapping[str, Any]
) -> tuple[Config, dict[str, str]]:
    base = config or Config()
    changed = base.replace(**settings) if settings else base
    origin = {**(origin or {}), **dict.fromkeys(settings, "argument")}
    if origin.get("figures", DEFAULT) == DEFAULT and changed.run.figures == Config().run.figures:
        # Pictures cost more than everything else beside a short fit; each report.html has its own charts.
        changed, origin = changed.replace(figures="none"), {**origin, "figures": "batch"}
    return changed, origin


def _expanded(text: str, key: str, base: Path) -> str:
    expanded = expand(text, base)
    if expanded is None:
        raise UsageError(f"{key}: {text} names an environment variable that is not set.")
    return expanded


def _make_folders(places: Places, jobs: Sequence[Job]) -> None:
    out = places.out
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; a batch needs a folder.", hint="pass another folder with -o")
    inside = [job.recording for job in jobs if out == Path(job.recording) or out in Path(job.recording).parents]
    if inside:
        raise UsageError(
            f"{inside[0]} lies in the output folder itself.", hint="pass a folder with -o that holds no recordings"
        )
    try:
        places.make()
    except (FileExistsError, NotADirectoryError) as fault:
        raise UsageError(f"{out}: a part of this path is a file, not a folder.", hint="pass another -o") from fault
    except OSError as fault:
        raise explain_os_error(fault, out) from fault


def _sort_out(places: Places, jobs: Sequence[Job], *, only_failed: bool) -> tuple[dict[str, Outcome], list[Job]]:
    """What is known of the jobs already, and which are to be run."""
    known = KnownResults(places)
    outcomes: dict[str, Outcome] = {}
    todo = []
    for job in jobs:
        there = known.outcome_of(job)
        if there is not None:
            outcomes[job.name] = there
            continue
        last = last_outcome(places, job) if only_failed else None
        if only_failed and (last is None or last.status != "failed"):
            if last is not None and last.status == "stopped":
                outcomes[job.name] = last
            continue
        todo.append(job)
    return outcomes, todo


def _cleared(places: Places, todo: Sequence[Job], outcomes: Mapping[str, Outcome], overwrite: bool) -> list[Job]:
    """The jobs to be run, none of them in the way of a result that stays."""
    used = {outcome.folder.casefold() for outcome in outcomes.values() if outcome.again}
    cleared = []
    for job in todo:
        if job.name.casefold() in used:  # another job of this batch has its result under this name
            job = Job(**{**job.to_dict(), "name": f"{job.name}-{job.key[:8]}"})
        cleared.append(job)
    blocked = [] if overwrite else in_the_way(places, cleared)
    if blocked:
        shown = ", ".join(blocked[:5]) + (f" and {len(blocked) - 5} more" if len(blocked) > 5 else "")
        raise UsageError(
            f"{places.out} holds results of other data or settings: {shown}; they were left as they are.",
            hint="pass --overwrite to replace them, or another folder with -o",
        )
    return cleared


def _renamed(jobs: Sequence[Job], todo: Sequence[Job]) -> list[Job]:
    """All jobs, with the names under which they are run."""
    names = {(job.recording, job.key): job for job in todo}
    return [names.get((job.recording, job.key), job) for job in jobs]


def _order(places: Places, job: Job, resume: bool, overwrite: bool) -> Order:
    """What a worker is told to do."""
    half = is_half_of_ours(places, job)
    for stale in (places.outcome(job.name), places.job_events(job.name)):
        stale.unlink(missing_ok=True)
    return {
        "out": str(places.out),
        "job": job.to_dict(),
        "resume": resume,
        "overwrite": overwrite or half,
        "argv": list(sys.argv),
    }


def _run(
    places: Places,
    config: Config,
    jobs: Sequence[Job],
    orders: Sequence[Order],
    conductor: Conductor,
    display: Display,
) -> None:
    engine = engine_for(places, config)
    outcomes = conductor.outcomes
    n_known = len(outcomes)
    append_event(
        places.events, "batch started", n_jobs=len(jobs), n_known=n_known, n_to_run=len(orders), pid=os.getpid()
    )
    try:
        if orders:
            display.begin(len(jobs), len(jobs) - len(orders))
            display.say(
                f"{len(orders)} of {len(jobs)} jobs to run"
                + (f" ({n_known} are done already)" if n_known else "")
                + f": {engine.describe(len(orders))}"
            )
            with conductor:
                if config.batch.spread:
                    run_shares(engine, places, orders, conductor)
                if not conductor.stop:
                    engine.run(orders, conductor)
    finally:
        unwritten = _try_summary(places, jobs, outcomes, display)
        counts = {
            f"n_{status.replace(' ', '_')}": sum(outcome.status == status for outcome in outcomes.values())
            for status in ("done", "failed", "stopped")
        }
        append_event(places.events, "batch finished", **counts, signal=conductor.signal)
    if unwritten is not None and all(outcome.status == "done" for outcome in outcomes.values()):
        raise unwritten  # nothing else would end this batch with another code than 0


def _try_summary(
    places: Places, jobs: Sequence[Job], outcomes: dict[str, Outcome], display: Display
) -> SpikefitError | None:
    """Write the summary; a disk that refuses it is told of, because the results are worth more."""
    try:
        write_summary(places, jobs, outcomes)
    except SpikefitError as fault:
        display.say(f"the summary could not be written: {fault.message}")
        return fault
    return None
