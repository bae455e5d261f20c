"""The relay room on real parts: a store on disk, the bus worker, and virtual meters on a pty line."""

import threading
import time
from datetime import timedelta, timezone

import pytest

from dcu.clock import SystemClock
from dcu.config.meter_models import shipped
from dcu.drivers.bus import BusWorker, Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.security import client_title
from dcu.drivers.serial_link import SerialLink
from dcu.headend.receipts import verify_receipt
from dcu.mailbox import Stop
from dcu.meter import Meter, MeterSecrets
from dcu.record import Stream
from dcu.relay.desk import RelayDesk
from dcu.relay.envelope import COMMAND, POLICY, seal
from dcu.relay.public_key import public_key
from dcu.sim import MeterConfig, MeterKeys, read_ledger, running_line
from dcu.store import Counters, SqliteStore
from tests.relay.world import APPROVE, BOX, DCU, ISS, METER, POLICY_A, POLICY_B, RANCHI, REQUEST, TOPIC, trust

BAUD = 115200
KEYS = {"guek": b"G" * 16, "gak": b"A" * 16, "lls": b"lls-pass", "hls": b"H" * 16}


class NoPlan:
    def due(self, monotonic_s):
        return None

    def idle_s(self, monotonic_s):
        return 0.2


class Pole:
    """A box on a pole with one meter below it."""

    def __init__(self, line, directory):
        self.line, self.directory, self.seq = line, directory, 0
        self.stop, self.last = Stop(), Stop()
        clock = SystemClock()
        self.news = threading.Event()
        self.store = SqliteStore.open(
            directory / "dcu.db",
            stop=self.last,
            clock=clock,
            beat=lambda: None,
            dcu=DCU,
            on_append=lambda *_: self.news.set(),
        )
        secrets = MeterSecrets(KEYS["guek"], KEYS["gak"], KEYS["lls"], KEYS["hls"])
        meter = Meter(METER, "north", shipped()["is15959-1ph"], 17, RANCHI, secrets, sim=True)
        self.bus = BusWorker(
            "north",
            lambda _: SerialLink(line.port, BAUD),
            Framing("rs485"),
            Counters(self.store),
            NoPlan(),
            clock,
            self.stop,
            timezone(timedelta(minutes=330)),
            system_title=client_title(DCU),
            timing=LineTiming.at_baud(BAUD),
        )
        self.desk = RelayDesk(
            dcu=DCU,
            store=self.store,
            clock=clock,
            trust=trust(),
            meters={METER: meter},
            buses={"north": self.bus},
            signer=BOX,
            stop=self.stop,
            alarm=lambda alarm: None,
            set_aside=lambda serial: False,
            beat=lambda: None,
            settle_s=0.05,
        )
        self.threads = [threading.Thread(target=run) for run in (self.store.run, self.bus.run, self.desk.run)]
        for thread in self.threads:
            thread.start()

    def close(self):
        self.stop.set()
        for thread in self.threads[1:]:
            thread.join(10)
        self.last.set()
        self.threads[0].join(10)
        self.store.close()

    def put_policy(self):
        now_s = int(time.time())
        claims = {"v": 1, "typ": "policy", "iss": ISS, "dcu": DCU, "version": 1, "iat": now_s, "nbf": now_s}
        claims |= {"exp": now_s + 999, "areas": {RANCHI: {"prepaid_live": True, "since": 0}}}
        claims |= {"meters": {METER: RANCHI}, "no_payment_mode_register": []}
        assert self.desk.put(seal(claims, POLICY, [POLICY_A, POLICY_B]), TOPIC, 1, False).status == "accepted"

    def command(self, op, **more):
        """Hand a signed command in; the last receipt of it."""
        self.seq += 1
        now_s = int(time.time())
        claims = {"v": 1, "typ": "relay", "cmd_id": f"c-{self.seq}", "op": op, "iss": ISS, "dcu": DCU}
        claims |= {"jid": self.store.epoch, "meter": METER, "iat": now_s, "exp": now_s + 600}
        claims |= {} if op == "message" else {"seq": self.seq}
        claims |= {"why": "credit", "area": RANCHI, "pol": 1} if op == "disconnect" else {}
        document = seal(claims | more, COMMAND, [REQUEST, APPROVE])
        assert self.desk.put(document, TOPIC, 1, False).status == "accepted"
        return self.last_receipt(f"c-{self.seq}")

    def last_receipt(self, cmd_id, patience_s=30.0):
        deadline, keys = time.monotonic() + patience_s, {BOX.kid: public_key(BOX.kid, BOX.x, BOX.y)}
        while time.monotonic() < deadline:
            self.news.clear()
            stored = self.store.transact(lambda tx: tx.command(ISS, cmd_id))
            receipt = verify_receipt(stored.receipt, keys)
            if receipt.state not in {"accepted", "dispatched"}:
                return receipt
            self.news.wait(1.0)
        raise AssertionError(f"{cmd_id} has no end: {receipt.state}")

    def relay_acts(self):
        entries = read_ledger(self.directory / f"{METER}.jsonl")
        return [e["method"] for e in entries if e["kind"] == "relay"]


@pytest.fixture
def pole(tmp_path):
    config = MeterConfig(serial=METER, address=17, keys=MeterKeys(**KEYS))
    with running_line([config], baud=BAUD, ledger=tmp_path) as line:
        pole = Pole(line, tmp_path)
        try:
            yield pole
        finally:
            pole.close()


def test_cut_told_again_and_reconnected(pole):
    pole.put_policy()
    cut = pole.command("disconnect", expect="connected")
    assert (cut.state, cut.claims["readback"]) == ("done", [{"output": "disconnected", "control": 0}] * 2)
    assert pole.command("disconnect").state == "noop"
    assert pole.command("connect").state == "done"
    assert pole.command("message", why="request", text="Thank you").claims["readback"] == [{"text": True}] * 2
    assert pole.relay_acts() == [1, 2]
    numbers = pole.store.transact(lambda tx: tx.cursors())[Stream.RECEIPT]
    assert numbers[1] == 9  # the policy's, and two for each command


def test_a_meter_that_loses_its_answer_is_read_back_not_told_again(pole):
    pole.put_policy()
    pole.line.meters[METER].faults.lose_action_reply = 1
    assert pole.command("disconnect").state == "done"
    assert pole.relay_acts() == [1]


def test_a_relay_that_sticks_has_failed(pole):
    pole.put_policy()
    pole.line.meters[METER].faults.relay_sticks = True
    assert pole.command("disconnect").state == "failed"


def test_another_meter_on_the_wall(pole):
    pole.put_policy()
    pole.line.meters[METER].faults.serial = "GXT00000000"
    told = pole.command("disconnect")
    assert (told.state, told.code) == ("refused", "E_METER") and pole.relay_acts() == []


def test_a_post_paid_meter_is_not_cut_for_credit(tmp_path):
    config = MeterConfig(serial=METER, address=17, keys=MeterKeys(**KEYS), payment_mode=0)
    with running_line([config], baud=BAUD, ledger=tmp_path) as line:
        pole = Pole(line, tmp_path)
        try:
            pole.put_policy()
            told = pole.command("disconnect")
            assert (told.state, told.code) == ("refused", "E_NOT_PREPAID") and pole.relay_acts() == []
        finally:
            pole.close()
