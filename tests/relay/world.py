"""A box in memory: keys, a clock set by hand, a store that rolls back, meters with a relay, and the desk's thread."""

import contextlib
import copy
import threading
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from dcu.config.meter_models import shipped
from dcu.errors import AttributeDenied, DcuError, LinkLost, MeterSilent, WrongMeter
from dcu.headend.receipts import verify_receipt
from dcu.mailbox import Stop
from dcu.meter import Meter, Purpose
from dcu.reading import ClockState
from dcu.record import Stream
from dcu.relay.deeds import plain, sense, shape
from dcu.relay.desk import RelayDesk
from dcu.relay.envelope import COMMAND, PERMIT, POLICY, seal
from dcu.relay.key import FileSigner
from dcu.relay.key_document import TrustStore
from dcu.relay.public_key import Role, public_key
from dcu.relay.trust import Commissioning
from tests.kept import Kept

DCU, ISS, JID = "JH-RNC-0042", "hes.ranchi", "j-7f3a91c2"
TOPIC = f"dcu/v1/{DCU}/cmd"
NOW = 1_795_417_800
RANCHI, DHANBAD = "JH-RNC", "JH-DHN"
METER, FAR_METER = "GXT20931188", "GXT20931199"
DAY = 86400
DATE = "2026-11-23"  # of NOW in Kolkata, a Monday at 12:40
PERMIT_ID = "P-1"
NEIGHBOURS = [f"GXT3000{n:04}" for n in range(98)]  # the more meters, the more disconnects a day


def _signer(kid):
    return FileSigner(ec.generate_private_key(ec.SECP256R1()), kid)


REQUEST, APPROVE, POLICY_A, POLICY_B, STRANGER = map(_signer, ("req-1", "apr-1", "pol-a", "pol-b", "stranger"))
SELF_APPROVE = _signer("apr-asha")  # the requester's own second key
PLAIN_POLICY = _signer("pol-asha")  # a second policy key of the first policy person
BILLING, WITNESS, PLANNER, PERMITTER, PLAIN_PERMIT = map(_signer, ("bill-1", "wit-1", "plan-1", "per-1", "per-asha"))
ROOT_A, ROOT_B, ROOT_C = map(_signer, ("root-a", "root-b", "root-c"))
BOX = FileSigner(ec.generate_private_key(ec.SECP256R1()))


def known(signer, *roles, person, **more):
    return public_key(signer.kid, signer.x, signer.y, roles=frozenset(roles), person=person, **more)


ROOTS = ((ROOT_A, "esha"), (ROOT_B, "farid"), (ROOT_C, "gita"))


def trust(*, without=(), **changes):
    """The trust store; `changes` by kid with _ for -, e.g. req_1={"revoked": True}."""
    keys = [
        known(REQUEST, Role.REQUEST, person="asha"),
        known(APPROVE, Role.APPROVE, person="binod"),
        known(SELF_APPROVE, Role.APPROVE, person="asha"),
        known(POLICY_A, Role.POLICY, person="chitra"),
        known(POLICY_B, Role.POLICY, person="deepak"),
        known(PLAIN_POLICY, Role.POLICY, person="chitra"),
        known(BILLING, Role.BILLING, person="billing", admin="kiran"),
        known(WITNESS, Role.WITNESS, person="witness", admin="lalit"),
        known(PLANNER, Role.PLANNER, person="planner", admin="jaya"),
        known(PERMITTER, Role.PERMIT, person="indu"),
        known(PLAIN_PERMIT, Role.PERMIT, person="asha"),
        *(known(root, Role.ROOT, person=name) for root, name in ROOTS),
    ]
    keys = [replace(key, **changes.get(key.kid.replace("-", "_"), {})) for key in keys if key.kid not in without]
    return TrustStore(ISS, {key.kid: key for key in keys})


AREA = {"profile": "arrears", "reconnect": "close", "grace_days": 0}
CAPS = {"hour": 1000, "day": 1000, "week": 1000, "spacing_s": 0, "wait_s": 0}


class HandClock:
    """Stands still until it is told otherwise."""

    def __init__(self):
        self.epoch_s, self.mono_s, self.trusted = NOW, 1000.0, ClockState.TRUSTED
        self.floor_s, self.boot_id = NOW - 23 * DAY, "boot-1"

    def now(self):
        return datetime.fromtimestamp(self.epoch_s, UTC)

    def state(self):
        return self.trusted

    def floor(self):
        return datetime.fromtimestamp(self.floor_s, UTC)

    def monotonic_s(self):
        return self.mono_s

    def boottime_s(self):
        return self.mono_s

    def pass_s(self, seconds):
        self.epoch_s += seconds
        self.mono_s += seconds


