"""The command `spikefit`: it knows the names of its commands and loads the one that is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from spikefit.cli.guard import OutputClosed, Session, run_guarded

# The sentences stand here as well as in the commands' own help, so that `spikefit --help` loads none of them.
COMMANDS = {
    "inspect": "Show what a recording holds, what would be dropped and why.",
    "convert": "Write a clean copy of a recording: kept units, chosen time, seconds.",
    "infer": "Find the connections between the units of a recording.",
    "compare": "Put results side by side: scores, edges in common, hidden units.",
    "recover": "Simulate from a fit, fit again, and report what this recording can resolve.",
    "batch": "Fit many recordings, or many settings, here or on a cluster.",
    "pvae": "Give a recording a spiking latent code, and score it.",
    "export": "Write a result for other programs.",
    "report": "Make the page about a result again, one HTML file that needs nothing else.",
    "simulate": "Make a recording of a network whose connections are known.",
    "config": "Write, check and show settings.",
    "doctor": "Check this computer and this installation.",
}

EPILOG = """\b
The main job:         spikefit infer session.nwb -o results/
Completion in bash:   eval "$(_SPIKEFIT_COMPLETE=bash_source spikefit)"
Completion in zsh:    eval "$(_SPIKEFIT_COMPLETE=zsh_source spikefit)"
Completion in fish:   _SPIKEFIT_COMPLETE=fish_source spikefit | source
To keep completion, put that line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish.

\b
Exit codes: 0 done, 1 internal fault, 2 usage, 3 config invalid, 4 input unreadable or no usable
units, 5 device or memory, 6 not converged (--strict), 10 some jobs of a batch failed, 75 stopped
with a checkpoint (run again with --resume), 130 interrupted.
"""


class SpikefitGroup(click.Group):
    """A group that loads a command when it is called, and ends every run with a message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"spikefit.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from spikefit.errors import nearest

            guess = nearest(name, COMMANDS)
            known = f"did you mean {guess!r}?" if guess else f"there are {', '.join(COMMANDS)}."
            ctx.fail(f"there is no command {name!r}; {known}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return commands or click.Command.shell_complete(self, ctx, incomplete)

    # click would end a broken pipe with an exit code of its own; help is printed while the context is made.
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except BrokenPipeError as gone:
            raise OutputClosed from gone

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as gone:
            raise OutputClosed from gone

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        session = extra.setdefault("obj", Session())

        def work() -> Any:
            return super(SpikefitGroup, self).main(
                args,
                prog_name or "spikefit",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )

        if not standalone_mode:
            return work()
        raise SystemExit(run_guarded(work, session))


@click.command(
    cls=SpikefitGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="spikefit", message="spikefit %(version)s")
def cli() -> None:
    """Find the connections between neurons in a recording, the neurons it did not record included."""


def main() -> None:
    """Run the command line; never returns."""
    cli.main(prog_name="spikefit")
