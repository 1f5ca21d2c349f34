"""The page of a comparison, in the style of the report."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup, escape

from spikefit.comparison.folds_page import folds_page_section
from spikefit.comparison.methods_page import methods_page_section
from spikefit.comparison.side_by_side import Comparison, PairComparison
from spikefit.report.numbers import number, signed
from spikefit.report.page import page_html
from spikefit.report.scatter import scatter_chart
from spikefit.report.sections import Section
from spikefit.report.tables import Column, table_html

# Scatter plots of more pairs of results than these make a page nobody scrolls through; the tables have all.
MOST_SCATTERS = 15


def comparison_html(comparison: Comparison) -> str:
    """The whole page as one text."""
    sections = [Section("scores", "Held-out scores", _scores(comparison))]
    if comparison.pairs:
        sections += [
            Section("differences", "Who predicts better", _differences(comparison)),
            *_time_section(comparison),
            Section("couplings", "Edges in common", _couplings(comparison)),
            Section("weights", "Weights against each other", _scatters(comparison)),
        ]
    if comparison.folds:
        sections.append(folds_page_section(comparison))
    hidden = _hidden(comparison)
    if hidden:
        sections.append(Section("hidden", "Hidden units", hidden))
    if comparison.latents:
        sections.append(Section("latents", "Hidden units and latents", _latents(comparison)))
    if comparison.baselines:
        sections.append(methods_page_section(comparison.baselines))
    names = [*comparison.names, *dict.fromkeys(each.latents for each in comparison.latents)]
    name = " · ".join(names)
    n_common = len(comparison.common.unit_ids)
    return page_html(
        sections,
        name=name,
        title=f"{name}: comparison",
        about=f"{len(names)} results of spikefit beside each other; {n_common} recorded units in common",
    )


def summary_tables(comparison: Comparison) -> Markup:
    """The tables alone, for notebooks."""
    tables = _scores(comparison)
    if comparison.pairs:
        tables += _differences(comparison) + _couplings(comparison)
    return tables + _latents(comparison) if comparison.latents else tables


def _scores(comparison: Comparison) -> Markup:
    rows = comparison.scores
    columns = [
        Column("result", [escape(row.name) for row in rows], text=True),
        Column("recorded", [number(row.n_visible) for row in rows]),
        Column("hidden", [number(row.n_hidden) for row in rows]),
        Column("bin, ms", [number(row.bin_width_s * 1e3) for row in rows]),
        Column("nats per bin", [_with_error(row.nats_per_bin, row.nats_per_bin_se, 6) for row in rows]),
        Column("bits per spike", [_with_error(row.bits_per_spike, row.bits_per_spike_se) for row in rows]),
        Column(
            "nats per s over constant rates", [_with_error(row.gain_nats_per_s, row.gain_nats_per_s_se) for row in rows]
        ),
    ]
    if any(math.isfinite(row.gain_over_none) for row in rows):
        gains = [_with_error(row.gain_over_none, row.gain_over_none_se) for row in rows]
        columns.append(Column("gain over no hidden units, nats per bin", gains))
    columns.append(Column("converged", [number(row.converged) for row in rows], text=True))
    lead = Markup(
        "<p>Each result on the bins that it held out, with standard errors over blocks of time. Nats per bin mean the same only for "
        "the same units and bins; the gain over constant rates in nats per second holds between bin widths.</p>"
    )
    return lead + table_html(columns, "held-out scores")


def _differences(comparison: Comparison) -> Markup:
    pairs = comparison.pairs
    columns = [
        Column("result", [escape(pair.second) for pair in pairs], text=True),
        Column("against", [escape(pair.first) for pair in pairs], text=True),
        Column("better by", [_with_error(pair.scores.value, pair.scores.error, plus=True) for pair in pairs]),
        Column("unit", [pair.scores.unit if math.isfinite(pair.scores.value) else "" for pair in pairs], text=True),
        Column("how", [escape(pair.scores.why) for pair in pairs], prose=True),
    ]
    return table_html(columns, "differences of the held-out scores")


def _time_section(comparison: Comparison) -> list[Section]:
    found = comparison.same_time
    if found is None or not found.rows:
        return []
    rows = found.rows
    columns = [
        Column("result", [escape(row.name) for row in rows], text=True),
        Column("bin, ms", [number(row.bin_width_s * 1e3) for row in rows]),
        Column("window, ms", [number(row.window_s * 1e3) for row in rows]),
        Column("hidden", [number(row.n_hidden) for row in rows]),
        Column("weights", [number(row.n_weights) for row in rows]),
        Column(
            "nats per s over constant rates", [_with_error(row.gain_nats_per_s, row.gain_nats_per_s_se) for row in rows]
        ),
        Column(
            "behind the best, nats per s",
            [_with_error(row.behind_nats_per_s, row.behind_nats_per_s_se) for row in rows],
        ),
        Column("within one error", [number(row.within_one_error) for row in rows], text=True),
    ]
    lead = Markup(
        "<p><strong>{}</strong></p><p>The log-likelihood of the spike times in seconds, the same measure whatever the bins, window or penalty; errors are "
        "paired over blocks of time.</p>"
    ).format(found.sentence())
    return [
        Section("time", "On the same stretches of time", lead + table_html(columns, "on the same stretches of time"))
    ]


def _couplings(comparison: Comparison) -> Markup:
    pairs = comparison.pairs
    found = [pair.couplings for pair in pairs]
    columns = [
        Column("results", [_pair_name(pair) for pair in pairs], text=True),
        Column("r of weights", [number(c.correlation) for c in found]),
        Column("rank r", [number(c.rank_correlation) for c in found]),
        Column("edges of the first", [number(c.n_first) for c in found]),
        Column("of the second", [number(c.n_second) for c in found]),
        Column("in common", [number(c.n_common) for c in found]),
        Column("by chance", [number(c.n_expected) for c in found]),
        Column("same sign", [number(c.n_same_sign) for c in found]),
        Column("edges are", [_rule(pair) for pair in pairs], prose=True),
    ]
    first = comparison.pairs[0].couplings
    lead = Markup("<p>Over {} ordered pairs of the recorded units that all results hold, matched by id.</p>").format(
        number(first.n_pairs)
    )
    notes = list(dict.fromkeys(f"{pair.first}, {pair.second}: {note}" for pair in pairs for note in pair.notes))
    told = Markup("").join(Markup("<li>{}</li>").format(note) for note in notes)
    box = Markup('<div class="warnings"><h3>Read with care</h3><ul>{}</ul></div>').format(told) if notes else Markup("")
    return lead + table_html(columns, "agreement of couplings") + box


def _rule(pair: PairComparison) -> str:
    level = pair.couplings.level
    return f"called at q ≤ {level:g}" if pair.couplings.chosen_by == "q" else f"the {level:.0f} strongest"


def _scatters(comparison: Comparison) -> Markup:
    common = comparison.common
    names = [f"{pre} → {post}" for pre, post in zip(common.pre.tolist(), common.post.tolist(), strict=True)]
    charts = []
    for pair in comparison.pairs[:MOST_SCATTERS]:
        x, y = (common.weight[comparison.names.index(name)] for name in (pair.first, pair.second))
        chart = scatter_chart(
            x,
            y,
            title=f"weights of {pair.second} against those of {pair.first}, r = {pair.couplings.correlation:.3f}",
            x_label=f"{_short(pair.first)}, drive per spike",
            y_label=f"{_short(pair.second)}, drive per spike",
            names=names if np.isfinite(x + y).sum() <= 2000 else None,
        )
        caption = Markup("{}: r = {}").format(_pair_name(pair), number(pair.couplings.correlation))
        charts.append(Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(caption, chart))
    lead = Markup("<p>One point for each ordered pair of units; on the dashed line both results say the same.</p>")
    return lead + Markup('<div class="grid wide">{}</div>').format(Markup("").join(charts))


def _hidden(comparison: Comparison) -> Markup | None:
    rows = [(pair, match) for pair in comparison.pairs for match in pair.hidden]
    if not rows:
        return None
    columns = [
        Column("results", [_pair_name(pair) for pair, _ in rows], text=True),
        Column("of the first", [escape(match.first or "–") for _, match in rows], text=True),
        Column("of the second", [escape(match.second or "–") for _, match in rows], text=True),
        Column("r of activity", [signed(match.activity_correlation) for _, match in rows]),
        Column("r of outgoing couplings", [signed(match.filter_correlation) for _, match in rows]),
    ]
    lead = Markup(
        "<p>Hidden units have no names, so they are matched one to one for the greatest likeness in all: the mean of the correlation of "
        "their posterior activity, where both results are of the same recording, and of their couplings onto the recorded units. A "
        "unit that finds no like in another fit was found by luck.</p>"
    )
    return lead + table_html(columns, "hidden units matched", scroll=len(rows) > 15)


def _latents(comparison: Comparison) -> Markup:
    rows = [(each, match) for each in comparison.latents for match in each.hidden]
    columns = [
        Column("result", [escape(each.result) for each, _ in rows], text=True),
        Column("hidden unit", [escape(match.first or "–") for _, match in rows], text=True),
        Column("latents", [escape(each.latents) for each, _ in rows], text=True),
        Column("latent", [escape(match.second or "–") for _, match in rows], text=True),
        Column("r of activity", [signed(match.activity_correlation) for _, match in rows]),
        Column("r of effects", [signed(match.filter_correlation) for _, match in rows]),
    ]
    lead = Markup(
        "<p>A hidden unit drives recorded ones with delays, a latent of a Poisson VAE describes a bin. Where both stand for the same "
        "thing, they are active together and do the same to the recorded units. They are matched one to one, as hidden units are.</p>"
    )
    notes = [f"{each.result}, {each.latents}: {note}" for each in comparison.latents for note in each.notes]
    told = Markup("").join(Markup("<li>{}</li>").format(note) for note in notes)
    box = Markup('<div class="warnings"><h3>Read with care</h3><ul>{}</ul></div>').format(told) if notes else Markup("")
    table = table_html(columns, "hidden units and latents matched", scroll=len(rows) > 15) if rows else Markup("")
    return lead + table + box


def _pair_name(pair: PairComparison) -> Markup:
    return escape(f"{pair.first} – {pair.second}")


def _with_error(value: float, error: float, digits: int = 3, *, plus: bool = False) -> Markup:
    text = signed(value, digits) if plus else number(value, digits)
    if not (math.isfinite(value) and math.isfinite(error)):
        return text
    return text + Markup(" ± {}").format(number(error, 2))


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"…{name[-27:]}"
