"""How long it takes to open, check and bin a recording of 1,000 units and 1e8 spikes, and how much memory it holds.

Against nothing: the bounds to keep are 30 s and 3 GB on one core. The recording is made here (seed 0): lognormal rates, spikes
uniform over an hour and a half, written as NWB by `spikefit convert`'s own writer. Each step runs in a process of its own, so that
its memory is its own.

    OMP_NUM_THREADS=1 python benchmarks/big_recording.py [--units 1000] [--spikes 100000000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

STEP = """
import resource, sys, time
import numpy as np, h5py
{imports}
began, cpu = time.perf_counter(), time.process_time()
{work}
used = time.perf_counter() - began, time.process_time() - cpu
print(*used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
STEPS = {
    "read and check": ("from spikefit.loaders import read", "trains = read(sys.argv[1])"),
    "read, check and bin at 5 ms": ("from spikefit.loaders import read", "counts = read(sys.argv[1]).bin(0.005)"),
    "inspect": (
        "from spikefit.cli.main import cli",
        "cli(['inspect', sys.argv[1], '--quiet'], standalone_mode=False)",
    ),
}


def make(path: Path, n_units: int, n_spikes: int, duration_s: float = 5400.0) -> None:
    """Write the recording."""
    import numpy as np

    from spikefit.exporters import recording_nwb
    from spikefit.spikes import SpikeTrains

    rng = np.random.default_rng(0)
    shares = rng.lognormal(0, 0.7, n_units)
    counts = np.floor(shares / shares.sum() * n_spikes).astype(np.int64)
    times = np.empty(int(counts.sum()))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    for a, b in itertools.pairwise(offsets.tolist()):
        times[a:b] = np.sort(rng.uniform(0, duration_s, b - a))
    ids = tuple(f"unit{k:04d}" for k in range(n_units))
    recording_nwb.write(SpikeTrains(times, offsets, ids, np.array([[0.0, duration_s]])), path)


def main() -> None:
    """Make the recording and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--spikes", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
        path = Path(folder) / "big.nwb"
        make(path, wanted.units, wanted.spikes)
        print(f"{wanted.units} units, {wanted.spikes:.3g} spikes, {path.stat().st_size / 1e9:.2f} GB as NWB\n")
        print("| step | wall s | CPU s | peak GB |\n| --- | --- | --- | --- |")
        for name, (imports, work) in STEPS.items():
            code = STEP.format(imports=imports, work=work)
            run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
            wall_s, cpu_s, peak = (float(word) for word in run.stdout.split()[-3:])
            print(f"| {name} | {wall_s:.1f} | {cpu_s:.1f} | {peak / 1e9:.2f} |", flush=True)


if __name__ == "__main__":
    main()
