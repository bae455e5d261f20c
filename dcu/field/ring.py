"""Reading a profile ring by its gap ledger: what is missing is asked by range, and what never comes is explained.

A due visit asks for the newest interval with whatever else is missing near it, in the visit's one poll; the rest is a
backlog for spare time, unless the meter is about to overwrite it. Rows prove only what lies between them, since an
answer may be cut short; that nothing came is looked into: at the oldest row that the meter has, and at its capture
period, before anything is called absent.
"""

from collections.abc import Sequence
from typing import Final

from dcu import backfill, gaps
from dcu.field import earlier
from dcu.field.book import MeterBook
from dcu.field.explaining import Explaining
from dcu.field.oldest import Oldest
from dcu.field.parts import Answer, Ask, Place, ProfilePart, Writing
from dcu.field.ring_range import begins, below, newest_of, window, with_neighbours
from dcu.field.statics import check_ring, note_described
from dcu.gaps import Absence, Span, Unsettled
from dcu.meter import AttributeRef, ByRange, ClassId, ProfileSpec
from dcu.ports import Described, ProfileState, RowsWanted
from dcu.reading import Layout, MeterTime, Row, from_epoch
from dcu.schedule import Task

VISIT_S: Final = 8.0
"""After this long at one meter the others have their turn, and the rest of a backlog waits."""

CAPTURE_GRACE_S: Final = 0.7
"""A meter needs a moment after the end of an interval before its row can be read."""

LATE_S: Final = (5.0, 30.0, 120.0)
"""When a row that is late is asked for again; after that with the next one."""

LOOK_AT_LEAST_EVERY_S: Final = 3600.0
"""Also where the capture period is a day: a clock that was set is noticed."""

CAPTURE_PERIOD: Final = 4
_MANY: Final = 1_000_000
_LONGEST_STRIDE: Final = 64


