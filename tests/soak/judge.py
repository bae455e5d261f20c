"""The judge: every interval of a run, held as the meter captured it or absent for the reason that was its cause."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from dcu.gaps import Absence
from tests.soak.holdings import Known
from tests.soak.truth import EDGE_S, Losses, Stretch, Truth

CATCH_UP_S = 6 * 3600.0
"""Before a row was overwritten the box may have been able to speak to the meter for so long, busy with what waited."""

HOLD_S = 3600.0
"""A meter or a line that failed is left alone for a while after it is back."""

KINDS = ("unexplained", "wrong reason", "wrong value", "invented", "twice", "ledger and records differ")


@dataclass(slots=True)
class Verdict:
    """Of one run or of a part of it.

    Attributes:
        intervals: of rings, by what became of them.
        rows: of logs and bills, likewise.
        mistakes: what may not be, in words.
        kinds: how many of each.
    """

    intervals: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    mistakes: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def mistake(self, kind: str, truth: Truth, at: int, text: str) -> None:
        """Note one."""
        self.kinds[kind] += 1
        self.mistakes.append(f"{kind}: {truth.serial} {truth.profile} {at}: {text}")

    def add(self, other: "Verdict") -> None:
        """Join another part's."""
        self.intervals += other.intervals
        self.rows += other.rows
        self.kinds += other.kinds
        self.mistakes += other.mistakes


class RingJudge:
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
        self._losses = Losses(truth, CATCH_UP_S)
        self._firsts = [first for first, _, _ in known.absent]
        self._captured: dict[int, Counter[tuple]] = {}
        self._numbers: dict[int, list[int]] = {}
        for number, (at, values) in enumerate(truth.rows):
            self._captured.setdefault(at, Counter())[values] += 1
            self._numbers.setdefault(at, []).append(number)
        self.verdict = Verdict()

    def judge(self) -> Verdict:
        """Everything that can be said."""
        since_s = self._known.since_s
        _check_rows(self._truth, self._known, self._captured, self.verdict)
        for at in self._known.held ^ self._known.rows.keys():
            where = "the gap ledger" if at in self._known.held else "the records"
            self._mistake("ledger and records differ", at, f"only in {where}")
        for at in self._held_and_absent():
            self._mistake("ledger and records differ", at, "held, and absent too")
        if since_s is None:
            if self._truth.rows and not self._losses.was_out_of_reach(0, self._end_s()):
                self._mistake("unexplained", self._truth.rows[0][0], "the profile was never described")
            return self.verdict
        for at in self._expected():
            if since_s <= at <= self._until_s:
                self._judge(at)
        return self.verdict

    def _end_s(self) -> float:
        return min(self._truth.removed_s, self._truth.stretches[-1].to_s)

    def _expected(self) -> list[int]:
        """All instants that the meter's grid had or its clock jumped over, and all that it captured."""
        instants = set(self._captured)
        before: Stretch | None = None
        for stretch in self._truth.stretches:
            instants.update(stretch.grid(stretch.from_s, stretch.to_s))
            skipped_s = 0.0 if before is None else stretch.clock_s - before.clock(stretch.from_s)
            if skipped_s > 0:
                instants.update(stretch.grid(stretch.from_s - skipped_s, stretch.from_s))
            before = stretch
        return sorted(instants)

    def _held_and_absent(self) -> Iterator[int]:
        """Instants that cannot be both; between rows of another period nothing is missing, which says less."""
        other = Absence.OTHER_PERIOD.value
        yield from (at for at in self._known.rows if self._reason(at) not in {None, other})

    def _judge(self, at: int) -> None:
        if at in self._known.rows:
            self.verdict.intervals["held"] += 1
            self._judge_repeated(at)
            return
        reason, causes = self._reason(at), sorted(set(self._causes(at)))
        if reason is None:
            self._mistake("unexplained", at, f"truly {causes}, captured: {at in self._captured}")
            return
        self.verdict.intervals[reason] += 1
        if reason not in causes:
            self._mistake("wrong reason", at, f"{reason!r}, truly {causes}, captured: {at in self._captured}")

    def _judge_repeated(self, at: int) -> None:
        """A clock that was set back may show a moment twice: each time is a row of its own."""
        if len(self._numbers.get(at, ())) < 2:
            return
        missing = (self._captured[at] - Counter(self._known.rows[at])).total()
        lost = sum(self._losses.was_lost(number) for number in self._numbers[at])
        if missing > lost:
            self._mistake("unexplained", at, f"{missing} rows more of that time: {self._captured[at]}")

    def _reason(self, at: int) -> str | None:
        place = bisect_right(self._firsts, at) - 1
        if place < 0:
            return None
        _, last, reason = self._known.absent[place]
        return reason if at <= last else None

    def _causes(self, at: int) -> Iterator[str]:
        """Reasons for which this instant may truly be absent."""
        number = self._losses.number(at)
        if self._losses.was_lost(number) or (at not in self._captured and self._borders_on_lost(at)):
            yield Absence.OVERWRITTEN.value  # of one that was never captured, nobody can tell that any more
        if self._truth.removed_s < float("inf") and self._was_taken_away(number):
            yield Absence.METER_REPLACED.value
        if all(self._losses.was_lost(number) for number in self._numbers.get(at, ())):
            yield from self._causes_of_none(at)

    def _borders_on_lost(self, at: int) -> bool:
        """Whether the row before one that was never captured is lost, and no log says that the meter was off."""
        before = self._losses.number_before(at)
        if before is None or not self._losses.was_lost(before):
            return False
        moments = (stretch.elapsed(at) for stretch in self._truth.stretches)
        return not any(first <= when_s <= last for when_s in moments for first, last in self._truth.off)

    def _was_taken_away(self, number: int) -> bool:
        if number >= len(self._truth.rows):
            return True
        return self._losses.was_out_of_reach(number, self._truth.removed_s)

    def _causes_of_none(self, at: int) -> Iterator[str]:
        """Why the meter did not capture it, also when its clock passed it another time and the row of that is lost."""
        before: Stretch | None = None
        on_grid = False
        captured = [self._losses.captured_s(number) for number in self._numbers.get(at, ())]
        for stretch in self._truth.stretches:
            when_s = stretch.elapsed(at)
            if any(abs(when_s - captured_s) <= EDGE_S for captured_s in captured):
                on_grid = True
            elif stretch.from_s - EDGE_S <= when_s <= stretch.to_s + EDGE_S:
                if self._is_shown_again(at, when_s):
                    yield Absence.CLOCK_SET.value
                else:
                    on_grid |= at in stretch.grid(when_s - 1, when_s + 1)
                if any(first - EDGE_S <= when_s <= last + EDGE_S for first, last in self._truth.off):
                    yield Absence.METER_OFF.value
            if before is not None and before.clock(stretch.from_s) - EDGE_S <= at <= stretch.clock_s + EDGE_S:
                yield Absence.CLOCK_SET.value
                on_grid |= stretch.period_s > 0 and (at + 19_800) % stretch.period_s == 0
            before = stretch
        if not on_grid:
            yield Absence.OTHER_PERIOD.value

    def _is_shown_again(self, at: int, when_s: float) -> bool:
        """Whether the meter has a later row then, and captures nothing before its clock has passed that."""
        return not self._truth.repeats and self._losses.newest_at(when_s - EDGE_S) > at

    def _mistake(self, kind: str, at: int, text: str) -> None:
        self.verdict.mistake(kind, self._truth, at, text)


