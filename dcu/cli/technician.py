"""`dcu status`, `dcu meters`: what a technician asks the running field process, through `field.sock`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import EXIT_SOME_METERS, EXIT_TRY_AGAIN, answering, as_json, give_up, say
from dcu.cli.work import config_option
from dcu.config import Config, load
from dcu.errors import OperatorFault, SocketFault
from dcu.reading import from_epoch
from dcu.wire import Wire, connect

ANSWER_WITHIN_S = 90.0
_CERTIFICATE_DAYS = 60


def ask(config_file: Path, question: dict[str, Any]) -> Any:
    """The field process's answer.

    Raises:
        OperatorFault: it refused: place, cause and cure are its own.
    """
    with _field(config_file) as wire:
        return answer_of(wire, question)


def ask_pages(config_file: Path, question: dict[str, Any], held: Sequence[Any] = ()) -> list[Any]:
    """All pages of an answer that is a list, behind what is `held` of it already. Raises as `ask`."""
    found = list(held)
    with _field(config_file) as wire:
        while page := answer_of(wire, question | {"from": len(found)}):
            found += page
    return found


@contextmanager
def _field(config_file: Path) -> Iterator[Wire]:
    try:
        wire = connect(load(config_file, with_keys=False).dcu.run_dir / "field.sock")
    except SocketFault as fault:
        give_up(fault, EXIT_TRY_AGAIN)
    try:
        yield wire
    finally:
        wire.close()


def answer_of(wire: Wire, question: dict[str, Any]) -> Any:
    """The answer to one question of several on a wire. Raises as `ask`."""
    try:
        wire.send(question)
        reply = wire.receive(ANSWER_WITHIN_S)
    except SocketFault as fault:
        give_up(fault, EXIT_TRY_AGAIN)
    if "refused" in reply:
        refused = reply["refused"]
        raise OperatorFault(str(refused["cause"]), place=str(refused["place"]), cure=str(refused["cure"]))
    return reply["answer"]


def is_running(config: Config) -> bool:
    """Whether the field process answers."""
    try:
        connect(config.dcu.run_dir / "field.sock").close()
    except SocketFault:
        return False
    return True


@click.command()
@config_option
@as_json
@answering
def status(config_file: Path, *, as_json: bool) -> None:
    """One screen: the box, its backlog, its connection, each bus and meter."""
    answer = ask(config_file, {"ask": "status"})
    answer["meters"] = ask_pages(config_file, {"ask": "conditions"}, answer["meters"])
    say(answer, as_json=as_json, text=_status_text)
    if any(part["condition"] != "ok" for part in [*answer["meters"], *answer["buses"]]):
        sys.exit(EXIT_SOME_METERS)


@click.command()
@config_option
@click.argument("meter", required=False)
@as_json
@answering
def meters(config_file: Path, meter: str | None, *, as_json: bool) -> None:
    """The meters, and for each profile what is held, what is missing, and what never comes and why.

    With METER, a serial, of that one alone, and with each span of time that is not held.
    """
    answer = ask_pages(config_file, {"ask": "meters"} | ({"meter": meter} if meter else {}))
    say(answer, as_json=as_json, text=lambda a: "\n".join(_meter_lines(m) for m in a))


def _status_text(answer: dict[str, Any]) -> str:
    lines = [f"{answer['dcu']}  epoch {answer['epoch']}  version {answer['version']}"]
    if answer.get("store", "ok") != "ok":
        lines.append(f"store: nothing can be stored now: {answer['store']}")
    lines += clock_lines(answer["time"])[: 2 if answer["time"]["cure"] else 1]
    lines.append(f"uplink: {answer['uplink']}{_certificate(answer['link'])}")
    for stream, held in answer["streams"].items():
        lines.append(f"  {stream:<8} {held['last'] - held['delivered']:>7} waiting of {held['last']}")
    lines += [f"bus {b['name']}: {b['condition']}" for b in answer["buses"]]
    lines += [f"meter {m['serial']:<16} {m['condition']}{_drift(m['ahead_s'])}" for m in answer["meters"]]
    refused = {name: n for name, n in answer["counts"].items() if name.startswith("refused.")}
    if refused:
        lines.append("refused: " + ", ".join(f"{name.removeprefix('refused.')} {n}" for name, n in refused.items()))
    return "\n".join(lines)


def clock_lines(time: dict[str, Any]) -> list[str]:
    """The clock's state and why, what to do about it where something is to be done, and the rest."""
    hours, seconds = divmod(time["uptime_s"], 3600)
    return [
        f"clock {time['state']}: {time['text']}",
        *([f"  cure: {time['cure']}"] if time["cure"] else []),
        f"  now {_moment(time['utc'])}, certainly after {_moment(time['floor'])}",
        f"  boot {time['boot']}, {hours} h {seconds // 60} min ago",
        f"  {time['veto']}; their median is {time['meters_ahead_s']:+} s from the box's",
    ]


def _moment(epoch_s: int) -> str:
    return f"{from_epoch(epoch_s):%Y-%m-%d %H:%M:%S} UTC"


def _drift(ahead_s: int | None) -> str:
    return "" if ahead_s is None else f", its clock {ahead_s:+} s"


def _certificate(link: dict[str, Any]) -> str:
    """When a person should care: the first announcement is 60 days before the end."""
    left = link["certificate_days"]
    if left is None or left > _CERTIFICATE_DAYS:
        return ""
    return "; its certificate has expired" if left < 0 else f"; its certificate expires in {left} days"


def _meter_lines(meter: dict[str, Any]) -> str:
    lines = [f"{meter['serial']}  bus {meter['bus']}  address {meter['address']}  area {meter['area']}"]
    for profile in meter["profiles"]:
        lines.append(f"  {profile['profile']:<18} {_held(profile)}")
        lines += [f"    {first} to {last}: {why}" for first, last, why in profile.get("not_held", ())]
    return "\n".join(lines)


def _held(profile: dict[str, Any]) -> str:
    until = profile["until"] or "nothing yet"
    if not profile["period_s"]:
        return f"no intervals; newest row: {until}"
    absent = ", ".join(f"{n} {reason}" for reason, n in sorted(profile["absent"].items()))
    never = f"{sum(profile['absent'].values())} absent{f' ({absent})' if absent else ''}"
    every = f"every {profile['period_s']} s"
    return f"{every}: {profile['held']} held, {profile['missing']} missing, {never}; newest: {until}"
