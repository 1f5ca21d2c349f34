"""A result as a directed networkx graph, the form that the graph formats share."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from spikefit.errors import UsageError
from spikefit.exporters.selection import Cut
from spikefit.results.edges import EDGE_COLUMNS

if TYPE_CHECKING:
    import networkx as nx

# What XML 1.0 cannot hold, escaped or not.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ENDS = ("pre_id", "post_id", "pre_kind", "post_kind", "n_pre_spikes", "n_post_spikes")


def graph_of(cut: Cut) -> nx.DiGraph:
    """Units as nodes (isolated ones kept), chosen edges from sender to receiver.

    Each attribute has one type throughout; one that is not known (NaN) is left out of that node or edge.
    """
    import networkx as nx

    result = cut.result
    graph = nx.DiGraph(name=result.name, bin_width_s=result.bin_width_s, direction="source sends, target receives")
    keys = dict.fromkeys(key for row in result.unit_rows for key in row.columns)
    columns = {key: _of_one_type([row.columns.get(key) for row in result.unit_rows]) for key in keys}
    for place, row in enumerate(result.unit_rows):
        own = {"label": row.id, "kind": row.kind, "n_spikes": row.n_spikes, "rate_hz": row.rate_hz}
        own["baseline"] = float(result.baseline[place])
        own |= {key if key not in own else f"unit_{key}": values[place] for key, values in columns.items()}
        graph.add_node(row.id, **_known(own))
    statistics = [key for key in EDGE_COLUMNS if key not in _ENDS]
    table = cut.edges()
    values = {key: table[key].tolist() for key in ("pre_id", "post_id", *statistics)}
    for place, (pre, post) in enumerate(zip(values["pre_id"], values["post_id"], strict=True)):
        graph.add_edge(pre, post, **_known({key: values[key][place] for key in statistics}))
    return graph


def refuse_what_xml_cannot_hold(graph: nx.DiGraph, *, format: str) -> None:
    """Raises:
    UsageError: naming the first unit whose id or columns hold control characters.
    """
    for node, attributes in graph.nodes(data=True):
        for key, value in (("id", node), *attributes.items(), *((key, key) for key in attributes)):
            if isinstance(value, str) and _NOT_XML.search(value):
                raise UsageError(
                    f"{format} cannot hold the control character in {key!r} of unit {node!r}.",
                    hint="export to csv, npz or h5, or rename the unit",
                )


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in attributes.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }


def _of_one_type(values: list[Any]) -> list[Any]:
    """The values of a column in one type that holds them all; None stays None."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return values
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) == 1:
        return values
    return [None if value is None else str(value) for value in values]
