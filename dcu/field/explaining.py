"""What is noted of intervals that will never come: seconds of a ring, each with its reason."""

from collections.abc import Callable, Sequence
from typing import Final

from dcu import gaps
from dcu.causes import explained, gone, while_refused
from dcu.event import AlarmKind, Fact
from dcu.field.book import MeterBook
from dcu.field.earlier import never
from dcu.field.parts import Writing
from dcu.gaps import Absence, Absent, Span
from dcu.obis import LogicalName
from dcu.ports import ProfileState, Transaction

Write = Callable[[Writing, Callable[[Transaction], object]], None]
"""Adds work to a poll's transaction; what the store has of the profile then is known afterwards."""

_OVER: Final = Absence.OVERWRITTEN.value
_LOST: Final = (_OVER, Absence.REFUSED.value)


class Explaining:
    """Of one ring. Spans are to the second; `phase` and `period_s` are those of the grid on which they are seen."""

    def __init__(self, book: MeterBook, profile: LogicalName, write: Write) -> None:
        self._book = book
        self._profile = profile
        self._write = write

    def holes(self, holes: Sequence[Span], phase: int, period_s: int, state: ProfileState, writing: Writing) -> None:
        """The meter captured nothing in them."""
        doubtful = gaps.merge((span for hole in holes for span in never(hole, phase, period_s, state)), 1)
        happenings = self._book.kept.happenings if self._book.kept else ()
        absent = explained(holes, happenings, phase, period_s, doubtful)
        self._note(absent, phase, period_s, writing, fill=False)

    def lost(self, lost: Sequence[Span], phase: int, period_s: int, writing: Writing) -> None:
        """They lie below the oldest row that the meter has."""
        absent = gone(lost, self._book.kept.happenings if self._book.kept else ())
        refused = self._book.refused.get(self._profile, ())
        never = self._note(while_refused(absent, refused, 0, 1), phase, period_s, writing, fill=True)
        if any(gaps.snap((first, last), phase, period_s) for first, last, why in absent if why == _OVER):
            self._tell(never, phase, period_s, writing)

    def _note(
        self, absent: Sequence[Absent], phase: int, period_s: int, writing: Writing, *, fill: bool
    ) -> Sequence[Span]:
        """They are absent; what of it the meter had and nobody has, once it is noted."""
        serial, profile, never = self._book.serial, self._profile, list[Span]()

        def note(tx: Transaction) -> None:
            never.clear()
            for first_s, last_s, reason in absent:
                fresh = tx.note_absent(serial, profile, first_s, last_s, reason, fill=fill)
                never.extend(fresh if reason in _LOST else ())

        self._write(writing, note)
        spans = (gaps.snap((first_s, last_s), phase, period_s) for first_s, last_s, _ in absent)
        writing.settles(profile, (span for span in spans if span is not None))
        return never

    def _tell(self, never: Sequence[Span], phase: int, period_s: int, writing: Writing) -> None:
        """How many intervals that are; a clock that was set back has some asked again whose rows are stored."""

        def found() -> tuple[str, dict[str, Fact]] | None:
            lost = [span for each in never if (span := gaps.snap(each, phase, period_s)) is not None]
            if not lost:
                return None
            count = sum(len(gaps.expected(*span, period_s)) for span in lost)
            text = f"{self._profile}: {count} intervals were overwritten before they were read"
            return text, {"profile": str(self._profile), "intervals": count, "first": lost[0][0], "last": lost[-1][1]}

        writing.alarm_of(AlarmKind.ROWS_LOST, found)
