"""`dcu headend listen`: takes what the boxes deliver, each record once, and gives it on as CSV and JSON lines."""

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from dcu.cli.answers import answering
from dcu.cli.headend_mqtt import broker_options, endpoint
from dcu.errors import DcuError, OperatorFault
from dcu.headend.collection import Collection, line
from dcu.headend.holdings import Hole, Item
from dcu.headend.link import ALL_BATCHES, ALL_STATES, HeadEndLink
from dcu.headend.listen import Listener
from dcu.headend.outlets import Outlet, csv_outlet, line_outlet
from dcu.headend.pki import HEAD_END
from dcu.mailbox import Stop
from dcu.uplink.diagnosis import Endpoint

WRITE_EVERY_S: Final = 0.5
LOOK_EVERY_S: Final = 60.0
"""How often holes are looked for while it runs; those that were there at the last look too are told."""

_DAY_S: Final = 86_400
_PATH: Final = click.Path(path_type=Path, dir_okay=False)


@click.command()
@broker_options
@click.option(
    "--state", type=_PATH, default=Path("headend.db"), show_default=True, help="What was taken, for the next run too."
)
@click.option("--csv", "csv_dir", type=click.Path(path_type=Path, file_okay=False), help="CSV files in that directory.")
@click.option("--jsonl", type=_PATH, help="JSON lines, a record each, into that file.")
@click.option("--timezone", default="UTC", show_default=True, help="Of the times in CSV.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many records.")
@click.option("--client-id", default=f"{HEAD_END}-listen", show_default=True, help="With the broker.")
@click.option(
    "--keep-days",
    default=30,
    show_default=True,
    type=click.IntRange(0, 365),
    help="The broker keeps for us while away.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each new record as a JSON line, and the end as one.")
@answering
def listen(broker: str, ca: Path, cert: Path, key: Path, client_id: str, keep_days: int, **wanted: Any) -> None:
    """Take what the boxes deliver, each record once, until interrupted; tell what is missing.

    A record is on the disk (--state) before the broker is told, and goes into each file of --csv and --jsonl exactly
    once, whatever is killed. While this is away the broker keeps what comes, for --keep-days.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname).1s %(name)s: %(message)s", stream=sys.stderr)
    place, stop = endpoint(broker, ca, cert, key), Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ender(stop))
    with Collection(wanted["state"]) as collection:
        outlets = _outlets(collection, wanted["csv_dir"], wanted["jsonl"], _zone(wanted["timezone"]))
        screen = _Screen(wanted["count"], stop, as_json=wanted["as_json"])
        link = _link(place, stop, client_id, keep_days)
        with link:
            link.open()  # a mistake in the options is told at once
            listener = Listener(link, collection, screen.note, screen.presence)
            _run(listener, outlets, screen, stop)
        screen.end(listener, collection.holes())


def _link(place: Endpoint, stop: Stop, client_id: str, keep_days: int) -> HeadEndLink:
    filters = (ALL_BATCHES, ALL_STATES)
    return HeadEndLink(place, stop, filters=filters, client_id=client_id, expiry_s=keep_days * _DAY_S)


def _run(listener: Listener, outlets: Sequence[Outlet], screen: "_Screen", stop: Stop) -> None:
    """Listen in a thread and write here. Raises what ended either."""
    ended: list[DcuError] = [
        OperatorFault("the listener fell: see above", cure="tell its developers; nothing that was kept is lost")
    ]

    def loop() -> None:
        try:
            listener.run(stop)
            ended.clear()
        except DcuError as fault:
            ended[0] = fault
        finally:
            stop.set()

    thread = threading.Thread(target=loop, name="listener", daemon=True)
    thread.start()
    try:
        look_s = time.monotonic() + LOOK_EVERY_S
        while not stop.wait(WRITE_EVERY_S):
            for outlet in outlets:
                outlet.flush()
            if time.monotonic() > look_s:
                look_s = time.monotonic() + LOOK_EVERY_S
                screen.tell_holes(listener.holes())
    finally:
        stop.set()
        thread.join(10.0)
    for outlet in outlets:
        outlet.flush()
    if ended:
        raise ended[0]


def _outlets(collection: Collection, csv_dir: Path | None, jsonl: Path | None, zone: ZoneInfo) -> list[Outlet]:
    csv = [csv_outlet(collection, csv_dir, zone)] if csv_dir is not None else []
    return csv + ([line_outlet(collection, jsonl)] if jsonl is not None else [])


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as fault:
        raise OperatorFault(f"no time zone {name[:64]!r}", place="--timezone", cure="as Asia/Kolkata") from fault


def _ender(stop: Stop) -> Any:
    def end(_number: int, _frame: FrameType | None) -> None:
        # not in the signal's own frame: the main thread may hold the lock that waking sleepers needs
        threading.Thread(target=stop.set, daemon=True).start()

    return end


class _Screen:
    """Prints what comes, counts it, and ends the loop when there is enough."""

    def __init__(self, count: int | None, stop: Stop, *, as_json: bool) -> None:
        self.records = 0
        self._count = count
        self._stop = stop
        self._as_json = as_json
        self._known: set[Hole] = set()
        self._told: set[Hole] = set()

    def note(self, item: Item) -> None:
        """One more record."""
        self.records += 1
        click.echo(line(item).decode().rstrip("\n") if self._as_json else _words(item))
        if self._count is not None and self.records >= self._count:
            self._stop.set()

    def presence(self, dcu: str, state: Mapping[str, Any]) -> None:
        """A box came or went."""
        words = f"online, version {state.get('version')}, epoch {state.get('epoch')}" if state["online"] else "offline"
        click.echo(f"{dcu}: {words}", err=True)

    def tell_holes(self, holes: Sequence[Hole]) -> None:
        """Holes that were there at the last look too, once each."""
        for hole in holes:
            if hole in self._known and hole not in self._told:
                self._told.add(hole)
                click.echo(_hole(hole), err=True)
        self._known = set(holes)

    def end(self, listener: Listener, holes: Sequence[Hole]) -> None:
        """What came, and what is missing."""
        if self._as_json:
            places = [
                {
                    "dcu": hole.series.dcu,
                    "epoch": hole.series.epoch,
                    "stream": hole.series.stream.value,
                    "first": hole.first,
                    "last": hole.last,
                }
                for hole in holes
            ]
            counts = {"taken": self.records, "repeated": listener.repeated, "malformed": listener.malformed}
            click.echo(json.dumps({"end": {**counts, "held": listener.count(), "holes": places}}))
            return
        for hole in holes:
            click.echo(_hole(hole), err=True)
        words = f"{self.records} records taken, {listener.repeated} repeated, {listener.malformed} malformed, "
        click.echo(f"{words}{listener.count()} held in all", err=True)


def _hole(hole: Hole) -> str:
    series = hole.series
    return f"missing: {series.dcu} epoch {series.epoch} {series.stream.value} {hole.first}..{hole.last}"


def _words(item: Item) -> str:
    record, series = item.record, item.series
    facts = [str(record[name]) for name in ("kind", "meter", "profile", "text") if record.get(name)]
    rows = record.get("rows")
    facts += [f"{len(rows)} rows"] if isinstance(rows, list) else []
    return f"{series.dcu} {series.stream.value} {item.id} {' '.join(facts)}".rstrip()
