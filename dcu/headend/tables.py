"""Records as lines of tables for people: times in ISO 8601, values multiplied out exactly, units in the header. Pure.

A profile has a file for each layout, with a column for each register; other streams have one file each. What cannot be
read as the contract has it goes, whole, to `unread.csv`. Documented in `docs/head-end.md`.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from typing import Any, Final

from dcu.command import CommandRefused, Refusal
from dcu.errors import ReplyMalformed
from dcu.field.object_names import in_words
from dcu.headend.collection import line
from dcu.headend.dating import Dating
from dcu.headend.holdings import Item
from dcu.obis import LogicalName
from dcu.reading import ClockState, from_epoch, meter_time
from dcu.record import Stream
from dcu.relay.canonical import from_base64url
from dcu.units import symbol

KEY: Final = ("dcu", "epoch", "id")
CLOCK: Final = ("clock", "boot", "uptime_s")

When = tuple[str, str, str, str]
"""Cells: the time of the box, what it is worth, boot and uptime where it was not known."""

PROFILES: Final[Mapping[str, str]] = {
    "1.0.94.91.0.255": "instantaneous",
    "1.0.98.1.0.255": "billing",
    "1.0.99.1.0.255": "block load",
    "1.0.99.2.0.255": "daily load",
    "0.0.94.91.10.255": "nameplate",
    "0.0.99.98.0.255": "voltage events",
    "0.0.99.98.1.255": "current events",
    "0.0.99.98.2.255": "power events",
    "0.0.99.98.3.255": "transaction events",
    "0.0.99.98.4.255": "other events",
    "0.0.99.98.5.255": "non-rollover events",
    "0.0.99.98.6.255": "control events",
}
"""Names of the profiles of IS 15959 (reference/is15959.md 2)."""

_RECEIPT: Final = ("at", "clock", "kind", "op", "meter", "state", "code", "reason", "iss", "cmd_id", "n")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one file.

    Attributes:
        file: its name, fit for any file system.
        header: names of the columns; the same for all lines of a file.
        cells: as many.
    """

    file: str
    header: tuple[str, ...]
    cells: tuple[str, ...]


def lines(item: Item, zone: tzinfo, dating: Dating | None = None) -> list[Line]:
    """The lines of one record; times are shown in `zone`, with their offset, and dated where they were not known."""
    try:
        return _READERS[item.series.stream](item, zone, _when(item, zone, dating or Dating()))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, CommandRefused):
        return [Line("unread.csv", ("record",), (line(item).decode().rstrip("\n"),))]


def encoded(cells: Iterable[str]) -> bytes:
    """One line of CSV (RFC 4180), UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def exact(raw: int | str, scaler: int) -> str:
    """`raw` x 10^`scaler` as a plain decimal, every digit of it: of 2301 and -1, "230.1". Raises ArithmeticError."""
    number = Decimal(raw)
    if not number.is_finite():
        raise ArithmeticError(f"{raw} is no number")
    sign, digits, exponent = number.as_tuple()
    return f"{Decimal((sign, digits, int(exponent) + scaler)):f}"


def moment(epoch_s: int, zone: tzinfo) -> str:
    """ISO 8601 with its offset; the bare number of seconds where no calendar has it."""
    try:
        return from_epoch(epoch_s).astimezone(zone).isoformat()
    except (OverflowError, ValueError):
        return str(epoch_s)


def _when(item: Item, zone: tzinfo, dating: Dating) -> When:
    """Cells of a record's own time; a receipt has none outside of its claims."""
    record = item.record
    if item.series.stream is Stream.RECEIPT:
        return ("", "", "", "")
    at_s, clock = dating.time_of(item.series.dcu, record), _plain(record["clock"])
    if clock == ClockState.UNTRUSTED.value and at_s is not None:
        clock = "dated"
    at = "" if at_s is None else moment(at_s, zone)
    return (at, clock, _plain(str(record.get("boot", ""))), str(record.get("uptime_s", "")))


def _profile(item: Item, zone: tzinfo, when: When) -> list[Line]:
    record, columns = item.record, item.columns
    if columns is None:
        raise KeyError("layout")
    name = PROFILES.get(record["profile"], "profile")
    stem = f"{item.series.stream.value} {name} {record['profile']} {record['layout'].hex()}"
    header = ("meter", "captured_at", "again", "status", "read_at", *CLOCK, *KEY, *map(_title, columns[1:]))
    status, again = dict(record.get("status", ())), dict(record.get("again", ()))
    found = []
    for n, (at, *values) in enumerate(record["rows"]):
        cells = (
            _plain(record["meter"]),
            moment(at, zone),
            str(again.get(n, 0)),
            str(status.get(n, 0)),
            *when,
            *_key(item),
            *(_cell(value, column, zone) for value, column in zip(values, columns[1:], strict=True)),
        )
        found.append(Line(_file(stem), header, cells))
    return found


