"""A recording the way it was measured: one flat array of spike times with an offset per unit, the intervals in which the
units were observed, and named epochs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikefit.covariates import Covariate
from spikefit.errors import RecordingError, UsageError, did_you_mean
from spikefit.intervals import Intervals, as_intervals, intersection_of, union_of, without
from spikefit.spikes.binning import Bins
from spikefit.spikes.counts import Counts
from spikefit.spikes.sorted_times import check_times, inside, outside


@dataclass(frozen=True, eq=False)
class SpikeTrains:
    """A recording: sorted spike times per unit, observed intervals and named epochs, all in seconds.

    Attributes:
        spike_times_s: every spike, unit after unit, sorted within each unit; shape (n_spikes,).
        offsets: unit `k` owns `spike_times_s[offsets[k]:offsets[k + 1]]`; shape (n_units + 1,).
        unit_ids: one text per unit, as in the file, without repetition.
        intervals_s: observed `[start, stop)` intervals in order, without overlap; shape (n_intervals, 2). Touching
            intervals stay apart: the edge between two epochs is an edge.
        unit_columns: further columns of the unit table (region, quality, …), each of length n_units.
        epochs: named sets of intervals, each of shape (n, 2); trials are the epoch `trials`.
        name: what to call the recording.
        source: the file it came from, if any.
        format: the layout it was read from, if any.
        warnings: doubts about the input that the reader should know of.
        session: what the file says of the session, as texts: `session_start_time` (ISO), `session_id`, `subject_id`, ….
        covariates: what else was measured (position, speed, …), by name; nothing of it is looked for or read before it is
            asked for. They stay whole, on the clock of the spikes, whatever part of the recording is kept.
        lost_s: by unit, the observed time in which that unit alone was not observed; units that never were lost are not in it.
            See `lose`.

    Raises:
        RecordingError: if times are not finite or not sorted, ids repeat, or intervals are empty or overlap.
    """

    spike_times_s: NDArray[np.float64]
    offsets: NDArray[np.int64]
    unit_ids: tuple[str, ...]
    intervals_s: Intervals
    unit_columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    epochs: Mapping[str, Intervals] = field(default_factory=dict)
    name: str = "recording"
    source: str | None = None
    format: str | None = None
    warnings: tuple[str, ...] = ()
    session: Mapping[str, str] = field(default_factory=dict)
    covariates: Mapping[str, Covariate] = field(default_factory=dict)
    lost_s: Mapping[str, Intervals] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times = np.ascontiguousarray(self.spike_times_s, dtype=np.float64)
        offsets = np.ascontiguousarray(self.offsets, dtype=np.int64)
        ids = tuple(str(unit_id) for unit_id in self.unit_ids)
        intervals = as_intervals(self.intervals_s, "observed intervals")
        if (
            offsets.shape != (len(ids) + 1,)
            or offsets[0] != 0
            or offsets[-1] != times.size
            or np.any(np.diff(offsets) < 0)
        ):
            raise ValueError(f"offsets do not divide {times.size} spikes among {len(ids)} units")
        if len(set(ids)) != len(ids):
            repeated = sorted({unit_id for unit_id in ids if ids.count(unit_id) > 1})
            raise RecordingError(
                f"{self.name}: unit ids repeat ({', '.join(repeated[:5])}).", hint="give every unit an id of its own"
            )
        check_times(times, offsets, ids, self.name)
        if len(intervals) > 1 and np.any(intervals[1:, 0] < intervals[:-1, 1]):
            raise RecordingError(f"{self.name}: observed intervals overlap.", hint="merge or order them first")
        columns = {}
        for key, values in self.unit_columns.items():
            column = np.asarray(values)
            if column.shape[:1] != (len(ids),):
                raise ValueError(f"unit column {key!r} has shape {column.shape}, expected ({len(ids)},)")
            columns[str(key)] = column
        set_ = object.__setattr__
        set_(self, "spike_times_s", times)
        set_(self, "offsets", offsets)
        set_(self, "unit_ids", ids)
        set_(self, "intervals_s", intervals)
        set_(self, "unit_columns", MappingProxyType(columns))
        epochs = {str(key): as_intervals(rows, f"epoch {key!r}") for key, rows in self.epochs.items()}
        set_(self, "epochs", MappingProxyType(epochs))
        lost = {}
        for unit_id, rows in self.lost_s.items():
            if str(unit_id) not in ids:
                raise ValueError(f"lost time of {unit_id!r}, which is no unit of the recording")
            # Clipped to what was observed of the recording, so that the lengths of both can be subtracted.
            clipped = intersection_of(intervals, union_of(rows))
            if len(clipped):
                lost[str(unit_id)] = clipped
        set_(self, "lost_s", MappingProxyType(lost))

    @classmethod
    def from_trains(
        cls,
        trains: Mapping[str, ArrayLike] | Sequence[ArrayLike],
        *,
        intervals_s: ArrayLike | None = None,
        t_start_s: float | None = None,
        t_stop_s: float | None = None,
        **rest: Any,
    ) -> SpikeTrains:
        """Build a recording from one array of spike times per unit.

        Args:
            trains: sorted spike times in seconds, by unit id or in order (ids are then `0`, `1`, …).
            intervals_s: observed intervals, shape (n, 2). Without them the recording is one interval.
            t_start_s: its start; by default the first spike.
            t_stop_s: its end; by default just behind the last spike.
            rest: further fields of `SpikeTrains`.
        """
        named = trains if isinstance(trains, Mapping) else {str(k): train for k, train in enumerate(trains)}
        arrays = [np.asarray(train, dtype=np.float64).ravel() for train in named.values()]
        flat = np.concatenate(arrays) if arrays else np.empty(0)
        offsets = np.concatenate([[0], np.cumsum([a.size for a in arrays])]).astype(np.int64)
        if intervals_s is None:
            finite = flat[np.isfinite(flat)]
            start = t_start_s if t_start_s is not None else (float(finite.min()) if finite.size else 0.0)
            stop = (
                t_stop_s
                if t_stop_s is not None
                else (float(np.nextafter(finite.max(), np.inf)) if finite.size else start)
            )
            intervals_s = np.array([[start, stop]])
        return cls(flat, offsets, tuple(named), np.asarray(intervals_s, dtype=np.float64), **rest)

    # -- looking ------------------------------------------------------------------------------------------------

    @property
    def n_units(self) -> int:
        return len(self.unit_ids)

    @property
    def n_spikes(self) -> int:
        return int(self.spike_times_s.size)

    @property
    def t_start_s(self) -> float:
        return float(self.intervals_s[0, 0]) if len(self.intervals_s) else math.nan

    @property
    def t_stop_s(self) -> float:
        return float(self.intervals_s[-1, 1]) if len(self.intervals_s) else math.nan

    @property
    def duration_s(self) -> float:
        """Observed time, gaps left out."""
        return float(np.diff(self.intervals_s, axis=1).sum())

    @property
    def n_spikes_per_unit(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    @property
    def observed_s(self) -> NDArray[np.float64]:
        """For how long each unit was observed, lost time left out, in seconds; shape (n_units,)."""
        return np.array([float(np.diff(rows, axis=1).sum()) for rows in self.observed_by_unit()])

    def observed_by_unit(self) -> list[Intervals]:
        """When each unit was observed, its lost time left out, in seconds; each of shape (n, 2)."""
        return [
            without(self.intervals_s, self.lost_s[unit_id]) if unit_id in self.lost_s else self.intervals_s
            for unit_id in self.unit_ids
        ]

    @property
    def rate_hz(self) -> NDArray[np.float64]:
        """Mean firing rate of each unit over the time in which it was observed, shape (n_units,)."""
        observed_s = self.observed_s if self.lost_s else self.duration_s
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(self.n_spikes_per_unit / observed_s, dtype=np.float64)

    def __len__(self) -> int:
        return self.n_units

    def __getstate__(self) -> dict[str, Any]:
        # Read-only views of dictionaries cannot be pickled; batches send recordings between processes.
        views = ("unit_columns", "epochs", "lost_s")
        return {**self.__dict__, **{key: dict(getattr(self, key)) for key in views}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        views = {key: MappingProxyType(state[key]) for key in ("unit_columns", "epochs", "lost_s")}
        self.__dict__.update({**state, **views})

    def __getitem__(self, unit_id: str) -> NDArray[np.float64]:
        """Spike times of one unit in seconds, without a copy."""
        return self._train(self.index_of([unit_id])[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self.unit_ids)

    def __repr__(self) -> str:
        return (
            f"SpikeTrains({self.name!r}: {self.n_units} units, {self.n_spikes} spikes, "
            f"{self.duration_s:.1f} s observed from {self.t_start_s:.3f} s to {self.t_stop_s:.3f} s)"
        )

    def index_of(self, unit_ids: Iterable[str]) -> list[int]:
        """Row of each id.

        Raises:
            UsageError: for an id that the recording does not hold, with the nearest that it does.
        """
        rows = {unit_id: row for row, unit_id in enumerate(self.unit_ids)}
        found = []
        for unit_id in unit_ids:
            if str(unit_id) not in rows:
                raise UsageError(
                    f"{self.name}: there is no unit {str(unit_id)!r}.", hint=did_you_mean(str(unit_id), self.unit_ids)
                )
            found.append(rows[str(unit_id)])
        return found

    def _train(self, row: int) -> NDArray[np.float64]:
        return self.spike_times_s[self.offsets[row] : self.offsets[row + 1]]

    def _trains(self) -> list[NDArray[np.float64]]:
        return [self._train(row) for row in range(self.n_units)]

    # -- changing (every method returns a new recording) ---------------------------------------------------------

    def select(self, unit_ids: Iterable[str]) -> SpikeTrains:
        """Keep the named units, in the order given.

        Raises:
            UsageError: for an id that is not there, or is asked for twice.
        """
        rows = self.index_of(unit_ids)
        if len(set(rows)) < len(rows):
            twice = next(self.unit_ids[row] for k, row in enumerate(rows) if row in rows[:k])
            raise UsageError(f"{self.name}: unit {twice!r} was asked for twice.", hint="name it once")
        trains = [self._train(row) for row in rows]
        columns = {key: column[rows] for key, column in self.unit_columns.items()}
        ids = tuple(self.unit_ids[row] for row in rows)
        lost = {unit_id: self.lost_s[unit_id] for unit_id in ids if unit_id in self.lost_s}
        return self._with_trains(trains, unit_ids=ids, unit_columns=columns, lost_s=lost)

    def lose(self, lost_s: Mapping[str, ArrayLike]) -> SpikeTrains:
        """Take some units for not observed in some time, beside what is lost of them already; their spikes there are left out.

        Nothing follows from a unit's silence while it is lost: a fit neither explains it there nor takes it for silent.

        Args:
            lost_s: `[start, stop)` intervals by unit id, each of shape (n, 2); overlapping ones count once.

        Raises:
            UsageError: for an id that is not there.
        """
        rows = dict(zip(map(str, lost_s), self.index_of(lost_s), strict=True))
        lost = dict(self.lost_s)
        trains = self._trains()
        for unit_id, intervals in lost_s.items():
            before = lost.get(str(unit_id), np.empty((0, 2)))
            lost[str(unit_id)] = union_of(
                np.concatenate([before, as_intervals(intervals, f"lost time of {unit_id!r}")])
            )
            row = rows[str(unit_id)]
            trains[row] = outside(trains[row], lost[str(unit_id)])
        return self._with_trains(trains, lost_s=lost)

    def restrict(self, intervals_s: ArrayLike) -> SpikeTrains:
        """Keep what was observed inside the given `[start, stop)` intervals.

        Edges of the given intervals become edges of the observed ones, so a history never runs from one epoch or
        trial into the next; where given intervals overlap they are taken once.

        Raises:
            UsageError: if nothing observed is left.
        """
        wanted = union_of(as_intervals(intervals_s, "intervals"))
        kept = intersection_of(self.intervals_s, wanted)
        if not len(kept):
            raise UsageError(
                f"{self.name}: nothing was observed inside the chosen intervals "
                f"(recorded from {self.t_start_s:g} s to {self.t_stop_s:g} s).",
                hint="choose --interval or --epochs inside the recording",
            )
        return self._with_trains([inside(train, kept) for train in self._trains()], intervals_s=kept)

    def restrict_to_epochs(self, names: Iterable[str]) -> SpikeTrains:
        """Keep the named epochs.

        Raises:
            UsageError: for a name that the recording does not hold, with the nearest that it does.
        """
        rows = []
        for name in names:
            if name not in self.epochs:
                raise UsageError(f"{self.name}: there is no epoch {name!r}.", hint=did_you_mean(name, self.epochs))
            rows.append(self.epochs[name])
        return self.restrict(np.concatenate(rows) if rows else np.empty((0, 2)))

    def merge(self, other: SpikeTrains) -> SpikeTrains:
        """Add the units of another recording on the same clock; only time observed in both is kept.

        Columns that only one side has are filled with empty text or NaN; epochs of the same name must agree.

        Raises:
            RecordingError: if ids repeat, an epoch means two things, or no time was observed in both.
        """
        common = intersection_of(self.intervals_s, other.intervals_s)
        if not len(common):
            raise RecordingError(
                f"{self.name} and {other.name} have no observed time in common.", hint="are they on the same clock?"
            )
        for key in self.epochs.keys() & other.epochs.keys():
            if not np.array_equal(self.epochs[key], other.epochs[key]):
                raise RecordingError(
                    f"{self.name} and {other.name} disagree on the epoch {key!r}.", hint="rename it in one of them"
                )
        both = dataclasses.replace(
            self,
            spike_times_s=np.concatenate([self.spike_times_s, other.spike_times_s]),
            offsets=np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]),
            unit_ids=self.unit_ids + other.unit_ids,
            intervals_s=union_of(np.concatenate([self.intervals_s, other.intervals_s])),
            unit_columns=_stack_columns(self, other),
            epochs={**self.epochs, **other.epochs},
            warnings=self.warnings + other.warnings,
            lost_s={**self.lost_s, **other.lost_s},
        )
        return both.restrict(common)

    def merge_units(self, groups: Mapping[str, Sequence[str]]) -> SpikeTrains:
        """Pool units that are one neuron: each group becomes one unit under its new id, in its first member's place.

        Where one of them is lost, the pooled unit is: the spikes of the others alone would be too few.

        Raises:
            UsageError: for an id that is not there or stands in two groups.
        """
        taken: dict[int, str] = {}
        for new_id, members in groups.items():
            for row in self.index_of(members):
                if taken.setdefault(row, new_id) != new_id:
                    raise UsageError(
                        f"{self.name}: unit {self.unit_ids[row]!r} stands in two groups.", hint="name it in one of them"
                    )
        trains: list[NDArray[np.float64]] = []
        ids: list[str] = []
        rows_kept: list[int] = []
        lost: dict[str, Intervals] = {}
        done: set[str] = set()
        for row, unit_id in enumerate(self.unit_ids):
            group = taken.get(row)
            if group in done:
                continue
            rows = [row] if group is None else [r for r, g in taken.items() if g == group]
            train = np.sort(np.concatenate([self._train(r) for r in rows]))
            ids.append(unit_id if group is None else str(group))
            of_members = [self.lost_s[self.unit_ids[r]] for r in rows if self.unit_ids[r] in self.lost_s]
            if of_members:
                lost[ids[-1]] = union_of(np.concatenate(of_members))
                train = outside(train, lost[ids[-1]])
            trains.append(train)
            rows_kept.append(row)
            if group is not None:
                done.add(group)
        columns = {key: column[rows_kept] for key, column in self.unit_columns.items()}
        return self._with_trains(trains, unit_ids=tuple(ids), unit_columns=columns, lost_s=lost)

    def _with_trains(self, trains: Sequence[NDArray[np.float64]], **changes: Any) -> SpikeTrains:
        flat = np.concatenate(trains) if trains else np.empty(0)
        offsets = np.concatenate([[0], np.cumsum([t.size for t in trains])]).astype(np.int64)
        return dataclasses.replace(self, spike_times_s=flat, offsets=offsets, **changes)

    # -- binning ------------------------------------------------------------------------------------------------

    def bin(self, bin_width_s: float) -> Counts:
        """Count spikes in bins `[start, stop)` laid from the start of every observed interval.

        Only whole bins are kept: the rest of an interval that no bin fills was not observed for a whole bin. For the same
        reason a unit is lost in every bin that its lost time touches, and has no spikes there.

        Args:
            bin_width_s: bin width in seconds.

        Raises:
            UsageError: if the width is not above zero, or no interval is as long as one bin.
        """
        bins = Bins.over(self.intervals_s, bin_width_s, name=self.name)
        counts = bins.count(self._trains())
        lost = bins.touched(self.unit_ids, self.lost_s)
        if lost is not None:
            counts[lost] = 0
        return Counts(
            counts=counts.T,  # each unit in one stretch of memory: it is written, and later read, in one go
            bin_width_s=bins.width_s,
            segment_offsets=bins.segment_offsets,
            segment_start_s=bins.starts_s,
            unit_ids=self.unit_ids,
            lost=None if lost is None else lost.T,
        )


def _stack_columns(first: SpikeTrains, second: SpikeTrains) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    for key in [*first.unit_columns, *(k for k in second.unit_columns if k not in first.unit_columns)]:
        known = first.unit_columns.get(key, second.unit_columns.get(key))
        assert known is not None
        is_number = np.issubdtype(known.dtype, np.number)
        parts = [
            side.unit_columns.get(
                key, np.full(side.n_units, np.nan if is_number else "", dtype=float if is_number else object)
            )
            for side in (first, second)
        ]
        columns[key] = np.concatenate(parts)
    return columns
