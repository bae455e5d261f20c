"""`dcu demo`: the whole story on this machine, without hardware."""

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from dcu.cli.answers import EXIT_FAILED, as_json, give_up
from dcu.errors import DcuError, OperatorFault


@click.command()
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Leave database, certificates and logs in this new directory."
)
@as_json
def demo(keep: Path | None, *, as_json: bool) -> None:
    """Tell the whole story on this machine in about a minute: meters, outage, kills, proof, commands.

    Ends with a table of what was proven; exit code 1 if any line of it does not hold.
    """
    try:
        from dcu.demo.play import play
    except ModuleNotFoundError as fault:
        give_up(OperatorFault(f"{fault.name} is not installed", cure="pip install 'dcu[demo]'"), EXIT_FAILED)
    with ExitStack() as stack:
        directory = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dcu-demo-")))
        if directory.exists() and any(directory.iterdir()):
            give_up(OperatorFault("is not empty", place=str(directory), cure="name a new directory"), EXIT_FAILED)
        try:
            report = play(directory.resolve(), quiet=as_json)
        except DcuError as fault:
            give_up(fault, EXIT_FAILED)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    sys.exit(0 if report["held"] else EXIT_FAILED)
