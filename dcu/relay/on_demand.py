"""The errand of a `read`: rows of one profile, or one attribute, brought before the relay thread. It changes nothing.

It has no urgency: a connect or a disconnect goes before it, and it is taken up again behind them. Rows become records
of the stream `profile`, beside what is read on schedule: whoever keeps rows by meter, profile and time keeps none
twice. An attribute is told in the receipt.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from dcu.clock import uptime
from dcu.command import Command, Refusal
from dcu.errors import AttributeDenied, CaptureMismatch, ReplyMalformed, WrongMeter
from dcu.meter import AttributeRef, Meter, ProfileKind, ProfileSpec, Purpose
from dcu.obis import LogicalName
from dcu.ports import Association, Line
from dcu.reading import NO_TIME, Data, Layout, MeterTime, ProfileReading, Row, date_time, from_epoch
from dcu.record import check_size, encode_profile
from dcu.relay.canonical import canonical
from dcu.relay.case import Evidence
from dcu.relay.executor import Place
from dcu.relay.letters import Brought, Fell, Key
from dcu.relay.receipts import LONGEST_VALUE

NEWEST_ROWS: Final = 8
"""Of a profile, where the command names no bounds."""

RECORD_BYTES: Final = 60_000
RECORDS_AT_MOST: Final = 64

_WHOLE: Final = frozenset({ProfileKind.SNAPSHOT, ProfileKind.NAMEPLATE})


class OnDemand:
    """One `read` on its way to its meter (`ports.Errand`).

    Args:
        command: what is to be read.
        meter: of which.
        place: of all errands.
    """

    def __init__(self, command: Command, meter: Meter, place: Place) -> None:
        self.meter = meter
        self._command = command
        self._place = place
        self._key: Key = (command.iss, command.cmd_id)

    def run(self, line: Line) -> None:
        """Read, and hand it over."""
        with line.associate(self.meter, Purpose.READ) as association:
            brought = self._read(association)
        self._place.letters.post(brought)

    def failed(self, fault: Exception) -> None:
        """Nothing was brought."""
        refused = isinstance(fault, WrongMeter | AttributeDenied | CaptureMismatch | ReplyMalformed)
        code = Refusal.E_METER if refused else Refusal.E_UNREACHABLE
        self._place.letters.post(Fell(self._key, code, str(fault)))

    def _read(self, association: Association) -> Brought:
        command = self._command
        if command.attribute is not None:
            value = association.get(AttributeRef.of(command.attribute))
            return Brought(self._key, Evidence(association.serial), said={"value": _told(value)})
        reading = self._reading(association, LogicalName.of(command.profile or ""))
        records = tuple((body, reading.layout) for body in _bodies(reading))
        if len(records) > RECORDS_AT_MOST:
            raise ReplyMalformed("more than one read may bring", place=self.meter.serial, cure="ask for less at once")
        return Brought(self._key, Evidence(association.serial), records, {"rows": len(reading.rows)})

    def _reading(self, association: Association, profile: LogicalName) -> ProfileReading:
        spec = next((each for each in self.meter.model.profiles if each.logical_name == profile), None)
        layout = association.layout(profile, spec.scalers if spec is not None else None)
        rows = tuple(self._dated(row) for row in self._rows(association, profile, spec, layout))
        clock = self._place.clock
        state = clock.state()
        return ProfileReading(self.meter.serial, profile, layout, rows, clock.now(), state, uptime=uptime(clock, state))

    def _rows(
        self, association: Association, profile: LogicalName, spec: ProfileSpec | None, layout: Layout
    ) -> list[Row]:
        command, zone = self._command, self._place.zone
        if spec is not None and spec.kind in _WHOLE:
            return association.snapshot(profile, layout)
        if command.since is None and command.until is None:
            return association.last_rows(profile, layout, NEWEST_ROWS)
        since = from_epoch(command.since or 0).astimezone(zone)
        until = from_epoch(command.until).astimezone(zone) if command.until is not None else self._soon()
        return association.rows(profile, layout, since, until)

    def _soon(self) -> datetime:
        """Behind every row of a meter whose clock is within a day of the box's."""
        return from_epoch(int(self._place.clock.now().timestamp()) + 86400).astimezone(self._place.zone)

    def _dated(self, row: Row) -> Row:
        """A row that has no time of its own has that of the reading."""
        if row.captured_at is not NO_TIME:
            return row
        at = self._place.clock.now().astimezone(self._place.zone).replace(microsecond=0)
        return replace(row, captured_at=MeterTime(at, 0, date_time(at, self._place.zone)))


def _bodies(reading: ProfileReading) -> list[bytes]:
    """Records of the reading, each of a size that fits where records go. Raises ReplyMalformed: a row is too large."""
    if not reading.rows:
        return []
    body = encode_profile(reading)
    if len(body) <= RECORD_BYTES or len(reading.rows) == 1:
        return [check_size(body, reading.layout)]
    half = len(reading.rows) // 2
    parts = (replace(reading, rows=reading.rows[:half]), replace(reading, rows=reading.rows[half:]))
    return [body for part in parts for body in _bodies(part)]


def _told(value: Data) -> int | str:
    """A value as a receipt tells it: a number, or ASCII text in which octets are hexadecimal.

    Raises ReplyMalformed: it is too long for one.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = _text(value)
    length = len(canonical(text)) - 2  # without its quotes
    if length > LONGEST_VALUE:
        raise ReplyMalformed(f"a value of {length} characters; a receipt tells {LONGEST_VALUE}")
    return text


def _text(value: Data) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case bytes():
            return value.hex()
        case list():
            return "[" + ",".join(map(_text, value)) + "]"
        case _:
            return "".join(c if " " <= c <= "~" else "?" for c in str(value))
