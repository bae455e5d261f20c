"""Line time of a poll every 15 minutes: twelve registers, the clock and one new row of the block load, ciphered.

Virtual meter and line in virtual time: 9600 baud, ten bits an octet, 50 ms from the end of a request to the start of
its answer. Ours is the bus worker with its keep-alives; against it stand a session of stock gurux as its examples write
it (`naive_session`) and the least octets that the standard needs for the same values (`least_octets`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from bench import least_octets
from bench.counted_line import BAUD, CountedLine, Used
from bench.figure import Figure, at_least, at_most, stated
from bench.naive_session import naive_poll
from bench.vault import Vault
from dcu import obis
from dcu.config.meter_models import shipped
from dcu.drivers.bus import BusWorker, Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.security import client_title
from dcu.mailbox import Mailbox, Stop
from dcu.meter import AttributeRef, ByRange, ClassId, Meter, MeterModel, MeterSecrets, Purpose
from dcu.obis import LogicalName
from dcu.ports import Association, Line, RowsWanted
from dcu.reading import ClockState, Layout, from_epoch
from dcu.sim import MeterConfig, MeterKeys

ZONE = ZoneInfo("Asia/Kolkata")
KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"bench-pw", hls=bytes(16))
SERIAL = "BENCH0000001"
ADDRESS = 17
PERIOD_S = 900
INSTANT, ENERGY = ("12.7.0", "11.7.0", "91.7.0", "13.7.0", "14.7.0", "9.7.0", "1.7.0"), ("1", "9", "2", "10")
REGISTERS = tuple(
    LogicalName.of(f"1.0.{name}") for name in (*INSTANT, *(f"{quantity}.8.0" for quantity in ENERGY), "1.8.1")
)
CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)


def meter_config(inactivity_s: float = 120.0, max_info: int = 2030) -> MeterConfig:
    """The meter of all who are compared."""
    return MeterConfig(
        SERIAL, ADDRESS, KEYS, history_s=4 * 86400, max_info=max_info, window=1, inactivity_s=inactivity_s
    )


class _LineClock:
    """The box's time is the line's."""

    def __init__(self, line: CountedLine) -> None:
        self._line = line

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._line.wall_s(), UTC)

    def state(self) -> ClockState:
        return ClockState.TRUSTED

    def monotonic_s(self) -> float:
        return self._line.now_s


class _Waiting(Mailbox):
    """Waiting moves the time on."""

    def __init__(self, stop: Stop, line: CountedLine) -> None:
        super().__init__(stop)
        self._line = line

    def take(self, timeout_s: float):
        letter = super().take(0.0)
        if letter is None:
            self._line.now_s += timeout_s
        return letter


class _NothingDue:
    def due(self, monotonic_s: float, busy=None) -> None:
        del monotonic_s, busy

    def is_due(self, monotonic_s: float, busy=None) -> bool:
        del monotonic_s, busy
        return False

    def idle_s(self, monotonic_s: float, busy=None) -> float:
        del monotonic_s, busy
        return 60.0


class Poll:
    """The errand: registers, clock and the rows since the last one, in one GET with list."""

    def __init__(self, meter: Meter, wall_s: Callable[[], float]) -> None:
        self.meter = meter
        self.fault: Exception | None = None
        self.runs = 0
        self.rows = 0
        self._wall_s = wall_s
        self._layout: Layout | None = None
        self._until_s = 0

    def run(self, line: Line) -> None:
        with line.associate(self.meter, Purpose.READ) as association:
            if self._layout is None:
                self._describe(association)
            self._poll(association)
        self.runs += 1

    def failed(self, fault: Exception) -> None:
        self.fault = fault
        self.runs += 1

    def _describe(self, association: Association) -> None:
        spec = next(each for each in self.meter.model.profiles if each.logical_name == obis.BLOCK_LOAD)
        [described] = association.describe([spec])
        if isinstance(described, Exception):
            raise described
        self._layout = described.layout
        self._until_s = int(self._wall_s()) // PERIOD_S * PERIOD_S

    def _poll(self, association: Association) -> None:
        refs = [CLOCK, *(AttributeRef(ClassId.REGISTER, name, 2) for name in REGISTERS)]
        now_s = int(self._wall_s())
        span = ByRange(from_epoch(self._until_s + PERIOD_S), from_epoch(max(now_s, self._until_s + PERIOD_S)))
        polled = association.poll(refs, [RowsWanted(obis.BLOCK_LOAD, self._layout or (), span, PERIOD_S)])
        for value in (*polled.values, *polled.rows):
            if isinstance(value, Exception):
                raise value
        [rows] = polled.rows
        self.rows = len(rows)
        self._until_s = max([self._until_s, *(row.captured_at.epoch_s for row in rows)])


def ours(*, keep_open: bool, inactivity_s: int) -> Used:
    """What one of our polls uses in the steady state, with all that is sent in the 900 s until the next one."""
    model: MeterModel = replace(shipped()["virtual"], keep_open=keep_open, inactivity_s=inactivity_s, window=1)
    secrets = MeterSecrets(KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls)
    meter = Meter(SERIAL, "bench", model, ADDRESS, "X", secrets)
    line = CountedLine(meter_config(inactivity_s or 1e9))
    stop = Stop()
    worker = BusWorker(
        "bench",
        lambda _meter: line,
        Framing.HDLC,
        Vault(),
        _NothingDue(),
        _LineClock(line),
        stop,
        ZONE,
        system_title=client_title("BENCH"),
        timing=LineTiming.at_baud(BAUD),
        mailbox=_Waiting(stop, line),
    )
    poll = Poll(meter, line.wall_s)
    used = Used(0, 0)
    for n in range(4):  # the first learns counter and layout; by the third all is as it stays
        worker.post(poll, urgent=False)
        before = line.used
        began_s = line.now_s
        while poll.runs == n:
            worker.turn()
        if poll.fault:
            raise poll.fault
        while line.now_s < began_s + PERIOD_S:
            worker.turn()
        used = line.used - before
    if poll.rows != 1:
        raise AssertionError(f"a poll brought {poll.rows} rows")
    return used


@dataclass(frozen=True, slots=True)
class Compared:
    """One way to poll: ours, the naive one, and the least that the standard needs."""

    name: str
    ours: Used
    naive: Used
    least: Used
    least_ratio: float

    @property
    def ratio(self) -> float:
        """How many times less line time than the naive session."""
        return self.naive.seconds / self.ours.seconds

    @property
    def over_least(self) -> float:
        """Our octets over the least."""
        return self.ours.octets / self.least.octets


def compare() -> list[Compared]:
    """The three ways to poll, with the ratios that they must reach."""
    naive = naive_poll(meter_config(max_info=128), KEYS, REGISTERS)
    found = []
    for name, kept, keep_open, inactivity_s, least_ratio in (
        ("a session a poll", "session", False, 120, 6.0),
        ("kept open by RR, inactivity 120 s", "rr", True, 120, 7.5),
        ("held open", "held", True, 0, 14.0),
    ):
        least = least_octets.least(meter_config(), KEYS, REGISTERS, kept)
        found.append(Compared(name, ours(keep_open=keep_open, inactivity_s=inactivity_s), naive, least, least_ratio))
    return found


def figures() -> list[Figure]:
    """Line time against the naive session, octets against the least, and the line time of each itself."""
    found = []
    for each in compare():
        name = f"line time of a poll, {each.name}"
        found.append(at_least(name, each.ratio, each.least_ratio, "naive/ours"))
        found.append(at_most(f"{name}: octets", each.over_least, 1.15, "ours/least", digits=3))
        found.append(stated(f"{name}: {each.ours.octets} octets", each.ours.seconds, "s", digits=3))
    return found
