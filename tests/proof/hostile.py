"""A hostile process in uplink's place, with every message ever seen to replay, to change the order of, to withhold.

First honest months of a box are recorded. Then nothing genuine is on its way any more, and a process of its own speaks
to the box's real `uplink.sock` as fast as it can, with all that it has seen, while the box is started anew, loses the
time and finds it. Then the head-end works on, and all it sends goes through hostile hands.
"""

import os
import random
import socket
import struct
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import cbor2

from dcu.clock import BUILT
from dcu.errors import DcuError
from dcu.field.uplink_socket import UplinkSocket
from dcu.mailbox import Bell, Stop
from dcu.reading import ClockState
from dcu.relay.letters import Verdict
from dcu.store import SealedFile
from dcu.wire import Wire
from dcu.wire.verbs import Hello, Put, to_message
from tests.proof.crash import ended, forked
from tests.proof.mutants import splice_octets
from tests.proof.papers import (
    CUTTERS,
    DAY_S,
    HOUR_S,
    NOON,
    command_claims,
    evidence_of,
    permit_id,
    permits,
    policy_claims,
    signed,
    signed_policy,
)
from tests.proof.people import People
from tests.proof.run import Line, Run
from tests.proof.still import StillBox

SERIALS = [f"GXT2093{n:04}" for n in range(100)]
ASKED = (*["disconnect", "connect"] * 5, "freeze")


class HeadEnd:
    """Signs what a head-end signs, and remembers it. `sent`: every document; `meant`: of commands, what they are."""

    def __init__(self, people: People, chance: random.Random, box: StillBox) -> None:
        self.people, self.chance, self.box = people, chance, box
        self.sent: list[bytes] = []
        self.meant: dict[tuple[str, int], tuple[str, float]] = {}  # (serial, seq): (op, exp)
        self.numbers: Counter[str] = Counter()
        self.version = 1
        self.sent.append(signed_policy(people, policy_claims(box.dcu, SERIALS)))

    def permits(self) -> list[bytes]:
        """Of the day."""
        return self._kept(permits(self.people, self.box.dcu, self.box.store.epoch, "prepaid", self._date(), 5))

    def policy(self) -> list[bytes]:
        """The next version, in force for two months more."""
        self.version += 1
        now_s = int(self.box.clock.true_s)
        claims = policy_claims(self.box.dcu, SERIALS, self.version, iat=now_s, nbf=now_s, exp=now_s + 60 * DAY_S)
        return self._kept([signed_policy(self.people, claims)])

    def command(self, op: str, serial: str, *, dcu: str = "", **members) -> list[bytes]:
        """One command, dated by true time."""
        self.numbers[serial] += 1
        seq, now_s = self.numbers[serial], int(self.box.clock.true_s)
        told = {"seq": seq} if op in {"disconnect", "connect"} else {}
        if op == "disconnect":
            told |= evidence_of("prepaid", now_s, permit_id("prepaid", self._date()), self.box.desk.lease)
            told["pol"] = self.version
        claims = command_claims(
            op, dcu or self.box.dcu, self.box.store.epoch, serial, f"{op}-{serial}-{seq}", now_s, **told, **members
        )
        if not dcu:
            self.meant[serial, seq] = op, now_s + HOUR_S
        kids = CUTTERS["prepaid"] if op == "disconnect" else ["bill-1"]
        return self._kept([signed(self.people, claims, kids)])

    def _kept(self, documents: list[bytes]) -> list[bytes]:
        self.sent += documents
        return documents

    def _date(self) -> str:
        return (datetime.fromtimestamp(self.box.clock.true_s, UTC) + timedelta(minutes=330)).date().isoformat()


