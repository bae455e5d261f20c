"""The judge: every interval of a run, held as the meter captured it or absent for the reason that was its cause."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dcu.gaps import Absence
from tests.soak.faults import HOUR_S
from tests.soak.holdings import Known

CATCH_UP_S = 6 * HOUR_S
"""Before a row was overwritten the box may have been able to speak to the meter for so long, busy with what waited."""

HOLD_S = HOUR_S
"""A meter or a line that failed is left alone for a while after it is back."""

EDGE_S = 2.0
"""What happens at the very moment of a capture may go either way."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which nothing was done to a meter's clock and period; elapsed seconds, and its clock minus them."""

    from_s: float
    to_s: float
    ahead_s: float
    period_s: int


@dataclass(slots=True)
class Truth:
    """One ring of one meter, as it was.

    Attributes:
        serial, profile: whose.
        rows: values by captured_at, in the order of capture.
        entries: of the ring.
        stretches: of the time in which it was there.
        off: spans without supply, elapsed seconds.
        unreachable: spans in which the box could not speak to it, elapsed seconds.
    """

    serial: str
    profile: str
    rows: dict[int, tuple]
    entries: int
    stretches: Sequence[Stretch]
    off: Sequence[Span]
    unreachable: Sequence[Span]


@dataclass(slots=True)
class Verdict:
    """Of one run or of a part of it.

    Attributes:
        intervals: how many, by what became of them.
        mistakes: what may not be, in words.
    """

    intervals: Counter[str] = field(default_factory=Counter)
    mistakes: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def mistake(self, kind: str, text: str) -> None:
        """Note one."""
        self.kinds[kind] += 1
        self.mistakes.append(f"{kind}: {text}")

    def add(self, other: "Verdict") -> None:
        """Join another part's."""
        self.intervals += other.intervals
        self.kinds += other.kinds
        self.mistakes += other.mistakes


