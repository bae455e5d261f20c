"""kill -9 at every step of a command's life, then again while it is recovered, over a real store on a real file.

Each trial is three processes, one after the other, over one `dcu.db` and one meter: the first is killed at the step,
the second somewhere in its recovery, the third is let be, and is given the same document once more, as a broker does.
The meter is two files: `acts`, an octet for each ACTION, and `state`. The law: at most one action, and the journal
never says what the relay does not.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dcu.command import OPEN, State
from dcu.mailbox import Stop
from dcu.store import SqliteStore
from tests.proof.papers import (
    CUTTERS,
    DATE,
    NOON,
    command_claims,
    evidence_of,
    permit_id,
    permits,
    policy_claims,
    signed,
    signed_policy,
)
from tests.proof.people import ISS, People
from tests.proof.run import Line, Run
from tests.proof.still import HandClock, StillBox, WallAssociation, WallMeter

DCU, METER, CMD = "JH-RNC-0042", "GXT20931188", "c-1"
FIRST = {"disconnect": "pending", "connect": "accepted"}
ANY_TIME = "at any moment"


def steps(op: str) -> list[str]:
    """Where a process is killed."""
    named = [f"{where} {state}" for state in (FIRST[op], "dispatched") for where in ("before", "behind")]
    return [*named, "sending", "acted", "first look", "second look", "before done", "behind done", ANY_TIME]


@dataclass
class Killer:
    """Dies at a step, or in the n-th transaction."""

    step: str = ""
    transaction: int = 0
    behind: bool = False

    def at(self, step: str) -> None:
        if step == self.step:
            die()

    def count(self, *, behind: bool) -> None:
        if behind == self.behind and self.transaction:
            self.transaction -= 1
            if self.transaction == 0:
                die()


def die() -> None:
    """As by kill -9 from outside; nothing of this process runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class DyingStore:
    """The real store; dies before or behind a commit."""

    def __init__(self, store: SqliteStore, killer: Killer) -> None:
        self._store, self._killer, self.epoch = store, killer, store.epoch

    def transact(self, work, *, wait_s=30.0):
        moved = []

        def watched(tx):
            was = tx.command(ISS, CMD)
            result = work(tx)
            now = tx.command(ISS, CMD)
            if now is not None and (was is None or was.state is not now.state):
                moved.append(now.state.value)
                self._killer.at(f"before {now.state.value}")
            self._killer.count(behind=False)
            return result

        result = self._store.transact(watched, wait_s=wait_s)
        for state in moved:
            self._killer.at(f"behind {state}")
        self._killer.count(behind=True)
        return result


class FileMeter(WallMeter):
    """A meter whose relay is a file, and what was ever told to it another one."""

    def __init__(self, serial: str, directory: Path, killer: Killer) -> None:
        self._acts, self._state, self._killer = directory / "acts", directory / "state", killer
        connected = json.loads(self._state.read_text()) if self._state.exists() else True
        super().__init__(serial, connected=connected)

    def act(self, at_s, method):
        self._killer.at("sending")
        descriptor = os.open(self._acts, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, b"%d" % method)
        os.close(descriptor)
        super().act(at_s, method)
        put_state(self._state, connected=self.connected)
        self._killer.at("acted")


def put_state(path: Path, *, connected: bool) -> None:
    """Where the relay stands; whole or not at all."""
    path.with_suffix(".new").write_text(json.dumps(connected))
    path.with_suffix(".new").replace(path)


class Process:
    """What one of the three processes is made of; built after the fork."""

    def __init__(self, people: People, directory: Path, killer: Killer, at_s: int) -> None:
        self.people, self.directory = people, directory
        clock = HandClock(at_s)
        clock.started_s = NOON - 10_000.0  # the same boot of the machine
        self._last = Stop()
        store = SqliteStore.open(directory / "dcu.db", stop=self._last, clock=clock, beat=lambda: None, dcu=DCU)
        self._store, self._writer = store, threading.Thread(target=store.run, daemon=True)
        self._writer.start()
        killer_of_looks(killer)
        self.box = StillBox(DCU, people.trust(), [METER], clock=clock, store=DyingStore(store, killer))
        self.box.wall[METER] = FileMeter(METER, directory, killer)

    def first(self, op: str) -> None:
        """Policy, permits, and the command."""
        box, people = self.box, self.people
        box.commission(signed_policy(people, policy_claims(DCU, [METER])))
        for document in permits(people, DCU, box.store.epoch, "prepaid", DATE, 5):
            box.hand_in(document)
        told = evidence_of("prepaid", NOON, permit_id("prepaid", DATE), box.desk.lease) if op == "disconnect" else {}
        claims = command_claims(op, DCU, box.store.epoch, METER, CMD, NOON, seq=1, **told)
        document = signed(people, claims, CUTTERS["prepaid"] if op == "disconnect" else ["bill-1"])
        (self.directory / "document").write_bytes(document)
        self.again()

    def again(self) -> None:
        """The command comes, and time passes."""
        document = self.directory / "document"
        if document.exists():
            self.box.hand_in(document.read_bytes())
        self.box.pass_s(100, 20)

    def tell(self) -> None:
        """What is so in the end."""
        stored = self._store.transact(lambda tx: tx.command(ISS, CMD))
        left = self._store.transact(lambda tx: len(tx.open_commands()))
        state = stored.state.value if stored is not None else ""
        (self.directory / "end").write_text(json.dumps([state, left]))


