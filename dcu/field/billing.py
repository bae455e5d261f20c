"""Billing: each closed bill once, the newest first; the row of the running period is none.

No column says which row is the running period. It is always the newest one of the buffer, and it changes: the newest
row counts as closed when it was found the same, to the last value, after a while in which it would have changed. A
clock that is set back over the end of a month closes two bills of one date: both are kept.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from dcu.field.log_rows import LogPart
from dcu.field.parts import Writing
from dcu.reading import Row, from_epoch

EVERY_S: Final = 21_600.0

STEADY_S: Final = 600.0
"""After so long without a change a row is closed."""

LOOK_AGAIN_S: Final = 660.0

RESET_S: Final = 300.0
"""A bill is closed at the first midnight of a month; so long after it the meter is asked."""


class BillingPart(LogPart):
    """The billing profile."""

    peeked = 2

    def held(self, rows: Sequence[Row]) -> Sequence[bool]:
        """As `LogPart`: a bill is its date and values. The newest row may be the running period and says nothing."""
        layout = self._layout
        closed = rows[: len(rows) - (len(self._rows) == len(rows))]
        if layout is None or not closed:
            return ()
        reading = self._reading(layout, closed)
        return self._place.store.transact(lambda tx: tx.holds(reading, bills=True))

    def finish(self, new: Sequence[Row], writing: Writing) -> None:
        """As `LogPart`."""
        layout = self._layout
        if layout is None or not self._rows:
            return
        newest = self._rows[-1]
        closed = list(new) if self._is_closed(newest) else [row for row in new if row is not newest]
        if closed:
            reading, is_newest = self._reading(layout, closed[::-1]), closed[-1] is newest
            self._write(writing, lambda tx: tx.admit_bills(reading, newest=is_newest), closed)

    def _is_closed(self, newest: Row) -> bool:
        """Whether the newest row is no running period: its date has passed, and it stays as it is."""
        at, monotonic_s = newest.captured_at.epoch_s, self._place.clock.monotonic_s()
        before = self._book.candidates.get(self._name)
        if before is None or (before[0], before[1]) != (at, newest.values):
            if before is not None and monotonic_s - before[2] < 2 * LOOK_AGAIN_S:
                self._book.running.add(self._name)
            self._book.candidates[self._name] = (at, newest.values, monotonic_s)
            return False
        passed = self._now is not None and at <= self._now.epoch_s
        return passed and monotonic_s - before[2] >= STEADY_S

    def next_s(self) -> float:
        """As `Part`: soon again where the newest row may turn out to be a bill, and after the end of a month."""
        monotonic_s = self._place.clock.monotonic_s()
        waits = [self._spec.every_s or EVERY_S]
        candidate = self._book.candidates.get(self._name)
        if candidate and self._name not in self._book.running and monotonic_s - candidate[2] < STEADY_S:
            waits.append(LOOK_AGAIN_S)
        face_s = self._book.face_s(monotonic_s)
        if face_s is not None:
            waits.append(_to_reset_s(from_epoch(face_s).astimezone(self._place.zone)))
        return monotonic_s + min(waits)


def _to_reset_s(face: datetime) -> float:
    """Seconds to a while after the next beginning of a month."""
    begins = (face.replace(day=1, hour=0, minute=0, second=0) + timedelta(days=32)).replace(day=1)
    return (begins - face).total_seconds() + RESET_S
