"""One self-contained page about a latent code: scores, pictures, latents, and where it comes from."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

from markupsafe import Markup, escape

from spikefit.files import write_text
from spikefit.report.numbers import number
from spikefit.report.tables import Column, table_html
from spikefit.results.latents import Latents

_CAPTIONS = {
    "latents": (
        "Latents",
        "Held-out spikes of all units above the posterior rates of the latents. Sharp events in the "
        "lower panel are what the code has found to be common to several units.",
    ),
    "reconstruction": (
        "Reconstruction",
        "The busiest units in bins that trained nothing: ticks are spikes, the line is the rate that the model expects.",
    ),
    "trials": (
        "Trials by type",
        "Rates from the start of the trial, averaged over the trials of each type, of the units and the latents that move "
        "most. Thin lines are what was counted, thick ones what the model expects. All trials are averaged, those that trained "
        "among them: the scores above say what holds beyond them.",
    ),
    "decoder": (
        "Decoder",
        "What one spike of each latent adds to each unit's drive (red raises the rate, blue lowers it), and over which "
        "time it acts.",
    ),
    "activity": (
        "Which latents live",
        "The divergence is what a latent says about a bin; one that says nothing has gone back to its prior and could "
        "be left out. Lifetime sparsity is near 1 for a latent that is seldom active.",
    ),
    "training": (
        "Training",
        "Nats per bin over the epochs, on training bins and on bins set aside. The parameters of the best epoch on the "
        "right are kept.",
    ),
}

_MEASURES = {
    "co_bps": "co-smoothing of a random quarter of the units, bits per spike",
    "co_bps_quartiles": "its quartiles over those units",
    "co_bps_decoder": "the same by the model's own decoder",
    "bits_per_spike": "reconstruction of all units, bits per spike",
    "heldout_elbo_per_bin": "held-out evidence lower bound, nats per bin",
    "heldout_iwae_per_bin": "the bound from several draws (IWAE), nats per bin",
    "heldout_divergence_per_bin": "divergence from the prior, nats per bin",
    "n_active_latents": "latents that say something",
    "n_latents": "latents",
    "lifetime_sparsity": "lifetime sparsity, median over latents",
    "population_sparsity": "population sparsity",
    "fano_factor_data": "Fano factor in 100 ms, median over units, of the data",
    "fano_factor_model": "the same of counts drawn from the model",
    "n_heldout_bins": "held-out bins",
    "n_epochs": "epochs",
    "converged": "converged",
    "fit_s": "time of the training, seconds",
}


def write_latents_report(
    latents: Latents,
    metrics: Mapping[str, Any],
    provenance: Mapping[str, Any],
    warnings: Sequence[str],
    pictures: Mapping[str, Path],
    path: Path,
) -> None:
    """Write the page, whole or not at all.

    Args:
        latents: what it is about.
        metrics: content of metrics.json.
        provenance: content of provenance.json.
        warnings: doubts to be shown first.
        pictures: PNG files by the name of their part; they go into the page.
        path: the page.
    """
    sections = [_section("summary", "Summary", _summary(latents, metrics, warnings))]
    for stem, (title, caption) in _CAPTIONS.items():
        if stem in pictures:
            data = base64.b64encode(pictures[stem].read_bytes()).decode()
            body = Markup(
                '<figure><img style="max-width:100%" alt="{}" src="data:image/png;base64,{}"><figcaption>{}</figcaption>'
                "</figure>"
            ).format(title, data, caption)
            sections.append(_section(stem, title, body))
    sections.append(_section("table", "Latents one by one", _table(latents)))
    sections.append(_section("provenance", "Where this comes from", _provenance(provenance)))
    style = resources.files("spikefit.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
    write_text(
        path,
        Markup(
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
            'img-src data:">\n<title>{name}: latents</title>\n<link rel="icon" href="data:,">\n<style>\n{style}\n'
            "</style>\n</head>\n<body>\n<header>\n<h1>{name}</h1>\n<p>Latent spiking code of {n_units} units in "
            "{n_latents} latents, by spikefit</p>\n{nav}\n</header>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
        ).format(
            name=latents.name,
            style=Markup(style),
            n_units=len(latents.unit_id),
            n_latents=latents.expected_count.shape[1],
            nav=_navigation(pictures),
            body=Markup("\n").join(sections),
        ),
    )


def _navigation(pictures: Mapping[str, Path]) -> Markup:
    parts = [("summary", "Summary"), *((k, title) for k, (title, _) in _CAPTIONS.items() if k in pictures)]
    parts += [("table", "Latents one by one"), ("provenance", "Where this comes from")]
    links = Markup("\n").join(Markup('<a href="#{}">{}</a>').format(anchor, title) for anchor, title in parts)
    return Markup('<nav aria-label="Parts of this page">\n{}\n</nav>').format(links)


def _section(anchor: str, title: str, body: Markup) -> Markup:
    return Markup(
        '<section id="{0}" aria-labelledby="{0}-title">\n<h2 id="{0}-title">{1}</h2>\n{2}\n</section>'
    ).format(anchor, title, body)


def _summary(latents: Latents, metrics: Mapping[str, Any], warnings: Sequence[str]) -> Markup:
    names = ", ".join(latents.session_name)
    lead = Markup(
        "<p>Each bin of {} ({} ms) is described by {} spike counts. The scores below are of bins that trained "
        "nothing. <code>spikefit pvae score</code> puts simpler methods beside them.</p>"
    ).format(names, number(1e3 * latents.bin_width_s), number(latents.expected_count.shape[1]))
    shown = [(label, metrics[key]) for key, label in _MEASURES.items() if key in metrics]
    table = table_html(
        [
            Column("measure", [escape(label) for label, _ in shown], prose=True),
            Column("value", [_value(value) for _, value in shown]),
        ],
        "scores",
    )
    doubts = Markup("").join(Markup("<li>{}</li>").format(text) for text in warnings)
    box = Markup('<div class="warnings"><h3>Warnings</h3><ul>{}</ul></div>').format(doubts) if doubts else Markup("")
    return lead + table + box


def _value(value: Any) -> Markup | str:
    if isinstance(value, list):
        return Markup(" ").join(number(each, 3) for each in value)
    return number(value, 4)


def _table(latents: Latents) -> Markup:
    arrays = latents.arrays
    weights = arrays["decoder_weights"]
    strongest = abs(weights).argmax(axis=0)
    rows = range(weights.shape[1])
    columns = [
        Column("latent", [number(k) for k in rows]),
        Column("divergence, nats per bin", [number(float(arrays["divergence"][k])) for k in rows]),
        Column("prior rate, Hz", [number(float(arrays["prior_count"][k]) / latents.bin_width_s) for k in rows]),
        Column("lifetime sparsity", [number(float(arrays["lifetime_sparsity"][k])) for k in rows]),
        Column("strongest unit", [escape(latents.unit_id[strongest[k]]) for k in rows], text=True),
        Column("its weight", [number(float(weights[strongest[k], k])) for k in rows]),
    ]
    return table_html(columns, "latents", scroll=True)


def _provenance(provenance: Mapping[str, Any]) -> Markup:
    argv = [str(word) for word in provenance.get("argv") or []]
    command = shlex.join([PurePath(argv[0]).name, *argv[1:]]) if argv else ""
    plain = [(k, v) for k, v in provenance.items() if isinstance(v, str | int | float) and k != "argv"]
    plain += [(f"version of {k}", v) for k, v in provenance.get("versions", {}).items()]
    table = table_html(
        [
            Column("what", [escape(key) for key, _ in plain], text=True),
            Column("value", [number(value, 6) for _, value in plain], prose=True),
        ],
        "provenance",
        scroll=True,
    )
    return (
        Markup("<p>The command that made this:</p><pre>{}</pre>").format(command) if command else Markup("")
    ) + table
