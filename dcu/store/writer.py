"""The writer: the one loop that uses the database. Works that wait at the same time share one commit.

A work runs inside a savepoint: one that raises is rolled back alone. Results are handed over after the commit, never
before: what a caller has been told is on the disk (WAL, synchronous=FULL). When SQLite itself rolls the transaction
back (a full disk), the works before it in that commit are told so, and those behind it begin in a new one.

When the disk fails, the file is let go and opened again with back-off; until then works are refused at once, and what
may wait (`keep`) waits in a bounded memory. They are refused too while a disk does not answer at all (`pace`). A file
that is damaged ends the process: the next start salvages it.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from dcu.errors import StoreBusy, StoreDamaged, StoreDown, StoreFault, StoreFull
from dcu.mailbox import Mailbox, Stop
from dcu.ports import Clock
from dcu.store.database import Database
from dcu.store.errand import Errand
from dcu.store.memory import Memory
from dcu.store.pace import STALLED_S, Pace
from dcu.store.seat import Opener, Seat
from dcu.store.trouble import down_by, told_trouble
from dcu.store.turn import commit

log = logging.getLogger(__name__)

TURN_S: Final = 1.0
"""Longest wait for work between two heartbeats."""

PAUSE_S: Final = 0.02
"""Between two bites of upkeep."""

AT_MOST: Final = 256
"""Works that may share a commit."""

CAPACITY: Final = 1024
"""Works that may wait; more are refused at once."""

MEMORIES: Final = 64
"""Works of the memory that share a commit."""

AGAIN_FIRST_S: Final = 1.0
AGAIN_MOST_S: Final = 60.0
"""How soon a file that had to be let go is opened again: at first, and when that has failed often."""


class Writer:
    """The loop and its mailbox.

    Args:
        opener: of the file.
        opened: the open file, or why it is not open yet.
        clock: of the box.
        stop: ends the loop, once nothing waits.
        beat: called at each turn.
        on_append: called after a commit that appended records.
    """

    def __init__(
        self,
        opener: Opener,
        opened: Seat | StoreFault,
        clock: Clock,
        stop: Stop,
        beat: Callable[[], None],
        on_append: Callable[[], None],
    ) -> None:
        self._opener = opener
        self._clock = clock
        self._stop = stop
        self.pace = Pace(clock, beat)
        self._beat = self.pace.beat
        self._on_append = on_append
        self._mailbox: Mailbox[Errand[Any]] = Mailbox(stop, CAPACITY)
        self._gate = threading.Lock()
        self._closed = False
        self._full = False
        self._appended = 0  # by committed turns
        self._upkeep_waits = False
        self._bitten_s = clock.monotonic_s()
        self.memory = Memory()
        self.seat = opened if isinstance(opened, Seat) else None
        self.down = None if isinstance(opened, Seat) else opened
        """Why nothing can be stored now."""
        self._down_since_s = self._again_s = clock.monotonic_s()
        self._backoff_s = AGAIN_FIRST_S

    def post(self, errand: Errand[Any]) -> bool:
        """Leave a work; False when too many wait.

        Raises:
            StoreDown: nothing can be stored now.
            StoreFault: the loop has ended.
        """
        with self._gate:
            if self._closed:
                raise StoreFault("the store is closed", place="store")
            trouble = self.trouble
            if trouble is not None:
                raise down_by(trouble)
            return self._mailbox.post(errand)

    @property
    def trouble(self) -> StoreFault | None:
        """Why nothing can be stored now, if so."""
        if self.down is None and self.pace.is_stalled:
            return StoreBusy(
                f"the disk has not answered for {STALLED_S:g} s", place="store", cure="see the kernel's log"
            )
        return self.down

    def run(self) -> None:
        """Serve until the process stops and nothing waits any more.

        Raises:
            StoreDamaged: the file is not what was written; the next start salvages it.
            StoreFault: it is open elsewhere, or a bug; all who waited have been told.
        """
        if self.seat is not None:
            self.seat.database.claim()
        try:
            while True:
                errands = [errand for errand in self._mailbox.drain(self._wait_s(), AT_MOST) if errand.take()]
                self._beat()
                self._upkeep_waits = False
                if (stalled_s := self.pace.recovered()) is not None and self.seat is not None:
                    self._tell_trouble(StoreBusy("the disk did not answer"), stalled_s)
                if self.seat is None:
                    self._refuse(errands)
                    self._open_again()
                elif errands or not self._stop:
                    self._serve(errands)
                if self._stop and not errands and not len(self._mailbox):
                    return
        finally:
            self._end()

    def _wait_s(self) -> float:
        return PAUSE_S if self._upkeep_waits and not self._stop else TURN_S

    # ---- works

    def _serve(self, errands: Sequence[Errand[Any]]) -> None:
        """Works, what waits in memory, and a bite of upkeep."""
        try:
            if errands:
                self._turn(errands)
            if not len(self._mailbox):
                self._remember()
            if not errands or self._clock.monotonic_s() - self._bitten_s >= TURN_S:
                self._bite()
        except StoreDown as fault:
            self._go_down(fault)
        except StoreDamaged as fault:
            if self._opener.mark(fault):
                raise
            self._go_down(fault)  # a disk that takes no mark would end every process that is started

    def _turn(self, errands: Sequence[Errand[Any]]) -> None:
        """Run the works, commit, and wake every caller, whatever happened.

        Raises:
            StoreDown, StoreDamaged: the file has to be let go.
            StoreFault: another process has it, or a bug.
        """
        waiting = errands
        try:
            while waiting:
                waiting = self._commit(waiting)
        finally:
            for errand in errands:
                errand.fail_unless_committed(StoreFault("the store failed before this work was committed"))
                errand.settle()
        self._note_room(errands)
        appended = self._seated.transaction.appended
        if appended > self._appended:
            self._appended = appended
            self._on_append()
        for errand in errands:
            if isinstance(errand.fault, StoreDown | StoreDamaged):
                raise errand.fault
        self._relieve(full=any(isinstance(errand.fault, StoreFull) for errand in errands))

    def _commit(self, errands: Sequence[Errand[Any]]) -> Sequence[Errand[Any]]:
        return commit(self._database, self._seated.transaction, errands)

    def _note_room(self, errands: Sequence[Errand[Any]]) -> None:
        """One line when the store becomes full, and one when it takes records again."""
        full = any(isinstance(errand.fault, StoreFull) for errand in errands)
        if full and not self._full:
            log.warning("the store is full: the oldest of what is worth least is shed")
        elif self._full and not full and self._seated.transaction.appended > self._appended:
            log.warning("the store has room again")
        else:
            return
        self._full = full

    # ---- between works

    def _bite(self) -> None:
        """A bite of upkeep."""
        self._bitten_s = self._clock.monotonic_s()
        done: list[bool] = []
        self._turn_alone(lambda: done.append(self._seated.upkeep.step()))
        self._upkeep_waits |= any(done)

    def _relieve(self, *, full: bool) -> None:
        """Shed as long as the file is too full and there is something to shed."""
        upkeep = self._seated.upkeep
        if full:
            self._make_way()
        elif not upkeep.is_tight():
            return
        more = [True]
        while more[0]:
            more = [False]
            self._turn_alone(lambda: more.__setitem__(0, upkeep.relieve()))  # noqa: B023
            self._beat()

    def _make_way(self) -> None:
        cut: list[bool] = []
        self._turn_alone(lambda: cut.append(self._seated.upkeep.make_way()))
        if any(cut):
            try:
                self._database.control("PRAGMA wal_checkpoint(TRUNCATE)")
            except StoreDown:
                raise
            except StoreFull as fault:
                log.warning("the log cannot be cut: %s", fault)

    def _turn_alone(self, work: Callable[[], None]) -> None:
        """One transaction of our own. Raises StoreDown, StoreDamaged; one that finds no room is tried another time."""
        errand: Errand[None] = Errand(lambda _tx: work())
        while self._commit([errand]):
            pass
        if isinstance(errand.fault, StoreDown | StoreDamaged):
            raise errand.fault
        if errand.fault is not None and not isinstance(errand.fault, StoreFull):
            raise errand.fault

    def _remember(self) -> None:
        """Do what waited in memory while nothing could be stored, in its order."""
        works = self.memory.take(MEMORIES)
        if not works:
            return
        errands = [Errand(kept.work) for kept in works]
        try:
            self._turn(errands)
        finally:
            faults = [errand.fault for errand in errands]
            for kept, fault in zip(works, faults, strict=True):
                kept.waits = _passes(fault)
            self.memory.put_back([kept for kept in works if kept.waits])
        for kept, fault in zip(works, faults, strict=True):
            if fault is not None and not kept.waits:
                log.error("a work that waited in memory is lost: %r", fault)
                self.memory.lose(type(fault) is StoreFull and not kept.lasting)
        if self.memory.lost and not len(self.memory):
            self._tell_trouble(StoreFull("there was no room for all that waited in memory"), 0)
        self._upkeep_waits = True

    # ---- down and up

    def _go_down(self, fault: StoreFault) -> None:
        """Let the file go; it is opened again later."""
        log.error("nothing can be stored for now: %s", fault)
        seat, self.seat = self.seat, None
        with self._gate:
            self.down = fault
        if seat is not None:
            with suppress(StoreFault):
                seat.database.close()
        self._down_since_s = self._clock.monotonic_s()
        self._again_s = self._down_since_s + self._backoff_s

    def _refuse(self, errands: Sequence[Errand[Any]]) -> None:
        for errand in errands:
            errand.fail(down_by(self.down or StoreFault("it is being opened")))
            errand.settle()

    def _open_again(self) -> None:
        """When its time has come. Raises StoreFault: never again by itself."""
        if self._clock.monotonic_s() < self._again_s or self._stop:
            return
        try:
            if isinstance(self.down, StoreDamaged):
                self._opener.salvage(self._beat)
            seat = self._opener.reopen()
        except (StoreFull, StoreDamaged) as fault:
            with self._gate:
                self.down = fault
            self._again_s = self._clock.monotonic_s() + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, AGAIN_MOST_S)
            return
        self._tell(seat)

    def _tell(self, seat: Seat) -> None:
        """It is open again: that is the first thing that it is told, out of memory."""
        down, seconds = self.down, self._clock.monotonic_s() - self._down_since_s
        seat.database.claim()
        self.seat, self._appended, self._backoff_s = seat, 0, AGAIN_FIRST_S
        with self._gate:
            self.down = None
        self._tell_trouble(down, seconds)

    def _tell_trouble(self, fault: StoreFault | None, seconds: float) -> None:
        kept, lost = len(self.memory), self.memory.told()
        log.warning("the store takes works again after %d s; %d waited in memory, %d were lost", seconds, kept, lost)
        self.memory.put_first(told_trouble(self._clock, fault, int(seconds), kept, lost))
        self._upkeep_waits = True

    def _end(self) -> None:
        """Nothing is taken any more; whoever still waits is told."""
        with self._gate:
            self._closed = True
        while left := self._mailbox.drain(0, CAPACITY):
            for errand in left:
                errand.fail(StoreFault("the store is closed", place="store"))
                errand.settle()
        if self.seat is not None:
            with suppress(StoreFault):
                self._turn_alone(self.seat.upkeep.end)

    @property
    def _database(self) -> Database:
        return self._seated.database

    @property
    def _seated(self) -> Seat:
        if self.seat is None:
            raise down_by(self.down or StoreFault("it is not open"))
        return self.seat


def _passes(fault: BaseException | None) -> bool:
    """Whether a work may be done after all when the store is open again."""
    return isinstance(fault, StoreFault) and type(fault) is not StoreFull