class Killed(BaseException):
    """kill -9 of everything in memory."""


@dataclass
class Rows:
    """What is on disk."""

    commands: dict = field(default_factory=dict)
    sequences: dict = field(default_factory=dict)
    documents: dict = field(default_factory=dict)
    journal: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)
    debits: list = field(default_factory=list)
    permits: dict = field(default_factory=dict)
    restraints: dict = field(default_factory=dict)
    delivered: dict = field(default_factory=dict)
    streams: dict = field(default_factory=lambda: {stream: [] for stream in Stream})

    def copy(self):
        """What is held are values, and can be shared."""
        copied = {each.name: copy.copy(getattr(self, each.name)) for each in fields(self)}
        return Rows(**copied | {"streams": {stream: [*bodies] for stream, bodies in self.streams.items()}})


class MemoryTransaction(Kept):
    def append(self, stream, body, layout=None):
        self.rows.streams[stream].append(body)
        return len(self.rows.streams[stream])

    def cursors(self):
        return {
            stream: (self.rows.delivered.get(stream, 0), len(bodies)) for stream, bodies in self.rows.streams.items()
        }

    def journal(self, at_s, kind, body):
        self.rows.journal.append((at_s, kind, body))
        return len(self.rows.journal), len(self.rows.journal).to_bytes(32, "big")

    def debit(self, debit):
        self.rows.debits.append(debit)

    def note_sent(self, iss, cmd_id, at_s, boot_s):
        self.rows.debits = [
            replace(d, sent_at_s=at_s, sent_boot_s=boot_s) if (d.iss, d.cmd_id) == (iss, cmd_id) else d
            for d in self.rows.debits
        ]

    def _debits(self):
        return self.rows.debits


class MemoryStore:
    """Commits whole works or none. `fault` is called before each commit, `after` behind it; both may raise."""

    def __init__(self, rows=None, epoch=JID):
        self.epoch = epoch
        self.rows = rows if rows is not None else Rows()
        self.lock = threading.Lock()
        self.commits = 0
        self.fault = lambda: None
        self.after = lambda: None

    def transact(self, work, *, wait_s=30.0):
        with self.lock:
            trial = self.rows.copy()
            result = work(MemoryTransaction(trial))
            self.fault()
            self.rows = trial
            self.commits += 1
        self.after()
        return result


@dataclass
class FakeMeter:
    """A meter on the wall; it survives every crash of the box."""

    serial: str
    connected: bool = True
    control: int = 1
    control_mode: int = 4
    payment_mode: int | None = 1
    text: bytes = b""
    acts: list = field(default_factory=list)
    silent: bool = False
    lose_reply: bool = False  # the ACTION arrives, its answer does not, and the association is gone
    sticks: bool = False  # the ACTION is acknowledged, the relay does not move
    arms: bool = False  # a connect only arms the button
    answers_as: str = ""
    flows: object = None  # milliamperes behind the relay, as the meter shows them
    silent_after_act: bool = False
    on_associate: object = None
    on_sending: object = lambda: None  # the request leaves the box
    on_acted: object = lambda: None  # the meter has done it, the answer is still on the line

    def act(self, method):
        self.acts.append(method)
        if self.sticks:
            return
        if method == 1:
            self.connected, self.control = False, 0
        elif self.arms:
            self.control = 2
        else:
            self.connected, self.control = True, 1


class FakeAssociation:
    def __init__(self, meter, clock):
        self.meter, self.clock, self.serial, self.gone = meter, clock, meter.answers_as or meter.serial, False

    def get_list(self, refs):
        if self.gone or self.meter.silent:
            raise LinkLost("gone", place=self.serial)
        values = {
            shape.OUTPUT_STATE: self.meter.connected,
            shape.CONTROL_STATE: self.meter.control,
            shape.CONTROL_MODE: self.meter.control_mode,
            shape.PAYMENT_MODE: self.meter.payment_mode,
            plain.DISPLAY: self.meter.text,
            sense.SENSE[2]: self.meter.flows,
            sense.SENSE[3]: [-3, 33],
        }
        return [AttributeDenied(str(r)) if values.get(r) is None else values[r] for r in refs]

    def _spend(self, target, data, warrant):
        if self.gone or self.meter.silent:
            raise LinkLost("gone", place=self.serial)
        warrant.spend(self.serial, target, data, self.clock.monotonic_s())
        self.meter.on_sending()

    def act(self, method, data, warrant):
        self._spend(method, data, warrant)
        assert data == b"\x0f\x00"
        self.meter.act(method.method)
        self._lose()

    def set(self, ref, data, warrant):
        self._spend(ref, data, warrant)
        assert data[0] == 9 and data[1] == len(data) - 2
        self.meter.acts.append("set")
        if not self.meter.sticks:
            self.meter.text = data[2:]
        self._lose()

    def _lose(self):
        self.meter.on_acted()
        self.meter.silent = self.meter.silent or self.meter.silent_after_act
        if self.meter.lose_reply or self.meter.silent_after_act:
            self.gone = True
            raise LinkLost("the answer was lost", place=self.serial)


