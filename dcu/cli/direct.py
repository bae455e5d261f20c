"""Options of commands that open a line themselves, and the meter that they describe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from dcu.clock import SystemClock
from dcu.config import overrides
from dcu.config.fields import Sheet
from dcu.config.keys import read_secrets
from dcu.config.load import BAUDS
from dcu.config.meter_models import load_models, shipped
from dcu.config.model_tables import MECHANISMS, PROTECTIONS
from dcu.drivers.data_link import LineTiming
from dcu.drivers.lending import Framing
from dcu.drivers.serial_link import SerialLink
from dcu.drivers.tcp_link import TcpLink
from dcu.errors import OperatorFault
from dcu.field.direct import DirectLine
from dcu.meter import AssociationSpec, Meter, MeterModel, MeterSecrets, Purpose, Quirk
from dcu.obis import LogicalName
from dcu.ports import ByteLink

P = ParamSpec("P")
R = TypeVar("R")
W = TypeVar("W")

WRAPPER_PORT: Final = 4059
CONNECT_WITHIN_S: Final = 5.0
FIRMWARE_CLIENT: Final = 80
"""Of IS 15959: it proves itself as the utility setting client does, with a counter of its own."""

_LINE = (
    click.option("--port", "port", help="Serial port: no configuration, no running box."),
    click.option("--baud", type=click.Choice([str(b) for b in BAUDS]), default="9600", show_default=True),
    click.option("--tcp", "tcp", metavar="HOST[:PORT]", help="TCP endpoint in the place of a serial port."),
    click.option("--hdlc", is_flag=True, help="HDLC over TCP; without it the wrapper."),
    click.option("--reply-s", type=click.FloatRange(0.1, 60), help="How long a meter may take to begin its answer."),
)
_METER = (
    click.option("--address", type=click.IntRange(0, 16383), default=0, help="HDLC address; 0: logical device alone."),
    click.option("--client", type=click.IntRange(1, 127), help="Client SAP, as 32."),
    click.option("--secrets", "secrets_file", type=click.Path(path_type=Path), help="TOML file, mode 0600."),
    click.option("--entry", help="Table of the secrets file; without it its only one, or that of --serial."),
    click.option("--serial", default="", help="Serial that the meter must have; without it whoever answers."),
    click.option("--model", help="Meter model; without it by what the secrets have."),
    click.option("--models", type=click.Path(path_type=Path), help="Directory of models beside the shipped ones."),
    click.option("--auth", type=click.Choice(list(MECHANISMS)), help="Authentication mechanism."),
    click.option("--protection", type=click.Choice(list(PROTECTIONS)), help="Of every APDU."),
    click.option("--counter", help="Where the meter publishes the client's counter, or none."),
    click.option("--mode-e", is_flag=True, help="Optical head: sign on at 300 baud first."),
    click.option("--server-sap", type=click.IntRange(1, 16383), help="Logical device."),
    click.option("--timezone", default="Asia/Kolkata", show_default=True, help="Of the meter's clock."),
)


def line_options(command: Callable[P, R]) -> Callable[P, R]:
    """`--port`, `--tcp` and what belongs to them."""
    return _with(command, _LINE)


def meter_options(command: Callable[P, R]) -> Callable[P, R]:
    """What must be known of a meter that no configuration has."""
    return _with(command, _METER)


def _with(command: Callable[P, R], options: tuple[Callable[[Any], Any], ...]) -> Callable[P, R]:
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Wire:
    """A line as the options name it.

    Attributes:
        port, baud: of a serial line; the port is empty on TCP.
        host, tcp_port: of a TCP endpoint.
        wrapper: DLMS wrapper, else HDLC.
        reply_s: until an answer begins; None: the line's own.
        connect_s: until a TCP connection is there.
    """

    port: str = ""
    baud: int = 9600
    host: str = ""
    tcp_port: int = WRAPPER_PORT
    wrapper: bool = False
    reply_s: float | None = None
    connect_s: float = CONNECT_WITHIN_S

    @property
    def timing(self) -> LineTiming:
        """Deadlines of it."""
        first_s = self.reply_s or 3.0
        if self.host:
            return LineTiming.over_tcp(first_octet_s=first_s)
        return LineTiming.at_baud(self.baud, first_octet_s=first_s)

    @property
    def framing(self) -> Framing:
        """Kind of it."""
        if self.port:
            return Framing.HDLC
        return Framing.WRAPPER if self.wrapper else Framing.HDLC_TCP

    def line(self, zone: tzinfo) -> DirectLine:
        """The line, open, for associations. Raises as `open`."""
        return DirectLine(self.open, self.framing, timing=self.timing, zone=zone, clock=SystemClock())

    def open(self) -> ByteLink:
        """Raises BusFault (also where the field process holds the port) or LinkLost."""
        if self.host:
            return TcpLink(self.host, self.tcp_port, self.connect_s)
        return SerialLink(self.port, self.baud)


def wire_of(options: Mapping[str, Any]) -> Wire | None:
    """The line that the options name, or None where they name none. Raises UsageError."""
    port, tcp = options["port"], options["tcp"]
    if port and tcp:
        raise click.UsageError("--port or --tcp, not both")
    if port:
        return Wire(port=port, baud=int(options["baud"]), reply_s=options["reply_s"])
    if not tcp:
        return None
    host, tcp_port = endpoint(tcp)
    return Wire(host=host, tcp_port=tcp_port, wrapper=not options["hdlc"], reply_s=options["reply_s"])


def endpoint(text: str) -> tuple[str, int]:
    """Host and port of `HOST[:PORT]`; an IPv6 host stands in brackets. Raises UsageError."""
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, str(WRAPPER_PORT)
    if not port.isdecimal() or not 0 < int(port) < 1 << 16 or not host:
        raise click.UsageError(f"{text!r} is no endpoint: write HOST or HOST:PORT")
    return host.strip("[]"), int(port)


def zone_of(options: Mapping[str, Any]) -> ZoneInfo:
    """Raises UsageError."""
    try:
        return ZoneInfo(options["timezone"])
    except (ZoneInfoNotFoundError, ValueError):
        raise click.UsageError(f"no time zone {options['timezone']!r}") from None


def meter_of(options: Mapping[str, Any], wire: Wire) -> Meter:
    """The meter that the options describe.

    Raises:
        ConfigFault: the secrets or the models are no good.
        OperatorFault: what is asked cannot be.
    """
    secrets = _secrets(options)
    model = _model(options, secrets)
    return Meter(options["serial"], "direct", model, options["address"], "", secrets, wire.host, wire.tcp_port)


def _secrets(options: Mapping[str, Any]) -> MeterSecrets:
    if options["secrets_file"] is None:
        return MeterSecrets()
    file: Path = options["secrets_file"]
    entries = read_secrets(file)
    wanted = options["entry"] or (options["serial"] if options["serial"] in entries else None)
    if wanted is None and len(entries) == 1:
        return next(iter(entries.values()))
    if wanted not in entries:
        known = ", ".join(entries) or "none"
        raise OperatorFault(f"which entry of {file}?", cure=f"name it with --entry; there are: {known}")
    return entries[wanted]


def _model(options: Mapping[str, Any], secrets: MeterSecrets) -> MeterModel:
    models = dict(shipped()) | (dict(load_models(options["models"])) if options["models"] else {})
    ciphered = bool(secrets.unicast_key and secrets.authentication_key)
    name = options["model"] or ("is15959-1ph" if ciphered else "dlms-generic")
    if name not in models:
        raise OperatorFault(f"no model {name!r}", cure=f"known: {', '.join(models)}")
    base = models[name]
    known = _known_client(options["client"], base, secrets)
    open_to_all = not options["model"] and secrets == MeterSecrets()
    said = dict.fromkeys(overrides.KEYS) | {
        "client": options["client"],
        "mechanism": options["auth"] or ("none" if open_to_all else _name_of(MECHANISMS, known.mechanism)),
        "protection": options["protection"] or _name_of(PROTECTIONS, known.protection),
        "counter": _counter(options, base, secrets),
        "server_sap": options["server_sap"],
        "address_octets": 1 if options["address"] == 0 else None,
        "quirks": [*(q.value for q in base.quirks), Quirk.MODE_E.value] if options["mode_e"] else None,
    }
    sheet = Sheet(Path("options"), "")
    model = overrides.overridden(sheet, (), base, said)
    if sheet.mistakes:
        wrong = sheet.mistakes[0]
        raise OperatorFault(wrong.cause, place=f"--{wrong.key}", cure=wrong.cure)
    return model


def _known_client(client: int | None, model: MeterModel, secrets: MeterSecrets) -> AssociationSpec:
    """How a client proves itself: as the model has it; of one that it has not, as the secrets allow."""
    reader, setting = model.associations[Purpose.READ], model.associations.get(Purpose.SWITCH)
    for spec in model.associations.values():
        if spec.client_sap == client:
            return spec
    proves_more = client == FIRMWARE_CLIENT or (secrets.hls_secret and not secrets.lls_secret)
    return setting if setting and client is not None and proves_more else reader


def _name_of(words: Mapping[str, W], value: W) -> str:
    return next(word for word, each in words.items() if each is value)


def _counter(options: Mapping[str, Any], model: MeterModel, secrets: MeterSecrets) -> LogicalName | bool | None:
    """Where the client's counter stands: of the clients of IS 15959 it follows from the SAP."""
    said, client = options["counter"], options["client"]
    if said == "none":
        return False
    if said is not None:
        return _logical_name(said)
    known = _known_client(client, model, secrets)
    ciphered = known.ciphered and options["protection"] != "none"
    return LogicalName.of(f"0.0.43.1.{client // 16}") if ciphered and client and client % 16 == 0 else None


def _logical_name(text: str) -> LogicalName:
    try:
        return LogicalName.of(text)
    except ValueError as fault:
        raise click.UsageError(str(fault)) from None
