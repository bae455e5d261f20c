"""One box in virtual time: the real store, counters, plan, visits and bus worker over a virtual line.

A power cut is an exception that no part of the box catches, raised in the middle of whatever it does; what it had in
memory is forgotten, and its store is taken as a killed process leaves it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from dcu.config import PollConfig
from dcu.drivers.bus import BusWorker, Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.security import client_title
from dcu.errors import BusFault
from dcu.event import AlarmKind
from dcu.field.announce import Announcer
from dcu.field.plan import BusPlan
from dcu.mailbox import Stop
from dcu.meter import Meter
from dcu.store import Counters, SqliteStore
from dcu.store.errand import Errand
from tests.soak.virtual_clock import VirtualClock
from tests.soak.virtual_line import VirtualLine
from tests.soak.virtual_mailbox import VirtualMailbox

DCU = "SOAK-0001"
ZONE = ZoneInfo("Asia/Kolkata")
FILES = ("dcu.db", "dcu.db-wal")


class Mains:
    """The store as the box's rooms see it, whose every commit may be the last thing that the box does.

    The writer's turns are taken in the caller's thread: two threads that only wait for one another would double the
    time that a year takes, and a seed would not be the whole truth about a run.

    Attributes:
        cut_at: the supply fails at the next commit: "before" it, or "behind" it and before anybody is told.
    """

    def __init__(self, store: SqliteStore, clock: VirtualClock) -> None:
        self._writer = store._writer
        self._writer._database.claim()
        self._clock = clock
        self.epoch = store.epoch
        self.cut_at = ""

    def transact(self, work, *, wait_s: float = 30.0):
        """See `ports.Store`. Raises PowerCut."""
        self._clock.stopped |= self.cut_at == "before"
        self._clock.check_supply()
        errand = Errand(work)
        errand.take()
        self._writer._turn([errand])
        result = errand.wait(wait_s)
        self._clock.stopped |= self.cut_at == "behind"
        self._clock.check_supply()
        return result


class Box:
    """The parts of `dcu field` that read meters.

    Args:
        directory: where its store lives.
        meters: of its one line.
        line: that line.
        clock: its own; another one after each start, since uptime begins at 0.
        poll: cadences.
    """

    def __init__(
        self, directory: Path, meters: Sequence[Meter], line: VirtualLine, clock: VirtualClock, poll: PollConfig
    ) -> None:
        self.clock = clock
        self._directory = directory
        self._store = SqliteStore.open(directory / "dcu.db", stop=Stop(), clock=clock, beat=lambda: None, dcu=DCU)
        self.store = Mains(self._store, clock)
        announcer = Announcer(self.store, clock)
        self.plan = BusPlan(meters, self.store, clock, announcer, ZONE, poll)

        def on_state(fault: BusFault | None) -> None:
            kind = AlarmKind.BUS_DOWN if fault else AlarmKind.BUS_RETURNED
            announcer.alarm(kind, str(fault or "the line is open again"), bus="north")

        self.worker = BusWorker(
            "north",
            lambda _meter: line.open(clock),
            Framing.HDLC,
            Counters(self.store),
            self.plan,
            clock,
            Stop(),
            ZONE,
            system_title=client_title(DCU),
            timing=LineTiming.at_baud(line.baud),
            on_state=on_state,
            mailbox=VirtualMailbox(clock, lambda now_s: self.worker.idle_s(now_s)),
        )

    def run(self, until_s: float) -> None:
        """Work until that moment (elapsed seconds of the true time). Raises PowerCut."""
        while self.clock.time.elapsed_s < until_s:
            self.worker.turn()

    def cut(self) -> None:
        """Take the supply away, from inside of whatever it waits for."""
        self.clock.stopped = True
        self.clock.check_supply()

    def stop(self) -> None:
        """End in order."""
        self.worker.close()
        self._store.close()

    def kill(self) -> None:
        """End without another word: the store's files are those of this moment, not those of a close."""
        kept = self._directory / "kept"
        kept.mkdir()
        for name in FILES:
            if (self._directory / name).exists():
                shutil.copyfile(self._directory / name, kept / name)
        self._store.close()
        for name in FILES:
            (self._directory / name).unlink(missing_ok=True)
            if (kept / name).exists():
                (kept / name).rename(self._directory / name)
        kept.rmdir()
