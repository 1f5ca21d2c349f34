"""The flags that are settings, as a table that can be read without the configuration.

Building the models of the configuration takes longer than a person waits for `--help`. So what help and completion
need stands in `flag_table.py`, which is made from the models by `python -m spikefit.cli.flags`; a test holds the two
together. Beside it `default_table.py` has the defaults of what reads a recording, for a command that was given no setting.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Flag(NamedTuple):
    """One setting on the command line; see `spikefit.config.Key`, from which each is made."""

    section: str
    name: str
    help: str
    metavar: str = ""
    default_text: str = ""
    choices: tuple[str, ...] = ()
    is_switch: bool = False
    is_list: bool = False


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
        usual = Flag._field_defaults
        said = {field: value for field, value in flag._asdict().items() if field not in usual or value != usual[field]}
        lines += [f"        {field}={_literal(value)}," for field, value in said.items()]
        lines.append("    ),")
    return "\n".join([*lines, ")", ""])


def default_table_text() -> str:
    """The text of `default_table.py`."""
    from spikefit.config import Config

    config = Config()
    lines = [
        '"""Made by `python -m spikefit.cli.flags` from the models in `spikefit.config`: change those, then make it again."""',
        "",
        "from typing import Any",
        "",
    ]
    for name, section in (("RECORDING", config.recording), ("CHECKS", config.checks)):
        lines.append(f"{name}: dict[str, Any] = {{")
        lines += [f'    "{key}": {_literal_or_empty(value)},' for key, value in section]
        lines += ["}", ""]
    return "\n".join(lines)


def _literal_or_empty(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | tuple | dict):
        return repr(value)
    return _literal(value)


def _literal(value: Any) -> str:
    import json

    if isinstance(value, tuple):
        return "(" + ", ".join(_literal(item) for item in value) + ("," if len(value) == 1 else "") + ")"
    return repr(value) if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    from pathlib import Path

    Path(__file__).with_name("flag_table.py").write_text(table_text(), encoding="utf-8")
    Path(__file__).with_name("default_table.py").write_text(default_table_text(), encoding="utf-8")
