"""A whole box in one thread and by a clock set by hand: the real relay desk, a store in memory, meters on a wall.

Everything that decides is the program's own (`RelayDesk` and all below it); only time, disk and line are made up. A
transaction is all or nothing here as well.
"""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dcu.errors import AttributeDenied, LinkLost, MeterSilent
from dcu.mailbox import Stop
from dcu.meter import AttributeRef, Meter, Purpose
from dcu.reading import ClockState, Data
from dcu.record import Stream
from dcu.relay import executor
from dcu.relay.deeds.sense import SENSE
from dcu.relay.desk import RelayDesk
from dcu.relay.key_document import TrustStore
from dcu.relay.letters import Put, Reply, Verdict
from dcu.relay.trust import Commissioning
from tests.kept import Kept
from tests.proof.papers import FLOOR_S, LIVE, MODEL, NOON
from tests.proof.people import Hand

RECEIPTS = Hand("box")


class HandClock:
    """Stands still until it is told otherwise. `epoch_s` is what the box believes, `true_s` what is so."""

    def __init__(self, at_s: int = NOON) -> None:
        self.true_s, self.ahead_s = float(at_s), 0.0
        self.started_s = self.true_s - 10_000.0
        self.trusted = ClockState.TRUSTED
        self.boot_id = "boot-1"
        self.floor_s = FLOOR_S

    @property
    def epoch_s(self) -> float:
        return self.true_s + self.ahead_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch_s, UTC)

    def state(self) -> ClockState:
        return self.trusted

    def floor(self) -> datetime:
        return datetime.fromtimestamp(self.floor_s, UTC)

    def meters_heard(self) -> bool:
        return True

    def monotonic_s(self) -> float:
        return self.true_s - self.started_s

    def boottime_s(self) -> float:
        return self.true_s - self.started_s


@dataclass
class Rows:
    """What is on disk. Values are never changed in place, so a shallow copy is a copy."""

    commands: dict = field(default_factory=dict)
    sequences: dict = field(default_factory=dict)
    documents: dict = field(default_factory=dict)
    permits: dict = field(default_factory=dict)
    debits: dict = field(default_factory=dict)
    restraints: dict = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)
    journal: list = field(default_factory=list)
    receipts: list = field(default_factory=list)

    def copied(self) -> "Rows":
        """A copy; lists are kept, and cut again where a transaction fails."""
        made = replace(self)
        for name in ("commands", "sequences", "documents", "permits", "debits", "restraints", "counts"):
            setattr(made, name, getattr(self, name).copy())
        return made


class Held(Kept):
    """`ports.Transaction` and `ports.Authority`, as far as the relay room uses them."""

    def append(self, stream, body, layout=None):
        if stream is Stream.RECEIPT:
            self.rows.receipts.append(body)
        return len(self.rows.receipts)

    def journal(self, at_s, kind, body):
        last = self.rows.journal[-1][1] if self.rows.journal else bytes(32)
        self.rows.journal.append((body, hashlib.sha256(last + body).digest()))
        return len(self.rows.journal), self.rows.journal[-1][1]

    def debit(self, debit):
        assert (debit.iss, debit.cmd_id) not in self.rows.debits
        self.rows.debits[debit.iss, debit.cmd_id] = debit

    def note_sent(self, iss, cmd_id, at_s, boot_s):
        if (iss, cmd_id) in self.rows.debits:
            held = self.rows.debits[iss, cmd_id]
            self.rows.debits[iss, cmd_id] = replace(held, sent_at_s=at_s, sent_boot_s=boot_s)

    def _debits(self):
        return self.rows.debits.values()