class RingPart(ProfilePart):
    """What is due of one ring, and of its backlog what there is time for.

    Args:
        task, spec, book, place: as all parts.
        spare: the visit is for the backlog.
    """

    def __init__(self, task: Task, spec: ProfileSpec, book: MeterBook, place: Place, *, spare: bool) -> None:
        super().__init__(task, spec, book, place)
        self._spare = spare
        self._asked: Span | None = None  # the range that is asked, on the grid
        self._reach: Span | None = None  # the same, with the held rows at its ends
        self._window: Span = (0, 0)  # the same, as the meter is asked
        self._oldest: Oldest | None = None
        self._holes: tuple[Span, ...] = ()  # not captured, to the second; noted when the period is confirmed
        self._explaining = Explaining(book, self._name, self._write)
        self._unsettled: Unsettled | None = None  # what is asked of an earlier grid
        self._confirming = False
        self._confirmed = False
        self._now_s: int | None = None
        self._floor_s: int | None = None  # the oldest row that the meter has, where that was looked up
        self._stride = 1  # after ranges of which nothing came, longer ones: they cost no more
        self._alone = False  # the rows beside a range are left out
        self.remains: bool | None = None
        self.again_s: float | None = None

    # ---- asking ----

    def ask(self, now_s: int | None) -> Ask | None:
        """As `Part`."""
        if now_s is None or self._settled:
            return None
        self._now_s = now_s
        if self._confirming:
            return Ask(refs=(AttributeRef(ClassId.PROFILE_GENERIC, self._name, CAPTURE_PERIOD),))
        described, state = self._book.described.get(self._name), self._book.states.get(self._name)
        if described is not None:
            return self._ask_oldest(described)
        if state is None or state.stale or state.layout is None:
            return None
        if self._oldest is not None:
            return self._oldest.ask()
        return self._ask_range(state, state.layout, now_s)

    def _ask_oldest(self, described: Described) -> Ask | None:
        """At the first contact: from when on are intervals expected?"""
        if self._oldest is None:
            self._oldest = Oldest(
                self._name,
                described.layout,
                newest_first=described.newest_first,
                in_use=described.entries_in_use,
            )
        return None if self._oldest.over else self._oldest.ask()

    def _ask_range(self, state: ProfileState, layout: Layout, now_s: int) -> Ask | None:
        self._asked = self._next(state, now_s)
        if self._asked is None:
            return self._ask_earlier(state, layout, now_s)
        self._reach = self._asked if self._alone else with_neighbours(state.held, self._asked, state.period_s)
        since_s, until_s = self._window = window(self._reach, self._asked, state.period_s, newest_of(state, now_s))
        selection = ByRange(from_epoch(since_s), from_epoch(until_s))
        return Ask(rows=RowsWanted(self._name, layout, selection, state.period_s))

    def _ask_earlier(self, state: ProfileState, layout: Layout, now_s: int) -> Ask | None:
        """What is not settled of the grids before the capture period changed; not before what came of it is stored."""
        monotonic_s = self._place.clock.monotonic_s()
        unproven = self._book.unproven
        vain = (first for (name, first), until_s in unproven.items() if name == self._name and until_s > monotonic_s)
        self._unsettled = earlier.next_unsettled(state, now_s, vain)
        is_known = self._book.loaded and not self._book.waiting
        if self._unsettled is None or not is_known or monotonic_s - self._began_s >= VISIT_S:
            self._settled = True
            return None
        since_s, until_s = self._window = earlier.window(self._unsettled)
        return Ask(
            rows=RowsWanted(self._name, layout, ByRange(from_epoch(since_s), from_epoch(until_s)), state.period_s)
        )

    def _next(self, state: ProfileState, now_s: int) -> Span | None:
        """The next range, and what is left after it."""
        monotonic_s = self._place.clock.monotonic_s()
        missing = self._missing(state, now_s)
        open_ = backfill.less(missing, self._book.asked_in_vain(self._name, monotonic_s), state.period_s)
        rows = self._stride * backfill.bite_rows(len(state.layout or ()), self._place.octets_per_s)
        newest = newest_of(state, now_s)
        if not self._spare and self._asked is None and open_ and open_[-1][1] == newest:
            return gaps.next_range(open_, state.period_s, rows, newest_first=True)
        bite = backfill.next_bite(open_, state.period_s, rows, now_s=now_s, entries=state.entries)
        self.remains = bite is not None
        in_time = monotonic_s - self._began_s < VISIT_S
        return bite.span if bite is not None and in_time and (self._spare or bite.urgent) else None

    def _missing(self, state: ProfileState, now_s: int) -> tuple[Span, ...]:
        """What the ledger misses, without what was brought and is not stored yet."""
        waits = [span for span in self._book.waits(self._name) if gaps.on_grid(span[0], state.since_s, state.period_s)]
        return backfill.less(gaps.missing(state, now_s), waits, state.period_s)

    # ---- taking ----

    def take(self, answer: Answer, now: MeterTime | None, writing: Writing) -> None:
        """As `Part`."""
        if now is None:
            return
        if self._confirming:
            self._take_period(answer, writing)
        elif self._oldest is not None:
            self._oldest.take(answer)
            if self._oldest.over and self._name not in self._book.described:
                found, self._oldest = self._oldest.found, None
                self._floor_s = found.captured_at.epoch_s if found else None
                self._prove(self._floor_s, now, writing)
        elif self._unsettled is not None:
            self._take_earlier(answer.taken(), now, writing)
        else:
            self._take_rows(answer.taken(), now, writing)

    def begin(self, now: MeterTime, writing: Writing) -> None:
        """Between two polls: note a ring that was described, once it is known from when on intervals are expected.

        Raises:
            ReplyMalformed: it has no capture period: no interval can be expected.
            CaptureMismatch: the clock is not its first column.
        """
        described = self._book.described.get(self._name)
        if described is None:
            return
        check_ring(described, str(self._name))
        if self._oldest is None:
            self._ask_oldest(described)
        if self._oldest is None or not self._oldest.over:
            return
        since_s = begins(described.period_s, self._oldest.found, now, self._place.poll.history_days)
        self._oldest = None
        del self._book.described[self._name]

        self._write(writing, lambda tx: note_described(tx, self._book.serial, self._name, described, since_s))

    def _take_rows(self, came: list[Row], now: MeterTime, writing: Writing) -> None:
        """Store what was asked for and came; what lies between rows and did not come was not captured."""
        state, asked, reach = self._book.states.get(self._name), self._asked, self._reach
        if state is None or state.layout is None or asked is None or reach is None:
            return
        rows = self._within(came)
        if asked[0] > now.epoch_s:  # the clock is not where it was thought to be
            self.again_s = self._place.clock.monotonic_s() + asked[0] - now.epoch_s + CAPTURE_GRACE_S
            self._settled = True
        times = [row.captured_at.epoch_s for row in rows if row.captured_at.epoch_s <= now.epoch_s + 1]
        if rows:
            self._stride = 1
            self._admit(state.layout, rows, writing)
            slots = (gaps.slot(at, state.since_s, state.period_s) for at in times)
            writing.settles(self._name, gaps.spans((at for at in slots if at is not None), state.period_s))
        proves = bool(times) and state.is_shown
        found = gaps.absences(reach, times, phase=state.since_s, period=state.period_s) if proves else ()
        self._holes = tuple(gaps.opened((first, last), times, (first, last)) for first, last, _ in found)
        if not self._settled:
            self._look_further(state, asked, times, now, writing)

    def _admit(self, layout: Layout, rows: list[Row], writing: Writing) -> None:
        reading = self._reading(layout, rows)
        self._write(writing, lambda tx: tx.admit(reading), rows)

    def _within(self, came: list[Row]) -> list[Row]:
        """Of the rows that came, those that were asked for."""
        return [row for row in came if self._window[0] <= row.captured_at.epoch_s <= self._window[1]]

    def _take_earlier(self, came: list[Row], now: MeterTime, writing: Writing) -> None:
        """Store what came of an earlier grid; between two rows nothing was captured."""
        state, unsettled, rows = self._book.states.get(self._name), self._unsettled, self._within(came)
        if state is None or state.layout is None or unsettled is None:
            return
        if rows:
            self._admit(state.layout, rows, writing)
        self._book.unproven[self._name, unsettled.first_s] = self._place.clock.monotonic_s() + LOOK_AT_LEAST_EVERY_S
        holes = earlier.proven(unsettled, [row.captured_at.epoch_s for row in rows])
        if holes is not None:
            grid, self._unsettled = unsettled.grid, None
            self._explaining.holes(holes, grid.from_s, grid.period_s, state, writing)
        elif self._floor_s is None:
            in_use = None if state.newest_first else state.entries or _MANY
            self._oldest = Oldest(self._name, state.layout, newest_first=state.newest_first, in_use=in_use)
        else:
            self._lose_earlier(unsettled, self._floor_s, now, writing)

    def _lose_earlier(self, unsettled: Unsettled, floor: int | None, now: MeterTime, writing: Writing) -> None:
        """What lies below the oldest row of the ring is gone; of the rest nothing is known."""
        self._unsettled = None
        if floor is not None and unsettled.first_s < floor <= now.epoch_s:
            grid, last = unsettled.grid, min(unsettled.last_s, floor - 1)
            self._explaining.lost([(unsettled.first_s, last)], grid.from_s, grid.period_s, writing)

    def surprised(self) -> None:
        """The clock was set: what is due is another range than was asked."""
        self._asked, self._settled, self._unsettled = None, False, None

    def _look_further(
        self, state: ProfileState, asked: Span, times: Sequence[int], now: MeterTime, writing: Writing
    ) -> None:
        """What did not come: late, not captured, overwritten, or in vain."""
        newest = newest_of(state, now.epoch_s)
        filled = {gaps.slot(at, state.since_s, state.period_s) for at in times}
        if asked[1] == newest and newest not in filled:
            self._wait_for(newest)
            self._in_vain((newest, newest), state)
        if self._holes or (None in filled and not self._confirmed):  # rows off the grid: it may be another one
            self._confirm(writing)
        elif filled.intersection(gaps.expected(*asked, state.period_s)) or asked == (newest, newest):
            self._alone = False
        elif times and not self._alone:
            self._alone = True  # of a long outage only the row beside it comes, which proves nothing: without that one
        elif not times:
            self._stride = min(4 * self._stride, _LONGEST_STRIDE)
            if self._floor_s is not None:
                self._prove(self._floor_s, now, writing)
                return
            in_use = None if state.newest_first else state.entries or _MANY
            self._oldest = Oldest(self._name, state.layout or (), newest_first=state.newest_first, in_use=in_use)
        else:
            self._in_vain(asked, state)

    def _wait_for(self, newest: int) -> None:
        """The newest interval has ended and its row is not there: soon again, then with the next one."""
        if self._spare:  # the due visits have their own times for it
            self.again_s = self._place.clock.monotonic_s() + LATE_S[-1]
            return
        instant, tries = self._book.late.get(self._name, (newest, 0))
        tries = tries if instant == newest else 0
        self._book.late[self._name] = (newest, tries + 1)
        if tries < len(LATE_S):
            self.again_s = self._place.clock.monotonic_s() + LATE_S[tries]

    def _in_vain(self, span: Span, state: ProfileState) -> None:
        """Not asked again before another row can have come."""
        monotonic_s = self._place.clock.monotonic_s()
        until_s = self.again_s or monotonic_s + self._until_next(state)
        self._book.vain.setdefault(self._name, []).append((span, until_s - 0.2))

    # ---- what never comes ----

    def _prove(self, floor: int | None, now: MeterTime, writing: Writing) -> None:
        """Nothing came of a range: what lies below the oldest row is gone, what lies between rows was not captured."""
        state, asked = self._book.states.get(self._name), self._asked
        if self._unsettled is not None:
            self._lose_earlier(self._unsettled, floor, now, writing)
            return
        if state is None or asked is None:
            return
        if floor is not None and floor > now.epoch_s:
            floor = None  # of a time that the clock has not reached: it was ahead once
        newest = max((min(last, now.epoch_s) for first, last in state.held if first <= now.epoch_s), default=None)
        lost = () if floor is None else below(self._missing(state, now.epoch_s), floor, state.period_s)
        if lost and floor is not None:
            open_ = gaps.merge(((a, min(b, floor - 1)) for a, b in gaps.margins(lost, state.period_s)), 1)
            self._explaining.lost(open_, state.since_s, state.period_s, writing)
        found = gaps.absences(asked, (), phase=state.since_s, period=state.period_s, oldest=floor, newest=newest)
        off = Absence.METER_OFF.value if state.is_shown else None
        bounds = (max(self._window[0], (floor or 0) + 1), min(self._window[1], (newest or asked[0]) - 1))
        self._holes = tuple(gaps.opened((first, last), (), bounds) for first, last, reason in found if reason == off)
        if self._holes:
            self._confirm(writing)
        if not lost and not self._holes:
            self._in_vain(asked, state)

    def _confirm(self, writing: Writing) -> None:
        """Before a hole is called one: is the capture period still what it was?"""
        if self._confirmed:
            self._note_holes(writing)
        else:
            self._confirming = True

    def _take_period(self, answer: Answer, writing: Writing) -> None:
        state = self._book.states.get(self._name)
        self._confirming, self._confirmed = False, True
        if state is None or answer.count() == state.period_s:
            self._note_holes(writing)
            return
        self._holes, self._asked = (), None
        serial = self._book.serial
        self._write(writing, lambda tx: tx.note_stale(serial))
        writing.add(self._book.reload)

    def _note_holes(self, writing: Writing) -> None:
        state, holes = self._book.states.get(self._name), self._holes
        self._holes = ()
        if state is not None:
            self._explaining.holes(holes, state.since_s, state.period_s, state, writing)

    # ---- when again ----

    def _until_next(self, state: ProfileState) -> float:
        """Seconds to the next row's moment, by the meter's clock."""
        now_s = self._book.face_s(self._place.clock.monotonic_s())
        if state.period_s <= 0 or now_s is None:
            return LOOK_AT_LEAST_EVERY_S
        to_boundary = state.period_s - (now_s - state.since_s) % state.period_s
        return min(to_boundary + CAPTURE_GRACE_S, LOOK_AT_LEAST_EVERY_S)

    def next_s(self) -> float:
        """As `Part`."""
        state = self._book.states.get(self._name)
        now_s = self._place.clock.monotonic_s()
        return now_s + (LOOK_AT_LEAST_EVERY_S if state is None else self._until_next(state))
