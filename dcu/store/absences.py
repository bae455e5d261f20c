"""What will never come of each profile, and why: the table `absent`.

Spans are to the second, ascending and disjoint: no row that is dated within one will ever come, whatever the capture
period was then. So they outlive every change of it.
"""

from collections.abc import Sequence

from dcu import gaps
from dcu.gaps import Absence, Absent, Span
from dcu.store.database import Database


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

    def take(self, profile: int, times: Sequence[int]) -> None:
        """These came: they are absent no more."""
        if times:
            before = self.near(profile, min(times), max(times))
            self.replace(profile, before, gaps.outside(before, gaps.spans(times, 1), 1))

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


def on_grid(absent: Sequence[Absent], held: Sequence[Span], phase: int, period: int) -> tuple[Absent, ...]:
    """Instants of a grid that are absent, without those that are held."""
    snapped = [(gaps.snap((first, last), phase, period), reason) for first, last, reason in absent]
    found = [(*span, reason) for span, reason in snapped if span is not None]
    return gaps.joined(gaps.outside(found, held, period), period)


OTHER = Absence.OTHER_PERIOD.value