class HeldStore:
    """`ports.Store` in memory. `epoch` is the journal's id."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.rows = Rows()

    def transact(self, work, *, wait_s=30.0):
        before = self.rows
        lengths = len(before.journal), len(before.receipts)
        self.rows = before.copied()
        try:
            return work(Held(self.rows))
        except BaseException:
            del before.journal[lengths[0] :], before.receipts[lengths[1] :]
            self.rows = before
            raise


class WallMeter:
    """A meter on the wall; it survives every crash of the box. `acts`: (true time, method)."""

    def __init__(self, serial: str, *, connected: bool = True) -> None:
        self.serial, self.connected, self.control = serial, connected, int(connected)
        self.acts: list[tuple[float, int]] = []
        self.silent_for = 0  # associations that find nobody
        self.lost_answers = 0  # ACTIONs of which the answer is lost, and the association with it

    def senses(self) -> dict[AttributeRef, Data]:
        """Voltage and current with their scalers; every other meter has no such registers."""
        if ord(self.serial[-1]) % 2:
            return {}
        return dict(zip(SENSE, (2301, [-1, 35], 4200 * self.connected, [-3, 33]), strict=True))

    def act(self, at_s: float, method: int) -> None:
        self.acts.append((at_s, method))
        self.connected = method == 2
        self.control = int(self.connected)


class WallAssociation:
    """`ports.Association` with a meter on the wall."""

    def __init__(self, meter: WallMeter, box: "StillBox") -> None:
        self.serial, self._meter, self._box, self._gone = meter.serial, meter, box, False

    def get_list(self, refs):
        if self._gone:
            raise LinkLost("gone", place=self.serial)
        told = {
            executor.OUTPUT_STATE: self._meter.connected,
            executor.CONTROL_STATE: self._meter.control,
            executor.CONTROL_MODE: 4,
            executor.PAYMENT_MODE: 1,
            **self._meter.senses(),
        }
        return [told.get(ref, AttributeDenied(str(ref))) for ref in refs]

    def act(self, method, data, warrant):
        warrant.spend(self.serial, method, data, self._box.clock.monotonic_s())
        self._meter.act(self._box.clock.true_s, method.method)
        if self._meter.lost_answers:
            self._meter.lost_answers -= 1
            self._gone = True
            raise LinkLost("the answer was lost", place=self.serial)


class WallBus:
    """`ports.Bus` and `ports.Line`: one errand at a time, `taking_s` each, on the clock of the box."""

    def __init__(self, box: "StillBox", taking_s: float) -> None:
        self.name, self._box, self.taking_s, self.queue = "north", box, taking_s, []

    def post(self, errand, *, urgent):
        assert urgent
        self.queue.append(errand)

    @contextlib.contextmanager
    def associate(self, meter, purpose):
        assert purpose is Purpose.SWITCH
        self._box.clock.true_s += self.taking_s / 2
        wall = self._box.wall[meter.serial]
        if wall.silent_for:
            wall.silent_for -= 1
            raise MeterSilent("no answer", place=meter.serial)
        yield WallAssociation(wall, self._box)

    def work(self) -> bool:
        """One errand; False when there is none."""
        if not self.queue:
            return False
        errand = self.queue.pop(0)
        self._box.clock.true_s += self.taking_s / 2
        try:
            errand.run(self)
        except AssertionError:
            raise
        except Exception as fault:
            errand.failed(fault)
        return True


class StillDesk(RelayDesk):
    """The desk, worked by whoever asks it something."""

    def turns(self) -> None:
        """Read every letter, and let time pass."""
        self.turn(0.0)
        while len(self._letters):
            self.turn(0.0)
        self.turn(0.0)

    def hand_in(self, octets: bytes, *, topic: str = "", qos: int = 1, retained: bool = False) -> Verdict:
        """`put`, without a thread that waits."""
        reply: Reply[Verdict] = Reply()
        topic = topic or f"dcu/v1/{self._book.dcu}/cmd"
        self._letters.post(Put(octets, topic, qos, retained, False, reply))
        self.turns()
        verdict = reply.wait(0.0)
        assert verdict is not None
        return verdict

    def _ask(self, ready):
        self._letters.post(ready, urgent=True)
        self.turns()
        return ready.reply.wait(0.0)

    @property
    def lease(self) -> str:
        """That it gave out last."""
        return self._book.leases.current


class StillStop(Stop):
    """Nobody sleeps: a pause is over at once."""

    def wait(self, timeout_s: float) -> bool:
        return bool(self)


class StillBox:
    """One box.

    Args:
        dcu: its name.
        trust: in force, as if a key document had come.
        serials: of its meters, all on one bus.
        area: in which they stand by the configuration.
        taking_s: of the line, for one errand.
        clock, store: instead of one by hand and one in memory.
    """

    def __init__(
        self,
        dcu: str,
        trust: TrustStore,
        serials: Iterable[str],
        *,
        area: str = LIVE,
        taking_s: float = 0.0,
        clock: HandClock | None = None,
        store: Any = None,
    ) -> None:
        self.dcu, self.trust = dcu, trust
        self.clock = clock or HandClock()
        self.store = store or HeldStore(f"j-{hashlib.sha256(dcu.encode()).hexdigest()[:8]}")
        self.wall = {serial: WallMeter(serial) for serial in serials}
        self.meters: Mapping[str, Meter] = {
            serial: Meter(serial, "north", MODEL, n, area) for n, serial in enumerate(self.wall, 16)
        }
        self.bus = WallBus(self, taking_s)
        self.aside: set[str] = set()
        self.alarms: list = []
        self.start()

    def start(self) -> None:
        """A process begins; what was in memory is gone."""
        self.bus.queue.clear()
        self.desk = StillDesk(
            dcu=self.dcu,
            store=self.store,
            clock=self.clock,
            commissioning=Commissioning(self.trust),
            meters=self.meters,
            buses={"north": self.bus},
            signer=RECEIPTS,
            zone=ZoneInfo("Asia/Kolkata"),
            stop=StillStop(),
            alarm=self.alarms.append,
            set_aside=self.aside.__contains__,
            meters_heard=self.clock.meters_heard,
            beat=lambda: None,
            settle_s=0.0,
        )
        self.desk.turns()

    def hand_in(self, octets: bytes, **how) -> str:
        """What became of a document: a code, "accepted" or "duplicate"."""
        verdict = self.desk.hand_in(octets, **how)
        return verdict.code.value if verdict.code is not None else verdict.status

    def pass_s(self, seconds: float, step_s: float = 5.0, until: Callable[[], bool] = lambda: False) -> None:
        """Time passes, and with it whatever is due."""
        end_s = self.clock.true_s + seconds
        while self.clock.true_s < end_s and not until():
            self.clock.true_s = min(end_s, self.clock.true_s + step_s)
            self.work()

    def work(self) -> None:
        """Whatever is due and posted is done."""
        self.desk.turns()
        while self.bus.work():
            self.desk.turns()

    def commission(self, *documents: bytes) -> None:
        """Documents that are in force from the first hour, as `trust.json` brings them."""
        self.desk._documents.commission(Commissioning(self.trust, tuple(documents)))

    @property
    def states(self) -> Counter:
        """How many commands stand where."""
        return Counter(command.state for command in self.store.rows.commands.values())

    @property
    def acts(self) -> list[tuple[float, int, str]]:
        """Everything that any meter did: (true time, method, serial)."""
        return sorted((at_s, method, wall.serial) for wall in self.wall.values() for at_s, method in wall.acts)
