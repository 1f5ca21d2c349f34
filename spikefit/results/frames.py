"""Results as pandas data frames; pandas is asked for only here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikefit.errors import UsageError
from spikefit.results.edges import EDGE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from spikefit.results.model import Result


def edges_frame(result: Result) -> pd.DataFrame:
    """One row per ordered pair, columns as in `edges.csv`."""
    pandas = _pandas()
    table = result.edges()
    return pandas.DataFrame({key: table[key] for key in EDGE_COLUMNS})


def units_frame(result: Result) -> pd.DataFrame:
    """One row per unit, columns as in `units.csv`."""
    from spikefit.results.tables import unit_columns

    return _pandas().DataFrame(unit_columns(result))


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise UsageError("pandas is not installed.", hint="pip install pandas, or use edges()") from None
    return pandas
