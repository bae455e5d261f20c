"""Every signed operation but the relay's own, on real parts: store, bus worker, virtual meters."""

import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

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
from dcu.relay.envelope import COMMAND, PERMIT, POLICY, seal
from dcu.relay.key import FileSigner
from dcu.relay.public_key import Role, public_key
from dcu.relay.trust import Commissioning, TrustStore
from dcu.sim import MeterConfig, MeterKeys, running_line
from dcu.store import Counters, SqliteStore

DCU, ISS, METER, AREA = "JH-RNC-0042", "hes.ranchi", "GXT20931188", "JH-RNC"
TOPIC = f"dcu/v1/{DCU}/cmd"
IST = timezone(timedelta(minutes=330))
BAUD = 115200
KEYS = {"guek": b"G" * 16, "gak": b"A" * 16, "lls": b"lls-pass", "hls": b"H" * 16}
BALANCE_PAISE = 25_000
DAY_S = 86_400


def signer(kid=""):
    key = ec.generate_private_key(ec.SECP256R1())
    return FileSigner(key, kid) if kid else FileSigner(key)


ROLES = {"req": Role.REQUEST, "apr": Role.APPROVE, "pola": Role.POLICY, "polb": Role.POLICY}
ROLES |= {"prm": Role.PERMIT, "bil": Role.BILLING}
SIGNERS = {name: signer(name) for name in ROLES}
BOX = signer()
BOTH, ASKER, BILLING = ("req", "apr"), ("req",), ("bil",)


def trust():
    keys = {}
    for name, role in ROLES.items():
        admin = "zara" if role is Role.BILLING else ""
        held = SIGNERS[name]
        keys[name] = public_key(name, held.x, held.y, roles=frozenset({role}), person=f"p-{name}", admin=admin)
    return TrustStore(ISS, keys)


def noon_zone():
    """A timezone in which it is about noon now: the floor of 08:00 to 18:00 is tested elsewhere."""
    ahead = (12 - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}"


def policy(**changes):
    now_s = int(time.time())
    caps = {name: {"hour": 9, "day": 9, "week": 9, "spacing_s": 0, "wait_s": 0} for name in ("arrears", "prepaid")}
    area = {"prepaid_live": True, "since": 0, "profile": "arrears", "reconnect": "close", "grace_days": 0}
    claims = {"v": 1, "typ": "policy", "iss": ISS, "dcu": DCU, "version": 1, "iat": now_s - 60, "nbf": now_s - 60}
    claims |= {"exp": now_s + 86400, "timezone": noon_zone(), "areas": {AREA: area}, "meters": {METER: AREA}}
    claims |= {"hours": dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "08:00-18:00")}
    claims |= {"closed": [], "protected": {}, "grace": {}, "emergency_h": 0, "caps": caps}
    claims |= {"limit_floor_w": 1000, "no_payment_mode_register": []}
    return seal(claims | changes, POLICY, [SIGNERS["pola"], SIGNERS["polb"]])


class NoPlan:
    def due(self, monotonic_s):
        return None

    def idle_s(self, monotonic_s):
        return 0.2


