"""How many hidden units does `--hidden auto` keep, where the number is known?

    python benchmarks/trust/how_many.py                            both tables, about 20 minutes on one core
    python benchmarks/trust/how_many.py --kinds matched --seeds 200 201

Networks of `networks.py`, seeds 200 to 209, everything at the defaults of `spikefit infer --hidden auto` but the bin
width and the window. `matched` are fully observed; `drivers` have 3, 4 or 5 strong unrecorded drivers, one after
another over the seeds. Columns: drivers in truth, shared inputs counted on the training bins, numbers of hidden units
tried with the gain of their held-out score over H = 0 with common drive, number kept, time.
"""

from __future__ import annotations

import argparse
import time

from networks import SCENARIOS
from run import fit


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=["matched", "drivers"], choices=["drivers", *SCENARIOS])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(200, 210)))
    chosen = parser.parse_args()
    print("| network | seed | drivers | shared inputs | tried: gain, nats per bin | kept | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in chosen.kinds:
        for seed in chosen.seeds:
            n_drivers = 3 + (seed - 200) % 3 if kind == "drivers" else 0
            name = f"drivers-{n_drivers}" if kind == "drivers" else kind
            case = SCENARIOS[name](seed)
            began = time.process_time()
            metrics = fit(case, hidden="auto").metrics
            took_s = time.process_time() - began
            tried = "; ".join(
                f"{row['n_hidden']}: {row['heldout_gain_nats_per_bin']:.4f} ± {row['heldout_gain_nats_per_bin_se']:.4f}"
                for row in metrics.get("candidates", ())
                if row["n_hidden"]
            )
            cells = (kind, seed, n_drivers, metrics["n_shared_inputs_train"], tried or "none", metrics["n_hidden"])
            print(f"| {' | '.join(map(str, cells))} | {took_s:.0f} |", flush=True)


if __name__ == "__main__":
    main()
