"""From flags, environment, file and defaults to one checked config that knows where each value came from."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spikefit.config.faults import Fault, in_order, in_words, listing
from spikefit.config.keys import ENVIRONMENT_PREFIX, all_keys
from spikefit.config.sections import Config
from spikefit.config.yaml_source import Source, read_config_file
from spikefit.errors import ConfigError, UsageError, did_you_mean

DEFAULT = "default"
FILE_VARIABLE = ENVIRONMENT_PREFIX + "CONFIG"


@dataclass(frozen=True)
class ResolvedConfig:
    """A config and the origin of each of its values.

    Attributes:
        config: the settings.
        origin: by key: `default`, `lab.yaml line 3`, `environment SPIKEFIT_BIN` or `flag --bin`.
        notes: what was found odd on the way but is no fault.
    """

    config: Config
    origin: dict[str, str]
    notes: tuple[str, ...] = ()


def resolve_config(
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> ResolvedConfig:
    """Put settings together: a flag goes before `SPIKEFIT_*`, that before the file, that before the default.

    Args:
        file: a YAML file, or None.
        environ: environment variables; those of the process where not given.
        flags: values by key, as on the command line; None and empty lists count as not given.

    Raises:
        ConfigError: with all faults listed: unknown keys, values that cannot be, settings that contradict each other.
        UsageError: if only flags are at fault.
    """
    resolved, faults = resolve_with_faults(file, environ, flags)
    if faults:
        _refuse(faults, "the config" if file is None else Path(file).name)
    assert resolved is not None
    return resolved


def resolve_with_faults(
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[ResolvedConfig | None, list[Fault]]:
    """As `resolve_config`, with the faults handed back instead of raised; the config is None where there are any."""
    faults: list[Fault] = []
    sources: dict[str, Source] = {}
    if file is not None:
        sources, faults = read_config_file(Path(file))
    from_environment, notes = _from_environment(os.environ if environ is None else environ)
    sources.update(from_environment)
    for name, value in (flags or {}).items():
        if value is None or (isinstance(value, list | tuple) and not value):
            continue
        if name not in all_keys():
            faults.append(
                Fault(f"{name}=", f"there is no setting {name!r}; {did_you_mean(name, all_keys())}", key=name)
            )
            continue
        sources[name] = Source(value, f"flag {all_keys()[name].flag}")
    config, found = _validated(
        {name: source.value for name, source in sources.items()},
        {name: source.origin for name, source in sources.items()},
    )
    faults += found
    if faults or config is None:
        return None, in_order(faults)
    origin = {name: sources[name].origin if name in sources else DEFAULT for name in all_keys()}
    return ResolvedConfig(config, origin, notes), []


def checked(values: Mapping[str, Any], origin: Mapping[str, str]) -> Config:
    """A config from values by key.

    Raises:
        ConfigError: with all faults listed, each named by its origin.
    """
    faults = [
        Fault(f"{name}=", f"there is no setting {name!r}; {did_you_mean(name, all_keys())}", key=name)
        for name in values
        if name not in all_keys()
    ]
    config, found = _validated({name: value for name, value in values.items() if name in all_keys()}, origin)
    if faults + found or config is None:
        raise ConfigError(listing(faults + found, "the config"))
    return config


def _from_environment(environ: Mapping[str, str]) -> tuple[dict[str, Source], tuple[str, ...]]:
    keys = all_keys()
    by_variable = {key.environment: key for key in keys.values()}
    sources: dict[str, Source] = {}
    notes = []
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text.strip():
            continue
        key = by_variable.get(variable)
        if key is not None:
            value: Any = [part.strip() for part in text.split(",")] if key.is_list else text.strip()
            sources[key.name] = Source(value, f"environment {variable}")
            continue
        # Other programs may keep variables under this prefix; only a near miss is worth a word.
        close = difflib.get_close_matches(variable, by_variable, n=1, cutoff=0.9)
        if close and variable != FILE_VARIABLE:
            notes.append(f"the environment variable {variable} sets nothing; did you mean {close[0]}?")
    return sources, tuple(notes)


def _validated(values: Mapping[str, Any], origin: Mapping[str, str]) -> tuple[Config | None, list[Fault]]:
    keys = all_keys()
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        # An empty value in a file means what it says where nothing is a value (t_stop:), else "the default".
        if value is None and keys[name].default is not None:
            continue
        nested.setdefault(keys[name].section, {})[name] = value
    try:
        return Config.model_validate(nested), []
    except ValidationError as error:
        return None, _faults_of(error, origin)


def _faults_of(error: ValidationError, origin: Mapping[str, str]) -> list[Fault]:
    faults: list[Fault] = []
    seen: set[tuple[str, str]] = set()
    for entry in error.errors():
        if entry["type"] == "contradiction":
            for item in entry["ctx"]["contradictions"]:
                given = [origin[name] for name in item.keys if name in origin] or [DEFAULT]
                faults.append(Fault(" and ".join(dict.fromkeys(given)), item.text, key=item.keys[0]))
            continue
        name = str(entry["loc"][1]) if len(entry["loc"]) > 1 else str(entry["loc"][0])
        where = origin.get(name, DEFAULT)
        # A flag and a variable name the key themselves.
        text = in_words(entry) if where.startswith(("flag ", "environment ")) else f"{name}: {in_words(entry)}"
        # A list or a union reports once per item or member; the same words once are enough.
        if (name, text) not in seen:
            seen.add((name, text))
            faults.append(Fault(where, text, key=name))
    return faults


def _refuse(faults: list[Fault], what: str) -> None:
    hint = next((fault.hint for fault in faults if fault.hint), None)
    if all(fault.where.startswith("flag ") for fault in faults):
        shown = [Fault(fault.where.removeprefix("flag "), fault.text, key=fault.key) for fault in faults]
        raise UsageError(listing(shown, "the command line"), hint=hint or "--help lists what each flag takes")
    raise ConfigError(
        listing(faults, what), hint=hint or "`spikefit config schema` and `spikefit config init` show what can be set"
    )
