"""A comparison as files: a page, its numbers, and a table for each part of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.errors import UsageError
from spikefit.files import writing_folder
from spikefit.results.layout import MAIN_FILE
from spikefit.results.tables import write_table

if TYPE_CHECKING:
    from spikefit.comparison.fold_pairs import FoldDifference
    from spikefit.comparison.methods import BaselineTable
    from spikefit.comparison.side_by_side import Comparison

PAGE, NUMBERS = "comparison.html", "comparison.json"


def save_comparison(comparison: Comparison, folder: Path, *, overwrite: bool) -> Path:
    """Write the files of a comparison; see `Comparison.save`."""
    from spikefit.comparison.page import comparison_html

    _keep_results(folder)
    with writing_folder(folder, overwrite=overwrite) as staging:
        (staging / PAGE).write_text(comparison_html(comparison), encoding="utf-8", newline="\n")
        numbers = json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False)
        (staging / NUMBERS).write_text(numbers + "\n", encoding="utf-8")
        write_table(staging / "scores.csv", *_columns([vars(row) for row in comparison.scores]))
        if comparison.same_time is not None and comparison.same_time.rows:
            write_table(staging / "time.csv", *_columns([vars(row) for row in comparison.same_time.rows]))
        folds = _fold_rows(comparison)
        if folds:
            write_table(staging / "folds.csv", *_columns(folds))
        if comparison.pairs:
            write_table(staging / "pairs.csv", *_columns(_pair_rows(comparison)))
        write_table(staging / "couplings.csv", *_couplings(comparison))
        hidden = [
            {"first_result": pair.first, "second_result": pair.second, **vars(match)}
            for pair in comparison.pairs
            for match in pair.hidden
        ]
        if hidden:
            write_table(staging / "hidden.csv", *_columns(hidden))
        latents = [
            {"result": each.result, "latents": each.latents, "hidden": match.first, "latent": match.second}
            | {key: value for key, value in vars(match).items() if key not in ("first", "second")}
            for each in comparison.latents
            for match in each.hidden
        ]
        if latents:
            write_table(staging / "latents.csv", *_columns(latents))
        if comparison.baselines:
            write_table(staging / "baselines.csv", *_columns(_method_rows(comparison.baselines)))
    return folder


def save_baselines(table: BaselineTable, folder: Path, *, overwrite: bool) -> Path:
    """Write the files of one result beside simpler methods; see `BaselineTable.save`."""
    from spikefit.comparison.methods_page import methods_html

    _keep_results(folder)
    with writing_folder(folder, overwrite=overwrite) as staging:
        (staging / PAGE).write_text(methods_html(table), encoding="utf-8", newline="\n")
        numbers = json.dumps(table.to_dict(), indent=2, ensure_ascii=False)
        (staging / NUMBERS).write_text(numbers + "\n", encoding="utf-8")
        write_table(staging / "baselines.csv", *_columns(_method_rows((table,))))
    return folder


def _keep_results(folder: Path) -> None:
    if (folder / MAIN_FILE).exists():
        raise UsageError(f"{folder} holds a result, and stays as the fit left it.", hint="pass another -o")


def _method_rows(tables: Iterable[BaselineTable]) -> list[dict[str, Any]]:
    return [{"result": table.name, **vars(row)} for table in tables for row in table.rows]


def _columns(rows: list[dict[str, Any]]) -> tuple[list[str], Iterable[list[Any]]]:
    header = list(rows[0])
    return header, ([row[key] for key in header] for row in rows)


def _pair_rows(comparison: Comparison) -> list[dict[str, Any]]:
    with_folds = any(pair.folds is not None for pair in comparison.pairs)
    return [
        {
            "first_result": pair.first,
            "second_result": pair.second,
            "score_difference": pair.scores.value,
            "score_difference_se": pair.scores.error,
            "score_unit": pair.scores.unit,
            "paired": pair.scores.paired,
            "why": pair.scores.why,
            **vars(pair.couplings),
            **(_fold_cells(pair.folds) if with_folds else {}),
        }
        for pair in comparison.pairs
    ]


def _fold_cells(found: FoldDifference | None) -> dict[str, Any]:
    return {
        "fold_difference_nats_per_bin": None if found is None else found.value,
        "fold_difference_nats_per_bin_se": None if found is None else found.error,
        "fold_difference_why": None if found is None else found.why,
    }


def _fold_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per result, number of hidden units and fold, folds counted from 1; a single one where the folds are not known."""
    return [
        {
            "result": table.name,
            "n_hidden": row.n_hidden,
            "chosen": row.chosen,
            "mean_gain_nats_per_bin": row.gain_nats_per_bin,
            "mean_gain_nats_per_bin_se": row.gain_nats_per_bin_se,
            "fold": fold,
            "fold_bins": bins,
            "fold_gain_nats_per_bin": gain,
        }
        for table in comparison.folds
        for row in table.rows
        for fold, bins, gain in (
            zip(range(1, len(table.fold_bins) + 1), table.fold_bins, row.fold_gain_nats_per_bin, strict=True)
            if table.fold_bins
            else [(None, None, None)]
        )
    ]


def _couplings(comparison: Comparison) -> tuple[list[str], Iterable[list[Any]]]:
    """One row per ordered pair; the weight, and where it is known the q-value, in every result."""
    common = comparison.common
    with_q = np.flatnonzero(np.isfinite(common.q_value).any(axis=1)).tolist()
    header = ["pre_id", "post_id", *(f"weight {name}" for name in comparison.names)]
    header += [f"q_value {comparison.names[k]}" for k in with_q]
    columns = [common.pre.tolist(), common.post.tolist(), *common.weight.tolist(), *common.q_value[with_q].tolist()]
    return header, (list(row) for row in zip(*columns, strict=True))
