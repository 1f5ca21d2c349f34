"""What a fit will take, before it is started: bins, parameters, memory, and a rough time.

The rates below were measured on one 2 GHz core and are good to a factor of about three; memory is what the fit itself
plans with and keeps to.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.spikes import Counts

if TYPE_CHECKING:
    from spikefit.fitting.memory import MemoryPlan
    from spikefit.fitting.settings import FitSettings

IMPORTS_BYTES = 350_000_000  # Python, torch and the readers, before any data
FLOPS_PER_S = 25e9
S_PER_UNIT_BIN = 12e-9  # link, likelihood and gradient of one unit in one bin
GLM_PASSES = 15
S_PER_DRAW = 150e-9  # the same for one draw of a POGLM, with what autograd adds
USUAL_EPOCHS = 45


@dataclass(frozen=True)
class JobPlan:
    """One recording's fit."""

    name: str
    n_units: int
    n_bins: int
    n_segments: int
    n_spikes: int
    bin_width_s: float
    n_lags: int
    hidden: tuple[int, ...]
    n_parameters: int
    memory_bytes: int
    time_s: float
    hidden_auto: bool = False
    covariates: tuple[str, ...] = ()
    n_covariate_columns: int = 0
    device: str = "cpu"
    memory: MemoryPlan | None = None
    n_parameters_per_unit: int = 0

    @property
    def few_bins(self) -> str:
        """A remark where a unit has more parameters than there are bins."""
        if self.n_parameters_per_unit <= self.n_bins:
            return ""
        return f"; {_grouped(self.n_parameters_per_unit)} for each unit, more than there are bins: the penalty decides most of them"


@dataclass(frozen=True)
class Plan:
    """What `infer` would do."""

    jobs: tuple[JobPlan, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"jobs": [asdict(job) | {"hidden": list(job.hidden)} for job in self.jobs]}

    def lines(self) -> list[str]:
        """The plan in words, a line per fact."""
        out = []
        for job in self.jobs:
            hidden = ", ".join(str(h) for h in job.hidden)
            if job.hidden_auto:
                hidden = "auto: 0, and others if the couplings of that fit show shared inputs (not in the estimate)"
            segments = f" in {job.n_segments} segments" if job.n_segments > 1 else ""
            out += [
                f"{job.name}: {job.n_units} units, {_grouped(job.n_spikes)} spikes",
                f"  bins        {_grouped(job.n_bins)} of {1e3 * job.bin_width_s:g} ms{segments}",
                f"  history     {job.n_lags} bins ({1e3 * job.n_lags * job.bin_width_s:g} ms)",
                f"  hidden      {hidden}",
                *_covariate_lines(job),
                f"  parameters  {_grouped(job.n_parameters)}" + job.few_bins,
                f"  memory      about {job.memory_bytes / 1e9:.1f} GB"
                + ("" if job.device == "cpu" else f" on {job.device}"),
                *_how_it_is_cut(job),
                f"  time        about {rough_time(job.time_s)} on one core",
            ]
        return out


def _how_it_is_cut(job: JobPlan) -> list[str]:
    """How much is made at a time, and whether the limit is kept."""
    plan = job.memory
    if plan is None:
        return []
    text = f"  at a time   features of {_grouped(plan.block_bins)} bins, {plan.cache_bytes / 1e6:.0f} MB of them kept"
    if plan.part_windows:
        text += f"; hidden draws of {plan.part_windows} window{'s' if plan.part_windows > 1 else ''}"
    lines = [text]
    if plan.total_bytes > plan.limit_bytes:
        lines.append(f"  beware      {plan.beyond_limit}")
    return lines


def estimate(name: str, counts: Counts, settings: FitSettings, device: str = "cpu") -> JobPlan:
    """Estimate one fit.

    Args:
        name: of the recording.
        counts: its binned spikes.
        settings: of the fit.
        device: by its name in the settings.

    Raises:
        DeviceError: if there is no such device.
        UsageError: if the recording is too short for the fit, as the fit itself would say.
    """
    from spikefit.fitting.device import choose_device
    from spikefit.fitting.memory import memory_limit, plan_memory
    from spikefit.fitting.problem import fit_basis, split_of
    from spikefit.fitting.sizes import fit_size, n_start
    from spikefit.fitting.training import SEARCH_EPOCHS

    basis, n_coupling = fit_basis(settings, counts.bin_width_s)
    n_lags, n_functions = basis.shape
    split_of(counts, settings, n_lags)
    # Couplings use their functions alone, and own history its own, where it has some.
    n_own = n_functions - n_coupling or n_coupling
    n_bins, n_units = counts.n_bins, counts.n_units
    covariates = counts.covariates
    n_columns = 0 if covariates is None else covariates.n_columns
    n_features = n_units * n_functions + n_columns
    where = choose_device(device)
    memory = plan_memory(fit_size(counts, settings, basis.shape), memory_limit(where, settings.memory_limit))
    per_pass = n_bins * (4.0 * n_features * n_units / FLOPS_PER_S + n_units * S_PER_UNIT_BIN)
    time_s = 2 * GLM_PASSES * per_pass + 2.0 * min(n_bins, 50 * n_features) * n_features**2 / FLOPS_PER_S
    n_per_unit = (n_units - 1) * n_coupling + n_own + n_columns + 1
    n_parameters = n_units * n_per_unit
    for n_hidden in settings.hidden:
        if not n_hidden:
            continue
        first = n_start(n_hidden)
        draws = n_bins * settings.n_draws * (n_units + first) * S_PER_DRAW
        time_s += draws * (SEARCH_EPOCHS * settings.restarts + USUAL_EPOCHS - SEARCH_EPOCHS)
        everyone = n_units + first
        n_generative = everyone * ((everyone - 1) * n_coupling + n_own + n_columns + 1)
        n_parameters = max(n_parameters, n_generative + _of_posterior(settings, n_units, first, n_functions))
    return JobPlan(
        name=name,
        n_units=n_units,
        n_bins=n_bins,
        n_segments=counts.n_segments,
        n_spikes=int(counts.counts.sum(dtype=np.int64)),
        bin_width_s=counts.bin_width_s,
        n_lags=n_lags,
        hidden=tuple(settings.hidden),
        hidden_auto=settings.hidden_auto,
        covariates=() if covariates is None else tuple(f"{term.name} ({term.basis})" for term in covariates.terms),
        n_covariate_columns=n_columns,
        n_parameters=n_parameters,
        n_parameters_per_unit=n_per_unit,
        memory_bytes=IMPORTS_BYTES + memory.total_bytes,
        time_s=float(time_s),
        device=str(where),
        memory=memory,
    )


def _of_posterior(settings: FitSettings, n_units: int, n_hidden: int, n_functions: int) -> int:
    """Parameters of the posterior's linear read-out."""
    seen = n_units * (2 * n_functions + 1 if settings.posterior == "forward-backward" else n_functions)
    own = n_hidden * n_functions if settings.posterior == "forward-self" else 0
    return n_hidden * settings.max_count * (seen + own + 1)


def _covariate_lines(job: JobPlan) -> list[str]:
    if not job.covariates:
        return []
    return [f"  covariates  {', '.join(job.covariates)}: {job.n_covariate_columns} columns, the same for all units"]


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def rough_time(time_s: float) -> str:
    """Seconds, minutes or hours, for people."""
    if time_s < 90:
        return f"{max(1, round(time_s))} s"
    if time_s < 5400:
        return f"{round(time_s / 60)} min"
    return f"{time_s / 3600:.1f} h"
