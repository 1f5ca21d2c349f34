"""Slurm, by arrays of jobs. The script that is submitted is the one that `--print-script` prints.

It is written here and handed to sbatch, and what a job did is read from the files it left. Libraries that submit Python
functions store them pickled on the shared disk and load them again on the nodes; nothing of ours is ever unpickled.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from spikefit.batching.engines import TICK_S, Order, Watch, died
from spikefit.batching.engines.slurm_script import LARGEST_ARRAY, script_text
from spikefit.batching.jobs import Job
from spikefit.batching.outcome import Outcome, from_dict
from spikefit.batching.places import Places, read_json, write_json
from spikefit.config import Config
from spikefit.errors import DeviceError, SpikefitError, UsageError
from spikefit.files import write_text

ASK_EVERY_S = 10.0
ANSWER_WITHIN_S = 60.0
_END_STATES = re.compile(r"JobState=(\w+)")


class SlurmEngine:
    """Fits jobs as tasks of Slurm arrays, and waits for them.

    Args:
        places: of the batch; on a disk that the nodes share.
        config: its section `slurm` says what is asked for.
    """

    def __init__(self, places: Places, config: Config) -> None:
        self._places, self._config = places, config

    def describe(self, n_jobs: int) -> str:
        limit = self._config.batch.jobs
        return "Slurm" + (f", at most {limit} at a time" if limit else "")

    def run(self, orders: Sequence[Order], watch: Watch) -> None:
        commands = write_script(self._places, orders, self._config)
        waiting: dict[tuple[str, int], Job] = {}
        arrays: list[str] = []
        try:
            for first, command in commands:
                array = _submit(command)
                arrays.append(array)
                part = orders[first : first + LARGEST_ARRAY]
                waiting |= {(array, index): Job(**order["job"]) for index, order in enumerate(part)}
        except SpikefitError:
            for array in arrays:  # half a batch was not asked for
                _slurm("scancel", array)
            raise
        watch.say(f"submitted as {', '.join(arrays)}; squeue shows where they stand")
        self._wait(waiting, arrays, watch)

    def _wait(self, waiting: dict[tuple[str, int], Job], arrays: list[str], watch: Watch) -> None:
        missing: set[tuple[str, int]] = set()
        asked_s, stopped = time.monotonic(), 0
        while waiting:
            watch.tick()
            watch.look()
            if watch.stop > stopped:
                stopped = watch.stop
                self._stop(arrays, stopped)
            for task, job in list(waiting.items()):
                outcome = self._left(job)
                if outcome is not None and outcome.status in ("done", "failed"):
                    watch.finished(outcome)
                    del waiting[task]
            if waiting and time.monotonic() - asked_s > (1.0 if stopped else ASK_EVERY_S):
                asked_s = time.monotonic()
                active = _active(arrays)
                if active is not None:
                    gone = waiting.keys() - active
                    # What ended a moment ago may not have arrived on this side of a shared disk: ask twice.
                    for task in gone & missing:
                        watch.finished(self._lost(task, waiting.pop(task), stopped=bool(stopped)))
                    missing = gone
            time.sleep(TICK_S)

    def _left(self, job: Job) -> Outcome | None:
        return from_dict(read_json(self._places.outcome(job.name)))

    def _lost(self, task: tuple[str, int], job: Job, *, stopped: bool) -> Outcome:
        """A task that Slurm knows no more, and that left no result."""
        left = self._left(job)
        if left is not None:
            return left
        if stopped:
            return Outcome(
                job.name, "stopped", job.name, "stopped on request.", "run it again with --resume", key=job.key
            )
        array, index = task
        log = self._places.own / "slurm" / f"{array}_{index}.log"
        state = _END_STATES.search(_slurm("scontrol", "show", "job", f"{array}_{index}", "--oneliner").stdout)
        told = f"Slurm ended it: {state[1]}." if state is not None else "Slurm ended it."
        return died(job, told, f"look into {log}, or run it again with --resume and more --memory or --time-limit")

    def _stop(self, arrays: Sequence[str], level: int) -> None:
        for array in arrays:
            if level == 1:
                _slurm("scancel", "--state=PENDING", array)
                _slurm("scancel", "--batch", "--signal=TERM", array)
            else:
                _slurm("scancel", array)


def prepare_script(out: str | Path, jobs: Sequence[Job], config: Config, *, overwrite: bool) -> str:
    """Write the manifest and the script into the batch's folder, and submit nothing.

    Returns:
        The script; how to submit it is said on stderr, since a path may hold what means something to a shell.
    """
    from spikefit.batching.run import prepared

    if config.batch.spread:
        raise UsageError(
            "--spread submits the shares of the fits first and the fits when those have ended; a script cannot.",
            hint="leave --spread out, or let `spikefit batch` submit",
        )
    places, orders = prepared(out, jobs, overwrite=overwrite)
    commands = write_script(places, orders, config)
    print("submit it with:", file=sys.stderr)
    for _, command in commands:
        print(f"  {shlex.join(command)}", file=sys.stderr)
    return script_text(config, len(orders))


def write_script(places: Places, orders: Sequence[Order], config: Config) -> list[tuple[int, list[str]]]:
    """Write manifest and script.

    Returns:
        For each array, its first job and the command that submits it.
    """
    folder = places.own / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(places.manifest, {"format": "spikefit-batch", "format_version": 1, "orders": list(orders)})
    script = folder / "array.sh"
    write_text(script, script_text(config, len(orders)))
    at_a_time = f"%{config.batch.jobs}" if config.batch.jobs is not None else ""
    commands = []
    for first in range(0, len(orders), LARGEST_ARRAY):
        n_here = min(LARGEST_ARRAY, len(orders) - first)
        command = ["sbatch", "--parsable", f"--chdir={folder}", f"--array=0-{n_here - 1}{at_a_time}"]
        commands.append((first, [*command, str(script), sys.executable, str(places.manifest), str(first)]))
    return commands


def _submit(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_WITHIN_S, check=False)
    except FileNotFoundError as fault:
        raise DeviceError(
            "there is no Slurm on this computer (no sbatch).",
            hint="run this on a login node of the cluster, or see --print-script",
        ) from fault
    except subprocess.TimeoutExpired as fault:
        raise DeviceError("Slurm does not answer (sbatch).", hint="`sinfo` tells whether it is up") from fault
    array = done.stdout.strip().partition(";")[0]
    if done.returncode or not array.isdigit():
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise DeviceError(
            f"Slurm refused the jobs: {lines[-1].removeprefix('sbatch: error: ')}.",
            hint="check --partition, --account, --time-limit, --memory, --cpus and --gpus",
        )
    return array


def _active(arrays: Sequence[str]) -> set[tuple[str, int]] | None:
    """Tasks that wait or run; None where Slurm does not say."""
    active: set[tuple[str, int]] = set()
    for array in arrays:
        told = _slurm("squeue", "--noheader", "--array", f"--jobs={array}", "--format=%F|%K")
        if told.returncode and "invalid job id" not in told.stderr.lower():
            return None
        for line in told.stdout.splitlines() if not told.returncode else ():
            owner, _, index = line.strip().partition("|")
            if index.isdigit():
                active.add((owner, int(index)))
    return active


def _slurm(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        return subprocess.CompletedProcess(command, 1, "", str(fault))
