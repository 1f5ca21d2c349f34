"""Numbers of hidden units that a fit tried, fold by fold of its cross-validation.

Every number was fitted and scored in every fold, so a gain over no hidden units is a difference inside each fold: busy folds and quiet
ones differ far more than candidates do. The mean gain and its error are those that the fit recorded and chose by; that the folds add up to
that mean is checked here, so that a score beside the wrong fold or candidate is said and not shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from spikefit.results import Result

# Of a score: roundings of a file are far smaller, and any two folds or candidates differ by more.
_ADD_UP = 1e-6
HOW = "spikefit infer --hidden 0,1,2 --folds 4 compares them"


@dataclass(frozen=True)
class FoldRow:
    """One number of hidden units in the folds of one result.

    Attributes:
        n_hidden: the number.
        gain_nats_per_bin, gain_nats_per_bin_se: over no hidden units, the mean over the bins of all folds and its standard error, paired over blocks.
        fold_gain_nats_per_bin: the same in each fold; empty where the result does not hold it.
        chosen: whether the result has this number.
    """

    n_hidden: int
    gain_nats_per_bin: float
    gain_nats_per_bin_se: float
    fold_gain_nats_per_bin: tuple[float, ...]
    chosen: bool


@dataclass(frozen=True)
class FoldTable:
    """The folds of one result.

    Attributes:
        name: of the result.
        rows: one for each number that was tried, the fewest first; empty where no folds judged.
        fold_bins: scored bins of each fold.
        blocks: blocks of all folds, over which errors are.
        choice: why that number, as the fit said it; empty where nothing was chosen.
        notes: why there are no rows, or what stands in the way of a plain reading.
    """

    name: str
    rows: tuple[FoldRow, ...]
    fold_bins: tuple[int, ...]
    blocks: int
    choice: str
    notes: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Why that number, and what to know about the folds; where there are none, the rest of a sentence that begins with the name."""
        said = [text if text.endswith(".") else f"{text}." for text in (self.choice, *self.notes) if text]
        return [text[:1].upper() + text[1:] for text in said] if self.rows else said


def fold_table(result: Result, name: str) -> FoldTable:
    """The candidates of a result in its folds, or why it has none.

    Args:
        result: with its metrics.
        name: of it.
    """
    tried, cross = _candidates(result), result.metrics.get("cross_validation")
    choice = str(result.metrics.get("hidden_choice") or "")
    if not any("cv_gain_nats_per_bin" in row for row in tried.values()):
        return FoldTable(name, (), (), 0, choice, (_why_none(tried),))
    cross = cross if isinstance(cross, dict) else {}
    bins = tuple(int(count) for count in cross.get("fold_bins") or ())
    gains, notes = _fold_gains(tried, bins)
    rows = tuple(
        FoldRow(
            n_hidden,
            _number(row.get("cv_gain_nats_per_bin")),
            _number(row.get("cv_gain_nats_per_bin_se")),
            gains.get(n_hidden, ()),
            n_hidden == result.n_hidden,
        )
        for n_hidden, row in tried.items()
    )
    bar = _number(result.metrics.get("hidden_bar_nats_per_bin"))
    if math.isfinite(bar):
        notes.append(
            f"--hidden auto counts a gain only above what estimating the couplings costs, {bar:.2g} nats per bin in the fit to all training bins "
            "and a little more in a fold"
        )
    return FoldTable(name, rows, bins if gains else (), int(cross.get("blocks") or 0), choice, tuple(notes))


def fold_scores(result: Result) -> dict[int, list[float]]:
    """Score of each number of hidden units in each fold, nats per bin, factorials of the counts left out; empty where it is not known."""
    return _scores(_candidates(result))


def _scores(tried: dict[int, dict[str, Any]]) -> dict[int, list[float]]:
    return {
        n_hidden: [_number(value) for value in row.get("cv_fold_nats_per_bin") or ()] for n_hidden, row in tried.items()
    }


def _candidates(result: Result) -> dict[int, dict[str, Any]]:
    """What the metrics say of each number of hidden units, the fewest first."""
    tried = result.metrics.get("candidates")
    rows = [row for row in tried if isinstance(row, dict)] if isinstance(tried, list | tuple) else []
    return dict(sorted((int(row["n_hidden"]), row) for row in rows if isinstance(row.get("n_hidden"), int)))


def _why_none(tried: dict[int, dict[str, Any]]) -> str:
    if len(tried) > 1:
        listed = ", ".join(str(n_hidden) for n_hidden in tried)
        return f"no folds, as {listed} hidden units were compared on the held-out blocks alone, without --folds"
    return f"no folds, as no numbers of hidden units were compared; {HOW}"


def _fold_gains(
    tried: dict[int, dict[str, Any]], bins: tuple[int, ...]
) -> tuple[dict[int, tuple[float, ...]], list[str]]:
    """Gain of each candidate over none in each fold, by its number; nothing, and why, where they cannot be told."""
    scores = _scores(tried)
    if not bins or 0 not in scores or not all(scores.values()):
        return {}, ["the result does not hold the score of each fold; fit it anew for those"]
    if any(len(values) != len(bins) for values in scores.values()):
        return {}, [f"the scores of the folds are not shown: a candidate has not one for each of the {len(bins)} folds"]
    gains = {
        n_hidden: tuple(value - none for value, none in zip(values, scores[0], strict=True))
        for n_hidden, values in scores.items()
    }
    for n_hidden, by_fold in gains.items():
        mean = sum(gain * count for gain, count in zip(by_fold, bins, strict=True)) / sum(bins)
        size = max(abs(value) for value in (*scores[n_hidden], *scores[0]))
        # Not `>`: a score that is not known must not pass.
        if not abs(mean - _number(tried[n_hidden].get("cv_gain_nats_per_bin"))) <= _ADD_UP * size:
            return {}, [
                f"the scores of the folds are not shown: with {n_hidden} hidden units they do not add up to the mean gain that the result records"
            ]
    return gains, []


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