class Pole:
    """A box on a pole with one meter below it."""

    def __init__(self, line, directory):
        self.line, self.n = line, 0
        self.stop, self.last = Stop(), Stop()
        self.clock = SystemClock(assumed=True)
        self.news = threading.Event()
        self.store = SqliteStore.open(
            directory / "dcu.db",
            stop=self.last,
            clock=self.clock,
            beat=lambda: None,
            dcu=DCU,
            on_append=lambda *_: self.news.set(),
        )
        secrets = MeterSecrets(KEYS["guek"], KEYS["gak"], KEYS["lls"], KEYS["hls"])
        self.meters = {METER: Meter(METER, "north", shipped()["is15959-1ph"], 17, AREA, secrets)}
        self.bus = BusWorker(
            "north",
            lambda _: SerialLink(line.port, BAUD),
            Framing("rs485"),
            Counters(self.store),
            NoPlan(),
            self.clock,
            self.stop,
            IST,
            system_title=client_title(DCU),
            timing=LineTiming.at_baud(BAUD),
        )
        self.threads = [threading.Thread(target=run) for run in (self.store.run, self.bus.run)]
        for thread in self.threads:
            thread.start()
        self.open_desk()

    def open_desk(self):
        self.desk_stop = Stop()
        self.desk = RelayDesk(
            dcu=DCU,
            store=self.store,
            clock=self.clock,
            commissioning=Commissioning(trust(), (policy(),)),
            meters=self.meters,
            buses={"north": self.bus},
            signer=BOX,
            stop=self.desk_stop,
            alarm=lambda alarm: None,
            set_aside=lambda serial: False,
            beat=lambda: None,
            zone=IST,
            settle_s=0.05,
        )
        self.desk_thread = threading.Thread(target=self.desk.run)
        self.desk_thread.start()

    def close_desk(self):
        self.desk_stop.set()
        self.desk_thread.join(10)

    def close(self):
        self.close_desk()
        self.stop.set()
        self.threads[1].join(10)
        self.last.set()
        self.threads[0].join(10)
        self.store.close()

    # ---- the head-end ----

    def permit(self):
        day = datetime.now(timezone(timedelta(hours=-int(noon_zone()[7:])))).date().isoformat()
        claims = {"v": 1, "typ": "permit", "id": "P-1", "iss": ISS, "dcu": DCU, "date": day}
        claims |= {"profile": "arrears", "max_n": 5}
        assert self.desk.put(seal(claims, PERMIT, [SIGNERS["prm"]]), TOPIC, 1, False).code is None

    def cut(self):
        """What a command names that is judged as a disconnect."""
        self.permit()
        lease = next(r.claims["lease"] for r in self.receipts() if r.claims["kind"] == "lease")
        evidence = {"case": "RNC-1", "notice": int(time.time()) - 20 * 86400}
        return {"seq": self.n + 1, "why": "arrears", "pol": 1, "lease": lease, "permit": "P-1", "area": AREA} | evidence

    def put(self, op, signers=ASKER, **more):
        """Hand a signed command in: what is answered at once."""
        self.n += 1
        now_s = int(time.time())
        claims = {"v": 1, "typ": "relay", "cmd_id": f"c-{self.n}", "op": op, "iss": ISS, "dcu": DCU}
        claims |= {"jid": self.store.epoch, "iat": now_s, "exp": now_s + 600}
        claims |= {} if op == "resend" else {"meter": METER}
        document = seal(claims | more, COMMAND, [SIGNERS[name] for name in sorted(signers)])
        return self.desk.put(document, TOPIC, 1, False)

    def order(self, op, signers=ASKER, **more):
        """The last receipt of a command that is accepted."""
        verdict = self.put(op, signers, **more)
        assert verdict.status == "accepted", (verdict, self.receipts()[-1].claims)
        return self.ended(f"c-{self.n}")

    def ended(self, cmd_id, patience_s=30.0):
        deadline, keys = time.monotonic() + patience_s, {BOX.kid: public_key(BOX.kid, BOX.x, BOX.y)}
        while time.monotonic() < deadline:
            self.news.clear()
            stored = self.store.transact(lambda tx: tx.command(ISS, cmd_id))
            receipt = verify_receipt(stored.receipt, keys)
            if receipt.state not in {"accepted", "pending", "dispatched"}:
                return receipt
            self.news.wait(1.0)
        raise AssertionError(f"{cmd_id} has no end: {receipt.state}")

    def receipts(self):
        keys = {BOX.kid: public_key(BOX.kid, BOX.x, BOX.y)}
        return [verify_receipt(cbor2.loads(b)["jws"].encode(), keys) for b in self.records(Stream.RECEIPT)]

    def records(self, stream):
        return self.store.transact(lambda tx: [r.body for r in tx.page(stream, 0, 1 << 22).records])

    @property
    def meter(self):
        return self.line.meters[METER]

    def written(self):
        """What was set of the meter, in its order: (logical name, attribute)."""
        return [e["ln"] for e in self.meter.ledger.entries() if e["kind"] == "set"]


@pytest.fixture
def pole(tmp_path):
    config = MeterConfig(serial=METER, address=17, keys=MeterKeys(**KEYS), balance_paise=BALANCE_PAISE, history_s=DAY_S)
    with running_line([config], baud=BAUD, ledger=tmp_path) as line:
        pole = Pole(line, tmp_path)
        try:
            yield pole
        finally:
            pole.close()


# ---- the load limit -------------------------------------------------------------------------------------------------


