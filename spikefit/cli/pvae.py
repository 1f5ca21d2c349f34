"""`spikefit pvae`: a spiking latent code of a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spikefit.cli.guard import Session, show_warning
from spikefit.cli.main import COMMANDS
from spikefit.cli.options import (
    SpikefitCommand,
    config_option,
    given,
    json_option,
    overwrite_option,
    quiet_and_verbose,
    settings,
)
from spikefit.cli.show import echo_table, thousands

if TYPE_CHECKING:
    from spikefit.config import Config

READING = ("bin", "device", "seed", "threads")

model_argument = click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
recording_argument = click.argument("recording", metavar="FILE", type=click.Path(path_type=Path))
missing_option = click.option(
    "--allow-missing",
    is_flag=True,
    default=False,
    help="Go on where FILE lacks some of the model's units; they count as not seen.  [default: refuse]",
)


@click.group("pvae", help=COMMANDS["pvae"])
def command() -> None:
    """The group; its sentence stands with the other commands'."""


@command.command("fit", cls=SpikefitCommand)
@click.argument("recordings", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the model.  [default: none, it is needed]",
)
@settings(("recording", "pvae", "gradient", "run"), also=("bin", "link", "heldout", "max_epochs", "learning_rate"))
@config_option
@click.option(
    "--resume", is_flag=True, default=False, help="Go on from the checkpoint that a stopped run left.  [default: off]"
)
@overwrite_option
@json_option("the content of metrics.json instead of a table")
@quiet_and_verbose
@click.pass_context
def fit(
    ctx: click.Context,
    /,
    recordings: tuple[Path, ...],
    out: Path,
    config_file: Path | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Fit a Poisson VAE to recordings.

    Several FILEs are sessions of the same units and train one model together. What is learnt, the latents of every
    bin, figures and a page about them go to the folder given with -o. The recordings are never written to.
    """
    if resume and overwrite:
        ctx.fail("--resume goes on with what is there, --overwrite replaces it: pass one of the two")
    from spikefit.config import resolve_config
    from spikefit.progress import progress_for

    resolved = resolve_config(config_file, flags=given(flags))
    for note in resolved.notes:
        show_warning(note)

    from spikefit import pvae_pipeline

    session = ctx.find_object(Session)
    if session is not None:
        session.out = out
    progress = progress_for(quiet=quiet or as_json)
    try:
        done = pvae_pipeline.fit(
            recordings,
            out,
            config=resolved.config,
            origin=resolved.origin,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )
    finally:
        progress.abandon()
    metrics = dict(done.metrics)
    if as_json:
        _echo_json(metrics)
    elif not quiet:
        width_ms = 1e3 * done.latents.bin_width_s
        click.echo(
            f"{', '.join(done.latents.session_name)}: {metrics['n_units']} units, "
            f"{thousands(metrics['n_bins'])} bins of {width_ms:g} ms"
        )
        shown = [
            ("latents", f"{metrics['n_active_latents']} of {metrics['n_latents']} say something"),
            ("held-out bound", f"{metrics['heldout_elbo_per_bin']:.4g} nats per bin"),
            ("bits per spike", _number(metrics.get("bits_per_spike"))),
            ("co-smoothing", f"{_number(metrics.get('co_bps'))} bits per spike, a random quarter of the units unseen"),
            ("training", f"{metrics['n_epochs']} epochs, {metrics['fit_s']:.1f} s"),
        ]
        if "latents_tried" in metrics:
            told = ", ".join(f"{row['latents']}: {row['co_bps']:.3f}" for row in metrics["latents_tried"])
            shown.insert(1, ("chosen from", f"{told} (co-smoothing on bins set aside)"))
        for label, text in shown:
            click.echo(f"  {label:<15} {text}")
        for text in done.warnings:
            show_warning(text)
        click.echo(
            f"{out}: model.safetensors, latents.h5, report.html; next: spikefit pvae score {out} {recordings[0]}"
        )


@command.command("encode", cls=SpikefitCommand)
@model_argument
@recording_argument
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; .h5, .nwb or .npz.  [default: none, it is needed]",
)
@click.option(
    "--posterior-draws",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Write so many draws of whole latent counts beside their mean.  [default: 0]",
)
@missing_option
@settings(["recording"], also=READING)
@config_option
@overwrite_option
@json_option("what was written as JSON instead of a line")
@quiet_and_verbose
def encode(
    model_path: Path,
    recording: Path,
    out: Path,
    posterior_draws: int,
    allow_missing: bool,
    config_file: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Write the latents of a recording.

    MODEL is the folder that `spikefit pvae fit` left. FILE is a recording of the same units.
    """
    config = _config(model_path, config_file, flags)
    from spikefit import pvae_pipeline

    made = pvae_pipeline.encode(
        model_path,
        recording,
        out,
        config=config,
        draws=posterior_draws,
        allow_missing=allow_missing,
        overwrite=overwrite,
    )
    n_bins, n_latents = made.expected_count.shape
    n_segments = int(made.arrays["segment"].max()) + 1
    if as_json:
        _echo_json({"path": str(out), "n_bins": n_bins, "n_latents": n_latents, "n_segments": n_segments})
    elif not quiet:
        stretches = f" in {n_segments} stretches" if n_segments > 1 else ""
        click.echo(f"{out}: {n_latents} latents in {thousands(n_bins)} bins{stretches}")


@command.command("score", cls=SpikefitCommand)
@model_argument
@recording_argument
@click.option(
    "--predict",
    metavar="EXPR",
    help="The units to predict from the others, named as with --units.  [default: a random quarter]",
)
@click.option(
    "--few-shot",
    metavar="TIME",
    help="Score as well with a read-out that learns from so much data only (10s).  [default: not done]",
)
@click.option(
    "--covariate",
    metavar="NAME|TABLE",
    help="Decode this: a covariate of FILE by its name, or a table (.npy or text), seconds in the first column, values in the "
    "others.  [default: none]",
)
@click.option("--circular", is_flag=True, default=False, help="The table holds an angle in radians.  [default: off]")
@click.option(
    "--baselines/--no-baselines",
    default=True,
    help="Fit smoothing, factor analysis and GPFA (where elephant is installed), too.  [default: on]",
)
@missing_option
@settings(["recording"], also=READING)
@config_option
@json_option("all scores as JSON instead of a table")
@quiet_and_verbose
def score(
    model_path: Path,
    recording: Path,
    predict: str | None,
    few_shot: str | None,
    covariate: str | None,
    circular: bool,
    baselines: bool,
    allow_missing: bool,
    config_file: Path | None,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Score a model on held-out bins.

    The bins of FILE are split as for the fit; units are predicted from others in bins that trained nothing, beside
    simpler methods on the same bins (co-smoothing, in bits per spike).
    """
    from spikefit.errors import UsageError
    from spikefit.units_of_time import parse_time_s

    config = _config(model_path, config_file, flags)
    try:
        few_shot_s = None if few_shot is None else parse_time_s(few_shot)
    except ValueError as fault:
        raise UsageError(f"--few-shot: {fault}.", hint="pass 10s, say") from fault
    from spikefit import pvae_pipeline
    from spikefit.progress import progress_for

    progress = progress_for(quiet=quiet or as_json)
    try:
        found = pvae_pipeline.score(
            model_path,
            recording,
            config=config,
            allow_missing=allow_missing,
            predict=predict,
            few_shot_s=few_shot_s,
            covariate=covariate,
            circular=circular,
            with_baselines=baselines,
            progress=progress,
        )
    finally:
        progress.abandon()
    if as_json:
        _echo_json(found)
    elif not quiet:
        _echo_scores(found)


@command.command("generate", cls=SpikefitCommand)
@model_argument
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The recording to write, FILE.nwb.  [default: none, it is needed]",
)
@settings([], also=("duration", "seed"))
@config_option
@overwrite_option
@json_option("what was made as JSON instead of a line")
@quiet_and_verbose
def generate(
    model_path: Path,
    out: Path,
    config_file: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Draw a recording from the prior.

    Latents are drawn from MODEL's prior, bin by bin, and spikes from the rates that they give.
    """
    from spikefit.config import resolve_config

    config = resolve_config(config_file, flags=given(flags)).config
    from spikefit import pvae_pipeline

    made = pvae_pipeline.generate(
        model_path, out, duration_s=config.simulate.duration, seed=config.run.seed, overwrite=overwrite
    )
    if as_json:
        _echo_json(made)
    elif not quiet:
        click.echo(
            f"{out}: {made['n_units']} units, {made['duration_s']:g} s, {thousands(made['n_spikes'])} spikes "
            f"({made['mean_rate_hz']:.1f} Hz a unit), seed {made['seed']}"
        )


def _config(model_path: Path, config_file: Path | None, flags: dict[str, Any]) -> Config:
    """The settings for reading a recording; a bin width that was asked for must be the model's."""
    from spikefit.config import resolve_config
    from spikefit.errors import UsageError

    resolved = resolve_config(config_file, flags=given(flags))
    for note in resolved.notes:
        show_warning(note)
    if resolved.origin["bin"] != "default":
        import torch

        from spikefit.fitting.pvae.saved import load_model

        model = load_model(model_path, torch.device("cpu"))
        asked = resolved.config.model.bin
        if abs(asked - model.bin_width_s) > 1e-9 * asked:
            raise UsageError(
                f"the model has bins of {1e3 * model.bin_width_s:g} ms, asked for are {1e3 * asked:g} ms.",
                hint=f"leave --bin out, or fit a model with --bin {1e3 * asked:g}ms",
            )
    return resolved.config


def _echo_scores(found: dict[str, Any]) -> None:
    unit_count = len(found["held_out_units"])
    click.echo(
        f"{found['recording']}: {unit_count} units predicted from the others in {thousands(found['n_heldout_bins'])} "
        f"held-out bins ({thousands(found['n_heldout_spikes'])} spikes)"
    )
    click.echo("")
    rows = [("Poisson VAE", found), *((name.replace("_", " "), row) for name, row in found["baselines"].items())]
    few, decoding = found.get("few_shot"), found.get("decoding_r2")
    heads = ["", "co-smoothing", "quartiles over units"]
    heads += [f"from {few['seconds']:g} s"] if few else []
    heads += ["decoding R²"] if decoding else []
    table = []
    for label, row in rows:
        low, middle, high = row["co_bps_quartiles"]
        key = "pvae" if label == "Poisson VAE" else label
        cells = [label, _number(row["co_bps"]), f"{low:.3f} {middle:.3f} {high:.3f}"]
        cells += [_number(few.get(key))] if few else []
        cells += [_number(decoding.get(key))] if decoding else []
        table.append(tuple(cells))
    echo_table(tuple(heads), table, numbers=tuple(range(1, len(heads))))
    fano = found["fano_factor"]
    click.echo("")
    click.echo(f"  by the model's own decoder        {_number(found['co_bps_decoder'])}")
    click.echo(f"  bits per spike, own spikes seen   {_number(found['bits_per_spike'])}")
    click.echo(
        f"  held-out ELBO, IWAE               {found['elbo_per_bin']:.4g}, {found['iwae_per_bin']:.4g} nats per bin"
    )
    click.echo(
        f"  Fano factor in {1e3 * fano['window_s']:g} ms, median       data {fano['data']:.3f}, drawn {fano['model']:.3f}"
    )
    click.echo(
        f"  latents that say something        {found['n_active_latents']} of {found['n_latents']}; sparsity over time "
        f"{found['lifetime_sparsity']:.2f}, over latents {found['population_sparsity']:.2f}"
    )
    for note in found["notes"]:
        click.echo(f"  {note}")


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _echo_json(value: Any) -> None:
    from spikefit.results import to_json

    click.echo(to_json(json.loads(to_json(value))).rstrip("\n"))
