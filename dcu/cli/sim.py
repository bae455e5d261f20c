"""`dcu sim`: virtual meters on a pty and on TCP, until ended."""

import json
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from dcu.sim import ConfigMistake, PtyLine
from dcu.sim.description import EXAMPLE, load

EXIT_FAILED = 1
EXIT_CONFIG = 3


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--example", is_flag=True, help="Print a commented description and end.")
def sim(config: Path | None, *, example: bool) -> None:
    """Run the virtual meters that CONFIG describes; one JSON line on stdout says when and where they are up."""
    if example:
        click.echo(EXAMPLE, nl=False)
        return
    if config is None:
        raise click.UsageError("CONFIG is missing; `dcu sim --example` prints one")
    try:
        what = load(config)
        line = PtyLine(
            what.meters,
            baud=what.baud,
            ledger=what.ledger,
            link=what.link,
            turnaround_ms=what.turnaround_ms,
            noise=what.noise,
            seed=what.seed,
            trace=what.trace,
            echo=what.echo,
            round_trip_ms=what.round_trip_ms,
        )
        for serial, faults in what.link_faults.items():
            for name, value in faults.items():
                setattr(line.meters[serial].faults.link, name, value)
    except ConfigMistake as mistake:
        click.echo(f"dcu: {mistake}", err=True)
        sys.exit(EXIT_CONFIG)
    except OSError as fault:
        click.echo(f"dcu: virtual meters cannot start: {fault}", err=True)
        sys.exit(EXIT_FAILED)

    def end(_number: int, _frame: FrameType | None) -> None:
        line.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    link = line.port if what.link else None
    click.echo(json.dumps({"ready": True, "line": line.pty, "link": link, "tcp": line.tcp, "hdlc_tcp": line.hdlc_tcp}))
    sys.stdout.flush()
    line.run()
