"""What a meter says of the present: instantaneous values, nameplate, balance, relay and modes."""

from dataclasses import replace

from dcu.clock import uptime
from dcu.field.book import MeterBook
from dcu.field.parts import Answer, Ask, Place, ProfilePart, Writing
from dcu.ports import RowsWanted
from dcu.reading import NO_TIME, Column, MeterTime, Row, Value, date_time
from dcu.record import Stream, check_size, encode_credit
from dcu.schedule import Task


class SnapshotPart(ProfilePart):
    """The present: one row, stored unless it is the very one that was stored last."""

    def ask(self, _now_s: int | None) -> Ask | None:
        """As `Part`."""
        layout = self._layout
        return None if self._settled or layout is None else Ask(rows=RowsWanted(self._name, layout))

    def take(self, answer: Answer, _now: MeterTime | None, writing: Writing) -> None:
        """As `Part`. Raises the refusal; ReplyMalformed when no frame could carry it."""
        layout = self._layout
        rows = answer.taken()
        self._settled = True
        if layout is not None and rows:
            reading = self._reading(layout, [self._dated(row) for row in rows])
            self._write(writing, lambda tx: tx.admit_snapshot(reading), rows)

    def _dated(self, row: Row) -> Row:
        if row.captured_at is not NO_TIME:
            return row
        at = self._place.clock.now().astimezone(self._place.zone).replace(microsecond=0)
        return replace(row, captured_at=MeterTime(at, 0, date_time(at, self._place.zone)))


class NameplatePart(SnapshotPart):
    """What changes with the firmware only: read when it is not held."""

    DAY_S = 86_400.0

    def ask(self, now_s: int | None) -> Ask | None:
        """As `Part`."""
        state = self._book.states.get(self._name)
        return None if state is not None and state.held and not state.stale else super().ask(now_s)

    def next_s(self) -> float:
        """As `Part`."""
        return self._place.clock.monotonic_s() + (self._spec.every_s or self.DAY_S)


class BalancePart:
    """Payment and balance registers, relay, limiter and modes: one record of the `credit` stream."""

    remains: bool | None = None
    again_s: float | None = None

    def __init__(self, task: Task, book: MeterBook, place: Place) -> None:
        self.task = task
        self._book = book
        self._place = place
        self._settled = False

    def ask(self, _now_s: int | None) -> Ask | None:
        """As `Part`."""
        return None if self._settled else Ask(refs=self._book.meter.model.balance_and_states)

    def take(self, answer: Answer, _now: MeterTime | None, writing: Writing) -> None:
        """As `Part`. What the meter does not have is left out."""
        self._settled = True
        values: list[Value] = []
        columns: list[Column] = []
        for ref, value in zip(self._book.meter.model.balance_and_states, answer.values, strict=True):
            if not isinstance(value, Exception | list):
                columns.append(Column(ref.class_id, ref.logical_name, ref.attribute))
                values.append(value)
        if not columns:
            return
        layout, clock, meter = tuple(columns), self._place.clock, self._book.meter
        read_at, state = int(clock.now().timestamp()), clock.state()
        since = uptime(clock, state)
        body = encode_credit(meter.serial, layout, values, read_at, state, meter.area, meter.model.amount, since)
        check_size(body, layout)
        writing.add(lambda tx: tx.append(Stream.CREDIT, body, layout), len(body))

    def next_s(self) -> float:
        """As `Part`."""
        return self._place.clock.monotonic_s() + self._place.poll.balance_s
