"""`dcu scan`: who answers on a line, and the configuration that names them."""

import ipaddress
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import click

from dcu.cli.answers import EXIT_SOME_METERS, answering, as_json, say
from dcu.cli.direct import CONNECT_WITHIN_S, Wire, endpoint, line_options, wire_of, zone_of
from dcu.cli.stanza import stanza
from dcu.cli.technician import ask, is_running
from dcu.cli.work import config_option
from dcu.clock import SystemClock
from dcu.config import BusConfig, Config, load
from dcu.config.load import BAUDS
from dcu.config.model import BusKind
from dcu.drivers.scan import PHYSICAL
from dcu.errors import LinkLost, OperatorFault
from dcu.field.direct import DirectLine
from dcu.field.scan_errand import survey_of
from dcu.field.survey import Found, ask_who

ADDRESSES: Final = "0,16-127"
HOSTS_AT_MOST: Final = 1024
_USUAL: Final = (9600, 19200, 4800, 2400, 1200, 38400)
"""Speeds that are tried when nobody answers at the line's own."""

Answer = dict[str, Any]
Progress = Callable[[Mapping[str, Any]], None]


@click.command()
@click.argument("bus", required=False)
@config_option
@line_options
@click.option("--addresses", help=f"As 17, or 16-127; without it {ADDRESSES}, where 0 is the logical device alone.")
@click.option(
    "--bauds", help="Speeds to try, as 9600,4800; without it usual ones, if nobody answers at the line's own."
)
@click.option("--all-bauds", is_flag=True, help="Try the other speeds though somebody was found.")
@click.option("--hosts", multiple=True, metavar="HOST[:PORT]|NET", help="TCP endpoints, or a network as 10.1.2.0/28.")
@click.option("--mode-e", is_flag=True, help="An optical head: sign on at 300 baud.")
@click.option("--server-sap", type=click.IntRange(1, 16383), default=1, show_default=True, help="Logical device.")
@click.option("--answer-ms", type=click.IntRange(20, 10000), default=300, show_default=True, help="Wait for an answer.")
@click.option("--area", default="", help="Area of the signed policy, for the configuration.")
@click.option("--timezone", default="Asia/Kolkata", show_default=True, help="Of the meters' clocks.")
@as_json
@answering
def scan(bus: str | None, config_file: Path, *, as_json: bool, **options: Any) -> None:
    """Look for meters on BUS of the configuration, or on a line named by --port, --tcp or --hosts.

    A serial line of a running box is borrowed: its polling pauses for two seconds at a time, relay commands go first.
    Meters on TCP are asked over a connection beside the box's. Speeds, then an optical head, are tried where nobody
    answers; behind TCP first the wrapper, then HDLC.
    Ends with 4 where an address could not be told who is there.
    """
    wire = wire_of(options)
    if (bus is None) == (wire is None and not options["hosts"]):
        raise click.UsageError("name a BUS, or a line with --port, --tcp or --hosts")
    config = load(config_file, with_keys=False) if bus else None
    line = _bus(config, bus) if config and bus else None
    show = _quiet if as_json else _shown
    if (wire or line) and not options["hosts"] and not _is_wrapper(wire, line):
        answer = _on_hdlc(wire, config, line, options, show)
    else:
        answer = _scan_hosts(_endpoints(options, wire, config, line), options, show)
    name, baud = (line.name, line.baud) if line else (bus or "line", wire.baud if wire and wire.port else 0)
    answer |= _to_paste(answer["found"], config, name, baud, options["area"])
    say(answer, as_json=as_json, text=_text)
    if any(each["condition"] != "meter" for each in answer["found"]):
        sys.exit(EXIT_SOME_METERS)


def _bus(config: Config, name: str) -> BusConfig:
    for bus in config.buses:
        if bus.name == name:
            return bus
    raise OperatorFault(f"no bus {name!r}", place=str(config.path), cure=f"there are: {_names(config)}")


def _names(config: Config) -> str:
    return ", ".join(bus.name for bus in config.buses)


# ---- a line of HDLC -------------------------------------------------------------------------------------------------


def _on_hdlc(
    wire: Wire | None, config: Config | None, line: BusConfig | None, options: dict[str, Any], show: Progress
) -> Answer:
    """Knock; where nobody answers at any speed of a serial line, it may be an optical head, which has to be woken."""

    def look(chosen: Mapping[str, Any]) -> Answer:
        if wire is None and config and line and line.port and is_running(config):
            return _borrowed(config.path, _request(chosen, line.baud) | {"bus": line.name}, show)
        return _swept(_wires(wire, config, line), chosen, show)

    answer = look(options)
    is_serial = bool(wire.port if wire else line and line.port)
    whole = not (options["addresses"] or options["bauds"] or options["mode_e"])
    if answer["found"] or not is_serial or not whole:
        return answer
    optical = look(options | {"mode_e": True})
    return {"found": optical["found"], "notes": [*answer["notes"], *optical["notes"]]}


