"""Damage valid files at random and read them: an answer or a message, never a traceback, a hang or a flood of memory.

    python tests/loaders/fuzz.py --cases 10000 --seed 7

Each case is made from its own number alone, so a failure is repeated with `--seed NUMBER --cases 1`. The test beside it runs
some hundreds of cases each time, and thousands where slow tests are run. Of a format that is a folder, one file is damaged.
"""

from __future__ import annotations

import argparse
import faulthandler
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import systems

from spikefit.covariates import Covariate
from spikefit.errors import SpikefitError
from spikefit.loaders import FORMATS, read
from spikefit.spikes import SpikeTrains

SECONDS_PER_CASE = 10
EXTRA_BYTES = 2**30
HUGE = [
    b"\xff" * 8,
    b"\xff" * 4,
    (2**31).to_bytes(8, "little"),
    (2**40).to_bytes(8, "little"),
    (10**9).to_bytes(4, "little"),
]


class Trap:
    """Anything that unpickles it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def make_seeds(folder: Path) -> list[Path]:
    """Small valid files of every format, and a pickle that must never be opened."""
    random_numbers = np.random.default_rng(0)
    trains = [np.round(1 + np.sort(random_numbers.random(80)) * 60, 6) for _ in range(3)]
    flat, rows = np.concatenate(trains), np.repeat(np.arange(3), 80)
    with h5py.File(folder / "a.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file["units/id"] = np.arange(3)
        file["units/spike_times"] = flat
        file["units/spike_times_index"] = np.array([80, 160, 240], np.uint8)
        file["units/obs_intervals"] = [[0, 70.0]] * 3
        file["units/obs_intervals_index"] = [1, 2, 3]
        file["units/quality"] = [b"good", b"mua", b"good"]
        file["units/unit_name"] = ["a", "b", "c"]
        file["units"].create_dataset("depth", data=np.arange(3.0), chunks=(3,), compression="gzip", shuffle=True)
        group = file.create_group("general/extracellular_ephys/shank")
        group.attrs["location"] = "CA1"
        file["units"].create_dataset(
            "electrode_group", data=np.array([group.ref] * 3, h5py.ref_dtype), dtype=h5py.ref_dtype
        )
        for name in ("epochs", "trials", "invalid_times"):
            file[f"intervals/{name}/start_time"] = [0.0, 5.0]
            file[f"intervals/{name}/stop_time"] = [0.5, 9.0]
        for name, data in (("Position/place", flat.reshape(-1, 2)), ("CompassDirection/direction", flat[:120])):
            series = file.create_group(f"processing/behavior/{name}")
            series.attrs["neurodata_type"] = "SpatialSeries"
            series.create_dataset("data", data=data, chunks=True, compression="gzip")
            series["data"].attrs.update(unit="radians", conversion=1.0)
        file["processing/behavior/Position/place/timestamps"] = np.arange(120.0)
        file["processing/behavior/CompassDirection/direction/starting_time"] = 1.0
        file["processing/behavior/CompassDirection/direction/starting_time"].attrs["rate"] = 30.0
        file["intervals/epochs/tags"] = ["x", "y"]
        file["intervals/epochs/tags_index"] = [1, 2]
    with h5py.File(folder / "per_unit.h5", "w", libver="latest") as file:
        for k, train in enumerate(trains):
            file[f"spike_times/{k}"] = train
        file.attrs.update(t_start=0.0, t_stop=70.0, time_unit="s")
        file["epochs/run"] = [[0.0, 5.0]]
        file["covariates/speed/values"] = flat
        file["covariates/speed/time_s"] = np.arange(240.0)
    with h5py.File(folder / "flat.h5", "w") as file:
        file.create_dataset("times", data=flat, chunks=(100,), compression="gzip", shuffle=True, fletcher32=True)
        file.update({"unit": rows, "unit_names": [b"a", b"b", b"c"]})
    with h5py.File(folder / "counts.h5", "w") as file:
        file["counts"] = random_numbers.poisson(0.3, (500, 4)).astype(np.uint8)
        file["counts"].attrs["bin_width_s"] = 0.01
    with h5py.File(folder / "v73.mat", "w", userblock_size=512) as file:
        cells = np.array(
            [file.create_dataset(f"#refs#/{k}", data=train).ref for k, train in enumerate(trains)], h5py.ref_dtype
        )
        file.create_dataset("spike_times", data=cells, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_(b"cell")
    _save_neo(folder, trains)
    np.savez_compressed(folder / "a.npz", times=flat, unit=rows)
    np.savez(folder / "b.npz", **{f"u{k}": train for k, train in enumerate(trains)})
    (folder / "a.csv").write_text("time,unit\n" + "".join(f"{t},u{k}\n" for t, k in zip(flat, rows, strict=True)))
    (folder / "a.pkl").write_bytes(pickle.dumps(Trap(folder / "ran")))
    _save_systems(folder)
    return sorted(path for path in folder.iterdir())


def _save_systems(folder: Path) -> None:
    random_numbers = np.random.default_rng(1)
    spikes = {(channel, unit): np.sort(random_numbers.uniform(0.1, 9, 12)) for channel in (1, 2) for unit in range(3)}
    systems.blackrock(folder / "a.nev", spikes)
    systems.plexon(folder / "a.plx", spikes)
    systems.spike2(folder / "a.smr", spikes)
    systems.neuro_explorer(folder / "a.nex", {"u": spikes[1, 1], "v": spikes[1, 2]}, {"u_wf": spikes[1, 1]})
    systems.neuralynx(folder / "TT1.ntt", {(0, k): spikes[1, k] for k in range(3)}, wires=4)
    systems.open_ephys(folder / "SE0.spikes", {(0, k): spikes[1, k] for k in range(3)})
    systems.brainware_f32(folder / "a.f32", [spikes[1, 1] / 20, [], spikes[1, 2] / 20])
    systems.kwik(folder / "a.kwik", spikes)
    systems.tdt(folder / "tdt", spikes, stop_s=9.5)
    systems.klusters(folder / "klusters", spikes)
    (folder / "a.txt").write_text(
        "\n".join("\t".join(map(str, train)) for train in (spikes[1, 1], [], spikes[1, 2][:7]))
    )
    (folder / "si").mkdir()
    (folder / "si" / "numpysorting_info.json").write_text(
        '{"unit_ids": [3, 5], "sampling_frequency": 1e4, "num_segments": 1}'
    )
    rows = [(900 * k, k % 2, 0) for k in range(80)]
    kind = [("sample_index", "<i8"), ("unit_index", "<i8"), ("segment_index", "<i8")]
    np.save(folder / "si" / "spikes.npy", np.array(rows, dtype=kind))
    (folder / "phy").mkdir()
    np.save(folder / "phy" / "spike_times.npy", np.arange(80, dtype=np.uint64) * 900)
    np.save(folder / "phy" / "spike_clusters.npy", np.arange(80, dtype=np.int32) % 3)
    (folder / "phy" / "params.py").write_text("sample_rate = 10000.\n")
    (folder / "phy" / "cluster_group.tsv").write_text("cluster_id\tgroup\n0\tgood\n1\tmua\n2\tnoise\n")


def _save_neo(folder: Path, trains: list[np.ndarray]) -> None:
    import neo
    from quantities import s as second

    block, segment = neo.Block(), neo.Segment()
    block.segments.append(segment)
    for k, train in enumerate(trains):
        segment.spiketrains.append(neo.SpikeTrain(train, units="s", t_start=0, t_stop=70, name=f"u{k}", area="CA1"))
    segment.epochs.append(neo.Epoch([0, 5] * second, [5, 5] * second, labels=["x", "y"]))
    source = neo.io.NixIO(str(folder / "a.nix"), "ow")
    source.write_block(block)
    source.close()
    neo.io.NeoMatlabIO(str(folder / "a.mat")).write_block(block)


def damaged(content: bytes, case: random.Random) -> bytes:
    """One damaged copy: bits flipped, stretches cut, moved, zeroed or filled, numbers made huge."""
    changed = bytearray(content)
    kind = case.choice(["flip", "flip", "cut", "move", "zero", "insert", "huge", "huge"])
    for _ in range(1 if kind == "cut" else case.choice([1, 1, 2, 5, 20])):
        # Half of the blows fall on the first pages, where most formats keep their structure.
        at = case.randrange(len(changed) if case.random() < 0.5 else min(len(changed), 6000))
        size = case.randrange(1, 200)
        if kind == "flip":
            changed[at] ^= 1 << case.randrange(8)
        elif kind == "cut":
            del changed[max(at, 1) :]
        elif kind == "move":
            start = case.randrange(len(changed))
            changed[at : at + size] = changed[start : start + size]
        elif kind == "zero":
            changed[at : at + size] = bytes(len(changed[at : at + size]))
        elif kind == "insert":
            changed[at:at] = case.randbytes(size % 20)
        else:
            number = case.choice(HUGE)
            changed[at : at + len(number)] = number
    return bytes(changed)


def _content(path: Path) -> dict[str, bytes]:
    """The files of a recording by name; a single file has none."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def _damaged_copy(name: str, content: dict[str, bytes], case: random.Random, scratch: Path) -> Path:
    target = scratch / f"damaged{Path(name).suffix}"
    if "" in content:
        target.write_bytes(damaged(content[""], case))
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.unlink(missing_ok=True)
    target.mkdir()
    unlucky = case.choice(sorted(content))
    for file, whole in content.items():
        (target / file).write_bytes(damaged(whole, case) if file == unlucky else whole)
    return target