def _credit(item: Item, zone: tzinfo, when: When) -> list[Line]:
    record, columns = item.record, item.columns
    if columns is None:
        raise KeyError("layout")
    header = ("meter", "area", "amount", "read_at", *CLOCK, *KEY, *map(_title, columns))
    cells = (
        _plain(record["meter"]),
        _plain(record["area"]),
        _plain(record["amount"]),
        *when,
        *_key(item),
        *(_cell(value, column, zone) for value, column in zip(record["values"], columns, strict=True)),
    )
    return [Line(_file(f"credit {record['layout'].hex()}"), header, cells)]


def _alarm(item: Item, _zone: tzinfo, when: When) -> list[Line]:
    record = item.record
    header = ("at", *CLOCK, "kind", "meter", "text", "facts", *KEY)
    words = (_plain(record["kind"]), _plain(record.get("meter", "")), _plain(record["text"]))
    cells = (*when, *words, _facts(record.get("facts", {})), *_key(item))
    return [Line("alarm.csv", header, cells)]


def _health(item: Item, _zone: tzinfo, when: When) -> list[Line]:
    cells = (*when, _facts(item.record["facts"]), *_key(item))
    return [Line("health.csv", ("at", *CLOCK, "facts", *KEY), cells)]


def _receipt(item: Item, zone: tzinfo, _when: When) -> list[Line]:
    """Its claims, not verified here: `dcu headend verify` does that, with the envelope in the last column."""
    jws = item.record["jws"]
    claims = json.loads(from_base64url(json.loads(jws)["payload"], Refusal.E_B64))
    shown = [claims.get(name, "") for name in _RECEIPT]
    if isinstance(shown[0], int):
        shown[0] = moment(shown[0], zone)
    return [Line("receipt.csv", (*_RECEIPT, *KEY, "jws"), (*map(_plain, map(str, shown)), *_key(item), jws))]


_READERS: Final = {
    Stream.RECEIPT: _receipt,
    Stream.ALARM: _alarm,
    Stream.CREDIT: _credit,
    Stream.BILLING: _profile,
    Stream.PROFILE: _profile,
    Stream.HEALTH: _health,
}


def _key(item: Item) -> tuple[str, ...]:
    return _plain(item.series.dcu), _plain(item.series.epoch), str(item.id)


def _title(column: Mapping[str, Any]) -> str:
    """`active import energy of the interval [Wh] 1.0.1.29.0.255/2`."""
    name, unit = in_words(LogicalName.of(column["ln"])), symbol(column["unit"])
    words = [name, f"[{unit}]" if unit else "", f"{column['ln']}/{int(column['attr'])}"]
    return " ".join(word for word in words if word)


def _cell(value: Any, column: Mapping[str, Any], zone: tzinfo) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return exact(value, column["scaler"] or 0)
    if isinstance(value, bytes):
        return _octets(value, zone)
    if column["scaler"] is not None:
        return exact(value, column["scaler"])
    return _plain(value)


def _octets(octets: bytes, zone: tzinfo) -> str:
    try:
        return meter_time(octets, zone).at.isoformat()
    except ReplyMalformed:
        text = octets.decode("latin-1")
        return _plain(text) if octets.isascii() and text.isprintable() else octets.hex()


def _facts(facts: Mapping[str, Any]) -> str:
    return json.dumps(dict(facts), separators=(",", ":"), ensure_ascii=False)


def _plain(text: str) -> str:
    """Text as a cell: one that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _file(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", stem)[:120] + ".csv"


def csv_files(items: Iterable[Item], zone: tzinfo, dating: Dating | None = None) -> dict[str, tuple[bytes, bytes]]:
    """The records in CSV, by name of file: its header, and its lines."""
    files: dict[str, tuple[bytes, bytearray]] = {}
    for item in items:
        for each in lines(item, zone, dating):
            files.setdefault(each.file, (encoded(each.header), bytearray()))[1].extend(encoded(each.cells))
    return {file: (header, bytes(octets)) for file, (header, octets) in files.items()}
