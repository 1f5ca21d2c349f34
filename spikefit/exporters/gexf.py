"""GEXF, for Gephi."""

from __future__ import annotations

from pathlib import Path

from spikefit.exporters.graph import graph_of, refuse_what_xml_cannot_hold
from spikefit.exporters.selection import Cut

# Words by which GEXF means time, drawing and hierarchy; a unit column called so would be taken for that.
_RESERVED = frozenset({"start", "end", "startopen", "endopen", "slices", "spells", "viz", "pid", "parents", "id"})


def write(cut: Cut, path: Path) -> None:
    """Write the chosen edges and every unit; GEXF has no lists of numbers, so coupling filters stay behind."""
    import networkx as nx

    graph = graph_of(cut)
    refuse_what_xml_cannot_hold(graph, format="GEXF")
    for _, attributes in graph.nodes(data=True):
        for key in _RESERVED & attributes.keys():
            attributes[f"unit_{key}"] = attributes.pop(key)
    nx.write_gexf(graph, path, encoding="utf-8", prettyprint=True)
