"""Event logs: only rows newer than the last held; a log that went round is told; what explains gaps is kept."""

from collections.abc import Iterator, Sequence
from typing import Final

from dcu.causes import Happening
from dcu.event import AlarmKind
from dcu.field.clock_news import LONGEST_S, reopen
from dcu.field.log_rows import LogPart
from dcu.field.parts import Writing
from dcu.gaps import Absence
from dcu.meter import ClassId
from dcu.ports import Transaction
from dcu.reading import Layout, Row

EVENT_CODES: Final = bytes((0, 0, 96, 11))
"""Logical names 0.0.96.11.x: the code of an event (reference/is15959.md 2.8)."""

SEQUENCE_NUMBERS: Final = bytes((0, 0, 96, 15))

POWER_FAILED: Final = 101
POWER_RETURNED: Final = 102
CLOCK_SET: Final = 151
CHANGED: Final = frozenset({152, 153, 157})
"""Demand interval, capture period, firmware: what was read of the profiles may not be so any more."""

EVERY_S: Final = 900.0


class EventsPart(LogPart):
    """One event log."""

    def held(self, rows: Sequence[Row]) -> Sequence[bool]:
        """As `LogPart`. The newest held row is known without the store."""
        newest, layout = self._book.newest.get(self._name), self._layout
        if len(rows) == 1 and newest is not None and newest == (rows[0].captured_at.epoch_s, rows[0].values):
            return (True,)
        if layout is None or not rows:
            return ()
        reading = self._reading(layout, rows)
        return self._place.store.transact(lambda tx: tx.holds(reading))

    def finish(self, new: Sequence[Row], writing: Writing) -> None:
        """As `LogPart`."""
        layout, state = self._layout, self._book.states.get(self._name)
        was_read = self._name in self._book.read
        self._book.read.add(self._name)
        if self._rows:
            self._know_newest(self._rows[-1], writing)
        if layout is None or state is None or not new:
            return
        if not self._reached and state.held:
            self._tell_lost(layout, new, writing)
        reading = self._reading(layout, new)
        self._write(writing, lambda tx: tx.admit_events(reading), new)
        self._note_happenings(layout, new, writing)
        if was_read:
            self._reopen(layout, new, writing)

    def _know_newest(self, newest: Row, writing: Writing) -> None:
        """It is held: once it is stored, and not before."""
        known = newest.captured_at.epoch_s, newest.values

        def know() -> None:
            self._book.newest[self._name] = known

        writing.then(know)

    def _tell_lost(self, layout: Layout, new: Sequence[Row], writing: Writing) -> None:
        """The log went round since it was last read: how many rows are lost is known only where they are numbered."""
        writing.alarm(
            AlarmKind.ROWS_LOST,
            f"{self._name}: the log went round: events before the {len(new)} that it holds were lost",
            profile=str(self._name),
            first=new[0].captured_at.epoch_s,
            next_number=_numbered(layout, new[0]),
        )

    def _note_happenings(self, layout: Layout, new: Sequence[Row], writing: Writing) -> None:
        serial, codes = self._book.serial, list(_codes(layout, new))
        happenings = list(_happenings(codes))
        changed = any(code in CHANGED for _, code in codes)
        if not happenings and not changed:
            return

        def note(tx: Transaction) -> None:
            for happening in happenings:
                tx.note_happening(serial, happening)
            if changed:
                tx.note_stale(serial)
            self._book.reload(tx)

        writing.add(note)

    def _reopen(self, layout: Layout, new: Sequence[Row], writing: Writing) -> None:
        """A clock that was set back and right again between two looks: only the log tells.

        What it may have captured twice is asked again, of each setting that no look at the clock has shown. One of long
        ago is none: a meter whose clock had lost its time says so of its first second.
        """
        jumps = [each for each in self._happenings() if each.skipped_s > 0]
        face_s = self._book.face_s(self._place.clock.monotonic_s()) or max(row.captured_at.epoch_s for row in new)
        settings = (at_s for at_s, code in _codes(layout, new) if code == CLOCK_SET and at_s > face_s - LONGEST_S)
        unseen = [at_s for at_s in settings if not any(each.first_s < at_s <= each.last_s for each in jumps)]
        if unseen:
            reopen(self._book, min(unseen) - 1, writing)

    def _happenings(self) -> Sequence[Happening]:
        return self._book.kept.happenings if self._book.kept else ()

    def next_s(self) -> float:
        """As `Part`."""
        return self._place.clock.monotonic_s() + (self._spec.every_s or EVERY_S)


def _codes(layout: Layout, rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """(time, event code) of each row, where the log has a column of codes."""
    places = [
        n
        for n, column in enumerate(layout)
        if column.class_id == ClassId.DATA and column.logical_name.octets[:4] == EVENT_CODES
    ]
    for row in rows:
        for place in places:
            code = row.values[place - 1]
            if isinstance(code, int) and not isinstance(code, bool):
                yield row.captured_at.epoch_s, code


def _happenings(codes: Sequence[tuple[int, int]]) -> Iterator[Happening]:
    """What kept the meter from capturing: from a power failure to the return after it; each setting of the clock."""
    failed_s: int | None = None
    for at_s, code in codes:
        if code == POWER_FAILED:
            failed_s = at_s
        elif code == POWER_RETURNED and failed_s is not None and failed_s <= at_s:
            yield Happening(Absence.METER_OFF, failed_s, at_s)
            failed_s = None
        elif code == CLOCK_SET:
            yield Happening(Absence.CLOCK_SET, at_s, at_s)


def _numbered(layout: Layout, row: Row) -> int | None:
    """Sequence number of an event, where the log has them (0.0.96.15.x)."""
    for n, column in enumerate(layout):
        if column.logical_name.octets[:4] == SEQUENCE_NUMBERS:
            number = row.values[n - 1]
            return number if isinstance(number, int) else None
    return None
