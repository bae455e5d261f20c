"""Receipts, the warrant, the gate, and the replies between threads."""

import contextlib
import json
import threading

import pytest

from dcu.command import CommandRefused, ControlState, Operation, OutputState, Refusal, Why
from dcu.errors import StoreBusy, WarrantRequired
from dcu.headend.receipts import verify_receipt
from dcu.headend.signing import command_claims
from dcu.reading import ClockState
from dcu.relay.canonical import to_base64url
from dcu.relay.envelope import COMMAND, RECEIPT, payload_of, seal
from dcu.relay.executor import REMOTE_DISCONNECT, REMOTE_RECONNECT
from dcu.relay.gate import Gate, Sampler, looks_like_connect
from dcu.relay.letters import Reply
from dcu.relay.public_key import public_key
from dcu.relay.receipts import Account, ReadBack, seal_receipt
from dcu.relay.warrant import OneAct
from tests.relay.world import BOX, DCU, ISS, JID, METER, NOW, RANCHI, REQUEST, TOPIC, box

BOXES = {BOX.kid: public_key(BOX.kid, BOX.x, BOX.y)}


def cut(**changes):
    members = {
        "op": Operation.DISCONNECT,
        "iss": ISS,
        "dcu": DCU,
        "jid": JID,
        "meter": METER,
        "seq": 7,
        "iat": NOW,
        "exp": NOW + 60,
        "why": Why.CREDIT,
        "area": RANCHI,
        "pol": 1,
    }
    return command_claims(**{**members, **changes})


# ---- receipts ----


def receipt(**changes):
    account = Account("command", ISS, "c-1", "disconnect", METER, b"d" * 32, ("req-1",), "done", **changes)
    return seal_receipt(
        account, BOX, dcu=DCU, jid=JID, at_s=NOW, clock=ClockState.TRUSTED, n=4, chain=b"c" * 32
    )  # fmt: skip


def test_a_receipt_is_verified_against_the_box_that_signed_it():
    held = verify_receipt(receipt(readback=[ReadBack(OutputState.DISCONNECTED, None, None)], cause="unproven"), BOXES)
    assert (held.state, held.n, held.chain, held.digest) == ("done", 4, b"c" * 32, b"d" * 32)
    assert held.claims["readback"] == [{"output": "disconnected"}] and held.claims["cause"] == "unproven"


def test_a_receipt_of_another_box_or_another_kind_is_none():
    with pytest.raises(CommandRefused, match="E_KID"):
        verify_receipt(receipt(), {"box-x": public_key("box-x", REQUEST.x, REQUEST.y)})
    with pytest.raises(CommandRefused, match="E_SIG"):
        verify_receipt(receipt(), {BOX.kid: public_key(BOX.kid, REQUEST.x, REQUEST.y)})
    with pytest.raises(CommandRefused, match="E_HDR"):
        verify_receipt(seal(cut(), COMMAND, [BOX]), BOXES)
    with pytest.raises(CommandRefused, match="E_SCHEMA"):
        verify_receipt(seal({"typ": "receipt", "v": 1}, RECEIPT, [BOX]), BOXES)
    good = json.loads(payload_of(receipt()))
    for broken in ({"v": 2}, {"typ": "x"}, {"n": "4"}, {"at": True}, {"chain": "*"}, {"state": 1}):
        with pytest.raises(CommandRefused, match="E_SCHEMA"):
            verify_receipt(seal(good | broken, RECEIPT, [BOX]), BOXES)


def test_words_of_the_world_do_not_break_a_receipt():
    held = verify_receipt(receipt(reason="Zähler\n" + "x" * 500, code=Refusal.E_UNREACHABLE), BOXES)
    assert held.claims["reason"].startswith("Z?hler?") and len(held.claims["reason"]) == 200
    assert held.code == "E_UNREACHABLE"


LOOKS = [
    ({}, {}),
    (
        {"output": OutputState.CONNECTED, "control": ControlState.READY_FOR_RECONNECTION},
        {"output": "connected", "control": 2},
    ),
    ({"text": True, "holds": False}, {"text": True}),
    ({"text": False}, {"text": False}),
    ({"holds": True}, {"holds": True}),
    ({"holds": False}, {"holds": False}),
    ({"holds": True, "said": {"watts": 5, "id": "a\tb"}}, {"holds": True, "watts": 5, "id": "a?b"}),
]


