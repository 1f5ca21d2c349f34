"""`spikefit doctor gradients`: how good each gradient estimator is at the user's own fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spikefit.cli.options import SpikefitCommand, json_option, overwrite_option, quiet_and_verbose
from spikefit.cli.show import echo_table, plain_number, thousands

if TYPE_CHECKING:
    from spikefit.diagnostics.gradients import GradientComparison

FIGURE_KINDS = (".png", ".svg", ".pdf")


@click.command("gradients", cls=SpikefitCommand)
@click.argument("result_path", metavar="RESULT", type=click.Path(path_type=Path))
@click.argument("recording", metavar="[RECORDING]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--temperature",
    "temperatures",
    type=click.FloatRange(min=0, max=1, min_open=True),
    multiple=True,
    metavar="TAU",
    help="A temperature to try; the fit's own is always tried.  [may be repeated; default: 0.1, 0.2, 0.5, 1]",
)
@click.option(
    "--gradients",
    "n_gradients",
    type=click.IntRange(min=10, max=100_000),
    default=200,
    metavar="N",
    help="Gradients drawn of each estimator.  [default: 200]",
)
@click.option(
    "--bins",
    "most_bins",
    type=click.IntRange(min=1),
    default=4000,
    metavar="N",
    help="About so many bins, spread over the recording, are looked at.  [default: 4000]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of the draws.  [default: 0]")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the comparison into this file, .png, .svg or .pdf.  [default: no figure]",
)
@overwrite_option
@json_option("everything as one JSON object instead of a table")
@quiet_and_verbose
def command(
    result_path: Path,
    recording: Path | None,
    temperatures: tuple[float, ...],
    n_gradients: int,
    most_bins: int,
    seed: int,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare the gradient estimators at a fit of your own.

    RESULT is the folder that `spikefit infer` left for a fit with hidden units. Each estimator's gradient is drawn many
    times at the fitted parameters and held against the exact one: how far off it is on average (bias), how much a
    single one scatters (noise), and whether it points the right way (cosine). Give RECORDING where it has moved.
    """
    from spikefit.files import replacing
    from spikefit.gradient_check import compare_gradients
    from spikefit.progress import progress_for

    if out is not None:
        _refuse_figure(out, overwrite=overwrite)
    progress = progress_for(quiet=quiet or as_json)
    started = False

    def tell(done: int, total: int) -> None:
        nonlocal started
        if not started:
            progress.start("drawing gradients", total)
            started = True
        progress.update(done)

    try:
        found = compare_gradients(
            result_path,
            recording,
            temperatures=temperatures or None,
            n_gradients=n_gradients,
            most_bins=most_bins,
            seed=seed,
            on_case=tell,
        )
    except BaseException:
        progress.abandon()
        raise
    progress.finish()
    if out is not None:
        from spikefit.plots import plot_gradients, save_figure

        with replacing(out) as aside:
            save_figure(plot_gradients(found), aside)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    elif not quiet:
        _echo(found)
        if out is not None:
            click.echo(f"{out}: the same as a figure")


def _refuse_figure(out: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be a figure, or is there already, before any work."""
    from spikefit.errors import UsageError

    if out.suffix.lower() not in FIGURE_KINDS:
        raise UsageError(
            f"{out}: a figure is a file that ends in {', '.join(FIGURE_KINDS)}.", hint=f"pass -o {out.stem}.png"
        )
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already; it was left as it is.", hint="pass --overwrite, or another -o")


def _echo(found: GradientComparison) -> None:
    click.echo(
        f"{found.name}: {found.n_gradients} gradients of each estimator on {thousands(found.n_bins)} bins, beside the exact one "
        f"(known to {100 * found.reference_error:.1f} %)"
    )
    click.echo("")
    echo_table(
        ("estimator", "bias", "noise", "cosine of the mean", "cosine of one", "cost", ""),
        [
            (
                case.label,
                case.bias_text,
                plain_number(case.relative_noise, 2),
                f"{case.cosine_of_mean:.3f}",
                f"{case.mean_cosine:.3f}",
                f"{case.cost_s / found.used.cost_s:.1f}",
                "this fit" if case == found.used else "",
            )
            for case in found.cases
        ],
        numbers=(1, 2, 3, 4, 5),
    )
    click.echo("")
    click.echo(
        "Bias and noise are in units of the gradient's length; cost is that of a step, beside this fit's estimator."
    )
    click.echo(found.advice)