def honest_days(headend: HeadEnd, days: int) -> None:
    """Working days of a box: cuts, connects, cancels, freezes; some of it never reaches the box."""
    box, chance = headend.box, headend.chance
    for day in range(days):
        box.pass_s(max(0.0, NOON + day * DAY_S - 2 * HOUR_S - box.clock.true_s), 6 * HOUR_S)
        box.clock.floor_s = int(box.clock.true_s) - HOUR_S
        if day % 14 == 13:
            deliver(box, headend.policy())
        deliver(box, headend.permits())
        for serial in chance.sample(SERIALS, 3):
            documents = headend.command("disconnect", serial)
            headend.command("disconnect", serial, dcu="JH-RNC-0043")  # of another box
            if chance.random() < 0.3:
                continue  # lost
            deliver(box, documents)
            if chance.random() < 0.2:
                deliver(box, headend.command("cancel", serial, cancels=f"disconnect-{serial}-1"))
            box.pass_s(HOUR_S / 2, 60)
            deliver(box, headend.command("connect", serial))
            box.pass_s(120, 30)
        deliver(box, headend.command(chance.choice(["freeze", "unfreeze"]), chance.choice(SERIALS)))
        if day % 5 == 4:
            box.start()


def deliver(box: StillBox, documents: list[bytes]) -> None:
    """As an honest uplink."""
    for document in documents:
        box.hand_in(document)


# ---- nothing genuine is on its way ----------------------------------------------------------------------------------


class Siege:
    """The box behind its real socket; each message that comes lets time pass, and sometimes the box fall or err."""

    def __init__(self, box: StillBox, chance: random.Random, directory: Path) -> None:
        self.box, self._chance, self._lock, self._stop = box, chance, threading.Lock(), Stop()
        self.codes: Counter[str] = Counter()
        self.starts = 0
        self.path = directory / "uplink.sock"
        self.socket = UplinkSocket(
            self.path,
            store=box.store,
            put=self._put,
            set_aside=lambda *_: None,
            note_link=lambda _: None,
            cursor_refused=lambda _: None,
            bell=Bell(self._stop),
            dcu=box.dcu,
            version="0",
            stop=self._stop,
            beat=lambda: None,
            allowed_uids={os.getuid()},
            seals=SealedFile(directory / "dcu.db", 1),
            floor=lambda: BUILT,
        )
        self._thread = threading.Thread(target=self.socket.run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *fault) -> None:
        self._stop.set()
        self._thread.join(30)

    def _put(self, octets: bytes, topic: str, qos: int, retained: bool) -> Verdict:
        with self._lock:
            box, chance = self.box, self._chance
            box.clock.true_s += chance.uniform(0.3, 200)
            what = chance.random()
            if what < 0.002:
                box.start()
                self.starts += 1
            elif what < 0.004:
                box.clock.trusted, box.clock.ahead_s = ClockState.UNTRUSTED, chance.uniform(-3e8, 3e8)
            elif what < 0.010:
                box.clock.trusted, box.clock.ahead_s = ClockState.TRUSTED, 0.0
                box.clock.floor_s = int(box.clock.true_s) - HOUR_S
            verdict = box.desk.hand_in(octets, topic=topic, qos=qos, retained=retained)
            box.work()
            self.codes[verdict.code.value if verdict.code is not None else verdict.status] += 1
            return verdict


def besiege(path: Path, seen: list[bytes], topic: str, chance: random.Random, n: int) -> None:
    """The hostile process."""
    sent = 0
    while sent < n:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        if chance.random() < 0.1:  # garbage: frames without end, of nonsense, of too much
            sock.sendall(
                chance.choice([struct.pack(">I", 1 << 30), b"\x00\x00\x00\x05hello", cbor2.dumps({"put": 1}) * 9])
            )
            sock.close()
            continue
        wire = Wire(sock)
        try:
            wire.send(to_message(Hello()))
            wire.receive(30)
            for _ in range(chance.randint(1, 60)):
                octets = chance.choice(seen)
                if chance.random() < 0.05:
                    octets = splice(seen, chance)
                odd = chance.random() < 0.02
                put = Put(octets, chance.choice([topic, "dcu/v1/x/cmd"]) if odd else topic, 1, odd)
                wire.send(to_message(put))
                wire.receive(30)
                sent += 1
        except DcuError:
            pass
        wire.close()


class _Seen:
    """What `splice_octets` takes from."""

    def __init__(self, octets: list[bytes]) -> None:
        self.octets = octets


def splice(seen: list[bytes], chance: random.Random) -> bytes:
    """Two messages made one."""
    return splice_octets(_Seen(seen), chance)  # type: ignore[arg-type]