@pytest.mark.parametrize(("look", "told"), LOOKS)
def test_a_look_at_a_meter_is_told_as_it_was(look, told):
    held = verify_receipt(receipt(readback=[ReadBack(**look), ReadBack(holds=True)]), BOXES)
    assert held.claims["readback"] == [told, {"holds": True}]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_no_document_can_carry_is_told_by_its_digits(sign):
    largest, beyond = sign * 2**53, sign * (2**53 + 1)
    held = verify_receipt(receipt(readback=[ReadBack(said={"largest": largest, "beyond": beyond})]), BOXES)
    assert held.claims["readback"] == [{"largest": largest, "beyond": str(beyond)}]


PLAIN = "".join(map(chr, range(0x20, 0x7F)))


@pytest.mark.parametrize(
    ("text", "told"),
    [(PLAIN, PLAIN), ("\x1f\x7f\u00e4", "???"), ("x" * 200, "x" * 200), ("x" * 201, "x" * 200)],
    ids=["all that can be printed", "what cannot", "200 characters", "201 characters"],
)
def test_words_are_told_as_far_as_a_document_can_carry_them(text, told):
    held = verify_receipt(receipt(reason=text, more={"who": text, "until": NOW}), BOXES)
    assert (held.claims["reason"], held.claims["who"], held.claims["until"]) == (told, told, NOW)


def test_a_receipt_says_nothing_of_what_there_is_not():
    told = {"kind": "keys", "iss": ISS, "cmd_id": "", "op": "keys", "meter": "", "digest": "", "state": "done"}
    assert Account("keys", ISS, "", "keys", "", b"", (), "done").claims == told


def test_a_receipt_says_of_whom_it_is_and_of_what():
    held = verify_receipt(receipt(), BOXES)
    assert (held.dcu, held.jid, held.at, held.clock, held.kind) == (DCU, JID, NOW, "trusted", "command")
    assert (held.iss, held.cmd_id, held.op, held.meter) == (ISS, "c-1", "disconnect", METER)


def test_a_receipt_commands_nothing():
    with box() as world:
        world.put(world.command())
        assert world.put(receipt()).code is Refusal.E_HDR


# ---- the warrant ----


def warrant(until_s=10.0):
    return OneAct(METER, REMOTE_DISCONNECT, b"\x0f\x00", until_s)


def test_a_warrant_opens_exactly_one_thing_once_in_time():
    leave = warrant()
    leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 9.9)
    assert leave.spent and not leave.void()
    with pytest.raises(WarrantRequired, match="spent"):
        leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 9.9)


@pytest.mark.parametrize(
    "use",
    [
        ("OTHER", REMOTE_DISCONNECT, b"\x0f\x00", 0.0),
        (METER, REMOTE_RECONNECT, b"\x0f\x00", 0.0),
        (METER, REMOTE_DISCONNECT, b"\x0f\x01", 0.0),
        (METER, REMOTE_DISCONNECT, b"\x0f\x00", 10.0),
    ],
    ids=["meter", "target", "data", "late"],
)
def test_a_warrant_tried_on_anything_else_is_gone(use):
    leave = warrant()
    with pytest.raises(WarrantRequired):
        leave.spend(*use)
    assert not leave.spent and leave.void()
    with pytest.raises(WarrantRequired):
        leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 0.0)


def test_a_void_warrant_opens_nothing():
    leave = warrant()
    assert leave.void()
    with pytest.raises(WarrantRequired):
        leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 0.0)


def test_of_many_who_spend_one_warrant_one_succeeds():
    leave, taken = warrant(), []
    start = threading.Barrier(8)

    def spend():
        start.wait()
        try:
            leave.spend(METER, REMOTE_DISCONNECT, b"\x0f\x00", 0.0)
            taken.append(1)
        except WarrantRequired:
            pass

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [1]


# ---- the gate and the replies ----


@pytest.mark.parametrize(
    ("topic", "qos", "retained", "code"),
    [
        ("cmd", 1, False, Refusal.E_TOPIC),
        ("dcu/v1/x/cmd/y", 1, False, Refusal.E_TOPIC),
        ("dcu/v1/x/cmd", 0, False, Refusal.E_TOPIC),
        ("dcu/v1/x/cmd", 2, False, Refusal.E_TOPIC),
        ("dcu/v1/x/cmd", 1, True, Refusal.E_RETAINED),
    ],
)
def test_only_what_comes_the_right_way_is_looked_at(topic, qos, retained, code):
    gate = Gate("dcu/v1/x/cmd")
    with pytest.raises(CommandRefused) as refusal:
        gate.admit(topic, qos, retained, 0.0)
    assert refusal.value.code is code
    gate.admit("dcu/v1/x/cmd", 1, False, 0.0)


