"""The one function that every engine calls: fit one job, and leave its result and its outcome as files."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spikefit.batching.events import EventProgress, Follower, append_event
from spikefit.batching.jobs import Job
from spikefit.batching.outcome import Outcome, from_dict, of_result
from spikefit.batching.places import Places, read_json, write_json
from spikefit.config import Config
from spikefit.errors import Checkpointed, SpikefitError, UsageError
from spikefit.pieces import Share

logger = logging.getLogger(__name__)
# Threads of one process share torch's settings and the log, so one job at a time.
_ONE_AT_A_TIME = threading.Lock()


def run_job(
    out: str, job: Mapping[str, Any], *, resume: bool, overwrite: bool, share: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Fit one job. One that was begun before in this batch, by a worker that died or was cut off, goes on.

    Args:
        out: output folder of the batch, absolute; every computer must see it under this path.
        job: a `Job` as plain values.
        resume: go on from a checkpoint, where there is one.
        overwrite: a result of other settings or data may be replaced.
        share: do no more than this share of the fit, for the job that it names (see `spikefit.batching.shares`).

    Returns:
        The outcome, as plain values. It also lies in the batch's folder.
    """
    with _ONE_AT_A_TIME:
        return _run(Places(Path(out)), Job(**job), resume, overwrite, share).to_dict()


def _run(places: Places, job: Job, resume: bool, overwrite: bool, share: Mapping[str, Any] | None) -> Outcome:
    began_s = time.perf_counter()
    if not places.own.is_dir():
        # Without this a worker on another computer would make a folder of that name on a disk of its own.
        return Outcome(
            job.name,
            "failed",
            reason=f"the worker does not see the output folder {places.out}.",
            hint="pass a folder with -o that all computers share",
            kind="UsageError",
            exit_code=UsageError.exit_code,
            key=job.key,
        )
    events = places.job_events(job.name)
    attempt = 1 + sum(event.get("event") == "started" for event in Follower(events).new())
    if attempt > 1:
        left = from_dict(read_json(places.outcome(job.name)))
        if left is not None and left.status == "done" and left.key == job.key:
            return left  # the worker died after its last file
    whose = {} if share is None else {"share_of": share["job"]}
    append_event(events, "started", job=job.name, attempt=attempt, **whose)
    try:
        fit = _fit if share is None else _share_of(share)
        outcome = fit(places, job, resume or attempt > 1, overwrite or attempt > 1)
    # Whatever ends a job, Ctrl-C included, is its outcome; the batch goes on or stops by itself.
    except (Exception, KeyboardInterrupt, SystemExit) as fault:
        outcome = failure(job, fault)
    outcome = outcome.but(wall_s=time.perf_counter() - began_s, key=job.key)
    with contextlib.suppress(SpikefitError):  # a full disk: the outcome still travels home with the answer
        write_json(places.outcome(job.name), outcome.to_dict())
    told = {"status": outcome.status, "reason": outcome.reason, "wall_s": outcome.wall_s}
    append_event(events, "finished", job=job.name, **told, **whose)
    return outcome


def _fit(places: Places, job: Job, resume: bool, overwrite: bool) -> Outcome:
    from spikefit.pipeline import infer

    wanted = Config(**job.config)
    # What did not converge is told with the result, which must not be lost for it.
    config = wanted.replace(strict=False) if wanted.run.strict else wanted
    folder = places.result(job.name)
    fit = infer(
        Path(job.recording),
        folder,
        config=config,
        origin=job.origin,
        overwrite=overwrite,
        resume=resume,
        progress=EventProgress(places.job_events(job.name), job.name),
    )
    return of_result(fit, job.name, job.name, key=job.key, strict=wanted.run.strict)


def _share_of(share: Mapping[str, Any]) -> Callable[[Places, Job, bool, bool], Outcome]:
    def do(places: Places, job: Job, resume: bool, overwrite: bool) -> Outcome:
        from spikefit.pipeline import infer_share

        infer_share(
            Path(job.recording),
            places.result(share["job"]),
            Share(share["stage"], share["number"], share["of"]),
            config=Config(**job.config),
            overwrite=overwrite,
            resume=resume,
            progress=EventProgress(places.job_events(job.name), job.name),
        )
        return Outcome(job.name, "done", share["job"])

    return do


def failure(job: Job, fault: BaseException) -> Outcome:
    """What went wrong, in the words the command line would use."""
    kind = type(fault).__name__
    if isinstance(fault, Checkpointed | KeyboardInterrupt | SystemExit):
        return Outcome(job.name, "stopped", job.name, "stopped on request.", "run it again with --resume", kind, 75)
    if isinstance(fault, SpikefitError):
        return Outcome(job.name, "failed", "", fault.message, fault.hint or "", kind, fault.exit_code)
    if is_out_of_memory(fault):
        return Outcome(
            job.name,
            "failed",
            "",
            f"the memory is not enough: {first_line(fault)}.",
            "use a wider bin, a shorter window, fewer hidden units, or fewer --jobs at a time",
            kind,
            5,
        )
    text = "".join(traceback.format_exception(fault))
    logger.error("%s", text)
    return Outcome(
        job.name, "failed", "", f"a fault of spikefit itself: {kind}: {first_line(fault)}", "", kind, 1, traceback=text
    )


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether an error says that memory ran out; torch raises a plain RuntimeError on the CPU."""
    is_torch = type(fault).__name__ == "OutOfMemoryError" and type(fault).__module__.startswith("torch")
    text = str(fault).lower() if isinstance(fault, RuntimeError) else ""
    return isinstance(fault, MemoryError) or is_torch or "can't allocate memory" in text or "out of memory" in text


def first_line(fault: BaseException) -> str:
    """The first line of what an error says, or its name."""
    lines = str(fault).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(fault).__name__