class FakeBus:
    """`ports.Bus` and `ports.Line`, worked by whoever calls `work`."""

    def __init__(self, clock, meters):
        self.name, self.clock, self.meters, self.queue = "north", clock, meters, []
        self.lock = threading.Lock()
        self.current = None

    def post(self, errand, *, urgent):
        with self.lock:
            self.queue.append(errand)

    @contextlib.contextmanager
    def associate(self, meter, purpose):
        assert purpose is Purpose.SWITCH
        wall = self.meters[meter.serial]
        if wall.silent:
            raise MeterSilent("no answer", place=meter.serial)
        if wall.on_associate:
            wall.on_associate()
        if wall.answers_as and wall.answers_as != meter.serial and not hasattr(wall, "lies"):
            raise WrongMeter("another serial", place=meter.serial)
        yield FakeAssociation(wall, self.clock)

    def work(self):
        while True:
            with self.lock:
                if not self.queue:
                    return
                errand = self.current = self.queue.pop(0)
            try:
                errand.run(self)
            except AssertionError:  # a test's own words
                raise
            except Exception as fault:
                errand.failed(fault)


class World:
    """One box. `crash` and `start` again leave the store's rows and the meters as they are."""

    def __init__(self):
        self.clock = HandClock()
        self.wall = {serial: FakeMeter(serial) for serial in (METER, FAR_METER)}
        model = shipped()["is15959-1ph"]
        self.meters = {
            METER: Meter(METER, "north", model, 17, RANCHI),
            FAR_METER: Meter(FAR_METER, "north", model, 18, DHANBAD),
        }
        self.meters |= {serial: Meter(serial, "north", model, 19, RANCHI) for serial in NEIGHBOURS}
        self.trust = trust()
        self.zone = ZoneInfo("Asia/Kolkata")
        self.commissioned = ()  # documents in trust.json
        self.rows, self.epoch = Rows(), JID
        self.aside = set()
        self.heard = True  # the meters' clocks have spoken
        self.alarms = []
        self.fallen = None
        self.seq = 0
        self.desk = None

    # ---- the box ----

    def new_desk(self, **more):
        """Of this world's store, bus and meters."""
        return RelayDesk(
            dcu=DCU,
            store=self.store,
            clock=self.clock,
            commissioning=Commissioning(self.trust, self.commissioned),
            meters=self.meters,
            buses={"north": self.bus},
            signer=BOX,
            zone=self.zone,
            stop=self.stop,
            alarm=self.alarms.append,
            set_aside=self.aside.__contains__,
            meters_heard=lambda: self.heard,
            **more,
        )

    def start(self, *, work=True):
        self.stop = Stop()
        self.store = MemoryStore(self.rows, self.epoch)
        self.bus = FakeBus(self.clock, self.wall)
        self.fallen = None
        self.desk = self.new_desk(beat=lambda: None, settle_s=0.0, inspect_again_s=5.0)
        self.thread = threading.Thread(target=self._run, name="relay")
        self.thread.start()
        self.settle()
        if work:
            self.work()
        return self

    def _run(self):
        try:
            self.desk.run()
        except BaseException as fault:  # the process ends with the first loop that falls
            self.fallen = fault
            self.stop.set()
            with self.bus.lock:
                self.bus.queue.clear()

    def end(self):
        self.stop.set()
        self.thread.join(5)
        assert not self.thread.is_alive()
        self.rows = self.store.rows

    def settle(self):
        """Wait until the relay thread has read every letter, and has done what came of the last one."""
        for _ in range(2):
            if self.fallen is None and not self.stop:
                with contextlib.suppress(DcuError):
                    self.desk.put(b"", "barrier", 1, False)

    def work(self):
        """Let the bus do what waits for it, and the relay thread read what comes of it."""
        self.settle()
        while self.bus.queue:
            self.bus.work()
            self.settle()

    def renew(self, trust):
        """Other roots are put into trust.json."""
        self.desk.renew_trust(Commissioning(trust, self.commissioned))
        self.settle()

    @property
    def lease(self):
        return self.desk._book.leases.current

    def put(self, octets, *, topic=TOPIC, qos=1, retained=False, work=True):
        verdict = self.desk.put(octets, topic, qos, retained)
        if work:
            self.work()
        return verdict

    # ---- documents ----

    def claims(self, op="disconnect", meter=METER, **changes):
        self.seq += 1
        claims = {
            "v": 1,
            "typ": "relay",
            "cmd_id": f"c-{self.seq}",
            "op": op,
            "iss": ISS,
            "dcu": DCU,
            "jid": self.epoch,
            "meter": meter,
            "iat": self.clock.epoch_s,
            "exp": self.clock.epoch_s + 3600,
        }
        if op in {"connect", "disconnect", "mode"}:
            claims["seq"] = self.seq
        if op in {"freeze", "unfreeze"} and not meter:
            claims["meter"] = ...
        if op in {"disconnect", "mode"}:
            claims |= self.evidence(meter)
        if op == "message":
            claims |= {"why": "credit", "area": self.meters[meter].area, "text": "Balance low"}
        claims |= changes
        return {name: value for name, value in claims.items() if value is not ...}

    def evidence(self, meter=METER):
        """What a disconnect for lack of credit names under the profile `arrears`."""
        return {
            "why": "credit",
            "area": self.meters[meter].area if meter in self.meters else RANCHI,
            "pol": 1,
            "lease": self.lease if self.desk is not None else "L-1",
            "permit": PERMIT_ID,
            "case": "RNC-2026-88121",
            "notice": NOW - 16 * DAY,
        }

    def start_claims(self, op):
        """Claims of a first command with seq 5."""
        return self.claims(op, cmd_id="c-5", **({"seq": 5} if op in {"connect", "disconnect", "mode"} else {}))

    def signed(self, claims, *signers):
        if not signers:
            two = claims.get("op") in {"disconnect", "unfreeze", "mode", "meter"}
            signers = (REQUEST, APPROVE) if two else (REQUEST,)
        return seal(claims, COMMAND, signers)

    def command(self, op="disconnect", meter=METER, *, signers=(), **changes):
        return self.signed(self.claims(op, meter, **changes), *signers)

    def policy_claims(self, version=1, **changes):
        claims = {
            "v": 1,
            "typ": "policy",
            "iss": ISS,
            "dcu": DCU,
            "version": version,
            "iat": NOW - 60,
            "nbf": NOW - 60,
            "exp": NOW + 30 * 86400,
            "timezone": "Asia/Kolkata",
            "areas": {
                RANCHI: AREA | {"prepaid_live": True, "since": NOW - DAY},
                DHANBAD: AREA | {"prepaid_live": False, "since": 0},
            },
            "meters": {METER: RANCHI, FAR_METER: DHANBAD, **dict.fromkeys(NEIGHBOURS, RANCHI)},
            "hours": dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "08:00-18:00"),
            "closed": [],
            "protected": {},
            "grace": {},
            "emergency_h": 0,
            "caps": {"arrears": CAPS, "prepaid": CAPS},
            "limit_floor_w": 1000,
            "no_payment_mode_register": [],
        } | changes
        return {name: value for name, value in claims.items() if value is not ...}

    def policy(self, version=1, *, signers=(POLICY_A, POLICY_B), **changes):
        return seal(self.policy_claims(version, **changes), POLICY, signers)

    def permit(self, permit_id=PERMIT_ID, *, signer=PERMITTER, **changes):
        claims = {"v": 1, "typ": "permit", "id": permit_id, "iss": ISS, "dcu": DCU, "jid": self.epoch, "date": DATE}
        claims |= {"profile": "arrears", "max_n": 1000} | changes
        if "total" in claims:
            claims.pop("jid")
        return seal({name: value for name, value in claims.items() if value is not ...}, PERMIT, [signer])

    # ---- what came of it ----

    def receipts(self):
        keys = {BOX.kid: public_key(BOX.kid, BOX.x, BOX.y)}
        return [verify_receipt(cbor2.loads(b)["jws"].encode(), keys) for b in self.store.rows.streams[Stream.RECEIPT]]

    def states(self):
        return {key[1]: c.state for key, c in self.store.rows.commands.items()}

    def counts(self, code):
        return self.store.rows.counts.get(f"refused.{code}", 0)


@contextlib.contextmanager
def box(*, policy=True, permit=True):
    """A running box that was commissioned with a policy, and has a permit for the day."""
    world = commissioned(policy=policy, permit=permit)
    try:
        yield world
    finally:
        world.end()
        assert world.fallen is None, world.fallen


def commissioned(*, policy=True, permit=True, **changes):
    world = World()
    world.commissioned = (world.policy(**changes),) if policy else ()
    world.start()
    assert not policy or world.store.rows.documents["policy"][0] == 1
    if permit:
        assert world.put(world.permit()).status == "accepted"
    return world