class Judge:
    """Judges one ring.

    Args:
        truth: what was.
        known: what the box says.
        until_s: meter's clock up to which everything has to be settled.
    """

    def __init__(self, truth: Truth, known: Known, until_s: float) -> None:
        self._truth = truth
        self._known = known
        self._until_s = until_s
        self._absent_firsts = [first for first, _, _ in known.absent]
        self._order = list(truth.rows)
        self._captured = self._capture_times()
        self._number = {at: number for number, at in enumerate(self._order)}
        self.verdict = Verdict()

    def verdict_of_all(self) -> Verdict:
        """Everything that can be said."""
        known, truth = self._known, self._truth
        since_s = known.since_s
        if since_s is None:
            self._mistake("unexplained", min(truth.rows, default=0), "the profile was never described")
            return self.verdict
        self._check_records()
        for at in self._expected():
            if since_s <= at <= self._until_s:
                self._judge(at)
        return self.verdict

    # ---- what should be ----

    def _expected(self) -> list[int]:
        """All instants that the meter's grid had or its clock jumped over, and all that it captured."""
        instants = set(self._truth.rows)
        before: Stretch | None = None
        for stretch in self._truth.stretches:
            instants.update(_grid(stretch, stretch.from_s, stretch.to_s))
            if before is not None and stretch.ahead_s > before.ahead_s:
                skipped_s = stretch.ahead_s - before.ahead_s
                instants.update(_grid(stretch, stretch.from_s - skipped_s, stretch.from_s))
            before = stretch
        return sorted(instants)

    def _causes(self, at: int) -> Iterator[str]:
        """Reasons for which this instant may truly be absent."""
        if at in self._truth.rows:
            if self._was_overwritten(at):
                yield Absence.OVERWRITTEN.value
            return
        if self._was_overwritten(at):
            yield Absence.OVERWRITTEN.value  # nobody can tell any more that it was never captured
        before: Stretch | None = None
        on_grid = False
        for stretch in self._truth.stretches:
            when_s = at - stretch.ahead_s
            if stretch.from_s <= when_s <= stretch.to_s:
                on_grid |= at in _grid(stretch, when_s - 1, when_s)
                if any(first - EDGE_S <= when_s <= last + EDGE_S for first, last in self._truth.off):
                    yield Absence.METER_OFF.value
            jumped_from_s = stretch.from_s + (stretch if before is None else before).ahead_s
            if jumped_from_s - EDGE_S <= at <= stretch.from_s + stretch.ahead_s + EDGE_S:
                yield CLOCK_SET
            before = stretch
        if not on_grid:
            yield Absence.OTHER_PERIOD.value

    def _capture_times(self) -> list[float]:
        """Elapsed seconds at which each row was captured: the first time that the clock said so after the last one."""
        times: list[float] = []
        stretches, turn = self._truth.stretches, 0
        for at in self._order:
            while turn + 1 < len(stretches) and at - stretches[turn].ahead_s > stretches[turn].to_s + EDGE_S:
                turn += 1
            times.append(at - stretches[turn].ahead_s)
        return times

    def _was_overwritten(self, at: int) -> bool:
        """Whether the ring lost it before the box could have asked for it."""
        number = self._number.get(at, bisect_left(self._order, at))
        if number + self._truth.entries >= len(self._order):
            return False
        captured_s, lost_s = self._captured[number], self._captured[number + self._truth.entries]
        return (lost_s - captured_s) - _covered(self._truth.unreachable, captured_s, lost_s) <= CATCH_UP_S

    # ---- what is said ----

    def _judge(self, at: int) -> None:
        rows, truth = self._known.rows, self._truth.rows
        if at in rows:
            if at in truth:
                self.verdict.intervals["held"] += 1
                if rows[at] != truth[at]:
                    self._mistake("wrong value", at, f"{rows[at]} where the meter captured {truth[at]}")
            return  # invented ones are told by _check_records
        reason = self._reason(at)
        if reason is None:
            self._mistake("unexplained", at, f"causes: {sorted(set(self._causes(at)))}, captured: {at in truth}")
            return
        self.verdict.intervals[reason] += 1
        causes = set(self._causes(at))
        if reason not in causes:
            self._mistake("wrong reason", at, f"{reason!r}, truly {sorted(causes)}, captured: {at in truth}")

    def _reason(self, at: int) -> str | None:
        absent = self._known.absent
        near = absent[max(0, bisect_left(self._absent_firsts, at + 1) - 4) :]  # of two periods they may overlap
        for first, last, reason in near:
            if first > at:
                break
            if at <= last:
                return reason
        return None

    def _check_records(self) -> None:
        """Records against the meter, and the gap ledger against the records."""
        known, truth = self._known, self._truth
        for at in known.twice:
            self._mistake("twice", at, "in more than one record")
        for at in known.rows:
            if at not in truth.rows:
                self._mistake("invented", at, f"{known.rows[at]}")
        for at in known.held ^ known.rows.keys():
            where = "the gap ledger" if at in known.held else "the records"
            self._mistake("ledger and records differ", at, f"only in {where}")

    def _mistake(self, kind: str, at: int, text: str) -> None:
        self.verdict.mistake(kind, f"{self._truth.serial} {self._truth.profile} {at}: {text}")


CLOCK_SET = "clock set"


def _grid(stretch: Stretch, from_s: float, to_s: float) -> range:
    """Instants of the meter's clock in (from, to] of elapsed seconds; the grid goes through midnight in India."""
    period = stretch.period_s
    first = int(from_s + stretch.ahead_s) + 1
    return range(first + (-(first + 19_800)) % period, int(to_s + stretch.ahead_s) + 1, period)


def joined(spans: Iterable[Span], longer_by_s: float = 0.0) -> list[Span]:
    """Their union, each longer by so much."""
    whole: list[Span] = []
    for first, last in sorted(spans):
        if whole and first <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(whole[-1][1], last + longer_by_s))
        else:
            whole.append((first, last + longer_by_s))
    return whole


def _covered(spans: Sequence[Span], from_s: float, to_s: float) -> float:
    return sum(max(0.0, min(last, to_s) - max(first, from_s)) for first, last in spans)
