"""How every command answers: for a person or, with --json, for a program; and one line for what went wrong."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

import click

from dcu.command import CommandRefused
from dcu.config import ConfigMistakes
from dcu.errors import ConfigFault, DcuError

EXIT_FAILED = 1
EXIT_CONFIG = 3
EXIT_SOME_METERS = 4
EXIT_REFUSED = 5
EXIT_TRY_AGAIN = 75

P = ParamSpec("P")
R = TypeVar("R")

as_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def say(answer: Any, *, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print an answer."""
    click.echo(json.dumps(answer, indent=2, default=str) if as_json else text(answer))


def give_up(fault: DcuError, code: int) -> NoReturn:
    """One line on stderr that names place, cause and cure, and the exit code."""
    click.echo(f"dcu: {fault}", err=True)
    sys.exit(code)


def answering(command: Callable[P, R]) -> Callable[P, R]:
    """Turns expected errors of a command into its answer: configuration 3, refused 5, anything else 1."""

    @wraps(command)
    def answered(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ConfigMistakes as fault:
            for mistake in fault.mistakes:
                click.echo(str(mistake), err=True)
            sys.exit(EXIT_CONFIG)
        except DcuError as fault:
            give_up(fault, _code(fault))

    return answered


def _code(fault: DcuError) -> int:
    if isinstance(fault, ConfigFault):
        return EXIT_CONFIG
    return EXIT_REFUSED if isinstance(fault, CommandRefused) else EXIT_FAILED
