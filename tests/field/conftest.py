"""A real store in a file, a clock that the test moves, and a meter that is lists of rows, polled like a real one."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import cbor2
import pytest

from dcu import obis
from dcu.config import PollConfig
from dcu.errors import AttributeDenied, DcuError
from dcu.field.visit import MeterVisit, VisitScene
from dcu.mailbox import Stop
from dcu.meter import AttributeRef, ByEntry, ByRange, ClassId, Meter, MeterModel, ProfileKind, ProfileSpec
from dcu.obis import LogicalName
from dcu.ports import Described, Polled
from dcu.reading import ClockState, Column, Row, date_time, meter_time
from dcu.record import Stream
from dcu.schedule import Task, TaskKind
from dcu.store import SqliteStore

IST = ZoneInfo("Asia/Kolkata")
LAYOUT = (
    Column(8, obis.CLOCK, 2),
    Column(3, LogicalName.of("1.0.12.27.0"), 2, -1, 35),
    Column(3, LogicalName.of("1.0.1.29.0"), 2, 0, 30),
)
SERIAL = "GXT00000001"
BLOCK = ProfileSpec("block-load", obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS, ProfileKind.RING)
DAY_S = 86_400


class FakeClock:
    def __init__(self):
        self.wall = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)
        self.uptime_s = 1000.0
        self.trust = ClockState.TRUSTED

    def now(self):
        return self.wall

    def state(self):
        return self.trust

    def monotonic_s(self):
        return self.uptime_s

    boot_id = "b"

    def boottime_s(self):
        return self.uptime_s

    def advance(self, seconds):
        self.wall += timedelta(seconds=seconds)
        self.uptime_s += seconds


@dataclass
class Buffer:
    """A profile of the meter: rows oldest first, whatever order they are given in."""

    layout: tuple = LAYOUT
    period: int = 0
    entries: int = 3360
    newest_first: bool = False
    rows: list = field(default_factory=list)  # (captured_at, values)
    fault: Exception | None = None

    def put(self, at, *values):
        self.rows.append((at, values))
        del self.rows[: -self.entries]

    def selected(self, selection, zone):
        ordered = [Row(meter_time(date_time(datetime.fromtimestamp(at, UTC), zone), zone), v) for at, v in self.rows]
        ordered = ordered[::-1] if self.newest_first else ordered
        match selection:
            case ByRange(since, until):
                return [row for row in ordered if since <= row.captured_at.at <= until]
            case ByEntry(first, last):
                return ordered[first - 1 : last or None]
        return ordered


class FieldMeter:
    """An association with a meter; `polls` is what it was asked, `exchange_s` what each poll takes.

    Its clock is `ahead_s` ahead of the box's; `registers` are the attributes that it has beside its clock.
    """

    def __init__(self, clock, zone=IST):
        self.serial = SERIAL
        self.clock = clock
        self.zone = zone
        self.ahead_s = 0
        self.exchange_s = 0.05
        self.buffers = {obis.BLOCK_LOAD: Buffer(period=900)}
        self.registers = {LogicalName.of("1.0.0.2.0"): b"V1.0"}
        self.attributes = {}  # of objects that have several
        self.polls = []
        self.described = []
        self.before_poll = lambda: None

    # ---- what the meter is ----

    @property
    def block(self):
        return self.buffers[obis.BLOCK_LOAD]

    def now_s(self):
        return int(self.clock.now().timestamp()) + self.ahead_s

    def capture(self, first_s, last_s):
        """Rows of the block load in its buffer, oldest first."""
        for at in range(first_s, last_s + 1, self.block.period):
            self.block.put(at, 2300 + at // 60 % 50, at // 60 % 97)

    @property
    def times(self):
        return [at for at, _ in self.block.rows]

    # ---- what it is asked ----

    @property
    def asked(self):
        """Ranges of the block load that were asked, by their ends."""
        wanted = [want for _, rows in self.polls for want in rows if want.profile == obis.BLOCK_LOAD]
        return [
            (int(want.selection.since.timestamp()), int(want.selection.until.timestamp()))
            for want in wanted
            if isinstance(want.selection, ByRange)
        ]

    def poll(self, refs, wanted):
        self.before_poll()
        self.polls.append((list(refs), list(wanted)))
        self.clock.advance(self.exchange_s)
        return Polled(tuple(self.value(ref) for ref in refs), tuple(self.rows_of(want) for want in wanted))

    def value(self, ref: AttributeRef):
        if ref.class_id == ClassId.CLOCK:
            return date_time(datetime.fromtimestamp(self.now_s(), UTC), self.zone)
        if ref.class_id == ClassId.PROFILE_GENERIC:
            buffer = self.buffers[ref.logical_name]
            return {4: buffer.period, 7: len(buffer.rows)}[ref.attribute]
        if ref in self.attributes:
            return self.attributes[ref]
        return self.registers.get(ref.logical_name, AttributeDenied(f"{ref}: object undefined"))

    def rows_of(self, want):
        buffer = self.buffers.get(want.profile)
        if buffer is None:
            return AttributeDenied("object undefined")
        if buffer.fault is not None:
            return buffer.fault
        assert want.layout == buffer.layout, "rows of other columns than it has"
        return buffer.selected(want.selection, self.zone)

    def describe(self, specs):
        self.described.append([spec.name for spec in specs])
        self.clock.advance(self.exchange_s)
        return [self.description(self.buffers.get(spec.logical_name)) for spec in specs]

    @staticmethod
    def description(buffer):
        if buffer is None:
            return AttributeDenied("object undefined")
        return Described(buffer.layout, buffer.period, buffer.entries, len(buffer.rows), buffer.newest_first)


class Report:
    """Hears how visits went."""

    def __init__(self):
        self.next_s, self.backlogs, self.faults, self.well = {}, set(), {}, 0

    def answered(self, meter):
        self.heard = meter

    def visited(self, meter):
        self.well += 1

    def done(self, task, next_s, *, given):
        self.next_s[task] = next_s

    def put_off(self, task, next_s):
        self.next_s[task] = next_s

    def backlog(self, task, *, remains):
        (self.backlogs.add if remains else self.backlogs.discard)(task)

    def denied(self, task, fault):
        self.faults[task] = fault

    def changed(self, meter):
        self.other_firmware = meter

    def malformed(self, task, fault, next_s):
        self.faults[task] = fault
        self.next_s[task] = next_s

    def failed(self, meter, fault):
        self.faults[meter.serial] = fault


class Field:
    """A box with one meter: visits as a bus would make them."""

    def __init__(self, meter, store, clock, specs=(BLOCK,), zone=IST, **model):
        self.meter, self.store, self.clock = meter, store, clock
        self.configured = Meter(SERIAL, "pole", MeterModel("test", 1, {}, tuple(specs), **model), 17, "JH-RNC")
        self.poll = PollConfig(snapshot_s=900, balance_s=900, health_s=300, history_days=35)
        self.zone = zone
        self.report = Report()
        self.restart()

    def restart(self):
        """As a start of the process: nothing is remembered but what the store holds."""
        self.scene = VisitScene(self.store, self.clock, self.zone, self.poll)

    def tasks(self):
        found = [Task(SERIAL, TaskKind(s.kind.value), s.logical_name) for s in self.configured.model.profiles]
        return [*found, *([Task(SERIAL, TaskKind.BALANCE)] if self.configured.model.balance_and_states else [])]

    @contextmanager
    def associate(self, meter, purpose):
        yield self.meter

    def visit(self, *, spare=True, tasks=None):
        """A due visit, and spare ones until there is no backlog; when the first task is due again, monotonic."""
        self.run(MeterVisit(self.configured, tasks or self.tasks(), self.report, self.scene))
        for _ in range(200 if spare else 0):
            if not self.report.backlogs:
                break
            self.spare()
        assert not spare or not self.report.backlogs, "a backlog that never ends"
        return self.report.next_s.get((tasks or self.tasks())[0])

    def spare(self):
        """One visit for the backlog."""
        tasks = sorted(self.report.backlogs, key=str)
        self.run(MeterVisit(self.configured, tasks, self.report, self.scene, spare=True))

    def run(self, errand):
        try:
            errand.run(self)
        except DcuError as fault:
            errand.failed(fault)
            raise

    # ---- what the store has ----

    def state(self, profile=obis.BLOCK_LOAD):
        return self.store.transact(lambda tx: tx.profile(SERIAL, profile))

    def records(self, stream=Stream.PROFILE):
        return records(self.store, stream)

    def held(self, profile=obis.BLOCK_LOAD):
        """Rows of a profile, as records carry them."""
        streams = (*self.records(), *self.records(Stream.BILLING))
        return [row for record in streams if record["profile"] == str(profile) for row in record["rows"]]

    def times(self):
        return sorted(at for at, *_ in self.held())

    def times_of_load(self):
        return sorted(at for at, *_ in self.held(obis.BLOCK_LOAD))

    def alarms(self):
        return [record["kind"] for record in self.records(Stream.ALARM)]


def records(store, stream):
    """All records of a stream, decoded."""
    found, handed = [], 0
    while True:
        after = dict.fromkeys(Stream, 10**9) | {stream: handed}
        part = store.transact(lambda tx, after=after: tx.next_batch(after, 10**6))
        if part is None:
            return found
        handed = part.first + len(part.bodies) - 1
        found += [cbor2.loads(body) for body in part.bodies]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(tmp_path, clock):
    stop = Stop()
    opened = SqliteStore.open(tmp_path / "dcu.db", stop=stop, clock=clock, beat=lambda: None, dcu="JH-TEST")
    thread = threading.Thread(target=opened.run)
    thread.start()
    yield opened
    stop.set()
    thread.join(10)
    opened.close()


@pytest.fixture
def scene(store, clock):
    return VisitScene(store, clock, IST, PollConfig(snapshot_s=900, balance_s=900, health_s=300, history_days=35))


@pytest.fixture
def meter(clock):
    return FieldMeter(clock)


@pytest.fixture
def box(meter, store, clock):
    return Field(meter, store, clock)


@pytest.fixture
def now_s(clock):
    """The newest quarter of an hour that has passed."""
    return int(clock.now().timestamp()) // 900 * 900
