"""Options that several commands share: the settings as flags, and the common ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from spikefit.addresses import is_address
from spikefit.cli.flag_table import FLAGS
from spikefit.cli.flags import Flag
from spikefit.cli.guard import Session
from spikefit.errors import UsageError
from spikefit.machine import place_in_team

Function = TypeVar("Function", bound=Callable[..., Any])

_HEADINGS = {
    "recording": "Recording",
    "model": "Model",
    "gradient": "Gradient",
    "fit": "Fit",
    "run": "Run",
    "simulate": "Network",
    "batch": "Batch",
    "slurm": "Slurm",
    "pvae": "Latents",
}


class SettingOption(click.Option):
    """A flag that is a setting; what is not given stays None, so that files and the environment can speak.

    Args:
        flag: the setting.
    """

    def __init__(self, flag: Flag) -> None:
        self.flag = flag
        name = "--" + flag.name.replace("_", "-")
        default = flag.default_text or "none"
        # Values are checked by the configuration, all at once; click checks only words out of a few.
        kinds: dict[str, Any] = {
            "type": click.Choice(flag.choices) if flag.choices else click.STRING,
            "metavar": None if flag.choices else flag.metavar,
            "multiple": flag.is_list,
        }
        if flag.is_switch:
            kinds, default = {"is_flag": True}, "on" if flag.default_text == "true" else "off"
        more = "may be repeated; " if flag.is_list else ""
        super().__init__(
            [f"{name}/--no-{name[2:]}" if flag.is_switch else name, flag.name],
            default=None,
            help=f"{flag.help}  [{more}default: {default}]",
            show_default=False,
            **kinds,
        )


class SpikefitCommand(click.Command):
    """A command whose help groups the flags by the section of the configuration they belong to.

    While it runs, what libraries have to say goes to the log.
    """

    def invoke(self, ctx: click.Context) -> Any:
        from spikefit.cli.quiet import quiet_libraries

        if self.name != "infer" and place_in_team() is not None:
            raise UsageError(
                f"torchrun started several processes of `spikefit {self.name}`, which cannot share its work.",
                hint="call it without torchrun; `spikefit infer` alone shares a fit",
            )
        with quiet_libraries(ctx.find_object(Session) or Session()):
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            heading = "Options"
            if isinstance(parameter, SettingOption):
                heading = _HEADINGS[parameter.flag.section]
            groups.setdefault(heading, []).append(record)
        # The settings are what people look for; help and the like come last.
        for heading in sorted(groups, key=lambda name: name == "Options"):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])


class SpikefitGroupCommand(SpikefitCommand, click.Group):
    """A command that does its own work when it is called alone, and has commands below it for single questions."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            # A result where the word of a command was meant to come is the likeliest slip.
            shown = name if Path(name).exists() else "RESULT"
            ways = "; ".join(f"`{ctx.command_path} {word} {shown}`" for word in self.commands)
            ctx.fail(
                f"{ctx.command_path} takes no {name!r}: by itself it looks at this computer. With a result it is {ways}."
            )
        return super().resolve_command(ctx, args)


def settings(sections: Iterable[str], also: Sequence[str] = ()) -> Callable[[Function], Function]:
    """Give a command the flags of some sections, and single ones besides.

    Args:
        sections: names of sections.
        also: names of single settings from other sections.
    """
    wanted = set(sections)
    chosen = [flag for flag in FLAGS if flag.section in wanted or flag.name in also]

    def decorate(function: Function) -> Function:
        options = [SettingOption(flag) for flag in chosen]
        # click keeps parameters last to first while decorators pile up.
        function.__click_params__ = [*getattr(function, "__click_params__", []), *reversed(options)]  # type: ignore[attr-defined]
        return function

    return decorate


class RecordingPath(click.Path):
    """A recording on the command line: a path, or the address of a file on the network, which stays text."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A `Path`, or the address as it was typed."""
        return value if is_address(value) else super().convert(value, param, ctx)


def config_option(function: Function) -> Function:
    """-c/--config."""
    return click.option(
        "-c",
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        envvar="SPIKEFIT_CONFIG",
        help="Settings from this YAML file; flags go before it.  [default: none]",
    )(function)


def quiet_and_verbose(function: Function) -> Function:
    """-q/--quiet and -v/--verbose."""

    def remember(ctx: click.Context, _parameter: click.Parameter, value: int) -> int:
        session = ctx.find_object(Session)
        if session is not None:
            session.verbose = value
        return value

    function = click.option(
        "-v",
        "--verbose",
        count=True,
        default=0,
        callback=remember,
        expose_value=False,
        help="Show what libraries warn of, and the traceback of an internal fault.  [default: off]",
    )(function)
    return click.option("-q", "--quiet", is_flag=True, default=False, help="Print nothing but errors.  [default: off]")(
        function
    )


def json_option(what: str) -> Callable[[Function], Function]:
    """--json.

    Args:
        what: what it prints, as the rest of a sentence.
    """
    return click.option("--json", "as_json", is_flag=True, default=False, help=f"Print {what}.  [default: off]")


def overwrite_option(function: Function) -> Function:
    """--overwrite."""
    return click.option(
        "--overwrite", is_flag=True, default=False, help="Replace results that are there.  [default: refuse]"
    )(function)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given on the command line."""
    return {name: value for name, value in values.items() if value is not None and value != ()}