def siege(run: Run) -> Line:
    """The first half."""
    people, chance = People(run.seed), run.chance("siege")
    box = StillBox("JH-RNC-0042", people.trust(), SERIALS)
    box.commission(signed_policy(people, policy_claims(box.dcu, SERIALS)))
    headend = HeadEnd(people, chance, box)
    days = run.of(5, 200)
    honest_days(headend, days)
    box.pass_s(6 * HOUR_S, 600)
    seen = [*headend.sent, *(cbor2.loads(body)["jws"].encode() for body in box.store.rows.receipts)]
    chance.shuffle(seen)
    before, commands, n = len(box.acts), len(box.store.rows.commands), run.of(1_500, 60_000)
    began_s = box.clock.true_s
    with Siege(box, chance, run.scratch) as held:
        pid = forked(lambda: besiege(held.path, seen, f"dcu/v1/{box.dcu}/cmd", random.Random(run.seed), n))
        assert ended(pid) == 0
    caused = box.acts[before:]
    cuts = sum(method == 1 for _, method, _ in caused)
    late = len(caused) - cuts
    told = ", ".join(f"{code} {k:,}" for code, k in held.codes.most_common())
    return Line(
        "a hostile process in uplink's place causes no action, whatever it has seen",
        f"{held.codes.total():,} messages through uplink.sock out of {len(seen):,} seen in {days} days "
        f"({before} actions, {commands} commands), over {(box.clock.true_s - began_s) / DAY_S:.0f} days with "
        f"{held.starts} starts, {held.socket.garbage} connections of garbage, and the time lost and found",
        f"{cuts} disconnects and {late} connects that it caused; {told}",
        not caused and held.codes.total() >= n and before > 0,
        (
            "the socket, its server and the process are real; box and clock are in virtual time.",
            "receipts and leases of the box are among what it replays, and commands that never arrived.",
        ),
    )


# ---- the head-end works on ------------------------------------------------------------------------------------------


def handling(run: Run) -> Line:
    """The second half: what goes through hostile hands is late, double, out of order, or not there."""
    people, chance, faults = People(run.seed), run.chance("handling"), Counter()
    acts = commands = delivered = 0
    for _ in range(run.of(3, 300)):
        box = StillBox("JH-RNC-0042", people.trust(), SERIALS[:6])
        box.commission(signed_policy(people, policy_claims(box.dcu, SERIALS)))
        headend = HeadEnd(people, chance, box)
        held: list[bytes] = headend.permits()
        for _ in range(60):
            if chance.random() < 0.4:
                op, serial = chance.choice(ASKED), chance.choice(SERIALS[:6])
                held += headend.command(op, serial)
            for document in chance.choices(held, k=chance.randint(0, 8)):
                box.hand_in(document)
                delivered += 1
            if chance.random() < 0.03:
                box.start()
            box.pass_s(chance.choice([10, 60, 300]), 10)
        acts += len(box.acts)
        commands += len(headend.meant)
        faults.update(_unlawful(box, headend))
    told = "; ".join(f"{fault} {n}" for fault, n in faults.items())
    return Line(
        "what passes through hostile hands is at most delayed or silenced",
        f"{commands:,} live commands to {run.of(3, 300)} boxes, {delivered:,} deliveries disordered and repeated",
        f"{acts:,} actions, each of one command of the head-end, once, in its time and in its order; "
        f"{faults.total()} that were not" + (f": {told}" if told else ""),
        faults.total() == 0 and acts > 0,
    )


def _unlawful(box: StillBox, headend: HeadEnd) -> Counter:
    """Actions that no command accounts for."""
    faults: Counter[str] = Counter()
    for serial, wall in box.wall.items():
        last = 0
        for at_s, method in wall.acts:
            op = "disconnect" if method == 1 else "connect"
            backed = [
                seq
                for (meter, seq), (meant, exp) in headend.meant.items()
                if (meter, meant) == (serial, op) and seq > last and at_s <= exp
            ]
            if not backed:
                faults[f"a {op} without a command of its own"] += 1
            else:
                last = backed[0]
    return faults


def hostile(run: Run) -> list[Line]:
    """Both halves."""
    return [siege(run), handling(run)]
