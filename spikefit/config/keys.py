"""What is known about each key, read off the models once: flag, environment variable, default, choices, help."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo

from spikefit.config.kinds import Hint
from spikefit.config.section import Section
from spikefit.config.sections import Config

ENVIRONMENT_PREFIX = "SPIKEFIT_"


@dataclass(frozen=True)
class Key:
    """One setting, as flags, help and documentation need it.

    Attributes:
        section: name of its section in the YAML file.
        name: its key, `drop_unit` say.
        default: its default value.
        default_text: the default as a person would write it; empty where there is none.
        help: what it does, in a sentence.
        metavar: the word for its value in help; empty for a switch.
        choices: the words it takes, where it takes only some.
        is_switch: it is on or off.
        is_list: it may be given several times.
        is_flag: the command line has a flag for it.
    """

    section: str
    name: str
    default: Any
    default_text: str
    help: str
    metavar: str
    choices: tuple[str, ...]
    is_switch: bool
    is_list: bool
    is_flag: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def environment(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()


@functools.cache
def all_keys() -> dict[str, Key]:
    """Every key in the order of the file."""
    keys: dict[str, Key] = {}
    for section, kind in section_kinds().items():
        defaults = kind().model_dump(mode="json")
        for name, field in kind.model_fields.items():
            assert name not in keys, f"{name} stands in two sections; a key is used once"
            keys[name] = _describe(section, name, field, defaults[name])
    return keys


def keys_of(sections: Iterable[str]) -> list[Key]:
    """The keys of some sections."""
    wanted = set(sections)
    return [key for key in all_keys().values() if key.section in wanted]


def section_kinds() -> dict[str, type[Section]]:
    """The model of each section, by name."""
    kinds = {}
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, Section)
        kinds[name] = field.annotation
    return kinds


def write_value(value: Any) -> str:
    """One plain value as a person writes it on the command line."""
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        return ",".join(write_value(item) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{name}={write_value(item)}" for name, item in value.items())
    return str(value)


def _describe(section: str, name: str, field: FieldInfo, plain_default: Any) -> Key:
    kinds = _plain_kinds(field.annotation)
    hints = [item for item in (*field.metadata, *_nested_metadata(field.annotation)) if isinstance(item, Hint)]
    # A word beside other kinds of value (a number, or auto) is no list of choices.
    words = [typing.get_args(kind) for kind in kinds if typing.get_origin(kind) is Literal]
    only_words = len(words) == sum(kind is not types.NoneType for kind in kinds)
    choices = tuple(str(word) for group in words for word in group) if only_words else ()
    is_switch = bool in kinds
    is_list = any(typing.get_origin(kind) is tuple for kind in kinds) and isinstance(plain_default, list | dict)
    metavar = "|".join(choices) if choices else next((hint.metavar for hint in hints if hint.metavar), "VALUE")
    assert field.description, f"{name} needs a description"
    return Key(
        section=section,
        name=name,
        default=field.default,
        default_text=write_value(plain_default),
        help=field.description,
        metavar="" if is_switch else metavar,
        choices=choices,
        is_switch=is_switch,
        is_list=is_list,
        is_flag=all(hint.flag for hint in hints),
    )


def _plain_kinds(annotation: Any) -> list[Any]:
    """The kinds in an annotation, with `Annotated` and unions taken apart."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _plain_kinds(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in _plain_kinds(part)]
    return [annotation]


def _nested_metadata(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *metadata = typing.get_args(annotation)
        return [*metadata, *_nested_metadata(inner)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [item for part in typing.get_args(annotation) for item in _nested_metadata(part)]
    return []
