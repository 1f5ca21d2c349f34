"""Whether the hidden units of a fit were found again from other starts, written into its result."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from spikefit.alignment import Stability
from spikefit.results import Result, UnitRow

ResultT = TypeVar("ResultT", bound=Result)


def with_stability(result: ResultT, stability: Stability | None) -> ResultT:
    """The result with the stability of its hidden units in every place where hidden units are told of.

    Columns `stability`, `fits_agreeing`, `fits_compared` and `unstable` of the unit table, `hidden_…` among the diagnostics,
    `hidden_stability` and `n_unstable_hidden` among the metrics, and a warning where a unit is unstable.

    Args:
        result: a fit.
        stability: of its hidden units, in their order; None where there was only one start.
    """
    if stability is None or not result.n_hidden:
        return result
    n_fits = stability.likeness.shape[1]
    rows = list(result.units)
    told: list[dict[str, Any]] = []
    for k, unit_id in enumerate(result.unit_id[result.hidden_units]):
        told.append(
            {
                "stability": float(stability.score[k]),
                "fits_agreeing": int(stability.n_agree[k]),
                "fits_compared": n_fits,
                "unstable": bool(stability.unstable[k]),
            }
        )
        place = next(i for i, row in enumerate(rows) if row.id == unit_id and row.kept)
        rows[place] = dataclasses.replace(rows[place], columns={**rows[place].columns, **told[k]})
    units: tuple[UnitRow, ...] = tuple(rows)
    metrics = {
        **result.metrics,
        "hidden_stability": [
            {"unit": unit, **columns} for unit, columns in zip(result.unit_id[result.hidden_units], told, strict=True)
        ],
        "n_unstable_hidden": int(stability.unstable.sum()),
    }
    diagnostics = {
        **result.diagnostics,
        "hidden_likeness": stability.likeness,
        "hidden_consensus_filters": stability.consensus,
        "hidden_consensus_spread": stability.spread,
    }
    return dataclasses.replace(
        result,
        units=units,
        metrics=metrics,
        diagnostics=diagnostics,
        warnings=(*result.warnings, *_doubt(result.unit_id[result.hidden_units], told)),
    )


def _doubt(names: tuple[str, ...], told: list[dict[str, Any]]) -> tuple[str, ...]:
    unstable = [
        f"{name} ({row['fits_agreeing']} of {row['fits_compared']} agree)"
        for name, row in zip(names, told, strict=True)
        if row["unstable"]
    ]
    if not unstable:
        return ()
    return (
        f"found from one start and not again from most others: {', '.join(unstable)}. What such a hidden unit does hangs on where "
        "the fit started; more --restarts, or fewer hidden units, tell more",
    )