def killer_of_looks(killer: Killer) -> None:
    """The looks at the meter after the ACTION are steps as well. In this process only."""
    plain, looks = WallAssociation.get_list, iter(("first look", "second look"))

    def get_list(self, refs):
        if self._meter.acts:
            killer.at(next(looks, ""))
        return plain(self, refs)

    WallAssociation.get_list = get_list


def forked(work) -> int:
    """Run `work` in a process of its own; its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException as fault:
        print(f"a process of the crash test fell: {fault!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Its end: 0, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@dataclass
class End:
    """What three processes came to."""

    state: str
    still_open: int
    acts: int
    connected: bool
    killed: bool
    killed_again: bool

    def faults(self, op: str) -> list[str]:
        """What must not be."""
        target = op == "connect"
        sent = {s.value for s in (State.DONE, State.DONE_BY_READBACK, State.FAILED, State.IN_DOUBT)}
        found = []
        if self.acts > 1:
            found.append("acted twice")
        if self.still_open or self.state in {s.value for s in OPEN}:
            found.append("left open")
        if self.acts and self.state not in sent:
            found.append(f"acted, and the journal says {self.state}")
        if not self.acts and self.state in sent - {State.IN_DOUBT.value}:
            found.append(f"not acted, and the journal says {self.state}")
        if self.state in {State.DONE.value, State.DONE_BY_READBACK.value} and self.connected is not target:
            found.append("done, and the relay is elsewhere")
        return found


def trial(people: People, op: str, step: str, directory: Path, chance: random.Random) -> End:
    """One command, three processes."""
    put_state(directory / "state", connected=op == "disconnect")
    killer = Killer("" if step == ANY_TIME else step)
    pid = forked(lambda: Process(people, directory, killer, NOON).first(op))
    if step == ANY_TIME:
        time.sleep(chance.uniform(0.0, 0.3))
        os.kill(pid, signal.SIGKILL)
    killed = ended(pid) == -signal.SIGKILL
    again = Killer(transaction=chance.randint(1, 6), behind=chance.random() < 0.5)
    killed_again = ended(forked(lambda: Process(people, directory, again, NOON + 200).again())) == -signal.SIGKILL

    def last() -> None:
        process = Process(people, directory, Killer(), NOON + 400)
        process.again()
        process.tell()

    assert ended(forked(last)) == 0
    state, still_open = json.loads((directory / "end").read_text())
    acts = directory / "acts"
    n = len(acts.read_bytes()) if acts.exists() else 0
    connected = json.loads((directory / "state").read_text())
    return End(state, still_open, n, connected, killed, killed_again)


def kill_9(run: Run) -> list[Line]:
    """Every step, of both ways of a relay."""
    people, chance = People(run.seed), run.chance("crash")
    lines, number = [], 0
    for op in FIRST:
        ends: Counter[str] = Counter()
        faults: Counter[str] = Counter()
        double = killed = again = total = 0
        for step in steps(op):
            for _ in range(run.of(1, 200)):
                number += 1
                directory = run.scratch / f"{number}"
                directory.mkdir()
                end = trial(people, op, step, directory, chance)
                total += 1
                killed += end.killed
                again += end.killed_again
                double += end.acts > 1
                ends[end.state or "never accepted"] += 1
                faults.update(f"{step}: {fault}" for fault in end.faults(op))
                if step != ANY_TIME and not end.killed:
                    faults[f"{step}: nobody was killed there"] += 1
                for file in directory.iterdir():
                    file.unlink()
                directory.rmdir()
        told = "; ".join(f"{fault} ({n})" for fault, n in faults.items())
        lines.append(
            Line(
                f"kill -9 at every step of a {op}, and again in recovery: no double action, no disagreement",
                f"{total:,} commands, {run.of(1, 200)} at each of {len(steps(op))} steps ({', '.join(steps(op))}); "
                f"{killed:,} killed there, {again:,} killed again in recovery, then delivered again",
                f"{double} double actions, {faults.total()} disagreements of journal and relay"
                + (f": {told}" if told else "")
                + "; ends: "
                + ", ".join(f"{state} {n:,}" for state, n in ends.most_common()),
                double == faults.total() == 0,
                ("real processes, a real store on a file in memory: kills; power cuts are in RELIABILITY.",),
            )
        )
    return lines
