"""Does time grow with the bins and memory not, and what does a pass cost beside its matrix products?

    OMP_NUM_THREADS=1 python benchmarks/scaling.py pass      200 visible + 10 hidden units, 1 h at 5 ms, 6 functions
    OMP_NUM_THREADS=1 python benchmarks/scaling.py length    20 + 2 units, from a minute to ten hours

`pass` times the bound and its gradient over some windows and scales to all bins of the hour; beside it the matrix products that the
pass cannot do without, of the same shapes, forward and backward: visible couplings, posterior read-out, and hidden couplings for each
draw. The share of the peak is what those products reach of what one large square product reaches in the same run. The
ratio of the two is the figure to watch.

`length` makes each recording (independent Poisson counts), runs one pass over all its windows forward and backward and one of the fit without
hidden units, and prints CPU seconds per million bins and the most memory above the counts; each length in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from spikefit.fitting.design import Design
from spikefit.fitting.glm import Solver
from spikefit.fitting.loop import Loop, LoopSettings
from spikefit.fitting.memory import FitSize, plan_memory
from spikefit.fitting.sizes import CORE_BINS, batch_windows
from spikefit.fitting.windows import Windows
from spikefit.models.basis import make_basis
from spikefit.models.long_sums import sum_over_bins
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.single import single_spike_estimator

BIN_S, WINDOW_S, EXPECTED_COUNT, N_DRAWS = 0.005, 0.1, 0.03, 2
HOUR = 720_000
LENGTHS_S = (60, 600, 3600, 36_000)


def best_of(work: Callable[[], object], times: int) -> float:
    """CPU seconds of the fastest of some runs, behind one that warms up."""
    work()
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def make_loop(n_visible: int, n_hidden: int, counts: torch.Tensor, n_functions: int) -> Loop:
    """A loop over all windows of some counts, with a model of small random weights."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.from_numpy(
        make_basis("raised-cosine-log", window_s=WINDOW_S, bin_width_s=BIN_S, n_functions=n_functions)
    ).float()
    model = POGLMNetwork(n_visible, n_hidden, basis, link="softplus", family="categorical")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
        model.baseline -= 3.5
        model.posterior.offset -= 3.0
    n_bins = counts.shape[1]
    ranges = np.array([[len(basis), n_bins]])
    windows = Windows(counts, np.array([0, n_bins]), ranges, context=model.context, core_bins=CORE_BINS)
    return Loop(
        model,
        windows,
        estimator=single_spike_estimator("eat-cubic", temperature=0.5),
        settings=LoopSettings(
            learning_rate=1e-4,
            n_draws=N_DRAWS,
            ridge=1.0,
            batch_windows=batch_windows(n_bins, CORE_BINS),
            part_windows=8,
        ),
        generator=torch.Generator().manual_seed(0),
        shuffle=torch.Generator().manual_seed(0),
        name_unit=str,
    )


def poisson_counts(n_units: int, n_bins: int) -> torch.Tensor:
    """Independent counts, (unit, bin), made in blocks so that memory stays what the counts take."""
    generator = torch.Generator().manual_seed(1)
    out = torch.empty(n_units, n_bins, dtype=torch.uint8)
    for part in out.split(1 << 16, dim=1):
        part.copy_(torch.poisson(torch.full(part.shape, EXPECTED_COUNT), generator))
    return out


def matrix_products(loop: Loop, n_bins: int) -> tuple[float, float]:
    """CPU seconds and floating-point operations of the products of one pass over so many bins, forward and backward."""
    model = loop.model
    everyone, n_visible, n_hidden = model.n_visible + model.n_hidden, model.n_visible, model.n_hidden
    n_functions = model.basis.shape[1]
    # The bins before a core, which the posterior needs as well, are computed too.
    core, padded = n_bins, n_bins // CORE_BINS * (CORE_BINS + model.n_lags)
    n_seen, n_read = n_visible * n_functions, 2 * n_visible * n_functions + n_visible
    shapes = [  # rows, inner, columns; each as one product of two dense matrices
        (everyone, n_seen, core),
        (everyone, core, n_seen),
        (n_hidden, n_read, padded),
        (n_hidden, padded, n_read),
        (everyone, n_hidden * n_functions, N_DRAWS * core),
        (everyone, N_DRAWS * core, n_hidden * n_functions),
        (n_hidden * n_functions, everyone, N_DRAWS * core),
    ]
    seconds = 0.0
    for rows, inner, columns in shapes:
        left, right = torch.rand(rows, inner), torch.rand(inner, columns)
        seconds += best_of(lambda left=left, right=right: left @ right, 3)
    return seconds, float(sum(2 * a * b * c for a, b, c in shapes))


