"""How a job ended, in plain values: done, failed with its reason, stopped, or not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from spikefit.errors import NotConvergedError
from spikefit.results import Result
from spikefit.results.documents import plain

Status = Literal["done", "failed", "stopped", "not run"]
Q_LEVEL = 0.05
METRICS = (
    "n_visible",
    "n_hidden",
    "n_bins",
    "heldout_nats_per_bin",
    "heldout_bits_per_spike",
    "heldout_gain_nats_per_bin",
    "converged",
    "fit_s",
    "wall_s",
    "peak_rss_bytes",
)


@dataclass(frozen=True)
class Outcome:
    """How one job ended.

    Attributes:
        name: of the job.
        status: `done`, `failed`, `stopped` (it can go on with --resume) or `not run`.
        folder: of the result, inside the output folder.
        reason: why it failed or was stopped, in words.
        hint: the next step.
        kind: the name of the error.
        exit_code: what `spikefit infer` would have ended with.
        figures: scores of the result.
        warnings: those of the result.
        wall_s: time from start to end.
        again: it was there already and was not computed anew.
        key: digest of the job's settings.
        traceback: of a fault of spikefit itself.
    """

    name: str
    status: Status
    folder: str = ""
    reason: str = ""
    hint: str = ""
    kind: str = ""
    exit_code: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    wall_s: float = 0.0
    again: bool = False
    key: str = ""
    traceback: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        values: dict[str, Any] = plain(asdict(self))
        return values

    def but(self, **changes: Any) -> Outcome:
        """The same with some values changed."""
        return replace(self, **changes)


def from_dict(values: Any) -> Outcome | None:
    """An outcome from plain values, or None where they are none."""
    if not isinstance(values, Mapping) or values.get("status") not in ("done", "failed", "stopped", "not run"):
        return None
    try:
        known = {name: values[name] for name in Outcome.__dataclass_fields__ if name in values}
        return Outcome(**(known | {"warnings": tuple(values.get("warnings") or ())}))
    except TypeError:
        return None


def of_result(result: Result, name: str, folder: str, *, key: str, strict: bool) -> Outcome:
    """The outcome of a job whose result is there."""
    figures = {metric: result.metrics.get(metric) for metric in METRICS}
    known = np.isfinite(result.q_value)
    np.fill_diagonal(known, False)  # a unit's own history is no edge
    figures["n_edges"] = int((result.q_value[known] <= Q_LEVEL).sum()) if known.any() else None
    told: dict[str, Any] = plain(figures)
    outcome = Outcome(name, "done", folder, figures=told, warnings=tuple(result.warnings), key=key)
    if strict and not result.metrics.get("converged"):
        return outcome.but(
            status="failed",
            kind="NotConvergedError",
            exit_code=6,
            reason="the fit did not converge; its result is written all the same.",
            hint=NotConvergedError.way_on(result.n_hidden),
        )
    return outcome
