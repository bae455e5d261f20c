"""`dcu headend send` and `pki`: the head-end's side of the broker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dcu.cli.answers import EXIT_TRY_AGAIN, answering, as_json, give_up, say
from dcu.errors import OperatorFault, SessionLost
from dcu.headend.link import HeadEndLink
from dcu.headend.pki import HEAD_END, Authority
from dcu.mailbox import Stop
from dcu.uplink import address
from dcu.uplink.diagnosis import Endpoint

F = TypeVar("F", bound=Callable[..., Any])

_MAX_DOCUMENT = 64 * 1024


def broker_options(command: F) -> F:
    """`--broker`, `--ca`, `--cert`, `--key`."""
    for option in (
        click.option("--key", type=click.Path(path_type=Path), required=True, help="Our private key, PEM."),
        click.option("--cert", type=click.Path(path_type=Path), required=True, help="Our certificate, PEM."),
        click.option("--ca", type=click.Path(path_type=Path), required=True, help="CA of the broker, PEM."),
        click.option("--broker", required=True, metavar="mqtts://HOST[:PORT]", help="The broker."),
    ):
        command = option(command)
    return command


def endpoint(broker: str, ca: Path, cert: Path, key: Path) -> Endpoint:
    """The broker that the options name.

    Raises:
        OperatorFault: not an address of the form mqtts://host:port.
    """
    try:
        host, port = address.parse(broker)
    except ValueError as fault:
        raise OperatorFault(str(fault), place="--broker", cure=f"write {address.FORM}") from None
    return Endpoint(host, port, ca, cert, key)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@broker_options
@click.option("--dcu", "dcu_id", required=True, help="Box that the document is for.")
@as_json
@answering
def send(file: Path, broker: str, ca: Path, cert: Path, key: Path, dcu_id: str, as_json: bool) -> None:
    """Send a signed document to a box. That it is carried out is told only by the box's signed receipt."""
    document = file.read_bytes()
    if len(document) > _MAX_DOCUMENT:
        raise OperatorFault(f"{len(document)} octets are no signed document", place=str(file))
    with HeadEndLink(endpoint(broker, ca, cert, key), Stop(), filters=(), client_id=f"{HEAD_END}-send") as link:
        try:
            link.send(dcu_id, document)
        except SessionLost as fault:
            give_up(fault, EXIT_TRY_AGAIN)
    answer = {"sent": str(file), "dcu": dcu_id, "octets": len(document)}
    say(answer, as_json=as_json, text=lambda a: f"{a['octets']} octets handed to the broker for {a['dcu']}")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--dcu", "dcus", multiple=True, help="Id of a box; may be repeated.")
@click.option("--host", "hosts", multiple=True, default=("localhost", "127.0.0.1"), help="Of the broker; repeatable.")
@as_json
@answering
def pki(directory: Path, dcus: tuple[str, ...], hosts: tuple[str, ...], as_json: bool) -> None:
    """Make a CA and certificates for the broker, the head-end and boxes. For trials: a utility has its own PKI."""
    for name in dcus:
        if not name or "/" in name or name.startswith("."):
            raise OperatorFault(f"{name!r} is no id of a box", place="--dcu")
    authority = Authority(directory)
    made = [authority.server("broker", hosts), authority.client(HEAD_END), *(authority.client(n) for n in dcus)]
    answer = {"ca": str(authority.certificate_file), "certificates": [str(i.certificate) for i in made]}
    say(answer, as_json=as_json, text=lambda a: "\n".join([a["ca"], *a["certificates"]]))
