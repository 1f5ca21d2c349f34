"""The command line: each command is a shell round a function that a script can call as well."""

from spikefit.cli.main import main

__all__ = ["main"]
