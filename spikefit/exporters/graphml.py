"""GraphML, for Gephi, Cytoscape, igraph and networkx."""

from __future__ import annotations

from pathlib import Path

from spikefit.exporters.graph import graph_of, refuse_what_xml_cannot_hold
from spikefit.exporters.selection import Cut


def write(cut: Cut, path: Path) -> None:
    """Write the chosen edges and every unit; GraphML has no lists, so coupling filters stay behind."""
    import networkx as nx

    graph = graph_of(cut)
    refuse_what_xml_cannot_hold(graph, format="GraphML")
    # One <key> per attribute name and type, in the order met: the file is the same for the same result.
    nx.write_graphml_xml(graph, path, encoding="utf-8", prettyprint=True)
