"""Nulls by pairs of types against one null for all pairs: false calls where types differ, and what types that say nothing cost.

    python benchmarks/trust/pair_types.py                       every table, about 25 minutes on one core
    python benchmarks/trust/pair_types.py --only scatter        how the fitted spread scatters with the number of pairs
    python benchmarks/trust/pair_types.py --only made-up        z-scores whose truth is exact
    python benchmarks/trust/pair_types.py --only networks       simulated networks through the whole fit

Made up: 5 % of the pairs are edges of 5 to 14 standard errors, of either sign. `differ`: the others have spread 1, but 2.5 about
a centre of 1 from inhibitory to excitatory units. `nothing`: all have spread 1.3, whatever the type. Networks: 24 recorded units, of which
sixteen unrecorded ones drive the first twelve alone, each a third of them (`driven`); the other twelve are `free`. Beside the right types stand
the same labels dealt out at random, which must not help. Seeds 600 to 639 and 500 to 509; the networks were made up on seeds 0 and 1.
Columns as in `run.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from networks import BIN_S, DURATION_S, Case
from run import fit, judged

from spikefit.diagnostics.empirical_null import fit_null
from spikefit.diagnostics.significance import judge_edges
from spikefit.simulate import random_network, simulate

SIZES = {"20 + 10 units": (20, 10), "10 + 10 units": (10, 10)}
WIDE, OFF, ALIKE = 2.5, 1.0, 1.3
EDGE_SHARE = 0.05
N_DRIVEN, N_FREE, N_DRIVERS = 12, 12, 16


def made_up(
    seed: int, n_excitatory: int, n_inhibitory: int, *, differ: bool
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """z-scores and which are edges, both (post, pre), and the types of the units."""
    rng = np.random.default_rng([seed, n_excitatory, n_inhibitory])
    types = ["exc"] * n_excitatory + ["inh"] * n_inhibitory
    n = len(types)
    edges = (rng.random((n, n)) < EDGE_SHARE) & ~np.eye(n, dtype=bool)
    z = rng.standard_normal((n, n))
    if differ:
        kinds = np.array(types)
        wide = np.outer(kinds == "exc", kinds == "inh")
        z = np.where(wide, OFF + WIDE * z, z)
    else:
        z *= ALIKE
    return z + edges * rng.choice([-1, 1], (n, n)) * rng.uniform(5, 14, (n, n)), edges, types


def tests_of_made_up(seed: int, sizes: tuple[int, int], *, differ: bool) -> dict[str, dict[str, float]]:
    """One null, one for each pair of types, and the same with shuffled labels."""
    z, edges, types = made_up(seed, *sizes, differ=differ)
    shuffled = np.random.default_rng([seed, 1]).permutation(types).tolist()
    out = {}
    for name, given in (("one null", None), ("by type", types), ("by shuffled type", shuffled)):
        test = judge_edges(0.2 * z, np.full(z.shape, 0.2), level=0.9, types=given)
        out[name] = judged(edges, test.p_value, test.q_value)
    return out


def half_driven(seed: int) -> Case:
    """A network of which unrecorded units drive one half alone."""
    n = N_DRIVEN + N_FREE
    network = random_network(
        n_visible=n, n_drivers=N_DRIVERS, seed=seed, bin_width_s=BIN_S, strength=1.5, density=0.05,
        fan_out=0.3, driver_strength=4.0, driver_rate_hz=6.0,
    )  # fmt: skip
    filters = network.coupling_filters.copy()
    filters[N_DRIVEN:n, n:] = 0
    network = dataclasses.replace(network, coupling_filters=filters)
    connected = network.connectivity[:n, :n] != 0
    np.fill_diagonal(connected, False)
    return Case(simulate(network, duration_s=DURATION_S, seed=seed).visible_counts, connected)


def tests_of_network(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """The same three tests of a whole fit."""
    case = half_driven(seed)
    right = ["driven"] * N_DRIVEN + ["free"] * N_FREE
    shuffled = np.random.default_rng([seed, 1]).permutation(right).tolist()
    out = {}
    for name, types in (("one null", None), ("by type", right), ("by shuffled type", shuffled)):
        source = "none" if types is None else str(folder / "types.csv")
        if types is not None:
            lines = [f"{unit},{kind}" for unit, kind in zip(case.counts.unit_ids, types, strict=True)]
            Path(source).write_text("\n".join(["unit_id,type", *lines]), encoding="utf-8")
        found = fit(case, pair_types=source)
        out[name] = judged(case.connected, found.p_value, found.q_value)
    return out


def scatter(n_repeats: int = 200) -> None:
    """How well centre and spread are known from so many pairs, 5 % of them edges, and what that makes of p = 0.001."""
    from scipy.stats import norm

    print(
        "| pairs | spread, of true | its scatter | centre, scatter | share of null pairs with p ≤ 0.001 |\n| --- | --- | --- | --- | --- |"
    )
    for n in (30, 45, 60, 90, 132, 200, 380, 760):
        spreads, centres, sizes = [], [], []
        for seed in range(n_repeats):
            rng = np.random.default_rng([seed, n, 77])
            z = rng.standard_normal(n)
            k = rng.binomial(n, EDGE_SHARE)
            z[:k] += rng.choice([-1, 1], k) * rng.uniform(4, 14, k)
            null = fit_null(2 * z)  # twice as wide, so that the floor of 1 hides nothing
            spreads.append(null.spread / 2)
            centres.append(null.centre / 2)
            reach = null.half_width(0.999)
            sizes.append(norm.sf((reach - null.centre) / 2) + norm.sf((reach + null.centre) / 2))
        print(
            f"| {n} | {np.median(spreads):.2f} | {np.std(np.log(spreads)):.2f} | {np.std(centres):.2f} | "
            f"{np.mean(sizes):.4f} (worst twentieth {np.quantile(sizes, 0.95):.4f}) |",
            flush=True,
        )


def table(label: str, rows: Sequence[dict[str, dict[str, float]]]) -> None:
    """Mean and range over networks."""
    for test in rows[0]:
        cells = [f"{statistics.mean(row[test]['called'] for row in rows):.0f}"]
        for key in ("fdp", "recall"):
            values = [row[test][key] for row in rows]
            error = statistics.stdev(values) / len(values) ** 0.5
            cells.append(f"{statistics.mean(values):.3f} ± {error:.3f} ({min(values):.2f}–{max(values):.2f})")
        print(f"| {label} | {test} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["scatter", "made-up", "networks"])
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of the usual ones")
    chosen = parser.parse_args()
    if chosen.only in (None, "scatter"):
        scatter()
    print("| pairs | test | called | FDP | recall |\n| --- | --- | --- | --- | --- |")
    if chosen.only in (None, "made-up"):
        for size, units in SIZES.items():
            for differ in (True, False):
                rows = [tests_of_made_up(seed, units, differ=differ) for seed in chosen.seeds or range(600, 640)]
                table(f"{'differ' if differ else 'nothing'}, {size}", rows)
    if chosen.only in (None, "networks"):
        with tempfile.TemporaryDirectory() as folder:
            table("networks", [tests_of_network(seed, Path(folder)) for seed in chosen.seeds or range(500, 510)])


if __name__ == "__main__":
    main()
