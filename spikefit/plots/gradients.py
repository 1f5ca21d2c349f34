"""How good each estimator's gradient is: bias, noise and direction over temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from spikefit.plots.style import (
    BLUE,
    DOUBLE_COLUMN,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    QUIET,
    new_figure,
    quiet,
    shortened,
    words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"eat-cubic": BLUE, "eat-sigmoid": ORANGE, "gsm": GREEN, "score": PURPLE, "exact": INK}
_MARKERS = {"eat-cubic": "o", "eat-sigmoid": "s", "gsm": "^"}


class Case(Protocol):
    """The fields of one measured estimator."""

    @property
    def estimator(self) -> str: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def relative_bias(self) -> float: ...
    @property
    def relative_noise(self) -> float: ...
    @property
    def cosine_of_mean(self) -> float: ...


class HasCases(Protocol):
    """The fields of a comparison of gradients."""

    @property
    def name(self) -> str: ...
    @property
    def cases(self) -> Sequence[Case]: ...
    @property
    def used(self) -> Case: ...


def plot_gradients(comparison: HasCases) -> Figure:
    """Draw bias, noise and cosine of every estimator over temperature; those without one are level lines.

    The estimator that the fit was made with is ringed.
    """
    figure = new_figure(DOUBLE_COLUMN, 2.6)
    panels = [
        ("bias / length of the gradient", "relative_bias"),
        ("noise of one gradient / length", "relative_noise"),
        ("cosine with the exact one", "cosine_of_mean"),
    ]
    names = list(dict.fromkeys(case.estimator for case in comparison.cases))
    others = iter((PURPLE, QUIET, INK))
    colours = {name: _COLOURS.get(name) or next(others, QUIET) for name in names}
    all_axes = figure.subplots(1, 3)
    for axes, (label, field) in zip(all_axes, panels, strict=True):
        quiet(axes)
        for name in names:
            cases = [case for case in comparison.cases if case.estimator == name]
            values = [getattr(case, field) for case in cases]
            if cases[0].temperature is None:
                axes.axhline(values[0], color=colours[name], linewidth=0.9, linestyle=":", label=name)
            else:
                at = [case.temperature for case in cases]
                axes.plot(
                    at, values, color=colours[name], marker=_MARKERS.get(name, "d"), markersize=3.5, lw=1.1, label=name
                )
        if comparison.used.temperature is not None:
            axes.plot(
                [comparison.used.temperature], [getattr(comparison.used, field)],
                "o", markersize=9, fillstyle="none", color=INK, markeredgewidth=0.9,
            )  # fmt: skip
        levels = sorted({case.temperature for case in comparison.cases if case.temperature is not None})
        if levels:
            axes.set_xscale("log")
            axes.set_xticks(levels, [f"{level:g}" for level in levels])
            axes.minorticks_off()
        axes.set_xlabel("temperature τ (share of a bin)", fontsize=8)
        axes.set_ylabel(label, fontsize=8)
    all_axes[0].set_ylim(bottom=0)
    all_axes[1].set_yscale("log")
    words(all_axes[0].set_title(shortened(comparison.name, 40), fontsize=8, loc="left", color=INK))
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, frameon=False, loc="outside lower center", ncols=len(labels))
    return figure
