"""When each meter of a bus is visited, and for what: a pure policy over monotonic seconds.

One visit is one association, and does all that is due at that meter, since opening it costs more line time than a
poll (reference/gurux-dlms.md 6). The meter whose work has waited longest goes first, so nobody starves. Each meter has
its own place behind the end of an interval, so that not all come at once. A meter that failed is held by the fate of
its error, and then tried only when no other is due. A backlog is paid from spare time: when nothing at all is due.
"""

import heapq
import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from dcu.errors import Fate
from dcu.obis import LogicalName

HOLD_S: Final = {Fate.PAUSE_METER: 1800.0, Fate.SET_ASIDE: 900.0}
"""How long a meter is left alone: wrong tries can lock a client, and a swapped meter is looked at again."""

SILENCE_LEAST_S: Final = 5.0
SILENCE_MOST_S: Final = 600.0

JITTER: Final = 0.2
"""Part of a back-off that differs from meter to meter, so that those which fell together are not tried together."""

PROBE_PATIENCE_S: Final = 60.0
"""A meter that failed is tried behind all that are due, but waits no longer than this for its turn."""

PLACE_S: Final = 5.0
"""Distance between the places of two meters behind the end of an interval; less where an interval is short."""

SPREAD: Final = 1 / 3
"""Part of the time to a row that the places may take up."""

SLACK: Final = 0.1
"""Part of its waiting time by which work may be earlier or later, to be done in one visit with other work."""

_DOUBLED_AT_MOST: Final = 10
"""Enough to pass the bound; a meter that is dead for weeks must not overflow a float."""

_VOID_AT_MOST: Final = 16
"""Entries of a meter in the heap, most of them void; then they are swept out."""

Busy = Callable[[str], bool]
"""Whether a meter, by its serial, cannot be visited now since somebody speaks to it."""


def nobody(_serial: str) -> bool:
    """The `Busy` of a line with one thread."""
    return False


class TaskKind(Enum):
    """What is done at a meter."""

    RING = "ring"
    SNAPSHOT = "snapshot"
    BALANCE = "balance"
    BILLING = "billing"
    EVENTS = "events"
    NAMEPLATE = "nameplate"


@dataclass(frozen=True, slots=True)
class Task:
    """One recurring piece of work at one meter; `profile` is None for the balance and the states."""

    serial: str
    kind: TaskKind
    profile: LogicalName | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """What is to be done at one meter now.

    Attributes:
        serial: of the meter.
        tasks: all that is due, the longest waiting first; of a spare visit, those with a backlog.
        spare: nothing is due: it brings some of a backlog, and ends as soon as anything else wants the line.
        probe: the meter did not answer the last time: one try of the first request must do.
    """

    serial: str
    tasks: tuple[Task, ...]
    spare: bool = False
    probe: bool = False


@dataclass(frozen=True, slots=True)
class _Due:
    """When a task is done: wanted at `at_s`, and in company from `from_s` until `until_s`."""

    from_s: float
    at_s: float
    until_s: float


@dataclass(slots=True)
class _MeterBook:
    serial: str
    number: int
    place: float  # 0 to 1: where in the spread it stands
    due: dict[Task, _Due] = field(default_factory=dict)
    backlog: dict[Task, None] = field(default_factory=dict)
    held_until_s: float = 0.0
    failures: int = 0
    filed: int = 0  # counts up; entries of an older count in the heaps are void

    def ready_s(self) -> float:
        """When it is visited next; infinity when nothing is left to do."""
        if not self.due:
            return math.inf
        ring_s = min((due.at_s for task, due in self.due.items() if task.kind is TaskKind.RING), default=math.inf)
        wanted_s = min(ring_s if due.at_s < ring_s <= due.until_s else due.at_s for due in self.due.values())
        return max(wanted_s, self.held_until_s)


