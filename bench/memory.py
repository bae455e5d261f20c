"""Resident memory of both processes with 1,000 meters through a simulated week, and whether it grows.

The process of field's part holds the real store, ledger, visits and `uplink.sock` under a virtual clock; its meters are
computed as they are asked, so that none of the memory is theirs. Each is visited six times a day for sixteen
intervals. The uplink is the real process, at a real mosquitto over mutual TLS, and keeps up. What this leaves out are
the threads of lines and pool: `make bench BENCH="tcp"` has a whole field process with 1,000 meters.
"""

import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from bench.figure import Figure, at_most, stated
from bench.sink import Sink
from dcu import obis
from dcu.config import PollConfig
from dcu.field.visit import MeterVisit, VisitScene
from dcu.meter import ByEntry, ByRange, Meter, MeterModel
from dcu.reading import Row, date_time, meter_time
from dcu.record import Stream
from dcu.schedule import Task, TaskKind
from tests.broker import endpoint, running_broker
from tests.field.conftest import BLOCK, IST, Buffer, FakeClock, FieldMeter, Report
from tests.uplink import world

METERS, DAYS, ROUND_S = 1000, 7, 4 * 3600
PERIOD_S = 900
SETTLED_DAY = 2
"""From then on nothing may grow: tables of all meters are filled, SQLite's cache too."""


class Computed(Buffer):
    """A ring of 35 days whose rows are computed when they are asked for."""

    def __init__(self) -> None:
        super().__init__(period=PERIOD_S)
        self.rows = range(35 * 96)
        self.newest_s = 0

    def selected(self, selection, zone) -> list[Row]:
        """Of a range of times, or by their places from the oldest on; as the visits ask."""
        times = range(self.newest_s - (len(self.rows) - 1) * PERIOD_S, self.newest_s + 1, PERIOD_S)
        if isinstance(selection, ByEntry):
            times = times[selection.first - 1 : selection.last or None]
        elif isinstance(selection, ByRange):
            since, until = int(selection.since.timestamp()), int(selection.until.timestamp())
            first = -(-max(since, times.start) // PERIOD_S) * PERIOD_S
            times = range(first, min(until, self.newest_s) + 1, PERIOD_S)
        return [
            Row(meter_time(date_time(datetime.fromtimestamp(at, UTC), zone), zone), (2300 + at // 60 % 50, at % 97))
            for at in times
        ]


class Box:
    """All visits of all meters, one after another."""

    def __init__(self, store, clock: FakeClock, meters: int) -> None:
        model = MeterModel("bench", 1, {}, (BLOCK,))
        self.meters = [Meter(f"MEM{n:08}", "pole", model, 17, "JH-RNC") for n in range(meters)]
        poll = PollConfig(snapshot_s=ROUND_S, balance_s=ROUND_S, health_s=ROUND_S, history_days=1)
        self.scene, self.report = VisitScene(store, clock, IST, poll), Report()
        self.meter = FieldMeter(clock)
        self.meter.exchange_s = 0.01
        self.buffer = self.meter.buffers[obis.BLOCK_LOAD] = Computed()

    @contextmanager
    def associate(self, meter, _purpose):
        """The one meter, as whichever is visited."""
        self.meter.serial = meter.serial
        self.meter.polls.clear()
        self.meter.described.clear()
        yield self.meter

    def round(self, now_s: int) -> None:
        """Visit each meter once, and again while it has a backlog."""
        self.buffer.newest_s = now_s // PERIOD_S * PERIOD_S
        for meter in self.meters:
            tasks = [Task(meter.serial, TaskKind(BLOCK.kind.value), BLOCK.logical_name)]
            MeterVisit(meter, tasks, self.report, self.scene).run(self)
            while self.report.backlogs:
                MeterVisit(meter, sorted(self.report.backlogs, key=str), self.report, self.scene, spare=True).run(self)


def live(directory: Path, meters: int, days: int) -> None:
    """The process of field's part: a line for each day, when all of it is delivered."""
    clock = FakeClock()
    with world.Field(directory) as field:
        box = Box(field.store, clock, meters)
        goal_s = clock.uptime_s
        for day in range(1, days + 1):
            for _ in range(86_400 // ROUND_S):
                goal_s += ROUND_S
                clock.advance(max(0.0, goal_s - clock.uptime_s))
                box.round(int(clock.now().timestamp()))
            while any(last - done for done, last in field.store.transact(lambda tx: tx.cursors()).values()):
                time.sleep(0.05)
            gc.collect()
            held = field.store.transact(lambda tx: tx.cursors())[Stream.PROFILE][1]
            print(json.dumps({"day": day, "resident_mb": resident_mb("self"), "records": held}), flush=True)
            sys.stdin.readline()


def resident_mb(pid: int | str) -> float:
    """MB of 10^6 octets."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def week(meters: int = METERS, days: int = DAYS) -> list[tuple[float, float, int]]:
    """(field, uplink: MB, records so far) at the end of each day."""
    with tempfile.TemporaryDirectory(prefix="dcu-memory-") as name, running_broker(Path(name)) as broker:
        scratch = Path(name)
        Sink(endpoint(broker, broker.authority.client("hes")))
        command = [sys.executable, "-m", "bench.memory", "live", name, str(meters), str(days)]
        field = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while not (scratch / "uplink.sock").exists():
            time.sleep(0.1)
        to = endpoint(broker, broker.authority.client(world.DCU))
        uplink = world.uplink_process(scratch, to, scratch / "uplink.log")
        found = []
        try:
            assert field.stdout is not None
            assert field.stdin is not None
            for line in field.stdout:
                said = json.loads(line)
                found.append((said["resident_mb"], resident_mb(uplink.pid), said["records"]))
                print(f"memory: day {said['day']}: {found[-1]}", file=sys.stderr, flush=True)
                field.stdin.write("\n")
                field.stdin.flush()
        finally:
            for process in (field, uplink):
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        with suppress(OSError):
                            pipe.close()
    return found


def slope(values: Sequence[float]) -> float:
    """MB a day, least squares."""
    n = len(values)
    middle, mean = (n - 1) / 2, sum(values) / n
    return sum((x - middle) * (y - mean) for x, y in enumerate(values)) / sum((x - middle) ** 2 for x in range(n))


def figures() -> list[Figure]:
    """At the end, and how fast it grows after two days."""
    found = week()
    name = f"{METERS:,} meters, a simulated week"
    made = []
    for index, process in enumerate(("field's store and visits", "uplink")):
        values = [each[index] for each in found]
        made += [
            at_most(f"{name}: resident memory of {process}", values[-1], 96, "MB", 1),
            at_most(f"{name}: growth of {process} after day {SETTLED_DAY}", slope(values[SETTLED_DAY:]), 0.3, "MB/day"),
        ]
    return [*made, stated(f"{name}: records", found[-1][2], "records", 0)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["live"]:
        live(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        for figure in figures():
            print(figure)
