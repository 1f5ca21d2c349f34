"""Results as pandas data frames and xarray data sets; neither library is asked for anywhere else."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spikefit.errors import UsageError
from spikefit.results.edges import EDGE_COLUMNS
from spikefit.results.parts import PAIR_STATISTICS
from spikefit.results.schema import ABOUT

if TYPE_CHECKING:
    import pandas as pd

    from spikefit.results.model import Result


def edges_frame(result: Result) -> pd.DataFrame:
    """One row per ordered pair, columns as in `edges.csv`."""
    pandas = _library("pandas", "use edges()")
    table = result.edges()
    return pandas.DataFrame({key: table[key] for key in EDGE_COLUMNS})


def units_frame(result: Result) -> pd.DataFrame:
    """One row per unit, columns as in `units.csv`."""
    from spikefit.results.tables import unit_columns

    return _library("pandas", "use units").DataFrame(unit_columns(result))


def labelled_arrays(result: Result) -> Any:
    """Every array of a result with named axes and their labels; units and meaning stand in the attributes."""
    xarray = _library("xarray", "use the arrays of the result itself")
    ids = list(result.unit_id)
    pair = ("post", "pre")
    variables: dict[str, tuple[tuple[str, ...], Any]] = {
        "connectivity": (pair, result.connectivity),
        "coupling_filters": ((*pair, "lag_s"), result.coupling_filters),
        "baseline": (("post",), result.baseline),
    }
    variables |= {key: (pair, getattr(result, key)) for key in PAIR_STATISTICS}
    coordinates: dict[str, Any] = {"post": ids, "pre": ids, "lag_s": result.lag_s}
    if result.hidden is not None:
        variables["hidden/expected_count"] = (("time_s", "hidden"), result.hidden.expected_count)
        coordinates |= {"time_s": result.hidden.time_s, "hidden": ids[result.n_visible :]}
    return xarray.Dataset(
        {
            key.rpartition("/")[2]: (dims, values, {"units": ABOUT[key].units, "description": ABOUT[key].description})
            for key, (dims, values) in variables.items()
        },
        coords=coordinates,
        attrs={"bin_width_s": result.bin_width_s, "name": result.name, "orientation": "row receives, column sends"},
    )


def _library(name: str, instead: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(f"{name} is not installed.", hint=f"pip install {name}, or {instead}") from None