def judge_log(truth: Truth, known: Known, until_s: float) -> Verdict:
    """Judges a log or the bills: every row is there once, or was lost so early that nobody could have had it."""
    verdict = Verdict()
    captured: dict[int, Counter[tuple]] = {}
    for at, values in truth.rows:
        captured.setdefault(at, Counter())[values] += 1
    _check_rows(truth, known, captured, verdict)
    losses = Losses(truth, CATCH_UP_S)
    left = {at: Counter(values) for at, values in known.rows.items()}
    for number, (at, values) in enumerate(truth.rows):
        if at > until_s:
            continue
        if left.get(at, Counter())[values] > 0:
            left[at][values] -= 1
            verdict.rows["held"] += 1
        elif losses.was_lost(number):
            verdict.rows["lost and told" if known.told_lost else "lost"] += 1
        elif truth.removed_s < float("inf") and losses.was_out_of_reach(number, truth.removed_s):
            verdict.rows["meter replaced"] += 1
        else:
            verdict.mistake("unexplained", truth, at, f"a row of a log: {values}")
    return verdict


def _check_rows(truth: Truth, known: Known, captured: dict[int, Counter[tuple]], verdict: Verdict) -> None:
    """Records against the meter."""
    for at, n in known.twice:
        verdict.mistake("twice", truth, at, f"number {n} of that time is in more than one record")
    for at, rows in known.rows.items():
        if at not in captured:
            verdict.mistake("invented", truth, at, f"{rows}")
            continue
        for values, count in (Counter(rows) - captured[at]).items():
            kind = "twice" if values in captured[at] else "wrong value"
            verdict.mistake(kind, truth, at, f"{count} of {values}; the meter captured {list(captured[at])}")