def run(first: int, n_cases: int, *, stop_after_s: float = float("inf")) -> tuple[int, list[str], Counter[str]]:
    """Read damaged files; gives the number of cases, the failures, and how often each outcome came up."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    begin, done = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "seeds"
        folder.mkdir()
        seeds = [(path.name, _content(path)) for path in make_seeds(folder)]
        for name, _ in seeds:  # the first use of a library is slow, and is none of the damage's fault
            outcomes[_read(folder / name, name, failures, first)] += 1
        (folder / "ran").unlink(missing_ok=True)
        faulthandler.register(signal.SIGVTALRM, chain=True)  # shows where, then ends the process as the signal would
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(first, first + n_cases):
            case = random.Random(number)
            name, content = case.choice(seeds)
            target = _damaged_copy(name, content, case, Path(scratch))
            print(f"case {number}: {name}", file=sys.stderr, flush=True)
            # Of its own time; a machine that is busy with other work is no hang.
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS_PER_CASE)
            faulthandler.dump_traceback_later(12 * SECONDS_PER_CASE, exit=True)
            outcomes[_read(target, name, failures, number)] += 1
            faulthandler.cancel_dump_traceback_later()
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            done += 1
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if (peak - before) * 1024 > EXTRA_BYTES:
                failures.append(f"case {number} ({name}): memory grew by {(peak - before) * 1024 / 1e9:.1f} GB")
                before = peak
            if time.monotonic() - begin > stop_after_s:
                break
        if (folder / "ran").exists():
            failures.append("a pickle was opened")
    return done, failures, outcomes


def _read(path: Path, name: str, failures: list[str], number: int) -> str:
    # Every so often a format is forced upon a file that is of another.
    names = [known.name for known in FORMATS]
    try:
        trains = read(path, format=names[number // 5 % len(names)] if number % 5 == 4 else None)
        for covariate in trains.covariates.values():
            _read_covariate(covariate, trains)
    except SpikefitError as error:
        if not error.hint:
            failures.append(f"case {number} ({name}): no hint with {error.message!r}")
        return type(error).__name__
    except Exception:
        failures.append(f"case {number} ({name}):\n{traceback.format_exc(limit=-4)}")
        return "traceback"
    return "read"


def _read_covariate(covariate: Covariate, trains: SpikeTrains) -> None:
    try:
        # A damaged interval may declare years: what is tested here is the series, not their number of bins.
        covariate.at(trains.bin(max(trains.duration_s / 1000, 1e-6)))
    except SpikefitError as error:
        if not error.hint:
            raise AssertionError(f"no hint with {error.message!r}") from error


def main() -> int:
    """Run cases from the command line; 1 where any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    # What a damaged file declares must fail to be allocated, not fill the machine.
    used = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        if sys.platform == "linux"
        else 2**33
    )
    resource.setrlimit(resource.RLIMIT_AS, (used + EXTRA_BYTES + 2**29, resource.RLIM_INFINITY))
    done, failures, outcomes = run(arguments.seed, arguments.cases)
    print(f"{done} cases: " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
