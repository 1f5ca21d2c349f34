"""Covariates as the columns of a design: in every bin, standardised, with what is needed to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FittedTerm:
    """One covariate of a fit: its functions, and the numbers by which another recording gets the same columns.

    Attributes:
        name: of the covariate.
        basis: `linear`, `b-spline`, `cyclic` or `lags`.
        unit: of its values; empty where it has none.
        series: one name per series of values (x and y of a position).
        columns: one name per column.
        series_of: which of the series each column is made of.
        knots: of the splines, per series; empty for other bases.
        value_mean: of each series, over the bins in which the covariate is known.
        value_sd: standard deviation of each series over the same bins.
        mean: of each column, before it was standardised.
        sd: standard deviation of each column.
        window_s: length of the past that `lags` looks at, the present bin included.
        share_known: part of the bins in which the covariate is known.
    """

    name: str
    basis: str
    unit: str
    series: tuple[str, ...]
    columns: tuple[str, ...]
    series_of: tuple[int, ...]
    knots: tuple[tuple[float, ...], ...]
    value_mean: tuple[float, ...]
    value_sd: tuple[float, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    window_s: float | None
    share_known: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave, lists in place of tuples; keys of a later version are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: _as_tuple(value) for key, value in values.items() if key in known})


@dataclass(frozen=True, eq=False)
class Curve:
    """The drive over one series of a covariate.

    Attributes:
        name: of the covariate, and of the series where it has several.
        x_label: what the x-axis is, with its unit.
        x: values; shape (n_points,).
        rows: drive at `x` per weight of each column of the whole fit; shape (n_points, n_columns).
    """

    name: str
    x_label: str
    x: NDArray[np.float64]
    rows: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CovariateColumns:
    """The columns of all covariates of a fit.

    Attributes:
        values: standardised, 0 where a covariate is not known; shape (n_bins, n_columns), stored column after column.
        known: bins in which every covariate is known; shape (n_bins,).
        terms: the covariates, in the order of their columns.
        curves: of each series of each covariate, all with as many points.
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    terms: tuple[FittedTerm, ...]
    curves: tuple[Curve, ...] = ()

    def __post_init__(self) -> None:
        if self.values.shape != (self.known.size, len(self.names)):
            raise ValueError(
                f"values {self.values.shape} do not go with {self.known.size} bins and {len(self.names)} columns"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """One name per column."""
        return tuple(column for term in self.terms for column in term.columns)

    @property
    def n_columns(self) -> int:
        return len(self.names)

    @property
    def rows(self) -> NDArray[np.float64]:
        """Weighted sums of the columns' weights that are reported: each by itself, then the points of all curves; (row, column)."""
        return np.concatenate([np.eye(self.n_columns), *(curve.rows for curve in self.curves)])


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list | tuple) else value
