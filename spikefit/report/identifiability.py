"""The part of the page about what could fake an edge."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from spikefit.report.numbers import number, signed
from spikefit.report.tables import Column, table_html
from spikefit.results import Result

Q_LEVEL = 0.05
MOST_ROWS = 50
SHARED_PART = 0.5  # of a pair's z-score taken off as shared input, from which on a shared driver could be all of it
FEW_SPIKE_PAIRS = 30
COLLINEAR = 10.0  # variance inflation from which on a sender is nearly made up of the others
FEW_RESTARTS = 0.5


def identifiability(result: Result, table: NDArray[np.void]) -> Markup | None:
    """What could fake each called edge (or the strongest couplings, where none are called); only where it was computed."""
    if "n_spike_pairs" not in (table.dtype.names or ()):
        return None
    between = table[(table["pre_kind"] == "visible") & (table["post_kind"] == "visible")]
    called = between[between["q_value"] <= Q_LEVEL]
    rows = called if len(called) else between
    rows = rows[np.argsort(-np.abs(np.nan_to_num(rows["weight"])), kind="stable")][:MOST_ROWS]
    columns = [
        Column("from", [escape(unit) for unit in rows["pre_id"]], text=True),
        Column("to", [escape(unit) for unit in rows["post_id"]], text=True),
        Column("weight", [signed(float(value)) for value in rows["weight"]]),
    ]
    headings = {
        "n_spike_pairs": "spike pairs in the window",
        "correlogram_z": "z of the plain correlogram",
        "shared_z": "taken off z as shared",
        "h0_weight": "weight without hidden units",
        "curvature": "curvature, nats per unit of weight²",
        "variance_inflation": "variance inflation",
        "restart_sd": "sd over restarts",
        "restart_agreement": "restarts that agree",
    }
    for key, heading in headings.items():
        if key in (table.dtype.names or ()) and np.isfinite(rows[key]).any():
            columns.append(Column(heading, [number(float(value)) for value in rows[key]]))
    columns.append(Column("what could fake it", [escape(doubts(row)) for row in rows], prose=True))
    which = "Every called edge" if len(called) else "No edge is called; the strongest couplings"
    lead = Markup("<p>{}, with what there is to go by.</p>").format(which)
    return lead + _whole(result) + table_html(columns, "what could fake an edge", scroll=len(rows) > 15)


def doubts(row: np.void) -> str:
    """What could fake an edge, in words; empty where nothing known speaks against it."""
    found = []
    names = row.dtype.names or ()
    weight = float(row["weight"])
    z = weight / float(row["std_error"])
    taken = float(row["shared_z"]) if "shared_z" in names else float("nan")
    if np.isfinite(taken) and np.isfinite(z) and taken * z > 0 and abs(taken) >= SHARED_PART * abs(z):
        found.append("a shared driver could explain it")
    if row["n_spike_pairs"] < FEW_SPIKE_PAIRS and weight > 0:
        found.append("few spikes speak for it")
    if np.isfinite(row["correlogram_z"]) and row["correlogram_z"] * weight < 0:
        found.append("the plain correlogram has the other sign")
    if "h0_weight" in names and np.isfinite(row["h0_weight"]) and row["h0_weight"] * weight < 0:
        found.append("its sign turned when hidden units came in")
    if "variance_inflation" in names and row["variance_inflation"] >= COLLINEAR:
        found.append("other senders fire so much like this one that they are hard to tell apart")
    if "restart_agreement" in names and row["restart_agreement"] < FEW_RESTARTS:
        found.append("most other restarts do not agree on it")
    return "; ".join(found)


def starts(result: Result) -> str:
    """Whether couplings could hang on where the fit started, as a sentence; empty where that is not known."""
    n = result.metrics.get("restarts_compared")
    if isinstance(n, int) and n:
        return (
            f"Weights were held against those of {n} other restart{'s' if n > 1 else ''} (those that fell behind as they were when they were "
            "given up); one agrees that lies within half of a weight's size of it."
        )
    model = result.config.get("model", {})
    if not result.n_hidden and model.get("link") in ("softplus", "exp") and model.get("count_law") == "poisson":
        return "Without hidden units the likelihood has one optimum: every start ends there, and all agree by construction."
    return ""


def _whole(result: Result) -> Markup:
    text = Markup("")
    if starts(result):
        text += Markup("<p>{}</p>").format(starts(result))
    radius, share = result.metrics.get("spectral_radius"), result.metrics.get("correlogram_share")
    if isinstance(radius, float) and np.isfinite(radius):
        text += Markup("<p>Along its strongest mode one spike calls up {} further ones (the spectral radius of the linearised network; at 1 the "
                       "activity would sustain itself).").format(number(radius))  # fmt: skip
        if isinstance(share, float) and np.isfinite(share):
            text += Markup(" A plain cross-correlogram ranks the pairs alike to {} (squared rank correlation).").format(
                number(share)
            )
        text += Markup("</p>")
    return text
