"""How often nulls made from moved spikes call what is false, where units share a drive and where they do not; and what one surrogate costs.

    python benchmarks/trust/surrogates.py
    python benchmarks/trust/surrogates.py --scenarios smooth --seeds 300 --surrogates 60

Networks of `networks.py`, everything at the defaults of `spikefit infer --hidden 0` but the bin width, the window and `--significance`. Columns
as in `run.py`, and: CPU time of one surrogate over that of the bare cold fit (features made and optimum found, no scores and no errors), and
over that of the whole fit without surrogates (both fits, errors, scores), all in one process.
"""

from __future__ import annotations

import argparse
import time

import torch
from networks import SCENARIOS
from run import _cell, fit, judged

import spikefit
from spikefit.fitted import fit_settings
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.problem import pose_problem
from spikefit.fitting.without_hidden import fit_observed


def cold_fit_s(case: object) -> float:
    """CPU seconds of the optimisation alone."""
    words = {"bin": case.counts.bin_width_s, "window": case.window_s}  # type: ignore[attr-defined]
    problem = pose_problem(case.counts, fit_settings(spikefit.Config().replace(**words)), torch.device("cpu"))  # type: ignore[attr-defined]
    began = time.process_time()
    fit_observed(problem, problem.split.everything, Hooks(), None)
    return time.process_time() - began


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenarios", nargs="+", default=["matched", "smooth", "rough"], choices=list(SCENARIOS))
    parser.add_argument("--tests", nargs="+", default=["jitter", "shift"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[300, 301, 302])
    parser.add_argument("--surrogates", type=int, default=100)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| scenario | test | called | FDP | recall | AUC | one surrogate / bare fit | one surrogate / whole fit |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in chosen.scenarios:
        rows: dict[str, list[dict[str, float]]] = {test: [] for test in chosen.tests}
        for seed in chosen.seeds:
            case = SCENARIOS[name](seed)
            bare = cold_fit_s(case)
            began = time.process_time()
            fit(case, significance="none")
            whole = time.process_time() - began
            for test in chosen.tests:
                took = []
                for n in (chosen.surrogates, 20):  # their difference leaves out what is done once
                    began = time.process_time()
                    found = fit(case, significance=test, surrogates=n)
                    took.append(time.process_time() - began)
                    if n == chosen.surrogates:
                        figures = judged(case.connected, found.p_value, found.q_value)
                one = (took[0] - took[1]) / (chosen.surrogates - 20)
                rows[test].append(figures | {"bare": one / bare, "whole": one / whole})
        for test, found_rows in rows.items():
            cells = [_cell(found_rows, "called", 0), *(_cell(found_rows, key) for key in ("fdp", "recall"))]
            cells += [_cell(found_rows, "auc", 3), _cell(found_rows, "bare"), _cell(found_rows, "whole")]
            print(f"| {name} | {test} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
