"""A Dask cluster that runs already, or one that is started here. Work of a worker that dies is given to another.

What travels is the order, as JSON, and the outcome; the result itself is written by the worker to the output folder,
which all computers must share.
"""

from __future__ import annotations

import json
import queue
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spikefit.batching.engines import TICK_S, Order, Watch, died
from spikefit.batching.jobs import Job
from spikefit.batching.outcome import Outcome, from_dict
from spikefit.batching.places import Places
from spikefit.config import Config
from spikefit.errors import DeviceError, UsageError
from spikefit.machine import workers_for

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 10


def run_order(text: str) -> str:
    """Do one order on a Dask worker; both ways as JSON."""
    from distributed import get_worker

    from spikefit.batching.work import run_job

    order = json.loads(text)
    order.pop("argv")
    run = order["job"]["config"]["run"]
    if run["threads"] is None:  # what the worker was given, so that workers of one computer do not fight
        run["threads"] = get_worker().state.nthreads
    return json.dumps(run_job(**order))


class DaskEngine:
    """Fits jobs on the workers of a Dask scheduler.

    Args:
        places: of the batch.
        config: its section `batch` names the scheduler, or says how many workers to start here.
    """

    def __init__(self, places: Places, config: Config) -> None:
        self._places, self._config = places, config

    def describe(self, n_jobs: int) -> str:
        address = self._config.batch.scheduler
        if address:
            return f"the Dask scheduler at {address}"
        n_workers = self._n_workers(n_jobs)
        return f"{n_workers} Dask worker{'s' if n_workers > 1 else ''} started here"

    def run(self, orders: Sequence[Order], watch: Watch) -> None:
        client, cluster = self._connect(len(orders))
        ended: queue.Queue[Any] = queue.Queue()
        batch = secrets.token_hex(4)
        try:
            waiting: dict[Any, tuple[Order, Any]] = {}
            for order in orders:
                name = order["job"]["name"]
                future = client.submit(run_order, json.dumps(order), key=f"spikefit-{batch}-{name}", pure=False)
                waiting[future.key] = (order, future)
                future.add_done_callback(ended.put)
            while waiting:
                watch.tick()
                watch.look()
                if watch.stop:
                    self._cancel(client, waiting, watch)
                    return
                try:
                    future = ended.get(timeout=TICK_S)
                except queue.Empty:
                    self._complain_when_gone(client)
                    continue
                order, _ = waiting.pop(future.key)
                watch.finished(_outcome(Job(**order["job"]), future))
        finally:
            client.close()
            if cluster is not None:
                cluster.close()

    def _n_workers(self, n_jobs: int) -> int:
        run = self._config.run
        return workers_for(n_jobs, jobs=self._config.batch.jobs, device=run.device, threads=run.threads)[0]

    def _connect(self, n_jobs: int) -> tuple[Client, Any]:
        try:
            from distributed import Client, LocalCluster
        except ImportError as fault:
            raise UsageError(
                "Dask is not installed here.", hint="pip install 'spikefit[dask]', or run with --executor local"
            ) from fault
        address = self._config.batch.scheduler
        if address is None:
            threads = self._config.run.threads or 1
            cluster = LocalCluster(
                n_workers=self._n_workers(n_jobs), threads_per_worker=threads, processes=True, dashboard_address=None
            )
            return Client(cluster), cluster
        try:
            client = Client(address, timeout=CONNECT_S)
        except (OSError, ValueError) as fault:  # a time-out is an OSError
            raise DeviceError(
                f"no Dask scheduler answers at {address}.", hint="start one with `dask scheduler`, or check the address"
            ) from fault
        if not client.scheduler_info()["workers"]:
            client.close()
            raise DeviceError(
                f"the Dask scheduler at {address} has no workers.", hint=f"start some with `dask worker {address}`"
            )
        return client, None

    def _complain_when_gone(self, client: Client) -> None:
        if client.status not in ("running", "connecting", "newly-created"):
            raise DeviceError(
                "the Dask scheduler is gone; finished results are kept.",
                hint="run the same command again with --resume",
            )

    def _cancel(self, client: Client, waiting: dict[Any, tuple[Order, Any]], watch: Watch) -> None:
        # A running fit hears nothing in its thread; what it has written at its last checkpoint is kept.
        client.cancel([future for _, future in waiting.values()], force=True)
        for order, _ in waiting.values():
            job = Job(**order["job"])
            if (self._places.job_events(job.name)).exists():
                watch.finished(
                    Outcome(
                        job.name, "stopped", job.name, "stopped on request.", "run it again with --resume", key=job.key
                    )
                )


def _outcome(job: Job, future: Any) -> Outcome:
    from distributed import CancelledError, KilledWorker

    try:
        outcome = from_dict(json.loads(future.result()))
    except KilledWorker as fault:
        return died(
            job,
            f"the workers that tried it died, {fault.allowed_failures + 1} of them; most often they ran out of memory.",
            "give the workers more memory, or run fewer at a time",
        )
    except CancelledError:
        return died(job, "the Dask cluster gave it up.", "run it again with --resume")
    except Exception as fault:
        # What goes wrong inside a fit comes home as an outcome; this is the worker itself: spikefit is missing there, say.
        return died(
            job,
            f"the Dask worker could not run it: {type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else ''}",
            "every worker needs the spikefit that started the batch",
        )
    assert outcome is not None
    return outcome