def test_a_load_limit_above_the_floor_is_set_and_read_back(pole):
    told = pole.order("limit", watts=3000)
    assert (told.state, told.claims["readback"]) == ("done", [{"holds": True, "watts": 3000}] * 2)
    assert pole.meter.account.load_limit_w == 3000
    assert pole.order("limit", watts=3000).state == "noop"
    assert len(pole.written()) == 1


@pytest.mark.parametrize("watts", [0, 999])
def test_a_load_limit_below_the_floor_is_a_disconnect_by_another_name(pole, watts):
    before = pole.meter.account.load_limit_w
    assert pole.put("limit", watts=watts).code.value == "E_QUORUM"
    assert pole.put("limit", BOTH, watts=watts).code.value == "E_LEASE"
    assert pole.put("limit", BOTH, watts=watts, **pole.cut() | {"permit": "P-2"}).code.value == "E_PERMIT"
    assert pole.meter.account.load_limit_w == before and pole.written() == []
    told = pole.order("limit", BOTH, watts=watts, **pole.cut())
    assert (told.state, pole.meter.account.load_limit_w) == ("done", watts)


# ---- money ----------------------------------------------------------------------------------------------------------

PAID = {"recharge": 50_000, "recharged_at": 1_795_000_000, "balance": 74_000}


def test_a_payment_is_written_once_register_by_register_and_read_back(pole):
    told = pole.order("balance", BILLING, **PAID)
    assert told.state == "done"
    assert told.claims["readback"] == [{"holds": True, "balance": 74_000, "recharge": 50_000}] * 2
    account = pole.meter.account
    assert (account.balance, account.recharge) == (74_000, 50_000)
    paid_at = datetime.fromtimestamp(1_795_000_000, IST)
    assert account.recharge_time[:8] == paid_at.year.to_bytes(2, "big") + bytes(
        [paid_at.month, paid_at.day, 0xFF, paid_at.hour, paid_at.minute, paid_at.second]
    )
    assert len(pole.written()) == 4


def test_a_lowered_balance_is_a_disconnect_by_another_name(pole):
    told = pole.order("balance", BILLING, **PAID | {"balance": BALANCE_PAISE - 1})
    assert (told.state, told.code) == ("refused", "E_QUORUM")
    assert pole.meter.account.balance == BALANCE_PAISE and pole.written() == []
    told = pole.order("balance", BOTH, **PAID | {"balance": BALANCE_PAISE - 1}, **pole.cut())
    assert (told.state, pole.meter.account.balance) == ("done", BALANCE_PAISE - 1)


def test_only_billing_pays(pole):
    assert pole.put("balance", ASKER, **PAID).code.value == "E_QUORUM"
    assert pole.put("balance", BILLING, **PAID | {"balance": 1 << 31}).code.value == "E_SCHEMA"


def test_an_answer_that_is_lost_is_read_back_and_nothing_is_paid_twice(pole):
    pole.meter.faults.lose_set_reply = 1
    told = pole.order("balance", BILLING, **PAID)
    assert told.state == "failed"  # the first register was written, and nothing was sent behind the lost answer
    assert len(pole.written()) == 1 and pole.meter.account.balance == BALANCE_PAISE
    again = pole.order("balance", BILLING, **PAID)  # another command: the head-end decides
    assert again.state == "done" and pole.meter.account.balance == 74_000


# ---- modes, clock, message ------------------------------------------------------------------------------------------


def test_a_mode_is_always_a_disconnect_by_another_name(pole):
    said = {"seq": 1, "why": "request", "pol": 1}
    assert pole.put("mode", BOTH, payment_mode=0, **said).code.value == "E_LEASE"
    told = pole.order("mode", BOTH, payment_mode=0, **pole.cut())
    assert (told.state, pole.meter.account.payment_mode) == ("done", 0)
    assert told.claims["readback"] == [{"holds": True, "payment_mode": 0}] * 2


def test_a_clock_is_set_to_the_boxs_unless_it_is_too_far_away(pole):
    assert pole.order("clock-set", most_s=600).state == "noop"
    pole.meter.clock.put(-400.0)
    told = pole.order("clock-set", most_s=300)
    assert (told.state, told.code) == ("refused", "E_STATE") and "s ahead" in told.claims["reason"]
    told = pole.order("clock-set", most_s=600)
    assert told.state == "done" and abs(pole.meter.clock.ahead_s) < 5
    assert [set(look) for look in told.claims["readback"]] == [{"holds", "ahead_s"}] * 2


