"""`dcu doctor uplink`: walks the way to the broker and says where it stops."""

import sys
from contextlib import closing, suppress
from datetime import tzinfo
from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import EXIT_FAILED, answering, as_json, say
from dcu.cli.holding import Holding, holding_of
from dcu.cli.technician import answer_of, is_running
from dcu.cli.work import config_option
from dcu.clock import BUILT
from dcu.config import Config, load
from dcu.errors import DcuError
from dcu.reading import from_epoch
from dcu.record import Stream, encode_batch
from dcu.uplink import topics
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.doctor import Doctor, Finding, Probe
from dcu.uplink.encoding import encode
from dcu.uplink.tls import known_time
from dcu.wire import connect

_OFFLINE = b'{"online":false}'


@click.group()
def doctor() -> None:
    """Find out where something stops, step by step."""


@doctor.command()
@config_option
@click.option("--wait", "wait_s", type=click.FloatRange(0.1, 300), default=10.0, show_default=True, help="Seconds.")
@as_json
@answering
def uplink(config_file: Path, wait_s: float, *, as_json: bool) -> None:
    """Files, name, TCP, TLS, CONNACK, publish, subscribe: where the way to the broker stops, and what to do.

    It uses the box's certificate and the client id <dcu>-doctor, so that the running box is not disturbed. It publishes
    one record that the box holds: one more copy of it harms nobody.
    """
    config = load(config_file, with_keys=False)
    given = config.uplink
    endpoint = Endpoint(given.host, given.port, given.ca, given.certificate, given.key)
    status = _status(config)
    floor = from_epoch(status["time"]["floor"]) if status else BUILT
    probe = _probe(config, config_file)
    examined = Doctor(endpoint, config.dcu.id, probe, lambda: known_time(floor), wait_s)
    findings = []
    for finding in examined.examine():
        findings.append(finding)
        if not as_json:
            click.echo(_line(finding))
    answer = {
        "ok": all(finding.ok for finding in findings),
        "stops_at": next((finding.step for finding in findings if not finding.ok), None),
        "broker": endpoint.place,
        "client_id": examined.client_id,
        "steps": [_plain(finding) for finding in findings],
        "box": {"uplink": status["uplink"], **status["link"]} if status else None,
    }
    say(answer, as_json=as_json, text=lambda a: _end(a["box"], config.dcu.timezone, ok=a["ok"]))
    if not answer["ok"]:
        sys.exit(EXIT_FAILED)


def _probe(config: Config, config_file: Path) -> Probe:
    """A record that the box holds, delivered already if one is; presence where it holds none."""
    with suppress(DcuError):
        _, holding = holding_of(config_file)
        with closing(holding):
            batch = _one_record(holding)
        if batch is not None:
            stream, encoded = batch
            return Probe(topics.up(config.dcu.id, stream), *encode(encoded, config.uplink.encoding))
    return Probe(topics.state(config.dcu.id), _OFFLINE, "application/json")


def _one_record(holding: Holding) -> tuple[Stream, bytes] | None:
    held = [each for each in holding.stock()["streams"] if each["held"]]
    for each in sorted(held, key=lambda each: not each["delivered"]):
        stream = Stream(each["stream"])
        page = holding.page(stream, max(each["floor"], each["delivered"] - 1))
        if page["records"]:
            n, _, digest, body = page["records"][0]
            layouts = {digest: page["layouts"][digest.hex()]} if digest else {}
            return stream, encode_batch(page["dcu"], page["epoch"], stream, n, layouts, [body])
    return None


def _status(config: Config) -> dict[str, Any] | None:
    """What the running field process says; None where it does not run."""
    if not is_running(config):
        return None
    with closing(connect(config.dcu.run_dir / "field.sock")) as wire:
        answer: dict[str, Any] = answer_of(wire, {"ask": "status"})
    return answer


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "step": finding.step,
        "ok": finding.ok,
        "text": finding.text,
        "cure": finding.cure,
        "took_ms": finding.took_ms,
    }


def _line(finding: Finding) -> str:
    mark = "ok  " if finding.ok else "STOP"
    cure = f"; {finding.cure}" if finding.cure else ""
    return f"{mark} {finding.step:<9} {finding.text}{cure} ({finding.took_ms} ms)"


def _end(box: dict[str, Any] | None, zone: tzinfo, *, ok: bool) -> str:
    lines = ["the way to the broker is open" if ok else "it stops there"]
    if box is None:
        lines.append("the box itself: field does not run")
        return "\n".join(lines)
    lines.append(f"the box itself: {box['uplink']}")
    last = box["last_document"]
    if last is None:
        lines.append("no command has arrived since field was started: only one that does shows that they can")
    else:
        code = f" {last['code']}" if last["code"] else ""
        at = from_epoch(last["at"]).astimezone(zone)
        lines.append(f"the last command arrived on {at:%Y-%m-%d at %H:%M} and was {last['status']}{code}")
    return "\n".join(lines)
