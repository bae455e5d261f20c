"""Logs and bills: rows that come by themselves, read by entry from the newest end back to the newest that is held.

The buffer is asked from the entry at which the newest held row stands: where nothing is new, that row alone comes, and
nothing has to be counted first. What is new is stored when all of it is there, so that no row is passed over when a
visit is cut short.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

from dcu import backfill
from dcu.errors import AttributeDenied
from dcu.field.book import MeterBook
from dcu.field.oldest import ENTRIES_IN_USE
from dcu.field.parts import Answer, Ask, Place, ProfilePart, Writing
from dcu.meter import AttributeRef, ByEntry, ClassId, ProfileSpec
from dcu.ports import ProfileState, RowsWanted
from dcu.reading import MeterTime, Row
from dcu.schedule import Task

LAST: Final = 0
"""As the upper end of a selection by entry: the last one."""


class LogPart(ProfilePart):
    """One such profile. What is a known row, and what is done with the new ones, the kinds say."""

    peeked = 1
    """Rows at the newest end that are looked at first."""

    def __init__(self, task: Task, spec: ProfileSpec, book: MeterBook, place: Place) -> None:
        super().__init__(task, spec, book, place)
        self._rows: list[Row] = []  # by age, the oldest first
        self._front = 0  # entries between the newest end and the oldest of `_rows`, those included
        self._tail: int | None = None
        self._counting = False
        self._counted = False
        self._now: MeterTime | None = None
        self._reached = False  # a held row stands right before what is new

    # ---- asking ----

    def ask(self, _now_s: int | None) -> Ask | None:
        """As `Part`."""
        state, layout = self._book.states.get(self._name), self._layout
        self._counting = False
        if self._settled or state is None or layout is None:
            return None
        if self._front:
            return Ask(rows=RowsWanted(self._name, layout, self._further(state)))
        self._tail = self._book.tails.get(self._name)
        if not state.newest_first and self._tail is None:
            self._counting = True
            return Ask(refs=(AttributeRef(ClassId.PROFILE_GENERIC, self._name, ENTRIES_IN_USE),))
        newest = ByEntry(1, self.peeked) if state.newest_first else ByEntry(max(1, self._oldest_peeked()), LAST)
        return Ask(rows=RowsWanted(self._name, layout, newest))

    def _oldest_peeked(self) -> int:
        return (self._tail or 1) - self.peeked + 1

    def _further(self, state: ProfileState) -> ByEntry:
        """The next bite of older rows."""
        count = backfill.bite_rows(len(state.layout or ()), self._place.octets_per_s)
        if state.newest_first:
            return ByEntry(self._front + 1, self._front + count)
        last = (self._tail or 0) - self._front
        return ByEntry(max(1, last - count + 1), last)

    # ---- taking ----

    def take(self, answer: Answer, now: MeterTime | None, writing: Writing) -> None:
        """As `Part`."""
        state = self._book.states.get(self._name)
        if state is None:
            return
        if self._counting:
            self._count(answer.count())
            return
        if self._is_cleared(answer, state):
            self._book.tails.pop(self._name, None)  # there is no such entry any more: they are counted
            return
        came = [] if self._is_over(answer) else answer.taken()
        came = came[::-1] if state.newest_first else came
        if not self._front and not state.newest_first:
            self._tail = self._oldest_peeked_row() + len(came) - 1
        self._rows = [*came, *self._rows]
        self._front += len(came)
        known = self._known_up_to(came)
        if known is None and came and not self._is_oldest(state):
            return
        self._settled = True
        if self._tail and not state.newest_first:
            self._book.tails[self._name] = min(self._tail, state.entries or self._tail)
        new = self._rows[(known + 1) if known is not None else 0 :]
        self._now, self._reached = now, known is not None
        self.finish(new, writing)

    def _is_cleared(self, answer: Answer, state: ProfileState) -> bool:
        """Whether nothing stands where the newest held row stood."""
        guessed = not self._front and not self._counted and not state.newest_first
        return guessed and (isinstance(answer.rows, AttributeDenied) or not answer.rows)

    def _is_over(self, answer: Answer) -> bool:
        """Whether a bite of older rows was refused: there are none."""
        return self._front > 0 and isinstance(answer.rows, AttributeDenied)

    def _oldest_peeked_row(self) -> int:
        return max(1, self._oldest_peeked())

    def _count(self, in_use: int) -> None:
        self._counting, self._counted = False, True
        if in_use == 0:
            self._settled = True
        else:
            self._book.tails[self._name] = in_use

    def _is_oldest(self, state: ProfileState) -> bool:
        """Whether there is nothing older in the buffer."""
        if state.newest_first:
            return 0 < state.entries <= self._front
        return self._front >= (self._tail or 0)

    def _known_up_to(self, came: Sequence[Row]) -> int | None:
        """Index in `came` of the newest row that is held; None where none is."""
        held = self.held(came)
        return max((index for index, is_held in enumerate(held) if is_held), default=None)

    @abstractmethod
    def held(self, rows: Sequence[Row]) -> Sequence[bool]:
        """Which of the rows were let in before."""

    @abstractmethod
    def finish(self, new: Sequence[Row], writing: Writing) -> None:
        """Store what is new; the oldest comes first."""
