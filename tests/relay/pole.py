"""The relay room of one box on real parts: a store on disk, the bus worker, and a virtual meter on a pty line."""

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone

import cbor2
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
BAUD = 115200
KEYS = {"guek": b"G" * 16, "gak": b"A" * 16, "lls": b"lls-pass", "hls": b"H" * 16}
BALANCE_PAISE = 25_000
DAY_S = 86_400


def noon_zone():
    """A timezone in which it is about noon now: the floor of 08:00 to 18:00 is tested elsewhere."""
    ahead = (12 - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}"


ZONE = noon_zone()
LOCAL = timezone(timedelta(hours=-int(ZONE[7:])))
OFFSET_MIN = -60 * int(ZONE[7:])
"""Of policy, box and meter: nobody is disconnected at night by any of them."""


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


def policy(**changes):
    now_s = int(time.time())
    caps = {name: {"hour": 9, "day": 9, "week": 9, "spacing_s": 0, "wait_s": 0} for name in ("arrears", "prepaid")}
    area = {"prepaid_live": True, "since": 0, "profile": "arrears", "reconnect": "close", "grace_days": 0}
    claims = {"v": 1, "typ": "policy", "iss": ISS, "dcu": DCU, "version": 1, "iat": now_s - 60, "nbf": now_s - 60}
    claims |= {"exp": now_s + 86400, "timezone": ZONE, "areas": {AREA: area}, "meters": {METER: AREA}}
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
            LOCAL,
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
            meters_heard=lambda: True,
            beat=lambda: None,
            zone=LOCAL,
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
        day = datetime.now(LOCAL).date().isoformat()
        claims = {"v": 1, "typ": "permit", "id": "P-1", "iss": ISS, "dcu": DCU, "jid": self.store.epoch, "date": day}
        claims |= {"profile": "arrears", "max_n": 5}
        assert self.desk.put(seal(claims, PERMIT, [SIGNERS["prm"]]), TOPIC, 1, False).code is None

    def lease(self, patience_s=30.0):
        """The first that the box gave out."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            self.news.clear()
            for receipt in self.receipts():
                if receipt.claims["kind"] == "lease":
                    return receipt.claims["lease"]
            self.news.wait(1.0)
        raise AssertionError("no lease")

    def cut(self):
        """What a command names that is judged as a disconnect."""
        self.permit()
        lease = self.lease()
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

    def relay_acts(self):
        return [e["method"] for e in self.meter.ledger.entries() if e["kind"] == "relay"]


@contextmanager
def standing(directory, **meter):
    """A pole with its line."""
    place = {"balance_paise": BALANCE_PAISE, "utc_offset_min": OFFSET_MIN}
    config = MeterConfig(serial=METER, address=17, keys=MeterKeys(**KEYS), **place, **meter)
    with running_line([config], baud=BAUD, ledger=directory) as line:
        pole = Pole(line, directory)
        try:
            yield pole
        finally:
            pole.close()
