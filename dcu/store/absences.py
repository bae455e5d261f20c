"""What will never come of each profile, and why: the table `absent`.

Spans are to the second, ascending and disjoint: no row that is dated within one will ever come, whatever the capture
period was then. So they outlive every change of it.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from dcu import gaps
from dcu.gaps import Absence, Absent, Admission, Span
from dcu.store.database import Database

OTHER: Final = Absence.OTHER_PERIOD.value
"""Between rows of an earlier capture period: such a span may lie over rows that are held."""


class Absences:
    """Those of all profiles, by the number of the profile's row in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, profile: int) -> list[Absent]:
        """All of a profile."""
        return list(
            self._database.rows(
                "SELECT first_s, last_s, reason FROM absent WHERE profile = ? ORDER BY first_s", (profile,)
            )
        )

    def near(self, profile: int, first_s: int, last_s: int) -> list[Absent]:
        """Those that have a second in first_s .. last_s, or touch it."""
        return list(
            self._database.rows(
                "SELECT first_s, last_s, reason FROM absent WHERE profile = ? AND first_s <= ? AND last_s >= ? "
                "ORDER BY first_s",
                (profile, last_s + 1, first_s - 1),
            )
        )

    def put(self, profile: int, spans: Sequence[Span], reason: str) -> None:
        """Absent for that reason from now on, whatever was said of it before."""
        if spans:
            before = self.near(profile, spans[0][0], spans[-1][1])
            fresh = [(*span, reason) for span in spans]
            self.replace(profile, before, [*gaps.outside(before, spans, 1), *fresh])

    def fill(self, profile: int, span: Span, reason: str) -> None:
        """Absent for that reason where nothing is known yet."""
        known = gaps.merge(((first, last) for first, last, _ in self.near(profile, *span)), 1)
        self.put(profile, gaps.without([span], known, 1), reason)

    def take(self, profile: int, let_in: Admission, phase: int, period: int, *, alone: Callable[[], bool]) -> None:
        """Rows came: they are absent no more, nor what they fill (`came`). An ordinary poll finds nothing to take."""
        if not let_in.new:
            return
        near = self.near(profile, min(let_in.new) - 2 * period, max(let_in.new) + 2 * period)
        if near:
            self.replace(profile, near, gaps.outside(near, came(let_in, phase, period, alone=alone()), 1))

    def forget(self, profile: int, after_s: int) -> None:
        """Nothing later than that is known to be absent."""
        before = [each for each in self.of(profile) if each[1] > after_s]
        self.replace(profile, before, [(first, after_s, why) for first, _, why in before if first <= after_s])

    def replace(self, profile: int, before: Sequence[Absent], after: Sequence[Absent]) -> None:
        """Spans for others; only what differs is written."""
        kept = gaps.joined(after, 1)
        self._database.write_all(
            "DELETE FROM absent WHERE profile = ? AND first_s = ? AND last_s = ? AND reason = ?",
            ((profile, *span) for span in set(before) - set(kept)),
        )
        self._database.write_all(
            "INSERT INTO absent (profile, first_s, last_s, reason) VALUES (?, ?, ?, ?)",
            ((profile, *span) for span in set(kept) - set(before)),
        )


def came(let_in: Admission, phase: int, period: int, *, alone: bool) -> tuple[Span, ...]:
    """Seconds of the rows that came, and of the instants that they fill.

    Args:
        let_in: the rows, and what is held with them.
        phase: of the grid.
        period: of the grid.
        alone: the profile never had another grid. Then no instant is between two neighbours that are held, and what was
            absent there goes with them: a remnant between each two would say nothing, for ever.
    """
    slots = (gaps.slot(at, phase, period) for at in let_in.new)
    times = {*let_in.new, *(at for at in slots if at is not None)}
    ends = [first for first, _ in let_in.held]

    def around(at: int) -> Span:
        n = bisect_right(ends, at) - 1
        if not alone or n < 0 or not gaps.on_grid(at, phase, period) or let_in.held[n][1] < at:
            return at, at
        first, last = let_in.held[n]
        return max(first, at - period), min(last, at + period)

    return gaps.merge(map(around, times), 1)


def on_grid(absent: Sequence[Absent], held: Sequence[Span], phase: int, period: int) -> tuple[Absent, ...]:
    """Instants of a grid that are absent, without those that are held."""
    snapped = [(gaps.snap((first, last), phase, period), reason) for first, last, reason in absent]
    found = [(*span, reason) for span, reason in snapped if span is not None]
    return gaps.joined(gaps.outside(found, held, period), period)
