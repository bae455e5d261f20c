"""What a box's store holds at the end of a run, read from the file itself: records, and the gap ledger beside them."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cbor2

from dcu.errors import ReplyMalformed
from dcu.obis import LogicalName
from dcu.reading import meter_time

ZONE = ZoneInfo("Asia/Kolkata")
STREAMS = ("record_profile", "record_billing")

Values = tuple[Any, ...]


@dataclass(slots=True)
class Known:
    """One profile of one meter.

    Attributes:
        rows: values by captured_at, as the records carry them, in the order of the records.
        twice: (captured_at, n) of rows that more than one record carries.
        period_s, since_s: as the gap ledger has them; None where it has none.
        held: instants that the gap ledger holds: on the grid and beside it.
        absent: (first, last, reason), to the second, ascending and disjoint.
        told_lost: alarms that rows of it were lost.
    """

    rows: dict[int, list[Values]] = field(default_factory=dict)
    twice: list[tuple[int, int]] = field(default_factory=list)
    period_s: int = 0
    since_s: int | None = None
    held: set[int] = field(default_factory=set)
    absent: list[tuple[int, int, str]] = field(default_factory=list)
    told_lost: int = 0


@dataclass(slots=True)
class Holdings:
    """All of them.

    Attributes:
        profiles: by (serial, profile).
        alarms: how often each kind of alarm was raised.
        clocks_told: by serial when the box, by its clock, said that a meter's clock was set.
    """

    profiles: dict[tuple[str, str], Known] = field(default_factory=dict)
    alarms: Counter[str] = field(default_factory=Counter)
    clocks_told: dict[str, list[int]] = field(default_factory=dict)

    def of(self, serial: str, profile: str) -> Known:
        """One of them; an empty one where nothing is known."""
        return self.profiles.setdefault((serial, profile), Known())


def holdings(path: Path) -> Holdings:
    """Read the file."""
    found = Holdings()
    with closing(sqlite3.connect(path)) as database:
        seen: dict[tuple[str, str], set[tuple[int, int]]] = {}
        for serial, profile, at, again, values in _rows(database):
            known = found.of(serial, profile)
            known.rows.setdefault(at, []).append(values)
            ids = seen.setdefault((serial, profile), set())
            if (at, again) in ids:
                known.twice.append((at, again))
            ids.add((at, again))
        query = "SELECT id, meter, ln, period_s, since_s FROM profile"
        for number, serial, name, period_s, since_s in database.execute(query).fetchall():
            _read_ledger(database, number, period_s, since_s, found.of(serial, str(LogicalName(name))))
        for (body,) in database.execute("SELECT body FROM record_alarm"):
            alarm = cbor2.loads(body)
            found.alarms[alarm["kind"]] += 1
            if alarm["kind"] == "rows-lost":
                found.of(alarm["meter"], alarm["facts"]["profile"]).told_lost += 1
            if alarm["kind"] == "meter-clock" and alarm["facts"].get("set_by_s"):
                found.clocks_told.setdefault(alarm["meter"], []).append(alarm["at"])
    return found


def _rows(database: sqlite3.Connection) -> Iterator[tuple[str, str, int, int, Values]]:
    for table in STREAMS:
        for (body,) in database.execute(f"SELECT body FROM {table} ORDER BY id"):
            record = cbor2.loads(body)
            again = dict(record.get("again", ()))
            for n, (at, *values) in enumerate(record["rows"]):
                yield record["meter"], record["profile"], at, again.get(n, 0), tuple(map(_plain, values))


def _plain(value: Any) -> Any:
    """A time as the virtual meters' ledgers have it: seconds since 1970, 0 for none."""
    if not isinstance(value, bytes) or len(value) != 12:
        return value
    try:
        return meter_time(value, ZONE).epoch_s
    except ReplyMalformed:
        return 0


def _read_ledger(database: sqlite3.Connection, number: int, period_s: int, since_s: int | None, known: Known) -> None:
    known.period_s, known.since_s = period_s, since_s
    if period_s:
        for first, last in database.execute("SELECT first_s, last_s FROM held WHERE profile = ?", (number,)):
            known.held.update(range(first, last + 1, period_s))
    known.held.update(at for (at,) in database.execute("SELECT at_s FROM stray WHERE profile = ?", (number,)))
    known.absent = database.execute(
        "SELECT first_s, last_s, reason FROM absent WHERE profile = ? ORDER BY first_s", (number,)
    ).fetchall()
