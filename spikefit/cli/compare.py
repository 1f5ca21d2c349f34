"""`spikefit compare`: results side by side."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spikefit.cli.options import SpikefitCommand, json_option, overwrite_option, quiet_and_verbose
from spikefit.cli.show import echo_table, plain_number, thousands
from spikefit.errors import UsageError

if TYPE_CHECKING:
    from spikefit.comparison import BaselineTable, Comparison, FoldTable, HiddenMatch, LatentComparison, SameTime


@click.command("compare", cls=SpikefitCommand)
@click.argument("results", metavar="RESULT...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for a page and its tables (comparison.html, scores.csv, couplings.csv, …).  [default: none, nothing is written]",
)
@click.option(
    "--q",
    type=float,
    default=0.05,
    metavar="X",
    help="Call edges at this q-value, where the results have q-values.  [default: 0.05]",
)
@click.option(
    "--top",
    type=int,
    metavar="N",
    help="Take the N strongest pairs for edges instead.  [default: where there are no q-values, a tenth of all pairs, at most 100]",
)
@click.option(
    "--baselines",
    is_flag=True,
    help="Put simpler methods (correlograms, GLM without hidden units, TSPE) beside each RESULT, on the recording it was made from; one RESULT is enough.  [default: off]",
)
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    help="With --baselines: the .truth.h5 file of a simulated recording; methods are scored against it.  [default: none]",
)
@overwrite_option
@json_option("the comparison as one JSON object instead of tables")
@quiet_and_verbose
def command(
    results: tuple[Path, ...],
    out: Path | None,
    q: float,
    top: int | None,
    baselines: bool,
    truth: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Put results side by side: scores, edges in common, hidden units.

    Each RESULT is a folder that `spikefit infer` left, or its connectivity.h5: fits of one recording with other settings, or of
    sessions in which the same unit has the same id. Units are matched by id, hidden units by what they do. A folder that
    `spikefit pvae fit` left, or its latents.h5, puts its latents beside the hidden units of the others.
    """
    if truth is not None and not baselines:
        raise UsageError("--truth goes with --baselines.", hint="add --baselines, or leave --truth out")
    tables = _beside_baselines(results, q=q, truth=truth, top=top) if baselines else ()
    if len(results) == 1 and tables:
        _show_baselines(tables[0], out, overwrite=overwrite, as_json=as_json, quiet=quiet)
        return
    from spikefit.comparison import compare

    comparison = compare(*results, q=q, top=top)
    if tables:
        named = zip(comparison.names, tables, strict=True)
        comparison = dataclasses.replace(
            comparison, baselines=tuple(dataclasses.replace(table, name=name) for name, table in named)
        )
    if out is not None:
        comparison.save(out, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False))
    elif not quiet:
        _echo(comparison)
        for table in comparison.baselines:
            click.echo("")
            click.echo(f"{table.name} beside simpler methods:")
            _echo_baselines(table)
        _say_where(out)


def _beside_baselines(
    results: tuple[Path, ...], *, q: float, truth: Path | None, top: int | None
) -> tuple[BaselineTable, ...]:
    if top is not None:
        raise UsageError("--baselines calls edges by q: --top does not go with it.", hint="leave --top out")
    if not 0 < q < 1:
        raise UsageError(f"--q must lie between 0 and 1, got {q:g}.", hint="pass --q 0.05, say")
    from spikefit.baselines import baseline_table
    from spikefit.comparison.latents import are_latents

    latents = next((path for path in results if are_latents(path)), None)
    if latents is not None:
        raise UsageError(
            f"{latents} holds latents of a Poisson VAE, which name no edges: --baselines does not go with it.",
            hint="leave it, or --baselines, out",
        )
    return tuple(baseline_table(path, truth=truth, q=q) for path in results)


def _show_baselines(table: BaselineTable, out: Path | None, *, overwrite: bool, as_json: bool, quiet: bool) -> None:
    if out is not None:
        table.save(out, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(table.to_dict(), indent=2, ensure_ascii=False))
    elif not quiet:
        _echo_baselines(table)
        _say_where(out)


def _say_where(out: Path | None) -> None:
    if out is not None:
        click.echo("")
        click.echo(f"{out / 'comparison.html'}: open it in a browser; the tables are beside it")


def _echo_baselines(table: BaselineTable) -> None:
    known = table.true is not None
    heads = ("AUC", "AP", "false", "recall") if known else ()
    echo_table(
        ("method", "edges", "in fit, too", "rank r", *heads, "called by"),
        [
            (
                row.method,
                thousands(row.called),
                thousands(row.also_in_fit),
                plain_number(row.rank_correlation),
                *((plain_number(row.auc), plain_number(row.average_precision)) if known else ()),
                *((plain_number(row.false_share), plain_number(row.recall)) if known else ()),
                row.rule,
            )
            for row in table.rows
        ],
        numbers=tuple(range(1, 4 + len(heads))),
    )
    for note in table.notes:
        click.echo(f"note: {note}")


