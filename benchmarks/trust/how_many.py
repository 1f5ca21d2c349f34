"""How many hidden units does `--hidden auto` keep, where the number is known?

    python benchmarks/trust/how_many.py                            both tables, about 20 minutes on one core
    python benchmarks/trust/how_many.py --kinds matched --seeds 200 201

Networks of `networks.py`, seeds 200 to 209, everything at the defaults of `spikefit infer --hidden auto` but the bin
width and the window. `matched` are fully observed; `drivers` have 3, 4 or 5 strong unrecorded drivers, one after
another over the seeds. Columns: drivers in truth, shared inputs counted on the training bins, numbers of hidden units
tried with the gain of their held-out score over H = 0 with common drive, number kept; of the fit that is kept, pairs
called at q = 0.05, share of them false (FDP) and share of the true edges called (recall); time.
"""

from __future__ import annotations

import argparse
import time

from networks import SCENARIOS
from run import fit, judged


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=["matched", "drivers"], choices=["drivers", *SCENARIOS])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(200, 210)))
    chosen = parser.parse_args()
    print(
        "| network | seed | drivers | shared inputs | tried: gain, nats per bin | kept | called | FDP | recall | CPU s |"
    )
    print("|" + " --- |" * 10)
    for kind in chosen.kinds:
        for seed in chosen.seeds:
            n_drivers = 3 + (seed - 200) % 3 if kind == "drivers" else 0
            name = f"drivers-{n_drivers}" if kind == "drivers" else kind
            case = SCENARIOS[name](seed)
            began = time.process_time()
            found = fit(case, hidden="auto")
            took_s = time.process_time() - began
            n, metrics = found.n_visible, found.metrics
            test = judged(case.connected, found.p_value[:n, :n], found.q_value[:n, :n])
            tried = "; ".join(
                f"{row['n_hidden']}: {row['heldout_gain_nats_per_bin']:.4f} ± {row['heldout_gain_nats_per_bin_se']:.4f}"
                for row in metrics.get("candidates", ())
                if row["n_hidden"]
            )
            cells = (kind, seed, n_drivers, metrics["n_shared_inputs_train"], tried or "none", metrics["n_hidden"])
            calls = f"{test['called']} | {test['fdp']:.2f} | {test['recall']:.2f}"
            print(f"| {' | '.join(map(str, cells))} | {calls} | {took_s:.0f} |", flush=True)


if __name__ == "__main__":
    main()
