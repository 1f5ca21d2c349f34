"""Worker processes on this computer. One that dies costs its job, not the batch."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from spikefit.batching.engines import TICK_S, Order, Watch, died
from spikefit.batching.jobs import Job
from spikefit.batching.outcome import Outcome, from_dict
from spikefit.batching.places import Places, read_json
from spikefit.config import Config
from spikefit.errors import SpikefitError
from spikefit.machine import worker_environment, workers_for

# The package may lie outside the worker's own search path; -P keeps files of the current folder from posing as modules.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from spikefit.batching.worker import main; main()"
_PACKAGE_HOME = str(Path(__file__).resolve().parents[3])
_LONGEST_TAIL = 2000


@dataclass
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    answers: IO[bytes]
    log: Path
    order: Order | None = None
    ready: bool = False
    unread: bytes = b""
    signalled: int = field(default=0)

    def give(self, order: Order | None) -> None:
        """Hand over a job, or the word that there are no more."""
        assert self.process.stdin is not None
        self.order = order
        with contextlib.suppress(OSError):  # gone already: the end of its answers tells
            if order is None:
                self.process.stdin.close()
            else:
                self.process.stdin.write((json.dumps(order) + "\n").encode())
                self.process.stdin.flush()

    def lines(self) -> list[Any] | None:
        """What it has answered; None when it will answer no more."""
        found = os.read(self.answers.fileno(), 1 << 20)
        if not found:
            return None
        *whole, self.unread = (self.unread + found).split(b"\n")
        return [json.loads(line) for line in whole]

    def close(self) -> None:
        """Let go of its pipes."""
        self.answers.close()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()


class LocalEngine:
    """Fits jobs in processes that stay until all is done, so that each imports torch once.

    Args:
        places: of the batch.
        config: its sections `batch` and `run` say how many workers and threads.
    """

    def __init__(self, places: Places, config: Config) -> None:
        self._places, self._config = places, config

    def describe(self, n_jobs: int) -> str:
        n_workers, gpus = self._workers(n_jobs)
        where = f", on {min(len(gpus), n_workers)} GPU{'s' if min(len(gpus), n_workers) > 1 else ''}" if gpus else ""
        return f"{n_workers} worker process{'es' if n_workers > 1 else ''} on this computer{where}"

    def run(self, orders: Sequence[Order], watch: Watch) -> None:
        waiting = deque(orders)
        n_workers, gpus = self._workers(len(orders))
        numbers = deque(range(n_workers))  # of workers that are not there
        workers: dict[int, _Worker] = {}
        n_stillborn = 0
        with selectors.DefaultSelector() as selector:
            try:
                while waiting or workers:
                    while waiting and numbers and not watch.stop:
                        worker = self._start(numbers.popleft(), n_workers, gpus)
                        workers[worker.number] = worker
                        selector.register(worker.answers, selectors.EVENT_READ, worker)
                        self._next(worker, waiting, watch)
                    if watch.stop:
                        waiting.clear()
                        _ask_to_stop(workers.values(), watch.stop)
                    for ready, _ in selector.select(TICK_S):
                        worker = ready.data
                        answers = worker.lines()
                        for answer in answers or ():
                            self._hear(worker, answer, waiting, watch)
                        if answers is None:
                            selector.unregister(worker.answers)
                            n_stillborn += not worker.ready and not watch.stop
                            numbers.append(workers.pop(worker.number).number)
                            again = self._bury(worker, watch, give_up=n_stillborn > n_workers)
                            waiting.extendleft(() if again is None else (again,))
                    watch.tick()
            finally:
                for worker in workers.values():
                    worker.process.kill()
                    worker.close()
                    worker.process.wait()

    def _workers(self, n_jobs: int) -> tuple[int, list[str]]:
        run = self._config.run
        return workers_for(n_jobs, jobs=self._config.batch.jobs, device=run.device, threads=run.threads)

    def _start(self, number: int, n_workers: int, gpus: list[str]) -> _Worker:
        answers, answer_to = os.pipe()
        log = self._places.worker_log(number)
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START, _PACKAGE_HOME, str(answer_to)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env=worker_environment(number, n_workers, gpus, self._config.run.threads),
                    pass_fds=(answer_to,),
                    start_new_session=True,  # Ctrl-C in the terminal is for the batch, which passes it on once
                )
        finally:
            os.close(answer_to)
        return _Worker(number, process, os.fdopen(answers, "rb", buffering=0), log)

    def _next(self, worker: _Worker, waiting: deque[Order], watch: Watch) -> None:
        order = waiting.popleft() if waiting and not watch.stop else None
        worker.give(order)
        if order is not None:
            watch.started(order["job"]["name"])

    def _hear(self, worker: _Worker, answer: Any, waiting: deque[Order], watch: Watch) -> None:
        if answer.get("ready"):
            worker.ready = True
            return
        outcome = from_dict(answer)
        assert outcome is not None
        self._next(worker, waiting, watch)
        watch.finished(outcome)

    def _bury(self, worker: _Worker, watch: Watch, *, give_up: bool) -> Order | None:
        """A worker has ended: with nothing left to do, or in the middle of a job. What it never began is returned."""
        worker.close()
        code = worker.process.wait()
        if worker.order is None:
            return None
        job = Job(**worker.order["job"])
        if give_up:
            raise SpikefitError(
                f"worker processes cannot start: {_tail(worker.log)}", hint="`spikefit doctor` checks the installation"
            )
        left = from_dict(read_json(self._places.outcome(job.name)))
        if left is not None:  # it ended between its last file and its answer
            watch.finished(left)
        elif watch.stop:
            watch.finished(
                Outcome(job.name, "stopped", job.name, "stopped on request.", "run it again with --resume", key=job.key)
            )
        elif not worker.ready:
            return worker.order
        else:
            watch.finished(died(job, *_why(code)))
        return None


def _ask_to_stop(workers: Any, level: int) -> None:
    for worker in workers:
        if worker.order is None or worker.signalled >= level:
            continue
        worker.signalled = level
        worker.process.send_signal(signal.SIGTERM if level == 1 else signal.SIGKILL)


def _why(code: int) -> tuple[str, str]:
    if code == -signal.SIGKILL:
        return (
            "its worker process was killed (signal 9); most often the computer ran out of memory.",
            "run fewer --jobs at a time; --dry-run tells what each needs",
        )
    if code < 0:
        return f"its worker process was ended by signal {-code} ({signal.Signals(-code).name}).", "try it again"
    return f"its worker process ended with code {code} in the middle of the fit.", "its log is in .batch/workers"


def _tail(log: Path) -> str:
    try:
        lines = log.read_bytes()[-_LONGEST_TAIL:].decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "they say nothing"
