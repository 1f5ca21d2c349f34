"""One job of a manifest, in a process of its own: what a Slurm array runs.

    python -P -m spikefit.batching.one MANIFEST INDEX

The exit code is that of `spikefit infer`: 75 asks to be started again, to go on from the checkpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from spikefit.batching.places import read_json


def main() -> None:
    """Run the job and end with its exit code."""
    if len(sys.argv) != 3 or not sys.argv[2].isdigit():
        sys.exit("usage: python -m spikefit.batching.one MANIFEST INDEX")
    manifest: Any = read_json(Path(sys.argv[1]))
    index = int(sys.argv[2])
    if not isinstance(manifest, dict) or not 0 <= index < len(manifest.get("orders", ())):
        sys.exit(f"{sys.argv[1]}: no manifest that holds a job number {index}")
    from spikefit.batching.work import run_job

    order = dict(manifest["orders"][index])
    sys.argv = order.pop("argv")
    outcome = run_job(**order)
    if outcome["status"] != "done":
        print(f"{outcome['name']}: {outcome['status']}: {outcome['reason']}", file=sys.stderr)
    sys.exit(outcome["exit_code"])


if __name__ == "__main__":
    main()