def test_the_bucket_empties_and_fills():
    gate = Gate("t", burst=3, refill_per_s=1.0)
    for _ in range(3):
        gate.admit("t", 1, False, 100.0)
    with pytest.raises(CommandRefused, match="E_FLOOD"):
        gate.admit("t", 1, False, 100.9)
    gate.admit("t", 1, False, 100.9, connect=True)  # whose lane is another one
    gate.admit("t", 1, False, 101.1)
    with pytest.raises(CommandRefused, match="E_FLOOD"):
        gate.admit("t", 1, False, 50.0)  # a clock that went back fills nothing


def test_a_flood_of_others_keeps_no_light_away():
    gate = Gate("t")
    for lane in (False, True):
        for _ in range(120):
            gate.admit("t", 1, False, 100.0, connect=lane)
        for moment, code in ((100.0, True), (100.4, True), (100.5, False)):
            with pytest.raises(CommandRefused, match="E_FLOOD") if code else contextlib.nullcontext():
                gate.admit("t", 1, False, moment, connect=lane)


@pytest.mark.parametrize(("later_s", "admitted"), [(29.9, False), (30.1, True)])
def test_key_documents_are_ten_at_once_and_then_two_a_minute(later_s, admitted):
    gate = Gate("t")
    for _ in range(10):
        gate.admit_keys(100.0)
    with pytest.raises(CommandRefused, match="E_FLOOD"):
        gate.admit_keys(100.0)
    with contextlib.nullcontext() if admitted else pytest.raises(CommandRefused, match="E_FLOOD"):
        gate.admit_keys(100.0 + later_s)


def payload_of_text(text, more=b""):
    return b'{"payload":"' + to_base64url(text).encode() + b'","signatures":[]}' + more


@pytest.mark.parametrize(
    ("octets", "light"),
    [
        (payload_of_text(b'{"op":"connect"}'), True),
        (payload_of_text(b'{"op":"disconnect"}'), False),
        (payload_of_text(b'{"op":"connect"}', b" " * 8192), False),
        (payload_of_text(b'{"op":"connect"}').replace(b'"payload"', b'"Payload"'), False),
        (b'{"payload":"A","signatures":[]}', False),
        (b"", False),
    ],
)
def test_what_says_that_it_gives_light_has_a_lane(octets, light):
    assert looks_like_connect(octets) is light


def test_the_largest_command_may_give_light():
    octets = payload_of_text(b'{"op":"connect"}')
    assert looks_like_connect(octets.ljust(8192)) and not looks_like_connect(octets.ljust(8193))


def test_a_sampler_forgets_the_oldest():
    sampler = Sampler(60.0, capacity=2)
    assert [sampler.due(k, 0.0) for k in "aabc"] == [True, False, True, True]
    assert sampler.due("a", 1.0) and not sampler.due("c", 1.0) and sampler.due("c", 60.0)
    renewed = Sampler(60.0, capacity=2)
    assert [renewed.due(k, at_s) for k, at_s in (("a", 0.0), ("b", 1.0), ("a", 60.0), ("c", 61.0))] == [True] * 4
    assert not renewed.due("a", 62.0), "let through again, it is not the oldest"
    usual = Sampler()
    assert usual.due("a", 0.0) and not usual.due("a", 59.9) and usual.due("a", 60.0)
    many = Sampler()
    assert all(many.due(n, 0.0) for n in range(1024)) and not many.due(0, 0.0)
    assert many.due(1024, 0.0) and many.due(0, 0.0) and not many.due(2, 0.0)


def test_who_has_stopped_waiting_gets_no_answer():
    reply = Reply()
    assert reply.awaited and reply.wait(0.0) is None
    assert not reply.awaited and not reply.give("late")
    assert Reply().give("in time")


def test_put_on_a_desk_that_has_ended_says_so():
    with box() as world:
        desk = world.desk
        world.stop.set()
        world.thread.join(5)
        with pytest.raises(StoreBusy, match="has ended"):
            desk.put(b"{", TOPIC, 1, False)
