"""A backlog of a million readings to a mosquitto over mutual TLS: ours, bare paho, and a message for each reading.

Ours is the real path: a process with the store and `uplink.sock`, the real uplink process, payloads published with
QoS 1, acknowledged, and the cursor moved durably; alarms come into its store four times a second meanwhile. A backlog
is what an outage has left, so its payloads were made while the network was away, by the code that field runs then; a
backlog of which none was made, as five minutes leave it, is drained too. Bare paho publishes the very payloads that
ours was heard to send, from memory, and waits for their acknowledgements; and the same records once more in messages of
a hundred readings. All go to one broker, with the 20 messages in flight that it allows, turn about, and to one
subscriber in a process of its own, which reads the octets and looks at nothing but the kind of each packet. A message
for each reading is paho's too, made beforehand; a share of the readings is sent so, and counted for each.

All of that is over the loopback, which no pole has: ours and bare paho do it once more over a link (`bench.link`).
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cbor2

from bench import backlog
from bench.bare import SINGLE, SMALL, SMALL_READINGS, Published, bare, singles, small
from bench.figure import Figure, at_least, at_most, stated
from bench.link import link
from bench.sink import SinkProcess, payloads, sinking
from dcu.record import Stream
from dcu.store.limits import sealed_file
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.encoding import SEALED_TYPE, decode
from tests.broker import endpoint, running_broker
from tests.uplink.world import DCU, Field, uplink_process

READINGS = 1_000_000
ALARM_EVERY_S = 0.25
TURNS = 9
LINK_BITS_PER_S = 50_000_000
"""The most that an LTE modem of category 4 sends (3GPP TS 36.306): no faster link reaches a pole without a cable."""

EARLY = 0.2
"""The part of a drain after which nothing is new to it any more."""


@dataclass(frozen=True, slots=True)
class Drained:
    """One drain.

    Attributes:
        seconds: from the first batch at the subscriber to the last movement of the cursor.
        heard_s: from there to the last batch at the subscriber.
        octets: of payload.
        alarms_s: from each alarm's commit to its arrival.
        unheard: alarms that did not arrive.
        memory_mb: resident, of field and uplink: (a fifth into it, the most from there on).
        cpu_s: of field and uplink, with their start.
    """

    seconds: float
    heard_s: float
    octets: int
    alarms_s: list[float]
    unheard: int
    memory_mb: dict[str, tuple[float, float]]
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """All of them, one behind the other.

    Attributes:
        ours: our drain.
        bare: paho with the same payloads.
        small: paho with the first of the same records, `SMALL` readings in a message.
        single: paho with a message for a reading.
        unmade: our drain without payloads that were made in advance.
        linked: our drain over the link.
        linked_bare: paho with the same payloads over the link.
        start: our drain of a single record.
    """

    ours: Drained
    bare: Published
    small: Published
    single: Published
    unmade: Drained
    linked: Drained
    linked_bare: Published
    start: Drained


# ---- ours


def serve(directory: Path) -> None:
    """The process of field's part: says a line when it listens, one at a fifth, and one when all is delivered.

    It is told when the second was read: two lines at once would be one for who waits for the third.
    """
    with Field(directory) as box:
        goal = box.store.transact(lambda tx: tx.cursors())[Stream.PROFILE][1]
        print("listens", flush=True)
        sent, sent_s, early = 0, 0.0, False
        while (delivered := box.delivered(Stream.PROFILE)) < goal:
            if delivered and time.monotonic() - sent_s > ALARM_EVERY_S:
                sent, sent_s = sent + 1, time.monotonic()
                body = cbor2.dumps({"kind": "drain", "sent": time.time()})
                box.store.transact(lambda tx, body=body: tx.append(Stream.ALARM, body))
            if delivered > goal * EARLY and not early:
                early = True
                print("a fifth", flush=True)
            time.sleep(0.01)
        ended_s = time.monotonic()
        if not early:
            print("a fifth", flush=True)
        sys.stdin.readline()
        print(json.dumps({"ended_s": ended_s, "alarms": sent}), flush=True)
        sys.stdin.read()


def ours(directory: Path, to: Endpoint, sink: SinkProcess, copy: Path | None = None) -> Drained:
    """Drain the store in `directory`; what is heard is written to `copy`."""
    sink.begin(copy)
    command = [sys.executable, "-m", "bench.drain", "serve", str(directory)]
    field = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert field.stdout is not None
    assert field.stdin is not None
    field.stdout.readline()
    uplink = uplink_process(directory, to, directory / "uplink.log")
    pids = {"field": field.pid, "uplink": uplink.pid}
    try:
        field.stdout.readline()
        field.stdin.write("\n")
        field.stdin.flush()
        early = {name: _memory_mb(pid) for name, pid in pids.items()}
        most = dict(early)
        while not select.select([field.stdout], [], [], 0.1)[0]:
            most = {name: max(most[name], _memory_mb(pid)) for name, pid in pids.items()}
        done = json.loads(field.stdout.readline())
        cpu_s = sum(_cpu_s(pid) for pid in pids.values())
        heard = sink.settled()
    finally:
        uplink.kill()
        uplink.wait()
        field.stdin.close()
        field.wait()
    memory = {name: (early[name], most[name]) for name in pids}
    unheard = done["alarms"] - len(heard.alarms_s)
    seconds, heard_s = (at_s - heard.first_s for at_s in (done["ended_s"], heard.last_s))
    return Drained(seconds, heard_s, heard.octets, heard.alarms_s, unheard, memory, cpu_s)


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- the figures


@contextmanager
def _stage() -> Iterator[tuple[Path, Endpoint, SinkProcess]]:
    with tempfile.TemporaryDirectory(prefix="dcu-drain-") as name:
        scratch = Path(name)
        with running_broker(scratch) as broker, sinking(endpoint(broker, broker.authority.client("hes"))) as sink:
            yield scratch, endpoint(broker, broker.authority.client(DCU)), sink


def drain(rows: int, readings: int = READINGS, turns: int = TURNS) -> tuple[list[Turn], int]:
    """Turns of records of `rows` intervals, and the octets of the file of payloads.

    A first drain, which no clock sees, says what the payloads are.

    Raises:
        AssertionError: the subscriber did not hear every record.
    """
    with _stage() as (scratch, to, sink):
        full = scratch / "full.db"
        backlog.fill(full, rows, readings)

        def once(by: Endpoint = to, copy: Path | None = None, *, made: bool = True, store: Path = full) -> Drained:
            directory = scratch / "box"
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            shutil.copyfile(store, directory / "dcu.db")
            if made:
                shutil.copyfile(sealed_file(store), sealed_file(directory / "dcu.db"))
            return ours(directory, by, sink, copy)

        _seal(scratch, full)
        backlog.fill(single := scratch / "single.db", 1, 1)
        once(copy=scratch / "heard")
        made = payloads(scratch / "heard")
        assert _records(made) == readings // rows, "the subscriber did not hear every record"
        few, each = small(made, rows), singles()
        with link(to, LINK_BITS_PER_S) as far:
            steps = (
                once,
                lambda: bare(made, SEALED_TYPE, to, sink),
                lambda: bare(few, SEALED_TYPE, to, sink),
                lambda: bare(each, "application/json", to, sink),
                lambda: once(made=False),
                lambda: once(far),
                lambda: bare(made, SEALED_TYPE, far, sink),
                lambda: once(made=False, store=single),
            )
            orders = [steps if number % 2 else steps[::-1] for number in range(turns)]
            taken = [{step: step() for step in order} for order in orders]
        return [Turn(*(found[step] for step in steps)) for found in taken], sealed_file(full).stat().st_size


def _seal(scratch: Path, full: Path) -> None:
    """What field does of a backlog while the network is away (`dcu/field/sealing.py`)."""
    shutil.copyfile(full, scratch / "dcu.db")
    with Field(scratch) as box:
        box.seal()
    (scratch / "dcu.db").rename(full)
    sealed_file(scratch / "dcu.db").rename(sealed_file(full))


def _records(made: list[bytes]) -> int:
    """How many follow each other without a hole."""
    last = 0
    for payload in made:
        batch = decode(payload, SEALED_TYPE)
        last = batch.last if batch.first == last + 1 else last
    return last


def figures() -> list[Figure]:
    """Both kinds of records."""
    return [figure for rows, least in ((48, 0.7), (1, 0.4)) for figure in _figures(rows, least, *drain(rows))]


def _figures(rows: int, least: float, turns: list[Turn], made_octets: int) -> list[Figure]:
    name = f"drain of {READINGS:,} readings, {rows} in a record"
    readings, drains = READINGS // rows * rows, [turn.ours for turn in turns]
    every = [drained for turn in turns for drained in (turn.ours, turn.unmade, turn.linked)]
    growth = max(most - early for drained in every for early, most in drained.memory_mb.values())
    resident = {kind: max(drained.memory_mb[kind][1] for drained in every) for kind in ("field", "uplink")}
    alarms_s = [late_s for drained in every for late_s in drained.alarms_s]
    each = f"against a JSON message a reading, of which {SINGLE:,} are sent"
    return [
        at_least(name, median(turn.bare.seconds / turn.ours.seconds for turn in turns), least, "bare paho's time/ours"),
        stated(
            f"{name}: until the subscriber has all",
            median(turn.bare.heard_s / turn.ours.heard_s for turn in turns),
            "bare paho's time/ours",
        ),
        stated(
            f"{name}: none made in advance",
            median(turn.bare.seconds / turn.unmade.seconds for turn in turns),
            "bare paho's time/ours",
        ),
        at_least(
            f"{name}: {each}",
            median(turn.single.seconds / turn.single.count * readings / turn.ours.seconds for turn in turns),
            10,
            "its time/ours",
            0,
        ),
        at_least(
            f"{name}: over a link of {LINK_BITS_PER_S // 1_000_000} Mbit/s",
            median(turn.linked_bare.seconds / turn.linked.seconds for turn in turns),
            least,
            "bare paho's time/ours",
        ),
        stated(
            f"{name}: against bare paho with messages of {SMALL} readings, of which {SMALL_READINGS:,} are sent",
            median(
                turn.small.seconds / turn.small.count / (SMALL // rows) * (readings // rows) / turn.ours.seconds
                for turn in turns
            ),
            "its time/ours",
        ),
        stated(f"{name}: speed", median(readings / drained.seconds for drained in drains), "readings/s", 0),
        stated(f"{name}: file of payloads", made_octets / readings, "octets/reading"),
        stated(f"{name}: payload", drains[-1].octets / readings, "octets/reading"),
        stated(
            f"{name}: CPU of field and uplink",
            median(turn.ours.cpu_s - turn.start.cpu_s for turn in turns) / readings * 1e6,
            "us/reading",
        ),
        stated(
            f"{name}: CPU of field and uplink, none made in advance",
            median(turn.unmade.cpu_s - turn.start.cpu_s for turn in turns) / readings * 1e6,
            "us/reading",
        ),
        stated(f"{name}: CPU of bare paho", median(turn.bare.cpu_s for turn in turns) / readings * 1e6, "us/reading"),
        stated(f"{name}: most memory of field", resident["field"], "MB", 1),
        stated(f"{name}: most memory of uplink", resident["uplink"], "MB", 1),
        at_most(f"{name}: growth of either from the first fifth on", growth, 4, "MB", 1),
        at_most(f"{name}: live alarms unheard", sum(drained.unheard for drained in every), 0, "alarms", 0),
        at_most(f"{name}: slowest of {len(alarms_s)} live alarms", max(alarms_s, default=99.0), 1, "s", 3),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]))
    else:
        for figure in figures():
            print(figure)
