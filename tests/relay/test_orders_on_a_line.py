"""Every signed operation but the relay's own, on real parts: store, bus worker, virtual meters."""

import threading
import time
from datetime import datetime

import cbor2
import pytest

from dcu.record import Stream
from dcu.sim import model
from dcu.sim.axdr import Datum, Tag, octets, structure, u16
from dcu.sim.objects import Attribute, CosemObject, fixed, logical_name
from dcu.sim.payment import LIMITER_NAME
from dcu.sim.xdlms import Refused, Result
from tests.relay.pole import (
    ASKER,
    BALANCE_PAISE,
    BILLING,
    BOTH,
    DAY_S,
    LOCAL,
    METER,
    standing,
)


@pytest.fixture
def pole(tmp_path):
    with standing(tmp_path, history_s=DAY_S) as pole:
        yield pole


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


def odd_limiter(threshold):
    """A limiter that shows that and takes nothing."""

    def refuse(_value):
        raise Refused(Result.OTHER_REASON)

    def make(_account, _happen, _watched):
        power = structure(u16(3), octets(logical_name("1.0.1.7.0")), Datum(Tag.INTEGER, 2))
        shown = Attribute(lambda: threshold, refuse)
        return CosemObject(71, LIMITER_NAME, {2: fixed(power), 3: shown, 4: shown})

    return make


@pytest.mark.parametrize(
    ("threshold", "state", "code"),
    [
        (Datum(Tag.FLOAT32, 3.4028234663852886e38), "failed", ""),  # "no limit", and no other is taken
        (Datum(Tag.LONG64_UNSIGNED, (1 << 64) - 1), "failed", ""),
        (Datum(Tag.FLOAT32, float("nan")), "refused", "E_STATE"),
        (Datum(Tag.FLOAT32, float("inf")), "refused", "E_STATE"),
    ],
    ids=["greatest float", "greatest integer", "no number", "infinity"],
)
def test_what_a_limiter_shows_that_no_receipt_can_carry_ends_its_own_command_alone(
    tmp_path, monkeypatch, threshold, state, code
):
    monkeypatch.setattr(model, "limiter", odd_limiter(threshold))
    with standing(tmp_path) as pole:
        told = pole.order("limit", watts=3000)
        assert (told.state, told.code) == (state, code)
        if state == "failed":
            assert told.claims["readback"][1]["holds"] is False
            assert told.claims["readback"][1]["watts"].isdecimal()
        assert pole.desk_thread.is_alive()


# ---- money ----------------------------------------------------------------------------------------------------------

PAID = {"recharge": 50_000, "recharged_at": 1_795_000_000, "balance": 74_000}


def test_a_payment_is_written_once_register_by_register_and_read_back(pole):
    told = pole.order("balance", BILLING, **PAID)
    assert told.state == "done"
    assert told.claims["readback"] == [{"holds": True, "balance": 74_000, "recharge": 50_000}] * 2
    account = pole.meter.account
    assert (account.balance, account.recharge) == (74_000, 50_000)
    paid_at = datetime.fromtimestamp(1_795_000_000, LOCAL)
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