def one_pass(chosen: argparse.Namespace) -> None:
    """Print the row of `pass`."""
    n_bins = chosen.windows * CORE_BINS + 20
    loop = make_loop(200, 10, poisson_counts(200, n_bins), 6)
    which = torch.arange(chosen.windows)
    whole_s = best_of(lambda: loop.add_gradients(which, 1), 3) * HOUR / (chosen.windows * CORE_BINS)
    products_s, operations = matrix_products(loop, chosen.windows * CORE_BINS)
    square = torch.rand(2000, 2000)
    peak = 2 * 2000**3 / best_of(lambda: square @ square, 3)
    scale = HOUR / (chosen.windows * CORE_BINS)
    print("| pass, CPU s | its matrix products, CPU s | ratio | GFLOP/s of the products | share of peak |")
    print("| --- | --- | --- | --- | --- |")
    rate = operations / products_s
    print(
        f"| {whole_s:.1f} | {products_s * scale:.1f} | {whole_s / (products_s * scale):.2f} | {rate / 1e9:.0f} | {rate / peak:.2f} |"
    )
    if chosen.profile:
        with torch.profiler.profile() as profile:
            loop.add_gradients(which, 1)
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=18, max_name_column_width=60))


def memory_kb(name: str) -> int:
    """A line of /proc/self/status in kB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def one_length(seconds: float) -> None:
    """Print the row of one length."""
    n_bins = round(seconds / BIN_S)
    counts = poisson_counts(20, n_bins)
    loop = make_loop(20, 2, counts, 5)
    before = memory_kb("VmRSS")
    began = time.process_time()
    for part in torch.arange(len(loop.windows)).split(loop.settings.batch_windows):
        loop.add_gradients(part, 1)
    poglm_s = time.process_time() - began
    size = FitSize(20, n_bins, int(sum_over_bins(counts, 0, n_bins).sum()), 1, 5, 20, 0)
    plan = plan_memory(size, 512 << 20)
    ranges = np.array([[20, n_bins]])
    design = Design(counts, ranges, loop.model.basis, cache_bytes=plan.cache_bytes, block_bins=plan.block_bins)
    solver = Solver(design, 1.0, "softplus")
    params = solver.begin(None)
    began = time.process_time()
    solver.evaluate(params, torch.arange(20))
    glm_s = time.process_time() - began
    peak = (memory_kb("VmHWM") - before) / 1e3
    per_million = 1e6 / n_bins
    print(
        f"| {seconds:g} | {n_bins} | {poglm_s:.2f} | {poglm_s * per_million:.2f} | {glm_s:.2f} | {glm_s * per_million:.2f} | {peak:.0f} |",
        flush=True,
    )


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["pass", "length"])
    parser.add_argument("--windows", type=int, default=32, help="windows of 500 bins that `pass` times")
    parser.add_argument("--profile", action="store_true", help="also print where the time of a pass goes")
    parser.add_argument("--seconds", type=float, help="one length alone, without the head of the table")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.what == "pass":
        one_pass(chosen)
    elif chosen.seconds is not None:
        one_length(chosen.seconds)
    else:
        print(
            "| seconds | bins | pass, CPU s | per million bins | H = 0 pass, CPU s | per million bins | peak, MB above the counts |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for seconds in LENGTHS_S:
            subprocess.run([sys.executable, __file__, "length", "--seconds", str(seconds)], check=True)


if __name__ == "__main__":
    main()
