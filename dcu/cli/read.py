"""`dcu read`: a meter's values now, through the running field process, or on a line that is opened here."""

from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import answering, as_json, say
from dcu.cli.direct import Wire, line_options, meter_of, meter_options, wire_of, zone_of
from dcu.cli.technician import ask
from dcu.cli.work import config_option
from dcu.clock import SystemClock
from dcu.field.readout import Question
from dcu.meter import Purpose


@click.command()
@click.argument("words", nargs=-1, metavar="[METER] [WHAT]")
@config_option
@line_options
@meter_options
@as_json
@answering
def read(words: tuple[str, ...], config_file: Path, *, as_json: bool, **options: Any) -> None:
    """Read METER (a serial) now: dcu read METER [WHAT].

    WHAT is instant (the default), load, daily, billing, nameplate, events, events-power and the other logs, clock,
    identity, relay, limiter, modes, balance, or an attribute as 3:1.0.12.7.0/2.

    With --port or --tcp the line is opened here and no configuration is read; METER is left out then:
    dcu read --port /dev/ttyUSB0 --address 17 --client 32 --secrets FILE [WHAT].
    """
    wire = wire_of(options)
    if len(words) > (2 if wire is None else 1) or (wire is None and not words):
        raise click.UsageError("write METER [WHAT], or with --port or --tcp only [WHAT]")
    if wire is None:
        what = words[1] if len(words) == 2 else "instant"
        answer = ask(config_file, {"ask": "read", "meter": words[0], "what": what})
    else:
        answer = _read_directly(wire, options, words[0] if words else "instant")
    say(answer, as_json=as_json, text=_readout_text)


def _read_directly(wire: Wire, options: dict[str, Any], what: str) -> list[dict[str, Any]]:
    """Open the line, ask, and give it back."""
    zone = zone_of(options)
    meter = meter_of(options, wire)
    question = Question(meter, what, zone, SystemClock().now)
    line = wire.line(zone)
    try:
        with line.associate(meter, Purpose.READ) as association:
            return question.ask(association)
    finally:
        line.close()


def _readout_text(answer: list[dict[str, Any]]) -> str:
    lines = []
    for entry in answer:
        if "values" in entry:
            head = "  ".join(entry[key] for key in ("profile", "captured_at", "denied") if key in entry)
            lines += [head] if head else []
            lines += [f"  {_value_text(value)}" for value in entry["values"]]
        else:
            lines.append(_value_text(entry))
    return "\n".join(lines) or "nothing captured yet"


def _value_text(entry: dict[str, Any]) -> str:
    shown = entry.get("denied") or entry.get("time", entry.get("value", entry.get("raw")))
    place = f"{entry['ln'].removesuffix('.255')}/{entry['attr']}"
    text = f"{place:<18} {entry.get('name', ''):<36} {shown} {entry.get('unit', '')}".rstrip()
    if "meaning" in entry:
        text += f"  ({entry['meaning']})"
    if "ahead_s" in entry:
        text += f"  ({_ahead_text(entry['ahead_s'])} {entry['box']})"
    return text


def _ahead_text(ahead_s: int) -> str:
    return f"{abs(ahead_s)} s {'ahead of' if ahead_s >= 0 else 'behind'} the box's"
