"""How the fit went: objective and held-out objective over its steps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikefit.plots.style import (
    BLUE,
    GREEN,
    INK,
    ONE_AND_A_HALF,
    ORANGE,
    PALE,
    QUIET,
    HasHistory,
    new_figure,
    quiet,
    shortened,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = NDArray[np.float64]

_RESTART = re.compile(r"restart_\d+_(objective|heldout)")


def restart_series(history: Mapping[str, Series]) -> list[tuple[str, str]]:
    """The series of the restarts, each with the name that the series of its steps would have."""
    return [(key, f"{key}_step") for key in sorted(history) if _RESTART.fullmatch(key)]


def has_training(result: HasHistory) -> bool:
    """Whether the result holds a series that `plot_training` can draw."""
    return any(_series(result, key) is not None for key in ("objective", "heldout", "newton_decrement"))


def plot_training(result: HasHistory) -> Figure:
    """Draw the objective per step, the held-out objective with its best step, and, for a fit without hidden units, the
    Newton decrement: how far, at most, the objective still is from its optimum.

    Restarts (`restart_0_heldout`, `restart_0_objective`, …) stand pale behind the one that was kept; a last `polish` on all
    bins, the held-out ones included, follows in green.
    """
    decrement = _series(result, "newton_decrement")
    curves = any(_series(result, key) is not None for key in ("objective", "heldout"))
    panels = [name for name, there in (("curves", curves), ("decrement", decrement is not None)) if there]
    figure = new_figure(ONE_AND_A_HALF, 2.7 if len(panels) < 2 else 4.2)
    all_axes = figure.subplots(max(len(panels), 1), 1, sharex=True, squeeze=False)[:, 0]
    if not panels:
        all_axes[0].text(0.5, 0.5, "no training curves were kept", ha="center", va="center", color=QUIET, fontsize=8)
        all_axes[0].set_axis_off()
        return figure
    for axes, panel in zip(all_axes, panels, strict=True):
        quiet(axes)
        if panel == "curves":
            _draw_curves(axes, result)
        else:
            assert decrement is not None
            _draw_decrement(axes, decrement)
    all_axes[-1].set_xlabel("iteration" if decrement is not None else "step of the fit", fontsize=8)
    words(all_axes[0].set_title(shortened(result.name, 60), fontsize=8, loc="left", color=INK))
    handles, labels = all_axes[0].get_legend_handles_labels()
    if len(handles) > 1:
        # Below the axes, because inside there is no corner that every fit leaves free.
        figure.legend(
            handles, labels, fontsize=7, frameon=False, loc="outside lower center", ncols=3, columnspacing=1.4
        )
    return figure


def _series(result: HasHistory, name: str, steps: str | None = None) -> tuple[Series, Series] | None:
    """Steps and values of one series, the values that are not finite left out; None where nothing is left."""
    values = result.history.get(name)
    if values is None:
        return None
    names = (steps,) if steps else (f"{name}_step", "step", "iteration")
    step = next((result.history[key] for key in names if key in result.history), None)
    if step is None or step.size != values.size:
        step = np.arange(values.size, dtype=np.float64)
    kept = np.isfinite(values) & np.isfinite(step)
    return (step[kept], values[kept]) if kept.any() else None


def _draw_curves(axes: Axes, result: HasHistory) -> None:
    shown: list[tuple[Series, Series]] = []
    for key, steps in restart_series(result.history):
        other = _series(result, key, steps)
        if other is not None:
            axes.plot(*other, color=PALE, linewidth=0.8, label="restarts" if not shown else None, zorder=1)
            shown.append(other)
    objective, heldout = _series(result, "objective"), _series(result, "heldout", "heldout_step")
    if objective is not None:
        axes.plot(*objective, color=BLUE, linewidth=1.0, label="training", zorder=2, **_dots(objective[1]))
        shown.append(objective)
    polish = _series(result, "polish", "polish_step")
    if polish is not None:
        axes.plot(*polish, color=GREEN, linewidth=1.0, label="polish on all bins", zorder=2, **_dots(polish[1]))
        shown.append(polish)
    if heldout is not None:
        axes.plot(*heldout, color=ORANGE, linewidth=1.2, label="held out", zorder=3, marker="o", markersize=2.5)
        shown.append(heldout)
        _band(axes, result, heldout)
        best = result.metrics.get("best_step")
        step = float(best) if best is not None else float(heldout[0][np.argmax(heldout[1])])
        axes.axvline(step, color=QUIET, linewidth=0.8, linestyle=(0, (3, 2)), label=f"best step ({step:g})", zorder=0)
    unit = str(result.metrics.get("objective_unit") or "nats per bin")
    axes.set_ylabel(f"objective ({unit})", fontsize=8)
    axes.set_ylim(later_limits(shown))
    axes.ticklabel_format(axis="y", useOffset=False)


def _band(axes: Axes, result: HasHistory, heldout: tuple[Series, Series]) -> None:
    error = result.history.get("heldout_se")
    values = result.history["heldout"]
    if error is None or error.size != values.size:
        return
    error = error[np.isfinite(values)]
    if error.size == heldout[1].size:
        axes.fill_between(heldout[0], heldout[1] - error, heldout[1] + error, color=ORANGE, alpha=0.18, linewidth=0)


def _draw_decrement(axes: Axes, decrement: tuple[Series, Series]) -> None:
    step, values = decrement
    above = values > 0  # a logarithm has no zero; a decrement of exactly zero is the optimum itself
    axes.plot(step[above], values[above], color=BLUE, linewidth=1.0, **_dots(values))
    axes.set_yscale("log")
    axes.set_ylabel("Newton decrement (nats)", fontsize=8)


def _dots(values: Series) -> dict[str, Any]:
    return {"marker": "o", "markersize": 2.5} if values.size <= 60 else {}


def later_limits(series: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[float, float]:
    """Limits that show the fit past its first tenth: the first steps often lie so low that all else would be flat.

    Args:
        series: steps and values, finite.
    """
    first = 0.1 * max(float(steps.max()) for steps, _ in series)
    later = np.concatenate([values[steps >= min(first, float(steps.max()))] for steps, values in series])
    low, high = float(np.quantile(later, 0.002)), float(max(values.max() for _, values in series))
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.01
    return low - margin, high + margin
