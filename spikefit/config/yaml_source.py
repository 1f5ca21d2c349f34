"""Settings from a YAML file, each with its line; nothing but text, lists and mappings is ever built from one.

Values stay the text that stands in the file, and the setting they fill decides what the text means. So `1e-3` is a
number where a number belongs (plain YAML 1.1 says text), `10:20` stays an interval (YAML 1.1 says 620), and a unit
called `010`, `1e5` or `no` keeps its name.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikefit.config.faults import Fault
from spikefit.config.keys import all_keys, section_kinds
from spikefit.errors import nearest

if TYPE_CHECKING:
    import yaml

MOST_BYTES = 1_000_000
MOST_EXTENDED = 20  # a longer chain goes in circles through links
EXTENDS = "extends"
# Recordings that are named in a file are relative to that file, also where another file extends it.
PATH_KEYS = ("files", "sessions")
_TAGS = "tag:yaml.org,2002:"
_NULL = _TAGS + "null"
_KNOWN_TAGS = frozenset(_TAGS + name for name in ("str", "null", "int", "float", "bool", "seq", "map"))


@dataclass(frozen=True)
class Source:
    """One value as it was found.

    Args:
        value: text, None, or a list of text.
        origin: where it stands, for people: `lab.yaml line 3`.
    """

    value: Any
    origin: str


def read_config_file(path: Path, _chain: tuple[Path, ...] = ()) -> tuple[dict[str, Source], list[Fault]]:
    """Read a config file and the files it extends.

    Args:
        path: the YAML file.

    Returns:
        The values by key, those of the file above those of a file it extends, and all faults of form.
    """
    place = path.name
    try:
        if path.is_dir():
            return {}, [Fault(str(path), "this is a folder; a config is one YAML file")]
        with path.open("rb") as stream:  # a pipe will do as well
            content = stream.read(MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        return {}, [Fault(str(path), "there is no such file", hint="`spikefit config init` writes one to start from")]
    except UnicodeDecodeError as fault:
        return {}, [Fault(str(path), f"this is no UTF-8 text (byte {fault.start})")]
    except OSError as fault:
        return {}, [Fault(str(path), f"cannot be read: {fault.strerror or fault}")]
    except ValueError as fault:  # a NUL in the name
        return {}, [Fault(repr(str(path)), f"cannot be read: {fault}")]
    if len(content) > MOST_BYTES:
        return {}, [Fault(str(path), f"this is too long for a config (more than {MOST_BYTES:,} bytes)")]
    root, faults = _compose(text, place)
    if root is None:
        return {}, faults
    values, found = _values_of(root, place)
    faults += found
    below: dict[str, Source] = {}
    parent = values.pop(EXTENDS, None)
    if parent is not None:
        below, found = _extended(parent, path, (*_chain, _place_of(path)))
        faults += found
    return {**below, **values}, faults


def _place_of(path: Path) -> Path:
    # Links are not followed here: a circle of links would be a fault of its own.
    return Path(os.path.abspath(path))


def _as_seen_from(folder: Path, other: Path, values: dict[str, Source]) -> dict[str, Source]:
    """Values of a file in the folder `other`, its relative paths made relative to `folder`."""
    way = os.path.relpath(other, folder)
    if way == os.curdir:
        return values

    def moved(text: Any) -> Any:
        stays = not isinstance(text, str) or text.startswith(("$", "~")) or os.path.isabs(text)
        return text if stays else os.path.join(way, text)

    changed = {}
    for key in values.keys() & set(PATH_KEYS):
        value = values[key].value
        changed[key] = Source(
            [moved(text) for text in value] if isinstance(value, list) else moved(value), values[key].origin
        )
    return {**values, **changed}


def _extended(parent: Source, path: Path, chain: tuple[Path, ...]) -> tuple[dict[str, Source], list[Fault]]:
    below: dict[str, Source] = {}
    faults: list[Fault] = []
    names = parent.value if isinstance(parent.value, list) else [parent.value]
    for name in names:
        if not name:
            faults.append(Fault(parent.origin, "extends: expected the path of another config file"))
            continue
        expanded = os.path.expanduser(os.path.expandvars(str(name)))
        unset = re.search(r"\$\{?(\w+)\}?", expanded)
        if unset is not None:
            faults.append(Fault(parent.origin, f"extends: the environment variable {unset[1]} is not set"))
            continue
        target = path.parent / expanded
        if _place_of(target) in chain or len(chain) > MOST_EXTENDED:
            faults.append(Fault(parent.origin, f"extends: {name} leads back to a file that extends it"))
            continue
        values, found = read_config_file(target, chain)
        below.update(_as_seen_from(path.parent, target.parent, values))
        faults += found
    return below, faults


def _compose(text: str, place: str) -> tuple[yaml.MappingNode | None, list[Fault]]:
    import yaml

    class TextLoader(yaml.SafeLoader):
        """A loader whose plain values are text, but for null."""

        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  the name is PyYAML's

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.composer.ComposerError(
                    None,
                    None,
                    "anchors and aliases (&, *) are not read; use extends:",
                    self.peek_event().start_mark,  # type: ignore[no-untyped-call]
                )
            return super().compose_node(parent, index)

    TextLoader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
    loader = None
    try:
        loader = TextLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        where = f"{place} line {mark.line + 1}" if mark is not None else place
        # The parser's own words name tokens; the line is what helps.
        return None, [Fault(where, f"this is not YAML that can be read: {fault.problem or fault.context}")]
    except (yaml.YAMLError, RecursionError) as fault:
        return None, [Fault(place, f"this is not YAML that can be read: {str(fault).splitlines()[0]}")]
    finally:
        if loader is not None:
            loader.dispose()
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _NULL):
        return None, []
    if not isinstance(root, yaml.MappingNode):
        return None, [
            Fault(f"{place} line {root.start_mark.line + 1}", "expected sections or keys with values (bin: 5ms)")
        ]
    return root, []


def _values_of(root: yaml.MappingNode, place: str) -> tuple[dict[str, Source], list[Fault]]:
    import yaml

    keys, sections = all_keys(), section_kinds()
    values: dict[str, Source] = {}
    faults: list[Fault] = []
    lines: dict[str, int] = {}

    def put(name: str, node: yaml.Node, line: int, section: str | None) -> None:
        where = f"{place} line {line}"
        known = (
            [*sections, EXTENDS, *keys] if section is None else [k.name for k in keys.values() if k.section == section]
        )
        if name not in known:
            faults.append(Fault(where, _unknown(name, section, known), key=name))
        elif name in lines:
            faults.append(Fault(where, f"{name} is given twice (first on line {lines[name]})", key=name))
        else:
            lines[name] = line
            value, fault = _plain(node)
            if fault is not None:
                faults.append(Fault(where, f"{name}: {fault}", key=name))
            else:
                values[name] = Source(value, where)

    seen_sections: dict[str, int] = {}
    for name, node, line in _pairs(root, place, faults):
        if name not in sections:
            put(name, node, line, None)
            continue
        if name in seen_sections:
            faults.append(
                Fault(f"{place} line {line}", f"section {name} is given twice (first on line {seen_sections[name]})")
            )
            continue
        seen_sections[name] = line
        if isinstance(node, yaml.MappingNode):
            for inner, value, inner_line in _pairs(node, place, faults):
                put(inner, value, inner_line, name)
        elif not (isinstance(node, yaml.ScalarNode) and node.tag == _NULL):
            some = next(key.name for key in keys.values() if key.section == name)
            faults.append(
                Fault(f"{place} line {line}", f"{name} is a section; its keys stand below it, indented ({some}: …)")
            )
    return values, faults


def _pairs(mapping: yaml.MappingNode, place: str, faults: list[Fault]) -> list[tuple[str, yaml.Node, int]]:
    import yaml

    pairs = []
    for key, value in mapping.value:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode):
            # A key may be written like its flag, with a dash.
            pairs.append((key.value.strip().replace("-", "_"), value, line))
        else:
            faults.append(Fault(f"{place} line {line}", "a key must be one word"))
    return pairs


def _plain(node: yaml.Node, depth: int = 0) -> tuple[Any, str | None]:
    """The text, None, list or mapping that a node holds; the second is a fault."""
    import yaml

    if node.tag not in _KNOWN_TAGS:
        return None, f"the tag {node.tag.removeprefix(_TAGS)} is not read; write the value plainly"
    if isinstance(node, yaml.ScalarNode):
        return (None if node.tag == _NULL else node.value), None
    if depth == 2:  # an interval as a pair in a list is the deepest there is
        return None, "lists are nested too deeply"
    if isinstance(node, yaml.SequenceNode):
        items = [_plain(item, depth + 1) for item in node.value]
        fault = next((fault for _, fault in items if fault is not None), None)
        return [value for value, _ in items], fault
    pairs: dict[str, Any] = {}
    for key, item in node.value:
        value, fault = _plain(item, depth + 1)
        if fault is not None:
            return None, fault
        if not isinstance(key, yaml.ScalarNode) or key.value in pairs:
            return None, f"line {key.start_mark.line + 1}: each key must be one word and stand once"
        pairs[key.value] = value
    return pairs, None


def _unknown(name: str, section: str | None, known: list[str]) -> str:
    keys = all_keys()
    if section is not None and name in keys:
        return f"{name} belongs in the section {keys[name].section}, not in {section}"
    guess = nearest(name, known) or nearest(name, keys)
    place = "" if section is None else f" in the section {section}"
    if guess is None:
        shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
        return f"there is no key {name!r}{place}; there are {shown}"
    elsewhere = (
        f" (in the section {keys[guess].section})"
        if section and guess in keys and keys[guess].section != section
        else ""
    )
    return f"there is no key {name!r}{place}; did you mean {guess!r}{elsewhere}?"