def _request(options: Mapping[str, Any], baud: int) -> dict[str, Any]:
    return {
        "addresses": addresses(options["addresses"] or ("0" if options["mode_e"] else ADDRESSES)),
        "bauds": _bauds(options["bauds"], baud),
        "all_bauds": options["all_bauds"],
        "server_sap": options["server_sap"],
        "answer_ms": options["answer_ms"],
        "mode_e": options["mode_e"],
    }


def addresses(text: str) -> list[int]:
    """Of `0,16-127`. Raises UsageError."""
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise click.UsageError(f"{part!r} is no address: write 17, or 16-127, or 0,16-127")
        found += range(int(first), int(last or first) + 1)
    if not found or any(each != 0 and each not in PHYSICAL for each in found):
        raise click.UsageError("addresses are 0, or 16 to 16383")
    return list(dict.fromkeys(found))


def _bauds(text: str | None, own: int) -> list[int]:
    if not own:
        return []
    if text is None:
        return [baud for baud in _USUAL if baud != own]
    words = text.replace(" ", "").split(",")
    if not all(word.isdecimal() and int(word) in BAUDS for word in words):
        raise click.UsageError(f"speeds are some of {', '.join(map(str, BAUDS))}")
    return [int(word) for word in words]


def _borrowed(config_file: Path, request: dict[str, Any], show: Progress) -> Answer:
    """Through the running field process, slice by slice."""
    begun = ask(config_file, {"ask": "scan", **request})
    while True:
        answer = ask(config_file, {"ask": "scan-more", "scan": begun["scan"]})
        show(answer["progress"])
        if answer["over"]:
            return {"found": answer["found"], "notes": answer["notes"]}


def _is_wrapper(wire: Wire | None, line: BusConfig | None) -> bool:
    return wire.wrapper if wire else line is not None and line.kind is BusKind.WRAPPER


def _wires(wire: Wire | None, config: Config | None, line: BusConfig | None) -> list[Wire]:
    """Lines to be opened here: the one that is named, the bus's port, or its TCP endpoints with HDLC behind them."""
    if wire:
        return [wire]
    if line is None or config is None:
        return []
    if line.port:
        return [Wire(port=line.port, baud=line.baud)]
    hosts = dict.fromkeys((meter.host, meter.port) for meter in config.meters_on(line.name))
    return [Wire(host=host, tcp_port=port) for host, port in hosts]


def _swept(wires: Sequence[Wire], options: Mapping[str, Any], show: Progress) -> Answer:
    """Lines that are opened here, one after the other."""
    answer: Answer = {"found": [], "notes": []}
    for wire in wires:
        part = _opened(wire, options, show)
        place = {"host": wire.host, "port": wire.tcp_port, "kind": BusKind.HDLC_TCP.value} if wire.host else {}
        answer["found"] += [{**each, **place} for each in part["found"]]
        answer["notes"] += [note for note in part["notes"] if note not in answer["notes"]]
    return answer


def _opened(wire: Wire, options: Mapping[str, Any], show: Progress) -> Answer:
    baud = wire.baud if wire.port else 0
    survey = survey_of(_request(options, baud), baud, zone_of(options), SystemClock())
    ended_at: int | None = None
    while True:
        at = survey.sweep.done
        try:
            link = wire.open()
        except LinkLost as fault:
            if ended_at is None:
                raise
            survey.notes.append(f"not looked at from address {survey.progress()['address']} on: {fault.cause}")
            break
        try:
            while survey.step(link):
                show(survey.progress())
            break
        except LinkLost as fault:  # a gateway may end a connection with each link
            if survey.sweep.done == at == ended_at:
                survey.pass_over(fault.cause)
            ended_at = survey.sweep.done
        finally:
            link.close()
    return {"found": survey.found, "notes": survey.notes}


# ---- meters on TCP --------------------------------------------------------------------------------------------------


def _endpoints(
    options: Mapping[str, Any], wire: Wire | None, config: Config | None, line: BusConfig | None
) -> list[tuple[str, int]]:
    """Hosts and ports that are named, else those of the configured meters of the bus."""
    found = [(wire.host, wire.tcp_port)] if wire else []
    for text in options["hosts"]:
        found += _network(text)
    if not found and config and line:
        found = [(meter.host, meter.port) for meter in config.meters_on(line.name)]
    if not found:
        raise OperatorFault("no host to ask", cure="name some with --hosts")
    if len(found) > HOSTS_AT_MOST:
        raise OperatorFault(f"{len(found)} hosts", cure=f"name {HOSTS_AT_MOST} at most")
    return list(dict.fromkeys(found))