def _echo(comparison: Comparison) -> None:
    rows = comparison.scores
    echo_table(
        ("result", "units", "bin", "held out, nats/bin", "bits/spike", "nats/s over constant rates", "converged"),
        [
            (
                row.name,
                f"{row.n_visible}" + (f" + {row.n_hidden}" if row.n_hidden else ""),
                f"{1e3 * row.bin_width_s:g} ms",
                _with_error(row.nats_per_bin, row.nats_per_bin_se, 4),
                _with_error(row.bits_per_spike, row.bits_per_spike_se, 4),
                _with_error(row.gain_nats_per_s, row.gain_nats_per_s_se, 2),
                "–" if row.converged is None else "yes" if row.converged else "no",
            )
            for row in rows
        ],
        numbers=(1, 2, 3, 4, 5),
    )
    if comparison.same_time is not None and comparison.same_time.rows:
        _echo_time(comparison.same_time)
    _echo_folds(comparison.folds)
    for pair in comparison.pairs:
        scores, couplings = pair.scores, pair.couplings
        click.echo("")
        click.echo(f"{pair.second} against {pair.first}:")
        if math.isfinite(scores.value):
            click.echo(f"  held out: {_with_error(scores.value, scores.error, 4, '+')} {scores.unit} ({scores.why})")
        else:
            click.echo(f"  held out: {scores.why}")
        if pair.folds is not None and math.isfinite(pair.folds.value):
            click.echo(
                f"  folds: {_with_error(pair.folds.value, pair.folds.error, 4, '+')} nats per bin ({pair.folds.why})"
            )
        elif pair.folds is not None:
            click.echo(f"  folds: {pair.folds.why}")
        how = f"called at q ≤ {couplings.level:g}" if couplings.chosen_by == "q" else f"{couplings.level:.0f} strongest"
        click.echo(
            f"  weights: r = {plain_number(couplings.correlation)}, rank r = {plain_number(couplings.rank_correlation)} over "
            f"{thousands(couplings.n_pairs)} pairs of {len(comparison.common.unit_ids)} units in common"
        )
        click.echo(
            f"  edges ({how}): {couplings.n_first} and {couplings.n_second}, {couplings.n_common} in common "
            f"({couplings.n_same_sign} with the same sign; {plain_number(couplings.n_expected, 2)} expected by chance)"
        )
        for match in pair.hidden:
            if match.first is None or match.second is None:
                alone, owner = (match.second, pair.second) if match.first is None else (match.first, pair.first)
                click.echo(f"  hidden: {alone} of {owner} is left over")
                continue
            click.echo(f"  hidden: {match.first} ~ {match.second}{_likeness(match, 'couplings')}")
        for note in pair.notes:
            click.echo(f"  note: {note}")
    for each in comparison.latents:
        _echo_latents(each)


def _echo_time(found: SameTime) -> None:
    click.echo("")
    click.echo(found.sentence())
    echo_table(
        ("result", "bin", "window", "weights", "nats/s over constant rates", "behind the best"),
        [
            (
                row.name,
                f"{1e3 * row.bin_width_s:g} ms",
                f"{1e3 * row.window_s:g} ms",
                thousands(row.n_weights),
                _with_error(row.gain_nats_per_s, row.gain_nats_per_s_se, 3),
                _with_error(row.behind_nats_per_s, row.behind_nats_per_s_se, 3) + (" *" if row.chosen else ""),
            )
            for row in found.rows
        ],
        numbers=(1, 2, 3, 4, 5),
    )
    click.echo("* the fewest weights within one standard error of the best")


def _echo_folds(tables: tuple[FoldTable, ...]) -> None:
    click.echo("")
    for table in tables:
        if not table.rows:
            click.echo(f"{table.name}: {' '.join(table.sentences())}")
            continue
        click.echo(
            f"{table.name}, numbers of hidden units in {len(table.fold_bins) or 'its'} folds, {table.blocks} blocks:"
        )
        each = ("in each fold",) if table.fold_bins else ()
        echo_table(
            ("hidden", "gain over none, nats/bin", *each),
            [
                (
                    f"{row.n_hidden}" + (" *" if row.chosen else ""),
                    _with_error(row.gain_nats_per_bin, row.gain_nats_per_bin_se if row.n_hidden else math.nan, 4),
                    *([", ".join(f"{gain:.4f}" for gain in row.fold_gain_nats_per_bin)] if each else ()),
                )
                for row in table.rows
            ],
            numbers=(1,),
        )
        click.echo(f"* kept. {' '.join(table.sentences())}")


def _echo_latents(each: LatentComparison) -> None:
    click.echo("")
    click.echo(f"hidden units of {each.result} beside the {each.n_latents} latents of {each.latents}:")
    for match in each.hidden:
        if match.second is None:
            click.echo(f"  {match.first} is left over")
            continue
        click.echo(f"  {match.first} ~ latent {match.second}{_likeness(match, 'effects')}")
    for note in each.notes:
        click.echo(f"  note: {note}")


def _likeness(match: HiddenMatch, filters: str) -> str:
    """How alike two matched units are, where it is known; `filters` is the word for what they do to recorded ones."""
    known = ((word, r) for word, r in (("activity", match.activity_correlation), (filters, match.filter_correlation)))
    parts = [f"{word} r = {plain_number(r)}" for word, r in known if math.isfinite(r)]
    return f" ({', '.join(parts)})" if parts else ""


def _with_error(value: float, error: float, decimals: int, plus: str = "") -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:{plus}.{decimals}f}" + (f" ± {error:.{decimals}f}" if math.isfinite(error) else "")
