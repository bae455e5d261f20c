"""The `dcu` command.

Exit codes: 0 ok, 1 failed, 2 usage, 3 config invalid, 4 some meters failed, 5 refused, 75 try again later.
"""

import click

from dcu import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dcu")
def main() -> None:
    """Data concentrator unit: read meters, keep and deliver readings, switch only with authority."""
