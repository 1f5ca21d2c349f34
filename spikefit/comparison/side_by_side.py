"""Take results, match what is the same in them, and say how far they agree."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikefit.comparison.couplings import CommonPairs, CouplingAgreement, agreement, common_pairs
from spikefit.comparison.fold_pairs import FoldDifference, fold_difference
from spikefit.comparison.folds import FoldTable, fold_table
from spikefit.comparison.hidden import HiddenMatch, match_hidden
from spikefit.comparison.latents import LatentComparison, are_latents, beside_latents, open_latents
from spikefit.comparison.methods import BaselineTable
from spikefit.comparison.pieces import SameTime, same_time
from spikefit.comparison.scores import (
    ScoreDifference,
    ScoreRow,
    input_hash,
    not_comparable,
    score_difference,
    score_row,
)
from spikefit.errors import ResultError, UsageError
from spikefit.marks import MAIN_FILE
from spikefit.results import Result, doubts_of_opening, load_result
from spikefit.results.documents import plain
from spikefit.results.latents import LATENTS_FILE, Latents

Q_LEVEL = 0.05
# Of this many results there are 190 pairs; nobody reads more.
MOST_RESULTS = 20


@dataclass(frozen=True)
class PairComparison:
    """Two of the results beside each other.

    Attributes:
        first, second: their names.
        scores: how much better the second predicts.
        couplings: how far their couplings agree.
        hidden: hidden units matched one to one; empty where one has none.
        same_recording: whether both were made from the same file.
        notes: what stands in the way of a plain reading.
        folds: how much better the second predicts in the folds of cross-validation; None where one of them has none.
    """

    first: str
    second: str
    scores: ScoreDifference
    couplings: CouplingAgreement
    hidden: tuple[HiddenMatch, ...]
    same_recording: bool
    notes: tuple[str, ...]
    folds: FoldDifference | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results side by side.

    Attributes:
        names: of the results, each once.
        scores: the scores of each.
        common: the couplings that all of them hold.
        pairs: every two of them, the earlier first.
        latents: the hidden units of each result beside the latents of each Poisson VAE.
        same_time: the results on the stretches of time that all of them held out, where they are of one recording.
        baselines: simpler methods beside each result, where they were asked for.
        folds: numbers of hidden units in the folds of each result, or why it has none.
    """

    names: tuple[str, ...]
    scores: tuple[ScoreRow, ...]
    common: CommonPairs
    pairs: tuple[PairComparison, ...]
    latents: tuple[LatentComparison, ...] = ()
    baselines: tuple[BaselineTable, ...] = ()
    same_time: SameTime | None = None
    folds: tuple[FoldTable, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything but the couplings themselves as plain values; what is not known is None."""
        values: dict[str, Any] = plain(
            {
                "n_units_in_common": len(self.common.unit_ids),
                "units_in_common": self.common.unit_ids,
                "results": self.scores,
                "pairs": [dataclasses.asdict(pair) for pair in self.pairs],
                "same_time": None if self.same_time is None else dataclasses.asdict(self.same_time),
                "latents": [dataclasses.asdict(each) for each in self.latents],
                "folds": [dataclasses.asdict(table) for table in self.folds],
            }
        )
        if self.baselines:
            values["baselines"] = [table.to_dict() for table in self.baselines]
        return values

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page and its tables into `folder`, whole or not at all.

        Raises:
            UsageError: if the folder holds anything and `overwrite` is not set, holds a result, or cannot be written to.
        """
        from spikefit.comparison.saving import save_comparison

        return save_comparison(self, Path(folder), overwrite=overwrite)

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.names)}: {len(self.common.unit_ids)} recorded units in common)"

    def _repr_html_(self) -> str:
        from spikefit.comparison.page import summary_tables

        return str(summary_tables(self))


