"""What a batch costs beside its fits, and what a second worker brings.

Simulated sessions of 10 recorded units, seeds 0, 1, 2, …; one thread per worker. Two measurements, no baseline of
another program:

* overhead: many sessions that are fitted in a moment, on one worker. The time of the whole batch less the fits (`fit_s`
  of each result) and less the start of the worker, per session; and the same in CPU time, which other work on the machine
  moves little. (`fit_s` is taken off the CPU time whole: one thread, so that it is CPU time, too.)
* speed: sessions whose fits take a second or two, on one worker and on two; the ratio of the times of the whole batches,
  start of the workers included. It means nothing on a machine that is busy with other work.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import spikefit
from spikefit.config import Config
from spikefit.pipeline import simulate_to_file

TINY: dict[str, Any] = {"bin": "10ms", "window": "50ms", "functions": 2, "restarts": 1, "threads": 1, "device": "cpu"}


def sessions(folder: Path, n: int, duration: str) -> list[Path]:
    paths = []
    for seed in range(n):
        config = Config().replace(neurons=10, drivers=1, duration=duration, bin="10ms", window="50ms", seed=seed)
        paths.append(folder / f"sub-{seed:03}.nwb")
        simulate_to_file(paths[-1], config=config)
    return paths


def run(paths: list[Path], out: Path, **settings: Any) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    result = spikefit.batch(paths, out, **TINY, **settings)
    whole_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert result.exit_code == 0, [outcome.reason for outcome in result.outcomes if outcome.reason]
    first_job_s = first_event(out, "started") - first_event(out, "batch started")
    fits_s = sum(outcome.figures["fit_s"] for outcome in result.outcomes)
    return {"whole_s": whole_s, "start_s": first_job_s, "fits_s": fits_s, "cpu_s": cpu_s}


def first_event(out: Path, name: str) -> float:
    import datetime

    for line in (out / "events.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == name:
            return datetime.datetime.fromisoformat(event["time_utc"]).timestamp()
    raise LookupError(name)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sessions", type=int, default=100, help="for the overhead")
    options.add_argument("--long", type=int, default=12, help="sessions for the speed")
    options.add_argument("--figures", help="format of the pictures of each result; a batch draws none")
    options.add_argument("--epochs", type=int, default=20, help="of each of those")
    wanted = options.parse_args()
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores")
    folder = Path(tempfile.mkdtemp())
    try:
        tiny = sessions(folder / "tiny", wanted.sessions, "30s")
        told = run(tiny, folder / "o1", jobs=1, hidden=0, **({"figures": wanted.figures} if wanted.figures else {}))
        outside_s = (told["whole_s"] - told["start_s"] - told["fits_s"]) / wanted.sessions
        print(
            f"{wanted.sessions} sessions of 30 s on one worker: {told['whole_s']:.1f} s, start {told['start_s']:.1f} s,"
        )
        print(f"  fits {told['fits_s']:.1f} s; outside the fits {outside_s:.3f} s per session")
        cpu_s = (told["cpu_s"] - told["fits_s"]) / wanted.sessions
        print(
            f"  CPU of the worker, its imports included: {told['cpu_s']:.1f} s; outside the fits {cpu_s:.3f} s per session"
        )
        again_began = time.perf_counter()
        spikefit.batch(tiny, folder / "o1", jobs=1, hidden=0, **TINY)
        print(f"  again, all done already: {time.perf_counter() - again_began:.1f} s")
        if wanted.long:
            longer = sessions(folder / "long", wanted.long, "120s")
            settings = {"hidden": 2, "max_epochs": wanted.epochs}
            one = run(longer, folder / "w1", jobs=1, **settings)["whole_s"]
            two = run(longer, folder / "w2", jobs=2, **settings)["whole_s"]
            print(
                f"{wanted.long} sessions with 2 hidden units: one worker {one:.1f} s, two {two:.1f} s, {one / two:.2f} times"
            )
        print(f"load of the machine after: {os.getloadavg()[0]:.2f}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
