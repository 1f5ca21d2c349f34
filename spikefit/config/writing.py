"""A config as text: the resolved file, a commented file to start from, the schema, the reference page."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from spikefit.config.keys import Key, all_keys, section_kinds
from spikefit.config.sections import Config

_COMMENT_WIDTH = 100
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_.+@/-]*|[0-9]+(\.[0-9]+)?[A-Za-z]+")


def config_yaml(config: Config, origin: Mapping[str, str] | None = None) -> str:
    """The file that gives `config` again, each value with its origin behind it where that is known."""
    lines: list[str] = []
    for section, values in config.to_dict().items():
        lines.append(f"{section}:")
        for name, value in values.items():
            where = f"  # {_one_line(origin[name])}" if origin and name in origin else ""
            lines.append(f"  {name}: {yaml_value(value)}{where}")
    return "\n".join(lines) + "\n"


def commented_yaml() -> str:
    """A file to start from: every key with its meaning and default, commented out."""
    lines = [
        "# Settings of spikefit. Every line that starts with #key shows a default: take the # away to change it.",
        "# Times take a unit (5ms, 0.1s, 2min, 1h); a bare number is seconds.",
        "# Flags and SPIKEFIT_* environment variables go before this file; `spikefit config show -c FILE` tells what holds.",
        "",
        "# extends: lab.yaml   # take everything from another file, and change what is given here",
    ]
    for section, kind in section_kinds().items():
        lines += ["", f"# {_first_line(kind)}", f"{section}:"]
        for key in all_keys().values():
            if key.section == section:
                choices = f" ({', '.join(key.choices)})" if len(key.choices) > 1 else ""
                lines += _comment(f"{key.help}{choices}")
                lines.append(f"  #{key.name}: {yaml_value(_plain_default(key))}")
    return "\n".join(lines) + "\n"


def config_schema() -> dict[str, Any]:
    """The JSON schema of a config file, top-level keys included, for editors and other programs."""
    schema = Config.model_json_schema()
    properties = schema["properties"]
    for section, kind in section_kinds().items():
        definition = schema["$defs"][kind.__name__]
        # An empty section is what remains when every line in it is commented out.
        properties[section] = {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"}, {"type": "null"}]}
        definition["title"] = section
        for name in definition["properties"]:
            properties[name] = {"$ref": f"#/$defs/{kind.__name__}/properties/{name}"}
    properties["extends"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Other config files to start from, relative to this one.",
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "spikefit config"}


def reference_page() -> str:
    """The reference of all settings, as Markdown."""
    lines = [
        "# Settings",
        "",
        "Each key is an environment variable (`drop_unit` is `SPIKEFIT_DROP_UNIT`) and, but for those of `checks`, a flag",
        "(`--drop-unit`). A flag goes before the environment, that before the file, that before the default. Each key is used",
        "once, so in the file it may stand in its section or at the top level. Times take a unit (`5ms`, `0.1s`, `2min`, `1h`);",
        "a bare number is seconds. `extends: lab.yaml` starts from another file.",
        "",
        "    spikefit config init lab.yaml        a commented file with every default",
        "    spikefit config check lab.yaml       all its faults at once, with their lines",
        "    spikefit config show -c lab.yaml     what holds, and where each value came from",
        "",
        "This page is made from the code; so are the help of the flags and the JSON schema.",
    ]
    for section, kind in section_kinds().items():
        lines += [
            "",
            f"## {section}",
            "",
            _first_line(kind),
            "",
            "| key | default | value | meaning |",
            "|---|---|---|---|",
        ]
        for key in all_keys().values():
            if key.section == section:
                default = f"`{key.default_text}`" if key.default_text else "–"
                value = "true, false" if key.is_switch else key.metavar.replace("|", ", ")
                many = " May be given several times, or as a list." if key.is_list else ""
                lines.append(f"| `{key.name}` | {default} | {value} | {key.help}{many} |")
    return "\n".join(lines) + "\n"


def yaml_value(value: Any) -> str:
    """One plain value as YAML on one line, quoted only where it must be."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(yaml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml_text(name)}: {yaml_value(item)}" for name, item in value.items()) + "}"
    return _yaml_text(str(value))


def _yaml_text(text: str) -> str:
    # Bare only what every YAML reader takes for text: words, and numbers with a unit behind them (5ms).
    if _BARE.fullmatch(text) and text.lower() not in ("null", "true", "false", "yes", "no", "on", "off", "y", "n"):
        return text
    return '"' + "".join(_escaped(sign) for sign in text) + '"'


def _escaped(sign: str) -> str:
    """One character inside YAML's double quotes, where some unseen ones would be taken for line ends or refused."""
    if sign in '"\\':
        return "\\" + sign
    if sign.isprintable():
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _plain_default(key: Key) -> Any:
    return Config().to_dict()[key.section][key.name]


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _comment(text: str) -> list[str]:
    return [f"  # {line}" for line in textwrap.wrap(text, _COMMENT_WIDTH)]


def _one_line(text: str) -> str:
    return " ".join(text.split())
