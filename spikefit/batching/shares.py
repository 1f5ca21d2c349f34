"""Fits that fall into pieces: which shares a job is cut into, and how a batch follows them.

Shares are orders like any other, for the same function on the same engine; they are done before the jobs they belong
to. A job then finds its pieces as checkpoints in its folder. A share that failed costs nothing but time: its job does
that piece itself, and tells what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spikefit.batching.conductor import Conductor
from spikefit.batching.engines import Engine, Order
from spikefit.batching.jobs import Job
from spikefit.batching.outcome import Outcome
from spikefit.batching.places import Places
from spikefit.pieces import SURROGATES_PER_PIECE

# `safe_name` leaves no such sign in the name of a job.
MARK = "~"
# `--hidden auto` compares one number, its neighbours and none.
MOST_AUTO = 3
# Tests of edges that refit recordings with moved spikes.
MOVED = ("jitter", "shift", "trials")


def stages_of(config: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The stages of a job's fit that fall into pieces, in their order, and into how many; none where it is of one piece.

    Args:
        config: of the job, as plain values.
    """
    hidden, fit = config["model"]["hidden"], config["fit"]
    numbers = [hidden] if isinstance(hidden, int) else [] if hidden == "auto" else hidden
    n_hidden = MOST_AUTO if hidden == "auto" else len({number for number in numbers if number > 0})
    stages = [("hidden", n_hidden), ("fold", fit["folds"] if n_hidden and fit["folds"] > 1 else 0)]
    if fit["significance"] in MOVED:
        stages.append(("surrogates", -(-fit["surrogates"] // SURROGATES_PER_PIECE)))
    stages = [stage for stage in stages if stage[1]]
    # One piece alone is done first only for what comes behind it, so that not every share there does it again.
    while stages and stages[-1][1] == 1:
        stages.pop()
    return stages


def shares_of(order: Order) -> list[list[Order]]:
    """The shares that a job's fit can be cut into, stage after stage."""
    job = order["job"]
    return [
        [
            {
                **order,
                "job": {**job, "name": f"{job['name']}{MARK}{stage}-{number + 1}-of-{n_shares}"},
                "share": {"stage": stage, "number": number, "of": n_shares, "job": job["name"]},
                # What an earlier stage left, or this one before it was stopped.
                "resume": order["resume"] or place > 0,
            }
            for number in range(n_shares)
        ]
        for place, (stage, n_shares) in enumerate(stages_of(job["config"]))
    ]


def run_shares(engine: Engine, places: Places, orders: Sequence[Order], conductor: Conductor) -> None:
    """Do all shares of some jobs; afterwards each of those jobs goes on from what they left.

    Args:
        engine: where.
        places: of the batch.
        orders: of the jobs; those that were cut are changed so that they resume.
        conductor: of the batch.
    """
    cut = [(order, stages) for order in orders if (stages := shares_of(order))]
    for order, _ in cut:
        if not order["resume"]:  # whatever lies there is of another fit
            for stale in (places.result(order["job"]["name"]) / "checkpoints").rglob("*.safetensors"):
                stale.unlink(missing_ok=True)
        order["resume"] = True
    watch = ShareWatch(conductor)
    # Stage after stage of all jobs: what comes behind needs what came before.
    for place in range(max((len(stages) for _, stages in cut), default=0)):
        shares = [share for _, stages in cut if place < len(stages) for share in stages[place]]
        for share in shares:
            for left in (places.outcome(share["job"]["name"]), places.job_events(share["job"]["name"])):
                left.unlink(missing_ok=True)
        n_fits = len({share["share"]["job"] for share in shares})
        whose = "a fit" if n_fits == 1 else f"{n_fits} fits"
        conductor.say(f"{len(shares)} shares of {whose}: {engine.describe(len(shares))}")
        conductor.expect(share["job"]["name"] for share in shares)
        engine.run(shares, watch)
        if conductor.stop:
            break
    else:
        return
    begun = {name.partition(MARK)[0] for name in watch.ended}
    for order, _ in cut:
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