# ---- read -----------------------------------------------------------------------------------------------------------


def test_a_profile_is_read_on_demand_into_records_that_the_receipt_names(pole):
    told = pole.order("read", profile="1.0.94.91.0.255")
    assert told.state == "done"
    (look,) = told.claims["readback"]
    assert look == {"stream": "profile", "first": 1, "last": 1, "rows": 1}
    (record,) = map(cbor2.loads, pole.records(Stream.PROFILE))
    assert (record["meter"], record["profile"]) == (METER, "1.0.94.91.0.255") and len(record["rows"]) == 1


def test_a_range_of_a_ring_is_read_on_demand(pole):
    now_s = int(time.time())
    told = pole.order("read", profile="1.0.99.1.0.255", since=now_s - DAY_S, until=now_s)
    rows = [row for body in pole.records(Stream.PROFILE) for row in cbor2.loads(body)["rows"]]
    assert told.claims["readback"][0]["rows"] == len(rows) > 20
    assert all(now_s - DAY_S <= row[0] <= now_s for row in rows)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("1:0.0.96.1.0.255/2", METER), ("70:0.0.96.3.10.255/2", "true"), ("1:0.0.94.96.24.255/2", BALANCE_PAISE)],
)
def test_an_attribute_is_told_in_the_receipt(pole, attribute, value):
    told = pole.order("read", attribute=attribute)
    shown = told.claims["readback"][0]["value"]
    assert told.state == "done" and shown in {value, METER.encode().hex()} and pole.written() == []


def test_what_the_meter_does_not_have_is_refused_in_its_words(pole):
    told = pole.order("read", attribute="3:1.0.250.7.0.255/2")
    assert (told.state, told.code) == ("refused", "E_METER")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"profile": "1.0.99.1.0.255", "attribute": "1:0.0.96.1.0.255/2"},
        {"attribute": "1:0.0.96.1.0/2"},
        {"attribute": "1:0.0.96.1.0.255/2", "since": 1},
        {"profile": "1.0.99.1.0.255", "since": 5, "until": 4},
        {"profile": "1.0.99.1.0.255", "until": 1 << 40},
    ],
)
def test_reads_that_are_none(pole, more):
    assert pole.put("read", **more).code.value == "E_SCHEMA"


# ---- resend ---------------------------------------------------------------------------------------------------------


def test_a_range_of_records_waits_to_be_published_again(pole):
    pole.order("read", profile="1.0.94.91.0.255")
    pole.store.transact(lambda tx: tx.deliver(Stream.PROFILE, 1))
    assert pole.order("resend", stream="profile", first=1, last=1).state == "done"
    assert pole.store.transact(lambda tx: tx.document("resend"))[1] == b'[["profile",1,1]]'
    assert pole.put("resend", stream="profile", first=1, last=2).code.value == "E_STATE"
    assert pole.put("resend", stream="gossip", first=1, last=1).code.value == "E_SCHEMA"
    assert pole.put("resend", stream="profile", first=1, last=10_001).code.value == "E_SCHEMA"
    for _ in range(15):
        assert pole.put("resend", stream="profile", first=1, last=1).status == "accepted"
    assert pole.put("resend", stream="profile", first=1, last=1).code.value == "E_FLOOD"


# ---- the box dies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "signers", "more", "held"),
    [
        ("balance", BILLING, PAID, lambda meter: meter.account.balance == 74_000),
        ("limit", ASKER, {"watts": 2500}, lambda meter: meter.account.load_limit_w == 2500),
    ],
)
def test_after_a_crash_in_dispatched_the_meter_is_only_read(pole, op, signers, more, held):
    """The desk goes while its errand is before the meter: what was sent is found, and nothing is sent again."""
    gone = threading.Event()
    pole.desk._dispatch._outcome = lambda outcome: gone.set()  # the end is never journalled
    assert pole.put(op, signers, **more).status == "accepted"
    assert gone.wait(30)
    pole.close_desk()
    assert held(pole.meter)
    writes = len(pole.written())
    pole.open_desk()
    told = pole.ended(f"c-{pole.n}")
    assert (told.state, told.claims["cause"]) == ("done-by-readback", "unproven")
    assert len(pole.written()) == writes


def test_a_meter_command_needs_somebody_who_holds_the_meters(pole):
    assert pole.put("meter", BOTH, change="retire").code.value == "E_POLICY"
