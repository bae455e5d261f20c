"""A record that the broker refuses stops nothing behind it: it is found, told and passed, and stays in the store."""

import secrets

import cbor2
import pytest

from dcu.clock import SystemClock
from dcu.errors import OperatorFault, StoreBusy
from dcu.field.quarantine import BURST, Quarantine
from dcu.headend.pki import Authority
from dcu.mailbox import Stop
from dcu.record import Stream
from dcu.uplink.encoding import decode
from dcu.uplink.field_line import FieldLine
from dcu.wire.fields import MAX_ID
from dcu.wire.verbs import Denied, Done, Next, Reason
from dcu.wire.verbs import Quarantine as Asked
from tests.broker import endpoint
from tests.uplink.scripted import ScriptedBroker, connack, puback
from tests.uplink.world import DCU, Uplink, until

POISON = {7, 8, 21}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


@pytest.fixture
def line(field):
    with FieldLine(field.path, DCU, Stop()) as it:
        yield it


def reach(broker):
    return endpoint(broker, broker.authority.client(DCU))


def alarms(field):
    """Facts of each quarantine that was announced."""
    part = field.store.transact(lambda tx: tx.page(Stream.ALARM, 0, 1_000_000))
    bodies = [cbor2.loads(r.body) for r in part.records]
    return [b["facts"] for b in bodies if b["kind"] == "record-quarantined"]


class Picky:
    """A broker that answers batches which hold one of POISON of the stream `profile` with `refusal`."""

    def __init__(self, refusal):
        self.refusal, self.taken, self.tries = refusal, [], 0

    def __call__(self, broker, mid, topic):
        if not topic.endswith("/profile"):
            return puback(mid)
        content_type = "application/cbor" + ("+zlib" if broker.payload[:1] == b"\x78" else "")
        batch = decode(broker.payload, content_type)
        ids = range(batch.first, batch.last + 1)
        if POISON & set(ids):
            self.tries += 1
            return self.refusal(mid)
        self.taken += ids
        return puback(mid)


@pytest.mark.parametrize(
    ("refusal", "code"),
    [(lambda mid: puback(mid, 0x99), 0x99), (lambda mid: b"\xe0\x01\x95", 0x95)],
    ids=["PUBACK 0x99", "DISCONNECT 0x95"],
)
def test_poison_is_set_aside_and_the_rest_flows(tmp_path, authority, field, refusal, code):
    picky = Picky(refusal)
    field.append(Stream.PROFILE, 40)
    field.append(Stream.BILLING, 5)
    with ScriptedBroker(authority, on_publish=picky) as broker, Uplink(tmp_path, reach(broker), backoff_max_s=0.02):
        until(lambda: field.delivered(Stream.PROFILE) == 40, 30)
        until(lambda: field.delivered(Stream.BILLING) == 5, 30)
        until(lambda: field.delivered(Stream.ALARM) == len(POISON), 30)
    assert set(picky.taken) == set(range(1, 41)) - POISON
    epoch = field.store.epoch
    assert alarms(field) == [
        {"epoch": epoch, "stream": "profile", "first": n, "last": n, "code": code} for n in sorted(POISON)
    ]
    assert field.store.transact(lambda tx: tx.counts())["quarantined.profile"] == 3
    held = field.store.transact(lambda tx: tx.page(Stream.PROFILE, 0, 1_000_000))
    assert len(held.records) == 40  # none is deleted


def test_a_record_above_the_packet_size_is_set_aside_and_batches_are_cut_to_it(tmp_path, authority, field):
    sizes = []

    def measured(broker, mid, topic):
        sizes.append(len(broker.payload))
        return puback(mid)

    field.append(Stream.PROFILE, 60)
    large = cbor2.dumps({"at": 1, "clock": "trusted", "facts": {"pad": secrets.token_hex(4000)}})
    field.store.transact(lambda tx: tx.append(Stream.HEALTH, large))
    field.append(Stream.HEALTH, 3)
    with ScriptedBroker(authority, greeting=connack(0, None, 2000), on_publish=measured) as broker:
        with Uplink(tmp_path, reach(broker), backoff_max_s=0.02):
            until(lambda: field.delivered(Stream.PROFILE) == 60, 30)
            until(lambda: field.delivered(Stream.HEALTH) == 4, 30)
    assert max(sizes) < 2000
    assert [(a["stream"], a["first"], a["code"]) for a in alarms(field)] == [("health", 1, 0x95)]


def test_field_passes_only_the_next_record_and_not_many(field):
    ward = Quarantine(field.store, SystemClock())
    field.append(Stream.PROFILE, 100)
    for n in (0, 2, 101):
        with pytest.raises(OperatorFault, match="not the next one"):
            ward.set_aside(Stream.PROFILE, n, 0x99)
    for n in range(1, BURST + 1):
        ward.set_aside(Stream.PROFILE, n, 0x99)
    with pytest.raises(StoreBusy, match="too many"):
        ward.set_aside(Stream.PROFILE, BURST + 1, 0x99)
    assert field.delivered(Stream.PROFILE) == BURST == len(alarms(field))
    with pytest.raises(OperatorFault):  # asking for what is not next takes nothing from the budget, and moves nothing
        ward.set_aside(Stream.PROFILE, 50, 0x99)
    assert field.delivered(Stream.PROFILE) == BURST


def test_over_the_socket_a_false_claim_is_refused_and_alarmed(field, line):
    field.append(Stream.PROFILE, 3)
    epoch = field.store.epoch
    assert line.ask(Asked(epoch, Stream.PROFILE, 2, 0x99)).reason is Reason.BEYOND
    assert line.ask(Asked("other", Stream.PROFILE, 1, 0x99)).reason is Reason.EPOCH
    assert len(field.refused_cursors) == 2
    assert field.delivered(Stream.PROFILE) == 0
    assert line.ask(Asked(epoch, Stream.PROFILE, 1, 0x99)) == Done()
    for n in range(BURST - 1):
        field.append(Stream.BILLING, 1)
        assert line.ask(Asked(epoch, Stream.BILLING, n + 1, 0x99)) == Done()
    denied = line.ask(Asked(epoch, Stream.PROFILE, 2, 0x99))
    assert isinstance(denied, Denied)
    assert denied.reason is Reason.BUSY
    assert len(field.refused_cursors) == 2
    assert line.ask(Next({s: MAX_ID for s in Stream if s is not Stream.PROFILE}, 1, 0)).first == 2
