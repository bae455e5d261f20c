"""What a box's store holds at the end of a run, read from the file itself: records, and the gap ledger beside them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cbor2

from dcu.obis import LogicalName

Span = tuple[int, int]
STREAMS = ("record_profile", "record_billing")


@dataclass(slots=True)
class Known:
    """One profile of one meter.

    Attributes:
        rows: values by captured_at, as the records carry them.
        twice: captured_at of rows that records carry more than once.
        period_s, since_s: as the gap ledger has them; None where it has none.
        held: instants that the gap ledger holds: on the grid and beside it.
        absent: (first, last, reason), on the grid of the period at which they were found absent.
    """

    rows: dict[int, tuple] = field(default_factory=dict)
    twice: list[int] = field(default_factory=list)
    period_s: int = 0
    since_s: int | None = None
    held: set[int] = field(default_factory=set)
    absent: list[tuple[int, int, str]] = field(default_factory=list)


def holdings(path: Path) -> dict[tuple[str, str], Known]:
    """All of them, by (serial, profile)."""
    found: dict[tuple[str, str], Known] = {}
    with closing(sqlite3.connect(path)) as database:
        for serial, profile, rows in _records(database):
            known = found.setdefault((serial, profile), Known())
            for at, *values in rows:
                if at in known.rows:
                    known.twice.append(at)
                known.rows[at] = tuple(values)
        query = "SELECT id, meter, ln, period_s, since_s FROM profile"
        for number, serial, name, period_s, since_s in database.execute(query).fetchall():
            known = found.setdefault((serial, str(LogicalName(name))), Known())
            known.period_s, known.since_s = period_s, since_s
            for first, last in database.execute("SELECT first_s, last_s FROM held WHERE profile = ?", (number,)):
                known.held.update(range(first, last + 1, period_s))
            known.held.update(at for (at,) in database.execute("SELECT at_s FROM stray WHERE profile = ?", (number,)))
            known.absent = database.execute(
                "SELECT first_s, last_s, reason FROM absent WHERE profile = ? ORDER BY first_s", (number,)
            ).fetchall()
    return found


def _records(database: sqlite3.Connection) -> Iterator[tuple[str, str, list]]:
    for table in STREAMS:
        for (body,) in database.execute(f"SELECT body FROM {table} ORDER BY id"):
            record = cbor2.loads(body)
            yield record["meter"], record["profile"], record["rows"]
