"""What all figures share: sizes, colours, quiet axes, and saving.

Colours: blue for inhibition and red for excitation, from the ColorBrewer scheme RdBu, which people with any common
colour vision tell apart; lines from the palette of Okabe and Ito.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating[Any]]

# Widths of journal columns in inches: 89 mm, 120 mm, 183 mm.
SINGLE_COLUMN, ONE_AND_A_HALF, DOUBLE_COLUMN = 3.5, 4.72, 7.2
DPI = 300

DIVERGING = "RdBu_r"
INK, QUIET, PALE = "#1a1a1a", "#6b6b6b", "#c9c9c9"
EXCITING, INHIBITING = "#b2182b", "#2166ac"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"


class HasConnectivity(Protocol):
    """The fields of a `Result` that figures of couplings read."""

    @property
    def unit_id(self) -> Sequence[str]: ...
    @property
    def n_visible(self) -> int: ...
    @property
    def n_hidden(self) -> int: ...
    @property
    def connectivity(self) -> Floats: ...
    @property
    def coupling_filters(self) -> Floats: ...
    @property
    def lag_s(self) -> Floats: ...
    @property
    def name(self) -> str: ...


class HasHistory(Protocol):
    """The fields of a `Result` that figures of the fit read."""

    @property
    def history(self) -> Mapping[str, NDArray[np.float64]]: ...
    @property
    def metrics(self) -> Mapping[str, Any]: ...
    @property
    def name(self) -> str: ...


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of the given size in inches, laid out so that nothing overlaps."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def quiet(axes: Axes, *, size: float = 7) -> None:
    """Thin lines, small print, no box."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)
    axes.tick_params(labelsize=size, width=0.6, length=2.5, color=INK)


def words(text: Any, value: str | None = None) -> Any:
    """Set what a matplotlib text says, taken literally: a unit called `$3_a` is no formula."""
    if value is not None:
        text.set_text(value)
    text.set_parse_math(False)
    return text


def shortened(text: str, limit: int = 18) -> str:
    """`text` on one line, with its middle left out where it is longer than `limit`."""
    line = " ".join(text.split())
    head = (limit - 1) // 2
    return line if len(line) <= limit else f"{line[: limit - 1 - head]}…{line[-head:]}"


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format its path ends in; text in SVG and PDF stays text."""
    import warnings

    import matplotlib

    # The same bytes for the same figure: no time of writing, no random ids.
    undated = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "spikefit", "pdf.fonttype": 42}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # an id in a script the font lacks
        figure.savefig(path, dpi=DPI, metadata=undated.get(path.suffix.lower()))
