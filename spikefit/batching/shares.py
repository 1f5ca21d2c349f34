"""Fits that fall into pieces: which shares a job is cut into, and how a batch follows them.

Shares are orders like any other, for the same function on the same engine; they are done before the jobs they belong
to. A job then finds its pieces as checkpoints in its folder. A share that failed costs nothing but time: its job does
that piece itself, and tells what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from spikefit.batching.conductor import Conductor
from spikefit.batching.engines import Engine, Order
from spikefit.batching.jobs import Job
from spikefit.batching.outcome import Outcome
from spikefit.batching.places import Places

# `safe_name` leaves no such sign in the name of a job.
MARK = "~"
# `--hidden auto` compares one number, its neighbours and none.
MOST_AUTO = 3


def shares_of(order: Order) -> list[Order]:
    """The shares that a job's fit can be cut into; none where it is of one piece."""
    job = order["job"]
    hidden = job["config"]["model"]["hidden"]
    numbers = [hidden] if isinstance(hidden, int) else [] if hidden == "auto" else hidden
    n_shares = MOST_AUTO if hidden == "auto" else len({number for number in numbers if number > 0})
    if n_shares < 2:
        return []
    return [
        {
            **order,
            "job": {**job, "name": f"{job['name']}{MARK}hidden-{number + 1}-of-{n_shares}"},
            "share": {"stage": "hidden", "number": number, "of": n_shares, "job": job["name"]},
        }
        for number in range(n_shares)
    ]


def run_shares(engine: Engine, places: Places, orders: Sequence[Order], conductor: Conductor) -> None:
    """Do all shares of some jobs; afterwards each of those jobs goes on from what they left.

    Args:
        engine: where.
        places: of the batch.
        orders: of the jobs; those that were cut are changed so that they resume.
        conductor: of the batch.
    """
    shares = []
    for order in orders:
        own = shares_of(order)
        if not own:
            continue
        if not order["resume"]:  # whatever lies there is of another fit
            for stale in (places.result(order["job"]["name"]) / "checkpoints").glob("*.safetensors"):
                stale.unlink(missing_ok=True)
        for share in own:
            for left in (places.outcome(share["job"]["name"]), places.job_events(share["job"]["name"])):
                left.unlink(missing_ok=True)
        order["resume"] = True
        shares += own
    if not shares:
        return
    n_fits = len({share["share"]["job"] for share in shares})
    whose = "a fit" if n_fits == 1 else f"{n_fits} fits"
    conductor.say(f"first {len(shares)} shares of {whose}: {engine.describe(len(shares))}")
    conductor.expect(share["job"]["name"] for share in shares)
    watch = ShareWatch(conductor)
    engine.run(shares, watch)
    if not conductor.stop:
        return
    begun = {name.partition(MARK)[0] for name in watch.ended}
    for order in orders:
        job = Job(**order["job"])
        if job.name in begun:
            conductor.finished(
                Outcome(job.name, "stopped", job.name, "stopped on request.", "run it again with --resume", key=job.key)
            )


class ShareWatch:
    """What an engine reports shares to: their ends are told, and are no outcomes of jobs.

    Args:
        conductor: of the batch.
    """

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self.ended: dict[str, Outcome] = {}

    @property
    def stop(self) -> int:
        """What is asked of the engine."""
        return self._conductor.stop

    def started(self, name: str) -> None:
        self._conductor.started(name)

    def finished(self, outcome: Outcome) -> None:
        self.ended[outcome.name] = outcome
        self._conductor.ended(outcome)
        if outcome.kind == "WorkerDied":
            self._conductor.say(f"{outcome.name}: {outcome.reason} Its fit will do this share itself.")

    def tick(self) -> None:
        self._conductor.tick()

    def look(self) -> None:
        self._conductor.look()

    def say(self, text: str) -> None:
        self._conductor.say(text)
