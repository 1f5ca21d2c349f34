"""What no single setting can be wrong about: settings that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spikefit.errors import did_you_mean
from spikefit.units_of_time import format_time

if TYPE_CHECKING:
    from spikefit.config.sections import Config

# What may differ from job to job of a batch.
JOB_SECTIONS = ("recording", "model", "gradient", "fit", "run", "checks")

# Filters longer than this many bins are a slip of a unit (ms for s), not a wish.
MOST_LAGS = 100_000


@dataclass(frozen=True)
class Contradiction:
    """Settings that cannot stand together.

    Args:
        keys: the settings that disagree, the one most likely meant to be changed first.
        text: both values, and what would be right.
    """

    keys: tuple[str, ...]
    text: str


def contradictions(config: Config) -> list[Contradiction]:
    """All contradictions in a config whose single values are right."""
    looks = (_windows, _posterior_and_gradient, _hidden_sign, _significance, _recording_and_checks, _slurm, _grid)
    return [found for look in looks for found in look(config)]


def _windows(config: Config) -> Iterator[Contradiction]:
    """Bins and windows of filters."""
    bin_width_s, window_s = config.model.bin, config.model.window
    if window_s < bin_width_s:
        yield Contradiction(
            ("window", "bin"),
            f"the window ({format_time(window_s)}) is shorter than one bin ({format_time(bin_width_s)}); "
            "it must hold at least one bin" + ("; a bare number is seconds, write 10ms" if bin_width_s >= 1 else ""),
        )
    elif window_s / bin_width_s > MOST_LAGS:
        yield Contradiction(
            ("window", "bin"),
            f"the window ({format_time(window_s)}) holds {window_s / bin_width_s:,.0f} bins of "
            f"{format_time(bin_width_s)}; at most {MOST_LAGS:,} can be fitted",
        )
    self_window_s = config.model.self_window
    if self_window_s is not None and not bin_width_s <= self_window_s <= window_s:
        yield Contradiction(
            ("self_window", "window"),
            f"the window of own history ({format_time(self_window_s)}) must hold at least one bin "
            f"({format_time(bin_width_s)}) and reach no further back than couplings do ({format_time(window_s)})",
        )


def _posterior_and_gradient(config: Config) -> Iterator[Contradiction]:
    """What the posterior of hidden units can express, and what an estimator needs of it."""
    if config.model.family == "poisson" and config.model.max_count != 1:
        yield Contradiction(
            ("max_count", "family"),
            f"a poisson posterior has no largest count, and max_count is {config.model.max_count}; leave it away, or take the "
            "family categorical",
        )
    estimator, draws = config.gradient.estimator, config.gradient.draws
    if estimator == "score" and draws < 2:
        yield Contradiction(
            ("draws", "estimator"), f"the score estimator compares draws and needs at least 2, got {draws}"
        )
    if estimator == "exact" and config.model.posterior == "forward-self":
        yield Contradiction(
            ("estimator", "posterior"),
            "the exact estimator tries one more spike in each bin and needs the posterior of all later bins to stay "
            "as it is; with the posterior forward-self a spike changes it; take eat-cubic, gsm or score",
        )
    if estimator == "exact" and config.model.count_law == "negative-binomial" and config.model.hidden != 0:
        yield Contradiction(
            ("estimator", "count_law"),
            "the exact estimator adds up what one more hidden spike does to Poisson counts; with negative-binomial ones take "
            "eat-cubic, gsm or score",
        )


def _hidden_sign(config: Config) -> Iterator[Contradiction]:
    """Two words on the sign of hidden units."""
    sign, held = config.model.dale.get("hidden"), config.model.hidden_sign
    if sign == "auto":
        yield Contradiction(
            ("dale",),
            "hidden=auto: hidden units start excitatory and what holds them to it later is the choice itself; say "
            "hidden=excitatory or hidden=inhibitory, try both, and compare the held-out scores",
        )
    elif sign is not None and held != "any" and sign != held:
        yield Contradiction(("dale", "hidden_sign"), f"hidden units are to be {sign} (dale) and {held} (hidden_sign)")


def _significance(config: Config) -> Iterator[Contradiction]:
    """Tests of edges, and fits that they cannot be had of."""
    moves = config.fit.significance in ("jitter", "shift", "trials")
    hidden = config.model.hidden
    if moves and hidden != "auto" and min(hidden if isinstance(hidden, tuple) else (hidden,)) > 0:
        yield Contradiction(
            ("significance", "hidden"),
            f"surrogates ({config.fit.significance}) are refits without hidden units, and all fits here would have some; take null, or 0 hidden units",
        )
    if config.fit.long_lags == "on" and config.fit.significance != "null":
        yield Contradiction(
            ("long_lags", "significance"),
            f"long_lags counts what the test null calls where nothing is, and significance is {config.fit.significance}",
        )
    if config.fit.pair_types != "none" and config.fit.significance != "null":
        why = (
            "nothing is tested"
            if config.fit.significance == "none"
            else "surrogates show for each pair by itself what no edge looks like"
        )
        yield Contradiction(
            ("pair_types", "significance"),
            f"types of pairs ({config.fit.pair_types}) are for the test null, and significance is {config.fit.significance}: {why}; "
            "take null, or pair_types none",
        )
    held_back = config.fit.group_lasso != 0 or any(
        sign != "any" for name, sign in config.model.dale.items() if name != "hidden"
    )
    if config.model.count_law == "negative-binomial" and (moves or held_back or config.fit.long_lags == "on"):
        other = "significance" if moves else "long_lags" if config.fit.long_lags == "on" else "group_lasso"
        yield Contradiction(
            ("count_law", other),
            "surrogates, couplings at long lags, a group lasso and Dale's law of recorded units are for Poisson counts; with "
            "negative-binomial ones leave them away",
        )
    if held_back and (moves or config.fit.long_lags == "on"):
        asked = "long_lags" if not moves else f"significance {config.fit.significance}"
        yield Contradiction(
            ("significance" if moves else "long_lags", "group_lasso", "dale"),
            f"{asked} holds couplings against their standard errors, and couplings under a group lasso or Dale's law have none",
        )


def _recording_and_checks(config: Config) -> Iterator[Contradiction]:
    """Bounds that leave nothing between them."""
    start_s, stop_s = config.recording.t_start, config.recording.t_stop
    if start_s is not None and stop_s is not None and start_s >= stop_s:
        yield Contradiction(
            ("t_stop", "t_start"),
            f"the recording would end ({format_time(stop_s)}) before it starts ({format_time(start_s)})",
        )
    lowest_hz, highest_hz = config.checks.min_median_rate_hz, config.checks.max_median_rate_hz
    if lowest_hz >= highest_hz:
        yield Contradiction(
            ("max_median_rate_hz", "min_median_rate_hz"),
            f"no rate lies above {lowest_hz:g} Hz (min_median_rate_hz) and below {highest_hz:g} Hz (max_median_rate_hz)",
        )


def _slurm(config: Config) -> Iterator[Contradiction]:
    """Time limits of a cluster."""
    if config.slurm.stop_before >= config.slurm.time_limit:
        yield Contradiction(
            ("stop_before", "time_limit"),
            f"a job of {format_time(config.slurm.time_limit)} (time_limit) cannot be asked to stop "
            f"{format_time(config.slurm.stop_before)} before its end",
        )


def _grid(config: Config) -> Iterator[Contradiction]:
    return (Contradiction(("grid",), text) for text in _faults_of_grid(config))


def _faults_of_grid(config: Config) -> list[str]:
    """Keys that cannot be varied, and values that their keys cannot take."""
    from pydantic import ValidationError

    from spikefit.config.faults import in_words
    from spikefit.config.keys import all_keys, keys_of, section_kinds

    faults = []
    may_vary = {key.name for key in keys_of(JOB_SECTIONS)}
    for name, values in config.batch.grid:
        if name not in may_vary:
            elsewhere = name in all_keys()
            faults.append(
                f"grid: {name} is the same for all jobs of a batch; it cannot be varied"
                if elsewhere
                else f"grid: there is no setting {name!r}; {did_you_mean(name, may_vary)}"
            )
            continue
        kind = section_kinds()[all_keys()[name].section]
        for value in values:
            try:
                kind.model_validate({name: value})
            except ValidationError as error:
                faults += [f"grid: {name}: {in_words(entry)}" for entry in error.errors()[:1]]
    return faults
