"""The `dcu` command.

Exit codes: 0 ok, 1 failed, 2 usage, 3 config invalid, 4 some meters failed, 5 refused, 75 try again later.
"""

import importlib
from typing import Any

import click

from dcu import __version__

COMMANDS = {
    "backlog": "dcu.cli.backlog",
    "check": "dcu.cli.work",
    "clock": "dcu.cli.clock",
    "demo": "dcu.cli.demo",
    "doctor": "dcu.cli.doctor",
    "export": "dcu.cli.export",
    "field": "dcu.cli.work",
    "headend": "dcu.cli.headend",
    "journal": "dcu.cli.journal",
    "keys": "dcu.cli.keys",
    "lock": "dcu.cli.lock",
    "meters": "dcu.cli.technician",
    "read": "dcu.cli.read",
    "run": "dcu.cli.work",
    "scan": "dcu.cli.scan",
    "sim": "dcu.cli.sim",
    "status": "dcu.cli.technician",
    "unlock": "dcu.cli.lock",
    "uplink": "dcu.cli.work",
}
"""Command by name; each module is imported when its command is used, since a Pi takes a second for all of them."""


class Commands(click.Group):
    """A group that finds its commands in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in order."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: Any = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dcu")
def main() -> None:
    """Data concentrator unit: read meters, keep and deliver readings, switch only with authority."""
