"""Time and memory of a draw forward and backward: the sparse draw beside arrival-by-arrival simulation, one thread.

Every case of the first table runs in a process of its own, the two methods one after the other, so that the peak of
memory is that of the case alone. Times are CPU time of the process, the best of several runs (three, or one where a run
takes over five seconds; up to twenty in the grid), after one warm-up on a few latents. The input and the import are not
counted. Seed 0.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from tables import markdown, megabytes, seconds

MAIN_CASES = [("lognormal", 10**6, "float32", tau) for tau in (0.1, 0.5)] + [
    (rate, 10**6, "float32", tau) for rate in (0.1, 1.0, 10.0, 50.0) for tau in (0.1, 0.5)
]
GRID = [
    (rate, n_latents, dtype, tau)
    for n_latents, dtype in ((10**4, "float32"), (10**4, "float64"), (10**6, "float32"), (10**6, "float64"))
    for rate in (1e-3, 0.1, 1.0, 10.0)
    for tau in (0.02, 0.5, 1.0)
    if not (n_latents == 10**6 and (rate == 10.0 or tau == 1.0))
] + [(0.1, 10**7, "float32", 0.5)]
# What was promised before anything was measured: times faster, times less memory.
WANTED = {
    ("lognormal", 0.1): (100, 40),
    ("lognormal", 0.5): (100, 40),
    (10.0, 0.1): (15, 10),
    (50.0, 0.1): (15, 10),
    (10.0, 0.5): (5, None),
    (50.0, 0.5): (5, None),
    (0.1, 0.1): (2, None),
    (0.1, 0.5): (2, None),
    (1.0, 0.1): (2, None),
    (1.0, 0.5): (2, None),
}


def make_rates(kind: object, n_latents: int, dtype: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if kind == "lognormal":
        rates = torch.exp(torch.randn(n_latents, generator=generator, dtype=torch.float64) - 1).clamp(max=50)
    else:
        rates = torch.full((n_latents,), float(kind), dtype=torch.float64)
    return rates.to(getattr(torch, dtype))


def one_case(
    method: str, kind: object, n_latents: int, dtype: str, tau: float, budget_s: float = 5.0, most_runs: int = 3
) -> dict[str, float]:
    """Best CPU time of a draw forward and backward, and what it adds to the peak of memory."""
    from reference import simulate

    from spikefit.prob import eat_counts

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)

    def step(rates: torch.Tensor) -> None:
        if method == "sparse":
            counts = eat_counts(rates, temperature=tau, generator=generator)
        else:
            counts = simulate(rates, tau, generator)
        counts.sum().backward()

    step(make_rates(kind, 100, dtype).requires_grad_())
    rates = make_rates(kind, n_latents, dtype).requires_grad_()
    before = reset_peak()
    best, spent, n_runs = float("inf"), 0.0, 0
    while n_runs < most_runs and spent < budget_s:
        rates.grad = None
        started = time.process_time()
        step(rates)
        took = time.process_time() - started
        best, spent, n_runs = min(best, took), spent + took, n_runs + 1
    return {"time_s": best, "peak_bytes": peak_bytes() - before}


def reset_peak() -> int:
    """Set the peak back to what is held now (Linux with glibc), and return that."""
    # What was freed but kept for later would hide what a case needs.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(case: tuple[object, int, str, float]) -> tuple[dict[str, float], dict[str, float]]:
    results = []
    for method in ("sparse", "simulated"):
        command = [sys.executable, __file__, method, json.dumps(case)]
        results.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return results[0], results[1]


def run(images: Path) -> dict[str, str]:
    del images
    rows = []
    for case in MAIN_CASES:
        kind, _, _, tau = case
        ours, theirs = measure(case)
        faster, leaner = theirs["time_s"] / ours["time_s"], theirs["peak_bytes"] / ours["peak_bytes"]
        wanted_faster, wanted_leaner = WANTED[kind, tau]
        name = "lognormal, mean 0.6, max 50" if kind == "lognormal" else f"all λ = {kind:g}"
        rows.append(
            (
                name,
                tau,
                seconds(ours["time_s"]),
                seconds(theirs["time_s"]),
                f"{faster:.0f} (≥ {wanted_faster})",
                megabytes(ours["peak_bytes"]),
                megabytes(theirs["peak_bytes"]),
                f"{leaner:.0f}" + (f" (≥ {wanted_leaner})" if wanted_leaner else ""),
            )
        )
        print(rows[-1], flush=True)
    header = ["10⁶ latents, float32", "τ", "time, sparse", "simulated", "times faster"]
    header += ["memory, sparse", "simulated", "times leaner"]
    grid_rows = []
    for case in GRID:
        kind, n_latents, dtype, tau = case
        ours, theirs = (one_case(method, *case, budget_s=1.0, most_runs=20) for method in ("sparse", "simulated"))
        faster = theirs["time_s"] / ours["time_s"]
        grid_rows.append((f"{n_latents:.0e}", dtype, f"{kind:g}", tau, seconds(ours["time_s"]), f"{faster:.1f}"))
        print(grid_rows[-1], flush=True)
    grid_header = ["latents", "dtype", "λ", "τ", "sparse", "times faster"]
    return {"speed": markdown(header, rows), "grid": markdown(grid_header, grid_rows)}


if __name__ == "__main__":
    method_, case_ = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(one_case(method_, *case_)))