def compare(*results: str | Path | Result | Latents, q: float = Q_LEVEL, top: int | None = None) -> Comparison:
    """Compare results of one recording, or of sessions whose units have the same ids.

    Args:
        results: two or more; folders, files or results, or one of them and latents of a Poisson VAE.
        q: edges are called at this q-value where results have q-values.
        top: take this many strongest pairs for edges instead.

    Raises:
        UsageError: for fewer than two results, one given twice, or results without two recorded units in common.
        ResultError: if one cannot be read.
    """
    if len(results) < 2:
        raise UsageError(f"a comparison needs at least two results, got {len(results)}.", hint="name another one")
    if len(results) > MOST_RESULTS:
        raise UsageError(f"{len(results)} results are too many to compare, {MOST_RESULTS} at most.", hint="name fewer")
    if not 0 < q <= 1:
        raise UsageError(f"--q must lie in (0, 1], got {q:g}.", hint="pass --q 0.05, say")
    if top is not None and top < 1:
        raise UsageError(f"--top must be at least 1, got {top}.", hint="pass --top 100, say")
    _refuse_twice(results)
    all_names = _names(results)
    codes = [
        (name, open_latents(item))
        for name, item in zip(all_names, results, strict=True)
        if not isinstance(item, Result) and are_latents(item)
    ]
    networks = [(name, item) for name, item in zip(all_names, results, strict=True) if not are_latents(item)]
    if not networks:
        raise UsageError(
            f"all {len(results)} are latents of a Poisson VAE, which are compared with hidden units.",
            hint="name a result of `spikefit infer` as well",
        )
    names = [name for name, _ in networks]
    loaded: list[Result] = [
        item if isinstance(item, Result) else load_result(item) for _, item in networks if not isinstance(item, Latents)
    ]
    for name, result in zip(names, loaded, strict=True):
        if not result.n_visible:
            raise ResultError(f"{name}: this result has no recorded units, so nothing can be compared with it.")
    _refuse_strangers(loaded, names)
    common = common_pairs(tuple(loaded))
    folds = tuple(fold_table(result, name) for name, result in zip(names, loaded, strict=True))
    pairs = []
    for (a, one), (b, other) in itertools.combinations(enumerate(loaded), 2):
        same = _same_recording(one, other)
        pairs.append(
            PairComparison(
                names[a],
                names[b],
                score_difference(one, other),
                agreement(common, a, b, q=q, top=top),
                tuple(match_hidden(one, other, common.unit_ids, same_recording=same)),
                same,
                (
                    *_notes(one, other, len(common.unit_ids)),
                    *(f"{names[k]}: {text}" for k in (a, b) for text in doubts_of_opening(loaded[k])),
                ),
                fold_difference(one, other, (folds[a], folds[b])),
            )
        )
    rows = tuple(score_row(result, name) for name, result in zip(names, loaded, strict=True))
    beside = [
        beside_latents(result, name, source, code)
        for name, result in zip(names, loaded, strict=True)
        for code, source in codes
    ]
    comparable = len(loaded) > 1 and not any(not_comparable(loaded[0], other) for other in loaded[1:])
    together = same_time(loaded, names) if comparable else None
    return Comparison(tuple(names), rows, common, tuple(pairs), tuple(beside), same_time=together, folds=folds)


def _refuse_twice(results: tuple[str | Path | Result | Latents, ...]) -> None:
    seen: dict[Any, Any] = {}
    for item in results:
        key = id(item) if isinstance(item, Result | Latents) else Path(item).resolve()
        if isinstance(key, Path) and key.is_file():
            key = key.parent if key.name in (MAIN_FILE, LATENTS_FILE) else key
        if key in seen:
            raise UsageError(f"{item} is named twice; a result agrees with itself.", hint="name another one")
        seen[key] = item


def _refuse_strangers(results: list[Result], names: list[str]) -> None:
    shared = set.intersection(*({*result.unit_id[result.visible]} for result in results))
    if len(shared) >= 2:
        return
    first, second = results[0], results[1]
    for (a, one), (b, other) in itertools.combinations(enumerate(results), 2):
        if len({*one.unit_id[one.visible]} & {*other.unit_id[other.visible]}) < 2:
            first, second = one, other
            names = [names[a], names[b]]
            break
    ids = [", ".join(result.unit_id[result.visible][:3]) for result in (first, second)]
    raise UsageError(
        f"{names[0]} and {names[1]} cannot be compared: units are matched by id, and fewer than two are in all results "
        f"(there are {ids[0]}, … and {ids[1]}, …).",
        hint="compare results of one recording, or of sessions in which the same neuron has the same id",
    )


def _names(results: tuple[str | Path | Result | Latents, ...]) -> list[str]:
    """A short name for each: the last part of its path, with as many parts before it as it takes to tell them apart."""
    parts: list[tuple[str, ...]] = []
    for item in results:
        if isinstance(item, Result | Latents):
            parts.append((item.name,))
            continue
        path = Path(item).resolve()
        parts.append((path.parent if path.name in (MAIN_FILE, LATENTS_FILE) else path).parts)
    for length in range(1, max(len(part) for part in parts) + 1):
        names = ["/".join(part[-length:]).replace("//", "/") for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({k + 1})" for k, name in enumerate(names)]


def _same_recording(first: Result, second: Result) -> bool:
    return input_hash(first) is not None and input_hash(first) == input_hash(second)


def _notes(first: Result, second: Result, n_common: int) -> list[str]:
    notes = []
    links = [result.config.get("model", {}).get("link") for result in (first, second)]
    if links[0] != links[1]:
        notes.append(
            f"the links differ ({links[0]} and {links[1]}), so weights are in different units: only their order can agree"
        )
    if first.bin_width_s != second.bin_width_s:
        notes.append(
            f"the bin widths differ ({first.bin_width_s * 1e3:g} and {second.bin_width_s * 1e3:g} ms), so weights are in "
            "different units: correlations are sound, sizes are not"
        )
    most = max(first.n_visible, second.n_visible)
    if n_common < most:
        notes.append(f"{n_common} recorded units are in all results, of {first.n_visible} and {second.n_visible}")
    return notes