def _network(text: str) -> list[tuple[str, int]]:
    with suppress(ValueError):
        network = ipaddress.ip_network(text, strict=False)
        if network.num_addresses > HOSTS_AT_MOST:
            raise OperatorFault(f"{text} has {network.num_addresses} hosts", cure=f"name {HOSTS_AT_MOST} at most")
        return [(str(host), endpoint(str(host))[1]) for host in network.hosts()]
    return [endpoint(text)]


def _scan_hosts(endpoints: list[tuple[str, int]], options: Mapping[str, Any], show: Progress) -> Answer:
    """Each endpoint in turn; one that does not answer is no news in a network, and is one where it was named."""
    found: list[Found] = []
    zone, named = zone_of(options), len(endpoints) == 1
    for at, (host, port) in enumerate(endpoints):
        show({"done": at, "total": len(endpoints), "host": host})
        found += _host(host, port, options, zone, named=named)
    return {"found": found, "notes": []}


def _host(host: str, port: int, options: Mapping[str, Any], zone: ZoneInfo, *, named: bool) -> Iterator[Found]:
    wait_s = options["reply_s"] or min(CONNECT_WITHIN_S, max(1.0, 5 * options["answer_ms"] / 1000))
    where: Found = {"address": 0, "baud": 0, "serials": [], "host": host, "port": port, "kind": BusKind.WRAPPER.value}
    wire = Wire(host=host, tcp_port=port, wrapper=True, reply_s=wait_s, connect_s=wait_s)
    try:
        link = wire.open()
    except LinkLost as fault:
        if named:
            yield where | {"condition": "no connection", "note": fault.cause}
        return
    try:
        line = DirectLine(lambda: link, wire.framing, timing=wire.timing, zone=zone, clock=SystemClock())
        found = ask_who(line, 0, options["server_sap"])
    finally:
        link.close()
    others = [] if found["condition"] == "meter" else _hdlc_behind(replace(wire, wrapper=False), options)
    yield from others or [where | found]


def _hdlc_behind(wire: Wire, options: Mapping[str, Any]) -> list[Found]:
    """Who does not speak the wrapper may carry HDLC, as a converter of a serial line does."""
    found: list[Found] = []
    with suppress(LinkLost):
        found = _swept([wire], options, _quiet)["found"]
    return found


# ---- what is said ---------------------------------------------------------------------------------------------------


def _to_paste(found: list[Found], config: Config | None, bus: str, baud: int, area: str) -> Answer:
    """The configuration of those that it does not name yet."""
    known = {meter.serial for meter in config.meters} if config else set()
    for each in found:
        each["configured"] = any(serial in known for serial in each["serials"])
    areas = {meter.area for meter in config.meters} if config else set()
    area = area or (next(iter(areas)) if len(areas) == 1 else "")
    return {"config": stanza([each for each in found if not each["configured"]], bus, area=area, baud=baud)}


def _quiet(_progress: Mapping[str, Any]) -> None:
    """With --json nothing but the answer is said."""


def _shown(progress: Mapping[str, Any]) -> None:
    place = progress.get("host") or f"{progress.get('baud') or ''} address {progress.get('address')}".strip()
    line = f"  {progress['done']} of {progress['total']}: {place}"
    if sys.stderr.isatty():
        click.echo(f"\r{line:<60}", nl=False, err=True)
    elif progress["done"] % 32 == 0:
        click.echo(line, err=True)


def _text(answer: Answer) -> str:
    lines = [""] if sys.stderr.isatty() else []
    for each in answer["found"]:
        place = f"{each['host']}:{each['port']}" if each.get("host") else f"address {each['address']}"
        speed = f" at {each['baud']} baud" if each["baud"] else ""
        who = ", ".join(each["serials"]) or each["condition"]
        lines.append(f"{place}{speed}: {who}" + ("  (configured)" if each["configured"] else ""))
        if each["condition"] == "meter":
            lines.append(f"    {each['make'] or 'unknown make'}; model {each['model']}: {each['why']}")
            lines += [f"    {name} {value}" for name, value in each["said"].items() if name != "serial"]
        else:
            lines.append(f"    {each['condition']}: {each.get('note', '')}")
    lines += answer["notes"]
    if not answer["found"]:
        lines.append("nobody answers")
    if answer["config"]:
        lines += ["", "# to paste into the configuration:", answer["config"]]
    return "\n".join(lines)