class Schedule:
    """The plan of one bus. One thread at a time.

    Args:
        tasks: all of them; each is due once at the start, spread over `spread_s`.
        now_s: monotonic seconds.
        spread_s: the first visits of the meters are spread over this time.
    """

    def __init__(self, tasks: Iterable[Task], now_s: float, spread_s: float = 0.0) -> None:
        grouped: dict[str, list[Task]] = {}
        for task in tasks:
            grouped.setdefault(task.serial, []).append(task)
        self._meters: dict[str, _MeterBook] = {}
        self._books: list[_MeterBook] = []
        self._coming: list[tuple[float, int, int]] = []  # (ready, number, filed)
        self._ready: list[tuple[float, int, int]] = []  # (waiting since, number, filed)
        self._spare: dict[str, None] = {}  # meters with a backlog, the next first
        for n, (serial, its_tasks) in enumerate(grouped.items()):
            book = _MeterBook(serial, n, n / len(grouped))
            first_s = now_s + n * spread_s / len(grouped)
            book.due = dict.fromkeys(its_tasks, _Due(first_s, first_s, first_s))
            self._meters[serial] = book
            self._books.append(book)
            self._file(book)

    # ---- who is there ----

    def add(self, serial: str, tasks: Iterable[Task], now_s: float) -> None:
        """A meter comes: all its tasks are due now."""
        book = _MeterBook(serial, len(self._books), zlib.crc32(serial.encode()) / 2**32)
        book.due = dict.fromkeys(tasks, _Due(now_s, now_s, now_s))
        self._meters[serial] = book
        self._books.append(book)
        self._file(book)

    def remove(self, serial: str) -> None:
        """A meter goes. What a visit that is under way reports of it afterwards changes nothing."""
        book = self._meters.pop(serial, None)
        self._spare.pop(serial, None)
        if book is not None:
            book.filed += 1  # its entries are void

    def _book_of(self, serial: str) -> _MeterBook:
        return self._meters.get(serial) or _MeterBook(serial, 0, 0.0)

    # ---- who is next ----

    def visit(self, now_s: float, busy: Busy = nobody) -> Visit | None:
        """The visit whose work has waited longest, else a spare one, or None when there is nothing to do.

        It stays the next one until its outcome is told.
        """
        book = self._longest_waiting(now_s, busy)
        if book is None:
            return self._spare_visit(now_s, busy)
        due = sorted((due.at_s, n, task) for n, (task, due) in enumerate(book.due.items()) if due.from_s <= now_s)
        return Visit(book.serial, tuple(task for _, _, task in due), probe=book.failures > 0)

    def is_due(self, now_s: float, busy: Busy = nobody) -> bool:
        """Whether a visit other than a spare one is to be made now."""
        return self._longest_waiting(now_s, busy) is not None

    def idle_s(self, now_s: float, at_most_s: float = 60.0, busy: Busy = nobody) -> float:
        """Seconds until something may be due, at most `at_most_s`."""
        if self._longest_waiting(now_s, busy) or any(self._may_be_spare(serial, now_s, busy) for serial in self._spare):
            return 0.0
        while self._coming and self._is_void(self._coming[0]):
            heapq.heappop(self._coming)
        return min(max(self._coming[0][0] - now_s, 0.0), at_most_s) if self._coming else at_most_s

    def _longest_waiting(self, now_s: float, busy: Busy) -> _MeterBook | None:
        while self._coming and self._coming[0][0] <= now_s:
            ready_s, number, filed = heapq.heappop(self._coming)
            patience_s = PROBE_PATIENCE_S if self._books[number].failures else 0.0
            heapq.heappush(self._ready, (ready_s + patience_s, number, filed))
        passed_over = []
        found = None
        while self._ready and found is None:
            entry = self._ready[0]
            book = self._books[entry[1]]
            if self._is_void(entry):
                heapq.heappop(self._ready)
            elif busy(book.serial):
                passed_over.append(heapq.heappop(self._ready))
            else:
                found = book
        for entry in passed_over:
            heapq.heappush(self._ready, entry)
        return found

    def _is_void(self, entry: tuple[float, int, int]) -> bool:
        return self._books[entry[1]].filed != entry[2]

    def _spare_visit(self, now_s: float, busy: Busy) -> Visit | None:
        for serial in self._spare:
            if self._may_be_spare(serial, now_s, busy):
                del self._spare[serial]
                self._spare[serial] = None  # the others go before it next time
                book = self._meters[serial]
                return Visit(serial, tuple(book.backlog), spare=True, probe=book.failures > 0)
        return None

    def _may_be_spare(self, serial: str, now_s: float, busy: Busy) -> bool:
        return self._meters[serial].held_until_s <= now_s and not busy(serial)

    def _file(self, book: _MeterBook) -> None:
        """Enter a meter anew where it belongs now; one that has gone belongs nowhere."""
        if self._meters.get(book.serial) is not book:
            return
        book.filed += 1
        if len(self._coming) > _VOID_AT_MOST * len(self._books):
            self._coming = [entry for entry in self._coming if not self._is_void(entry)]
            heapq.heapify(self._coming)
        ready_s = book.ready_s()
        if ready_s < math.inf:
            heapq.heappush(self._coming, (ready_s, book.number, book.filed))

    # ---- what came of it ----

    def done(self, task: Task, next_s: float, now_s: float) -> None:
        """The task succeeded. A ring has a new row at `next_s`; anything else is wanted about then."""
        book = self._book_of(task.serial)
        wait_s = max(0.0, next_s - now_s)
        slack_s = SLACK * wait_s
        if task.kind is TaskKind.RING:
            at_s = next_s + book.place * min(PLACE_S * len(self._books), SPREAD * wait_s)
            book.due[task] = _Due(next_s, at_s, at_s + slack_s)
        else:
            book.due[task] = _Due(next_s - slack_s, next_s, next_s + slack_s)
        self._file(book)

    def put_off(self, task: Task, next_s: float) -> None:
        """The task did not succeed: again at `next_s`."""
        book = self._book_of(task.serial)
        book.due[task] = _Due(next_s, next_s, next_s)
        self._file(book)

    def backlog(self, task: Task, *, remains: bool) -> None:
        """Whether the task has left something behind that spare time may bring."""
        book = self._book_of(task.serial)
        if remains and task.serial in self._meters:
            book.backlog[task] = None
            self._spare.setdefault(task.serial)
        else:
            book.backlog.pop(task, None)
            if not book.backlog:
                self._spare.pop(task.serial, None)

    def answered(self, serial: str) -> bool:
        """A visit went through to its end; True when the ones before it had failed."""
        book = self._book_of(serial)
        failed, book.failures, book.held_until_s = book.failures > 0, 0, 0.0
        self._file(book)
        return failed

    def failed(self, serial: str, fate: Fate, now_s: float) -> bool:
        """Hold the meter by the fate of its error; True when this is the first failure in a row."""
        book = self._book_of(serial)
        book.failures += 1
        doubled_s = SILENCE_LEAST_S * 2 ** min(book.failures - 1, _DOUBLED_AT_MOST)
        chance = zlib.crc32(f"{serial} {book.failures}".encode()) / 2**32
        backoff_s = min(doubled_s, SILENCE_MOST_S) * (1 - JITTER * chance)
        book.held_until_s = now_s + HOLD_S.get(fate, backoff_s)
        self._file(book)
        return book.failures == 1

    def held(self, serial: str, now_s: float) -> bool:
        """Whether the meter is being left alone."""
        return self._book_of(serial).held_until_s > now_s
