"""The flags that are settings, as a table that can be read without the configuration.

Building the models of the configuration takes longer than a person waits for `--help`. So what help and completion
need stands in `flag_table.py`, which is made from the models by `python -m spikefit.cli.flags`; a test holds the two
together.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Flag(NamedTuple):
    """One setting on the command line; see `spikefit.config.Key`, from which each is made."""

    section: str
    name: str
    help: str
    metavar: str
    default_text: str
    choices: tuple[str, ...]
    is_switch: bool
    is_list: bool


def flags_of_config() -> tuple[Flag, ...]:
    """The flags as the models of the configuration have them now."""
    from spikefit.config import all_keys

    return tuple(
        Flag(**{field: getattr(key, field) for field in Flag._fields}) for key in all_keys().values() if key.is_flag
    )


def table_text() -> str:
    """The text of `flag_table.py`."""
    lines = [
        '"""Made by `python -m spikefit.cli.flags` from the models in `spikefit.config`: change those, then make it again."""',
        "",
        "from spikefit.cli.flags import Flag",
        "",
        "FLAGS = (",
    ]
    for flag in flags_of_config():
        lines.append("    Flag(")
        lines += [f"        {field}={_literal(value)}," for field, value in flag._asdict().items()]
        lines.append("    ),")
    return "\n".join([*lines, ")", ""])


def _literal(value: Any) -> str:
    import json

    if isinstance(value, tuple):
        return "(" + ", ".join(_literal(item) for item in value) + ("," if len(value) == 1 else "") + ")"
    return repr(value) if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    from pathlib import Path

    Path(__file__).with_name("flag_table.py").write_text(table_text(), encoding="utf-8")
