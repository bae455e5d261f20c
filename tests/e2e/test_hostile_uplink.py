"""A real field process with a hostile one in uplink's place: what it says costs neither disk nor readings."""

import random
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from dcu.demo.proof import compare
from dcu.errors import SocketFault
from dcu.record import Stream
from dcu.wire import MAX_FRAME, connect, encode_frame
from dcu.wire.verbs import (
    MAX_BATCH,
    MAX_PUT,
    Delivered,
    Denied,
    Done,
    Hello,
    Link,
    Next,
    Noted,
    Offer,
    Put,
    Welcome,
    to_answer,
    to_message,
)
from tests.e2e.conftest import SERIALS
from tests.e2e.test_box import records

FLOOD = 150


def test_a_flood_of_lies_is_answered_and_alarmed_no_more_than_a_person_needs(box):
    box.start()
    wire = connect(box.directory / "run" / "uplink.sock")

    def ask(request):
        wire.send(to_message(request))
        return to_answer(wire.receive(10))

    welcome = ask(Hello())
    assert isinstance(welcome, Welcome)
    for n in range(1, FLOOD):
        assert isinstance(ask(Delivered(welcome.epoch, Stream.RECEIPT, 10**9 + n)), Denied)
        assert isinstance(ask(Delivered(f"epoch-{n}", Stream.RECEIPT, n)), Denied)
        assert ask(Link(Noted.CONNECTED, "")) == Done()
        assert ask(Link(Noted.LOST, f"trouble {n}")) == Done()
    box.until(lambda: all(box.held_by_meter().values()), "readings all the same")
    box.until(lambda: set(box.conditions().values()) == {"ok"}, "visits to their end")
    status = box.dcu("status")
    assert status["uplink"] == f"lost: trouble {FLOOD - 1}"
    assert status["streams"]["receipt"]["delivered"] == 0
    assert 2 <= status["streams"]["alarm"]["last"] < 60
    wire.close()
    box.stop()


# ---- all at once


class Hostile:
    """Threads that attack `uplink.sock` until told to stop; what they raise but for a closed connection is kept."""

    def __init__(self, box):
        self.path = box.directory / "run" / "uplink.sock"
        self.epoch = box.dcu("status")["epoch"]
        self.stop, self.done, self.faults = threading.Event(), {}, []
        self._threads = [threading.Thread(target=self._again, args=(attack,)) for attack in ATTACKS]
        for thread in self._threads:
            thread.start()

    def _again(self, attack):
        dice = random.Random(attack.__name__)
        while not self.stop.wait(0.05):
            try:
                attack(self, dice)
                self.done[attack.__name__] = self.done.get(attack.__name__, 0) + 1
            except (OSError, SocketFault):
                self.done[attack.__name__] = self.done.get(attack.__name__, 0) + 1
            except Exception as fault:
                self.faults.append(fault)
                return

    def raw(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(3)
        sock.connect(str(self.path))
        return closing(sock)

    def end(self):
        self.stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        assert self.faults == []


def a_flood(hostile, _dice):
    """Questions without end, the answers unread."""
    with hostile.raw() as sock:
        ask = encode_frame(to_message(Next({}, MAX_BATCH, 0)))
        while not hostile.stop.wait(0.002):
            sock.sendall(ask * 50)


def wrong_and_future_cursors(hostile, dice):
    with closing(connect(hostile.path)) as wire:
        for epoch in (hostile.epoch, "another"):
            for stream in Stream:
                last = dice.choice((10**6, 2**63 - 1))
                wire.send(to_message(Delivered(epoch, stream, last)))
                assert isinstance(to_answer(wire.receive(10)), Denied)


def oversized_and_endless_frames(hostile, dice):
    with hostile.raw() as sock:
        sock.sendall(struct.pack(">I", dice.choice((MAX_FRAME + 1, 2**31, 2**32 - 1))))
        while not hostile.stop.wait(0.002):
            sock.sendall(bytes(65_536))


def a_frame_octet_by_octet(hostile, _dice):
    with hostile.raw() as sock:
        sock.sendall(struct.pack(">I", MAX_FRAME))
        while not hostile.stop.wait(0.1):
            sock.sendall(b"\xa1")


def garbage(hostile, dice):
    deep, huge = b"\x81" * 200_000, b"\xbb" + b"\xff" * 8
    with hostile.raw() as sock:
        body = dice.choice((deep, huge, dice.randbytes(100), b"\x9f" * 1000))
        sock.sendall(struct.pack(">I", len(body)) + body)
        sock.recv(1)


def documents(hostile, dice):
    """Commands by the thousand, none of them signed."""
    with closing(connect(hostile.path)) as wire:
        for _ in range(20):
            wire.send(to_message(Put(dice.randbytes(dice.choice((10, MAX_PUT))), "dcu/v1/E2E-BOX/cmd", 1, False)))
            assert to_answer(wire.receive(20)).status == "refused"


def withholding(hostile, _dice):
    """Takes all that there is and delivers nothing; then says nothing any more and stays."""
    after = {}
    with closing(connect(hostile.path)) as wire:
        while True:
            wire.send(to_message(Next(after, MAX_BATCH, 0)))
            answer = to_answer(wire.receive(10))
            if not isinstance(answer, Offer):
                break
            after[answer.stream] = answer.last
        hostile.stop.wait(2)


HALF = """
import socket, struct, sys, time
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(struct.pack(">I", 1000) + b"x" * 500)
print(flush=True)
time.sleep(60)
"""


def killed_in_mid_frame(hostile, _dice):
    command = [sys.executable, "-S", "-c", HALF, str(hostile.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        process.kill()


ATTACKS = (
    a_flood,
    wrong_and_future_cursors,
    oversized_and_endless_frames,
    a_frame_octet_by_octet,
    garbage,
    documents,
    withholding,
    killed_in_mid_frame,
)


def resident_mb(pid):
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def open_files(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.timeout(300)
def test_cadence_memory_and_store_are_unmoved_by_every_attack_at_once(box):
    box.start()
    box.until(lambda: all(box.held_by_meter().values()), "readings")
    hostile = Hostile(box)
    epoch = hostile.epoch
    box.until(lambda: len(hostile.done) == len(ATTACKS), "each attack once")
    warm = resident_mb(box.process.pid)
    descriptors = open_files(box.process.pid)
    before, began = box.held_by_meter(), time.monotonic()
    box.until(lambda: all(n >= before[s] + 2 for s, n in box.held_by_meter().items()), "the cadence")
    passed_s = time.monotonic() - began
    status = box.dcu("status")
    grown = resident_mb(box.process.pid) - warm
    open_ones = open_files(box.process.pid)
    hostile.end()
    assert passed_s < 60, "two intervals of five seconds"
    assert grown < 24, f"{grown:.1f} MB more"
    assert open_ones < descriptors + 8
    assert status["epoch"] == epoch
    assert {each["delivered"] for each in status["streams"].values()} == {0}
    assert status["streams"]["alarm"]["last"] < 60
    box.stop()
    rings = {"1.0.99.1.0.255", "1.0.99.2.0.255"}
    got = [r for r in records(box, Stream.PROFILE) if r["profile"] in rings]
    newest = min(max(at for r in got if r["meter"] == s for at, *_ in r["rows"]) for s in SERIALS)
    proof = compare(box.truth(newest), got, newest)
    assert proof.expected > 0
    assert (proof.different, proof.twice, proof.invented) == ((), (), ())
    assert box.log.count("\n") < 200, "a flood is no log storm"
