"""What one visit is made of: each task is a part that says what to ask, takes the answer, and says when to come again.

All parts of a visit ask in one poll, and what came of it is committed in one transaction.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Final, Protocol

from dcu.clock import alarm_now, uptime
from dcu.config import PollConfig
from dcu.errors import ReplyMalformed
from dcu.event import Alarm, AlarmKind, Fact
from dcu.field.book import MeterBook
from dcu.gaps import Span
from dcu.meter import AttributeRef, ProfileSpec
from dcu.obis import LogicalName
from dcu.ports import Clock, Polled, RowsWanted, Store, Transaction
from dcu.reading import (
    Data,
    Layout,
    MeterTime,
    ProfileReading,
    Row,
)
from dcu.record import Stream, encode_alarm
from dcu.schedule import Task


@dataclass(frozen=True, slots=True)
class Ask:
    """What a part wants of the next poll."""

    refs: tuple[AttributeRef, ...] = ()
    rows: RowsWanted | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an `Ask`; a refusal stands in the place of what was refused."""

    values: tuple[Data | Exception, ...] = ()
    rows: list[Row] | Exception = field(default_factory=list)

    def taken(self) -> list[Row]:
        """The rows. Raises their refusal."""
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows

    def count(self) -> int:
        """The first value, where it has to be a number that is not negative. Raises its refusal, ReplyMalformed."""
        value = self.values[0]
        if isinstance(value, Exception):
            raise value
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ReplyMalformed("no number where a count or a period has to be")
        return value


class Place(Protocol):
    """What visits of one bus share."""

    @property
    def store(self) -> Store:
        """Where everything goes."""
        ...

    @property
    def clock(self) -> Clock:
        """The box's."""
        ...

    @property
    def zone(self) -> tzinfo:
        """Of the meters' clocks."""
        ...

    @property
    def poll(self) -> PollConfig:
        """Cadences."""
        ...

    @property
    def octets_per_s(self) -> float:
        """What the line carries."""
        ...


ROW_BYTES: Final = 300
VALUE_BYTES: Final = 40
"""What a row and each value of it take up in memory, about."""


def memory_bytes(rows: Sequence[Row]) -> int:
    """What rows take up while they wait to be stored, about."""
    texts = sum(len(value) for row in rows for value in row.values if isinstance(value, bytes | str))
    return sum(ROW_BYTES + VALUE_BYTES * len(row.values) for row in rows) + texts


class Writing:
    """What is to be committed of one poll: works in their order, and the alarms among them.

    Attributes:
        alarms: that are among the works.
        octets: that the works hold in memory, about.
        settled: spans of rings that are held, or known to be absent, once the works are done.
    """

    def __init__(self, serial: str, clock: Clock) -> None:
        self._serial = serial
        self._clock = clock
        self._works: list[Callable[[Transaction], object]] = []
        self._afterwards: list[Callable[[], None]] = []
        self.alarms: list[Alarm] = []
        self.octets = 0
        self.settled: dict[LogicalName, list[Span]] = {}

    def add(self, work: Callable[[Transaction], object], octets: int = 0) -> None:
        """One more, and what it holds in memory, about."""
        self._works.append(work)
        self.octets += octets

    def settles(self, ring: LogicalName, spans: Iterable[Span]) -> None:
        """Of these nothing is missing any more once the works are done."""
        self.settled.setdefault(ring, []).extend(spans)

    def then(self, work: Callable[[], None]) -> None:
        """Do it when the works are committed, and never where they fail."""
        self._afterwards.append(work)

    def alarm(self, kind: AlarmKind, text: str, **facts: Fact) -> None:
        """Announce something together with what it came of: it is told exactly as often as that is stored."""
        alarm = alarm_now(self._clock, kind, text, self._serial, facts)
        body = encode_alarm(alarm)
        self.alarms.append(alarm)
        self.add(lambda tx: tx.append(Stream.ALARM, body), len(body))

    def alarm_of(self, kind: AlarmKind, found: Callable[[], tuple[str, dict[str, Fact]] | None]) -> None:
        """The same, of what only the works before it find out: its text and facts, or None where nothing is to be told.

        It is made now, whenever it is stored; what waits in the store's memory is logged by nobody.
        """
        blank, told = alarm_now(self._clock, kind, "", self._serial, {}), list[Alarm]()

        def tell(tx: Transaction) -> None:
            told.clear()
            if (words := found()) is not None:
                told.append(replace(blank, text=words[0], facts=words[1]))
                tx.append(Stream.ALARM, encode_alarm(told[0]))

        self.add(tell, ROW_BYTES)
        self.then(lambda: self.alarms.extend(told))

    def run(self, tx: Transaction) -> None:
        """All of it."""
        for work in self._works:
            work(tx)

    def committed(self) -> None:
        """All of it is on the disk."""
        for work in self._afterwards:
            work()

    def __bool__(self) -> bool:
        return bool(self._works)


class Part(Protocol):
    """One task of a visit."""

    task: Task

    def ask(self, now_s: int | None) -> Ask | None:
        """What it wants next; None: nothing. `now_s` is what the meter's clock should show, None where nobody knows."""
        ...

    def take(self, answer: Answer, now: MeterTime | None, writing: Writing) -> None:
        """What came of it. Raises a DcuError that is about this task only."""
        ...

    def next_s(self) -> float:
        """When it is due again, monotonic."""
        ...

    @property
    def remains(self) -> bool | None:
        """Whether it leaves a backlog; None where it has none ever."""
        ...

    @property
    def again_s(self) -> float | None:
        """When to try again, monotonic, where what was due did not come; else None."""
        ...


class ProfilePart:
    """What parts of one profile have in common."""

    remains: bool | None = None
    again_s: float | None = None

    def __init__(self, task: Task, spec: ProfileSpec, book: MeterBook, place: Place) -> None:
        self.task = task
        self._spec = spec
        self._name = spec.logical_name
        self._book = book
        self._place = place
        self._began_s = place.clock.monotonic_s()
        self._settled = False

    @property
    def _layout(self) -> Layout | None:
        state = self._book.states.get(self._name)
        return None if state is None or state.stale else state.layout

    def _reading(self, layout: Layout, rows: Sequence[Row]) -> ProfileReading:
        clock, name = self._place.clock, self._name
        state = clock.state()
        since = uptime(clock, state)
        return ProfileReading(self._book.serial, name, layout, tuple(rows), clock.now(), state, uptime=since)

    def _write(self, writing: Writing, work: Callable[[Transaction], object], rows: Sequence[Row] = ()) -> None:
        """Do it in the poll's transaction, and know afterwards what the store has of the profile then.

        Args:
            writing: of the poll.
            work: what is done.
            rows: that it holds.
        """

        def both(tx: Transaction) -> None:
            work(tx)
            self._book.reload_profile(tx, self._name)

        writing.add(both, memory_bytes(rows))

    def next_s(self) -> float:
        """As `Part`."""
        return self._place.clock.monotonic_s() + (self._spec.every_s or self._place.poll.snapshot_s)


def trusted(clock: Clock) -> bool:
    """Whether the box's clock may be compared with."""
    return clock.state().known


def answers(asks: Sequence[Ask], polled: Polled, skipped: int) -> list[Answer]:
    """What came of each ask, out of a whole poll whose first values are somebody else's."""
    found = []
    at, row = skipped, 0
    for ask in asks:
        values = polled.values[at : at + len(ask.refs)]
        at += len(ask.refs)
        if ask.rows is None:
            found.append(Answer(values))
        else:
            found.append(Answer(values, polled.rows[row]))
            row += 1
    return found
