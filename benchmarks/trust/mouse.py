"""Edges in a real recording: within and across areas, asleep and awake.

    python benchmarks/trust/mouse.py mouse_hd_a2929.nwb

Seven head-direction cells of the thalamus (ids g1…) and eight units of CA1 (g2…), which no short path is known to join;
sleep in the first ten minutes, wake in the last ten. There is no ground truth; but edges should lie within the groups,
and those of the head-direction cells should be the same in both halves. Bins of 10 ms, all else at the defaults.
"""

from __future__ import annotations

import argparse

import numpy as np

import spikefit

Q = 0.05


def main() -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording")
    trains = spikefit.read(parser.parse_args().recording)
    words = {"bin": "10ms", "device": "cpu", "threads": 1}
    parts = {
        "all": spikefit.POGLM(**words).fit(trains),
        "sleep": spikefit.POGLM(**words).fit(trains.restrict_to_epochs(["sleep"])),
        "wake": spikefit.POGLM(**words).fit(trains.restrict_to_epochs(["wake"])),
    }
    group = np.array([unit[:2] for unit in parts["all"].unit_id])
    same = group[:, None] == group
    off = ~np.eye(len(group), dtype=bool)
    kinds = {
        "head direction": same & (group == "g1")[:, None] & off,
        "CA1": same & (group == "g2")[:, None] & off,
        "across": ~same,
    }
    print(
        "| pairs | of | "
        + " | ".join(f"called, {part}" for part in parts)
        + " | in both halves | by standard errors alone, all |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    called = {part: fit.q_value <= Q for part, fit in parts.items()}
    alone = np.abs(parts["all"].connectivity / parts["all"].std_error) > 1.96
    for name, kind in kinds.items():
        both = int((called["sleep"] & called["wake"] & kind).sum())
        counts = " | ".join(str(int((found & kind).sum())) for found in called.values())
        print(f"| {name} | {int(kind.sum())} | {counts} | {both} | {int((alone & kind).sum())} |")
    print()
    print("| from | to | pairs | weight | q, all | q, sleep | q, wake |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    units = parts["all"].unit_id
    anywhere = np.any(list(called.values()), axis=0)
    order = np.argsort(np.where(anywhere, parts["all"].q_value, np.inf), axis=None)[: int(anywhere.sum())]
    for post, pre in zip(*np.unravel_index(order, anywhere.shape), strict=True):
        kind = next(name for name, pairs in kinds.items() if pairs[post, pre])
        q = " | ".join(f"{fit.q_value[post, pre]:.2g}" for fit in parts.values())
        print(f"| {units[pre]} | {units[post]} | {kind} | {parts['all'].connectivity[post, pre]:+.2f} | {q} |")
    print()
    hd = kinds["head direction"]
    r = np.corrcoef(parts["sleep"].connectivity[hd], parts["wake"].connectivity[hd])[0, 1]
    print(f"correlation of head-direction couplings, sleep against wake: {r:.2f}")
    for part, fit in parts.items():
        metrics = {
            key: fit.metrics[key] for key in ("z_spread", "n_shared_inputs", "null_spread", "null_shape", "n_edges")
        }
        print(part, metrics, *fit.warnings, sep="; ")


if __name__ == "__main__":
    main()
