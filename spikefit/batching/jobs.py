"""One job of a batch: a recording, the settings it is fitted with, and the folder its result goes to."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spikefit.batching.naming import repeated, safe_name, unique_names
from spikefit.config import JOB_SECTIONS, BatchConfig, Config, SlurmConfig
from spikefit.config.keys import write_value
from spikefit.errors import ConfigError, UsageError

# What changes where and how a fit is computed, and nothing of what is fitted.
_RUN_ONLY = ("device", "threads", "memory_limit", "compile", "checkpoint_every", "strict", "figures", "log_json")
# Names in the folder of a batch that are not results.
RESERVED = ("summary.csv", "summary.html", "events.jsonl")


@dataclass(frozen=True)
class Job:
    """What is to be done, in plain values that travel as JSON.

    Attributes:
        name: of the folder inside the output folder.
        recording: absolute path.
        config: all settings, section by section.
        origin: where each setting came from, by key.
        varied: the settings that set this job apart, as text.
        key: digest of the settings that shape the result.
    """

    name: str
    recording: str
    config: dict[str, Any]
    origin: dict[str, str]
    varied: dict[str, str]
    key: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `Job(**…)` reads them back."""
        return asdict(self)


@dataclass(frozen=True)
class Session:
    """One recording of a batch.

    Args:
        path: absolute.
        overrides: settings that differ for it, by key.
        name: a name that was given for it, or nothing.
        where: where it was named, for people.
    """

    path: Path
    overrides: Mapping[str, Any]
    name: str = ""
    where: str = ""


def config_key(config: Mapping[str, Any]) -> str | None:
    """Digest of the settings that shape a result; None for settings that this version does not know."""
    try:
        known = Config(**{name: config[name] for name in JOB_SECTIONS if name in config}).to_dict()
    except (ValidationError, TypeError):
        return None
    shaping = {name: dict(known[name]) for name in JOB_SECTIONS}
    for name in _RUN_ONLY:
        shaping["run"].pop(name)
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


def count_jobs(sessions: Sequence[Session], config: Config) -> int:
    """How many jobs there would be, without making them."""
    n = len(sessions)
    for _, values in config.batch.grid:
        n *= len(values)
    return n


def make_jobs(sessions: Sequence[Session], config: Config, origin: Mapping[str, str]) -> list[Job]:
    """Every recording with every combination of the grid, in that order.

    Raises:
        ConfigError: if settings contradict each other for some jobs; all are listed.
        UsageError: if two jobs would have one name, or there are more than allowed.
    """
    n_jobs = count_jobs(sessions, config)
    if n_jobs > config.batch.most_jobs:
        sizes = " × ".join([f"{len(sessions)} recordings", *(f"{len(v)} of {k}" for k, v in config.batch.grid)])
        raise ConfigError(
            f"this makes {n_jobs:,} jobs ({sizes}), more than {config.batch.most_jobs:,}.",
            hint=f"vary fewer settings, or pass --most-jobs {n_jobs} if you mean it",
        )
    base = config.model_copy(update={"batch": BatchConfig(), "slurm": SlurmConfig()})
    axes = config.batch.grid
    made: list[tuple[Session, dict[str, Any], Config]] = []
    faults: list[str] = []
    for session in sessions:
        for values in itertools.product(*(values for _, values in axes)):
            varied = dict(zip((key for key, _ in axes), values, strict=True))
            settings = {**varied, **session.overrides}
            try:
                made.append((session, varied, base.replace(**settings) if settings else base))
            except ConfigError as fault:
                faults.append(f"{session.where or session.path.name}: {fault.message}")
    if faults:
        shown = "\n".join(f"  - {text}" for text in dict.fromkeys(faults[:20]))
        raise ConfigError(f"some jobs of the batch have faults:\n{shown}")
    names = _names(made)
    jobs = []
    for name, (session, varied, wanted) in zip(names, made, strict=True):
        plain = wanted.to_dict()
        key = config_key(plain)
        assert key is not None
        told = {k: f"grid {k}" for k in varied} | dict.fromkeys(session.overrides, session.where)
        texts = {k: _text(wanted.flat()[k], plain, k) for k in (*varied, *session.overrides)}
        jobs.append(Job(name, str(session.path), plain, {**origin, **told}, texts, key))
    return jobs


def _names(made: Sequence[tuple[Session, dict[str, Any], Config]]) -> list[str]:
    variants = [
        "_".join(safe_name(f"{key}-{_text(None, config.to_dict(), key)}") for key in varied)
        for _, varied, config in made
    ]
    names = unique_names([session.path for session, _, _ in made], variants)
    for place, (session, _, _) in enumerate(made):
        if session.name:
            names[place] = safe_name("_".join(filter(None, (session.name, variants[place]))))
    # One recording may stand in several rows of a table, each with its own settings.
    for name in repeated(names):
        places = [place for place, other in enumerate(names) if other.casefold() == name.casefold()]
        for place in places:
            session = made[place][0]
            plain = made[place][2].to_dict()
            more = "_".join(f"{key}-{_text(None, plain, key)}" for key in session.overrides)
            names[place] = safe_name(f"{names[place]}_{more}") if more else names[place]
    clash = repeated(names)
    if clash:
        raise UsageError(
            f"several jobs would be called {clash[0]!r}; their results would overwrite one another.",
            hint="give them names of their own in the column `name` of a sessions table",
        )
    taken = sorted(set(names) & set(RESERVED))
    if taken:
        raise UsageError(f"a job cannot be called {taken[0]!r}: the batch writes a file of that name.")
    return names


def _text(_value: Any, plain: Mapping[str, Any], key: str) -> str:
    for section in plain.values():
        if key in section:
            return write_value(section[key])
    raise KeyError(key)
