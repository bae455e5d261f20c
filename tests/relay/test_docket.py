"""What is decided about a command when it comes: what is kept, debited, counted and told of it."""

import copy
import json

import pytest

from dcu.command import Debit, Profile, Refusal, State
from dcu.reading import ClockState
from dcu.record import Stream
from dcu.relay import allowance
from dcu.relay.canonical import canonical, to_base64url
from tests.relay.envelopes import built, header, member
from tests.relay.room import AREA, CUT, PAID, SAFETY, Room
from tests.relay.world import (
    BILLING,
    CAPS,
    DAY,
    FAR_METER,
    ISS,
    METER,
    NOW,
    PERMIT_ID,
    PLANNER,
    RANCHI,
    REQUEST,
    WITNESS,
)

R = Refusal
SLOW = {"caps": {"arrears": CAPS | {"wait_s": 900, "spacing_s": 1000}, "prepaid": CAPS}}


# ---- what is accepted -----------------------------------------------------------------------------------------------

ACCEPTED = {
    # state, numbers of the relay after it, whether it is debited; (what is to be done, waiting, spacing, cuts)
    "a cut": ({}, State.PENDING, (1, 1), True, (900, 1000, True)),
    "a limit that cuts": (
        {"op": "limit", "watts": 100, "seq": 7, **CUT, **SAFETY},
        State.PENDING,
        (7, 7),
        True,
        (900, 1000, True),
    ),
    "a limit that spares": ({"op": "limit", "watts": 1000, "seq": 7}, State.ACCEPTED, (0, 0), False, (0, 0, False)),
    "a payment": (PAID | {"seq": 7}, State.ACCEPTED, (0, 0), False, (0, 0, False)),
    "light": ({"op": "connect"}, State.ACCEPTED, (1, 0), False, (0, 0, False)),
    "a message": ({"op": "message"}, State.ACCEPTED, (0, 0), False, (0, 0, False)),
    "a freeze": ({"op": "freeze"}, State.DONE, (0, 0), False, None),
    "a cancel": ({"op": "cancel", "cancels": "c-9"}, State.DONE, (0, 0), False, None),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_an_acceptance_keeps_and_what_is_to_be_done(name):
    changes, state, (of_any, of_cuts), debited, to_do = ACCEPTED[name]
    room = Room(**SLOW)
    ruling = room.decide(**changes)
    assert (ruling.verdict.status, ruling.verdict.code, ruling.meter, ruling.cause) == ("accepted", None, METER, "")
    assert room.kept((ISS, "c-1")).state is state and room.kept((ISS, "c-1")).repeated_at == 0
    assert (room.sequence().any, room.sequence().disconnect) == (of_any, of_cuts)
    assert len(room.store.rows.debits) == debited
    assert (ruling.command.cmd_id if ruling.command else None) == ("c-1" if to_do else None)
    assert (ruling.wait_s, ruling.spacing_s, ruling.cuts) == (to_do or (0, 0, False))
    assert room.receipts()[-1].claims["pol"] == room.journalled()["pol"] == 1


@pytest.mark.parametrize("wait_s", [0, 900])
def test_a_cut_waits_its_time_and_behind_the_last_one_whichever_is_longer(wait_s):
    room = Room(caps={"arrears": CAPS | {"wait_s": wait_s, "spacing_s": 300}, "prepaid": CAPS})
    room.accept(meter=FAR_METER, why="arrears")
    room.store.transact(lambda tx: tx.authority.note_sent(ISS, "c-1", NOW, 1000))
    room.clock.pass_s(50)
    ruling = room.decide()
    assert (ruling.wait_s, ruling.spacing_s) == (max(wait_s, 250), 300)


def test_light_needs_no_policy_and_what_is_told_names_none(room):
    room.store.rows.documents.pop("policy")
    ruling = room.decide("connect")
    assert ruling.verdict.status == "accepted" and (ruling.wait_s, ruling.spacing_s) == (0, 0)
    assert "pol" not in room.receipts()[-1].claims


def test_a_debit_says_whose_of_what_and_when(room):
    room.clock.pass_s(7)
    room.accept()
    assert room.store.rows.debits == [Debit(ISS, "c-1", Profile.ARREARS, PERMIT_ID, NOW + 7, "boot-1", 1007)]


def test_a_debit_to_a_share_is_one_to_the_whole_as_well():
    room = Room(areas={RANCHI: AREA, "JH-DHN": AREA | {"prepaid_live": False}})
    room.give(room.permit("T-1", dcu=..., profile=..., max_n=..., total=6000))
    room.give(room.permit("P-share", signer=PLANNER, profile="prepaid", of="T-1", max_n=5))
    evidence = {"low_credit_at": NOW - DAY, "ledger": "W-1", "ledger_at": NOW - 60, "notice": ..., "case": ...}
    room.accept(signers=[BILLING, WITNESS], permit="P-share", **evidence)
    (debit,) = room.store.rows.debits
    assert (debit.profile, debit.permit, debit.total) == (Profile.PREPAID, "P-share", "T-1")


@pytest.mark.parametrize(
    ("changes", "meter", "why"),
    [({"why": "safety"}, METER, "safety"), ({}, METER, "c-1"), ({"meter": ...}, "", "c-1")],
    ids=["with a reason", "without one", "of the box"],
)
def test_a_freeze_says_who_and_why_and_lasts_a_day(room, changes, meter, why):
    assert room.decide("freeze", signers=[BILLING, WITNESS], **changes).meter == meter
    (freeze,) = room.store.rows.restraints.values()
    assert (freeze.kind, freeze.meter, freeze.who, freeze.why) == ("freeze", meter, "billing, witness", why)
    assert (freeze.seconds, freeze.until_s, freeze.boot_s) == (DAY, NOW + DAY, 1000)
    room.accept("unfreeze", **({"meter": ...} if not meter else {}))
    assert room.store.rows.restraints == {}


def test_records_that_are_wanted_once_more_are_noted_up_to_the_last_that_was_delivered(room):
    room.store.rows.streams[Stream.PROFILE] += [b"one", b"two", b"three"]
    room.store.rows.delivered[Stream.PROFILE] = 2
    wanted = {"meter": ..., "stream": "profile", "first": 1}
    assert room.decide("resend", last=4, **wanted).verdict.code is R.E_STATE, "there is no fourth yet"
    assert "resend" not in room.store.rows.documents
    for n in range(1, 17):
        room.accept("resend", last=3, **wanted)
        assert json.loads(room.store.rows.documents["resend"][1]) == [["profile", 1, 2]] * n
    assert room.decide("resend", last=3, **wanted).verdict.code is R.E_FLOOD, "so many wait already"


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_a_refusal_that_uses_the_id_up_is_counted_kept_and_told(room):
    document = room.command(meter="GXT1")
    ruling = room.hand_in(document)
    assert (ruling.verdict.status, ruling.verdict.code, ruling.meter) == ("refused", R.E_METER, "GXT1") and ruling.cause
    assert room.store.rows.counts == {"refused.E_METER": 1}
    assert room.kept((ISS, "c-1")).state is State.REFUSED
    last = room.receipts()[-1]
    assert (last.state, last.code, last.claims["reason"]) == ("refused", "E_METER", ruling.cause)
    assert room.hand_in(document).verdict.status == "duplicate"


def test_a_refusal_up_to_the_quorum_is_counted_and_told_and_leaves_the_id_free(room):
    ruling = room.decide(signers=[PLANNER])
    assert (ruling.verdict.status, ruling.verdict.code, ruling.meter) == ("refused", R.E_QUORUM, METER) and ruling.cause
    assert room.store.rows.counts == {"refused.E_QUORUM": 1} and room.store.rows.commands == {}
    last = room.receipts()[-1]
    assert (last.cmd_id, last.state, last.code, last.claims["reason"]) == ("c-1", "refused", "E_QUORUM", ruling.cause)
    assert room.decide(cmd_id="c-1").verdict.status == "accepted"


@pytest.mark.parametrize("wrong", [False, True], ids=["else good", "refused anyway"])
def test_beyond_its_keys_allowance_a_command_is_counted_and_neither_kept_nor_told(room, monkeypatch, wrong):
    monkeypatch.setattr(allowance, "COMMANDS", (1, 0.0))
    cut = room.accept()
    room.accept("connect", FAR_METER)
    if wrong:
        room.lock()
    receipts = len(room.receipts())
    ruling = room.decide("connect")
    assert (ruling.verdict.status, ruling.verdict.code) == ("refused", R.E_FLOOD) and ruling.cause
    assert room.store.rows.counts == {"refused.E_FLOOD": 1} and (ISS, "c-3") not in room.store.rows.commands
    assert room.kept(cut).state is State.VOIDED, "what takes back does so all the same"
    assert len(room.receipts()) == receipts + 1, "of the cut"


def test_what_is_signed_and_is_no_object_is_told_without_any_name(room):
    payload = to_base64url(canonical(["c-1"]))
    ruling = room.hand_in(built(payload, signatures=[member(header("req-1"), REQUEST, payload)]))
    assert (ruling.verdict.code, ruling.meter) == (R.E_SCHEMA, "")
    assert [room.journalled()[name] for name in ("kind", "iss", "cmd_id", "op", "meter")] == ["command", "", "", "", ""]
    assert room.journalled()["state"] == "refused" and room.journalled()["kids"] == ["req-1"]


def test_what_was_refused_before_anybody_was_known_is_counted(room):
    before = room.store.commits
    room.docket.count({"E_SIG": 2, "E_JSON": 1})
    assert room.store.rows.counts == {"refused.E_SIG": 2, "refused.E_JSON": 1}
    assert room.store.commits == before + 1


# ---- the very same once more ----------------------------------------------------------------------------------------


def test_its_receipt_is_given_out_again_at_most_once_a_minute_either_way_of_the_clock(room):
    document = room.command("message")
    room.hand_in(document)
    receipts = room.receipts
    shown, answered = len(receipts()), receipts()[-1].claims
    for passed_s, again in ((0, 1), (59, 0), (1, 1), (59, 0), (-118, 0), (-1, 1), (60, 1)):
        room.clock.epoch_s += passed_s
        before = copy.deepcopy(room.store.rows)
        assert room.hand_in(document).verdict.status == "duplicate"
        shown += again
        assert len(receipts()) == shown and receipts()[-1].claims == answered, passed_s
        assert (room.store.rows != before) == bool(again)


@pytest.mark.parametrize(
    ("left_s", "clock", "again"),
    [
        (1, ClockState.TRUSTED, 1),
        (0, ClockState.TRUSTED, 0),
        (0, ClockState.UNTRUSTED, 1),
        (-9, ClockState.TRUSTED, 0),
        (-9, ClockState.UNTRUSTED, 1),
    ],
)
def test_what_is_over_is_not_given_out_again_where_the_time_is_known(room, left_s, clock, again):
    document = room.command("message")
    room.hand_in(document)
    shown = len(room.receipts())
    room.clock.epoch_s, room.clock.trusted = NOW + 3600 - left_s, clock
    assert room.hand_in(document).verdict.status == "duplicate"
    assert len(room.receipts()) == shown + again


def test_all_repetitions_have_one_allowance(room, monkeypatch):
    monkeypatch.setattr(allowance, "REPEATS", (1, 0.0))
    documents = [room.command("message") for _ in range(2)]
    for document in documents:
        room.hand_in(document)
    shown = len(room.receipts())
    for document in documents:
        assert room.hand_in(document).verdict.status == "duplicate"
    assert len(room.receipts()) == shown + 1


def test_the_same_id_with_something_else_is_no_repetition(room):
    room.accept("message")
    assert room.decide("message", cmd_id="c-1", text="Other words").verdict.code is R.E_ID_REUSE
