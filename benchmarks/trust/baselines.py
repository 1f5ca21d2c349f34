"""Do simpler methods rank the true edges as well?

    python benchmarks/trust/baselines.py                 about 3 minutes on one core for ten seeds; elephant for TSPE

Networks of `networks.py`, without hidden units in the fit, everything at the defaults of `spikefit infer --hidden 0` but bin width and
window. Columns: mean over networks of the area under the ROC curve and the average precision of each method's ranking, and of the calls that
are made (q = 0.05; TSPE: as many as the fit) the number and the share that is false.
"""

from __future__ import annotations

import argparse
import statistics

from networks import SCENARIOS
from run import fit

from spikefit.baselines import methods_of, row_of

Q = 0.05


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenarios", nargs="+", default=["matched", "rough", "drivers-4"], choices=list(SCENARIOS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(200, 210)))
    chosen = parser.parse_args()
    print("| scenario | method | AUC | average precision | called | false |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in chosen.scenarios:
        rows = []
        for seed in chosen.seeds:
            case = SCENARIOS[name](seed)
            methods, _ = methods_of(fit(case), case.counts, q=Q)
            rows.append([row_of(method, methods[0], case.connected) for method in methods])
        for of_method in zip(*rows, strict=True):
            values = [
                statistics.mean(getattr(row, key) for row in of_method)
                for key in ("auc", "average_precision", "called", "false_share")
            ]
            auc, average, called, false = values
            print(
                f"| {name} | {of_method[0].method} | {auc:.3f} | {average:.3f} | {called:.0f} | {false:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
