"""The parts of the page, in their order; one whose data the result does not hold is left out.

A new part is a function of the result and its edge table that returns HTML, or None without data, and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from spikefit.report import (
    candidates,
    couplings,
    covariates,
    fitting,
    goodness,
    identifiability,
    nulls,
    predictive,
    record,
)
from spikefit.report.summary import sentences
from spikefit.results import Result

Edges = NDArray[np.void]


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        anchor: its id in the page.
        title: its heading.
        body: its HTML.
    """

    anchor: str
    title: str
    body: Markup


def sections_of(result: Result) -> list[Section]:
    """Every part for which the result holds the data."""
    edges = result.edges()  # once: a thousand units have a million pairs
    built = ((anchor, title, build(result, edges)) for anchor, title, build in _PARTS)
    return [Section(anchor, title, body) for anchor, title, body in built if body]


def _summary(result: Result, table: Edges) -> Markup:
    points = Markup("").join(Markup("<p>{}</p>").format(text) for text in sentences(result, table))
    doubts = Markup("").join(Markup("<li>{}</li>").format(text) for text in result.warnings)
    return points + (
        Markup('<div class="warnings"><h3>Warnings</h3><ul>{}</ul></div>').format(doubts) if doubts else ""
    )


_PARTS: tuple[tuple[str, str, Callable[[Result, Edges], Markup | None]], ...] = (
    ("summary", "Summary", _summary),
    ("matrix", "Connectivity", couplings.matrix),
    ("network", "Graph of significant edges", couplings.network),
    ("edges", "Strongest couplings", couplings.strongest),
    ("nulls", "What no edge looks like, by type", nulls.nulls),
    ("identifiability", "What could fake an edge", identifiability.identifiability),
    ("filters", "Coupling filters", couplings.filters),
    ("covariates", "Covariates", covariates.covariates),
    ("hidden", "Hidden units", fitting.hidden_units),
    ("candidates", "How many hidden units", candidates.candidates),
    ("scores", "Held-out scores", fitting.scores),
    ("goodness", "Goodness of fit", goodness.goodness),
    ("simulated", "Recorded and simulated rates", predictive.simulated),
    ("training", "Training", fitting.training),
    ("restarts", "Agreement of restarts", fitting.restarts),
    ("units", "Units", record.units),
    ("provenance", "Where this comes from", record.provenance),
)
