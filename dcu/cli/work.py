"""`dcu check`, `dcu field`, `dcu uplink`, `dcu run`: the work itself."""

import logging
import sys
from pathlib import Path

import click

from dcu.cli.answers import EXIT_CONFIG, answering, as_json, say
from dcu.config import ConfigMistakes, load

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("/etc/dcu/dcu.toml"),
    show_default=True,
    help="Configuration file.",
)


def log_to_stderr() -> None:
    """Log to stderr: journald or the terminal keeps it."""
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(name)s: %(message)s", stream=sys.stderr)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@as_json
@answering
def check(file: Path, *, as_json: bool) -> None:
    """Tell every fault of a configuration FILE at once: file:line, key, cause, cure."""
    try:
        config = load(file)
    except ConfigMistakes as fault:
        if not as_json:
            raise
        mistakes = [
            {"file": str(m.file), "line": m.line, "key": m.key, "cause": m.cause, "cure": m.cure}
            for m in fault.mistakes
        ]
        say({"ok": False, "mistakes": mistakes}, as_json=True, text=str)
        sys.exit(EXIT_CONFIG)
    answer = {"ok": True, "dcu": config.dcu.id, "buses": len(config.buses), "meters": len(config.meters)}
    say(answer, as_json=as_json, text=lambda a: f"{file}: ok: {a['dcu']}, {a['meters']} meters on {a['buses']} buses")


@click.command()
@config_option
@answering
def field(config_file: Path) -> None:
    """Run the field process: meters, store and relay authority."""
    log_to_stderr()
    config = load(config_file)
    from dcu.field.main import run_field

    sys.exit(run_field(config))


@click.command()
@config_option
@answering
def uplink(config_file: Path) -> None:
    """Run the uplink process: the MQTT connection."""
    log_to_stderr()
    config = load(config_file, with_keys=False)
    from dcu.uplink_main import run_uplink

    sys.exit(run_uplink(config))


@click.command()
@config_option
@answering
def run(config_file: Path) -> None:
    """Run both processes and start a fallen one again: for a bench; on the box systemd does this."""
    log_to_stderr()
    load(config_file)
    from dcu.cli.children import run_children

    command = [sys.executable, "-m", "dcu"]
    option = ["--config", str(config_file)]
    sys.exit(run_children({"field": [*command, "field", *option], "uplink": [*command, "uplink", *option]}))
