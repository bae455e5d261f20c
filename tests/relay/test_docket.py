"""What is decided about a command when it comes: what is kept, debited, taken back, counted and told of it."""

import copy
import json

import pytest

from dcu.command import Debit, Profile, Refusal, RelaySequence, State
from dcu.errors import StoreFull
from dcu.reading import ClockState
from dcu.record import Stream
from dcu.relay import allowance
from dcu.relay.canonical import canonical, to_base64url
from tests.relay.envelopes import built, header, member
from tests.relay.room import Room
from tests.relay.world import (
    APPROVE,
    BILLING,
    CAPS,
    DAY,
    FAR_METER,
    ISS,
    METER,
    NOW,
    PERMIT_ID,
    PLANNER,
    POLICY_A,
    RANCHI,
    REQUEST,
    WITNESS,
)

R = Refusal
SLOW = {"caps": {"arrears": CAPS | {"wait_s": 900, "spacing_s": 1000}, "prepaid": CAPS}}
PAID = {"op": "balance", "signers": [BILLING], "recharge": 500, "recharged_at": NOW, "balance": 900}
SAFETY = {"why": "safety", "case": ..., "notice": ...}
BOTH = [REQUEST, APPROVE]
CUT = {"pol": 1, "lease": "L-1", "permit": PERMIT_ID, "signers": BOTH}


def held(room, meter=METER):
    return room.store.rows.sequences.get(meter, RelaySequence())


def locked(room, meter=METER):
    room.locks.lock(meter, "sunil", "at the terminals", 3600)


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
    assert (held(room).any, held(room).disconnect) == (of_any, of_cuts)
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


AREA = {"prepaid_live": True, "since": NOW - DAY, "profile": "prepaid", "reconnect": "close", "grace_days": 0}


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


# ---- meters of this box ---------------------------------------------------------------------------------------------

PLACE = {"bus": "north", "address": 21, "model": "is15959-1ph", "area": RANCHI, "secrets": "m-77"}
CHANGES = {"add": PLACE, "replace": PLACE | {"old": METER}, "retire": {}}


class Fitter:
    """Whoever holds the meters of this box."""

    def __init__(self):
        self.wrong, self.kept, self.in_effect = "", [], []

    def fault(self, command):
        assert command.change is not None, "that is no change of a meter"
        return f"{self.wrong}: {command.meter}" if self.wrong else ""

    def keep(self, tx, command):
        tx.save_document("meters", 0, command.meter.encode())
        self.kept.append(command.cmd_id)

    def take_effect(self, command):
        self.in_effect.append((command.cmd_id, command.meter))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_meters_takes_effect_when_it_is_on_disk_and_once(change):
    fitter = Fitter()
    room = Room(fitter)
    room.store.fault = lambda: fitter.in_effect and pytest.fail("before the commit")
    ruling = room.decide("meter", "GXT77", change=change, **CHANGES[change])
    assert (ruling.verdict.status, ruling.command, ruling.meter) == ("accepted", None, "GXT77")
    assert fitter.kept == ["c-1"] and fitter.in_effect == [("c-1", "GXT77")]
    assert room.store.rows.documents["meters"] == (0, b"GXT77") and room.kept((ISS, "c-1")).state is State.DONE
    room.store.fault = lambda: None
    room.accept("message")
    assert fitter.in_effect == [("c-1", "GXT77")]


def test_a_change_of_the_meters_that_could_not_be_kept_takes_no_effect_later_on():
    fitter = Fitter()
    room = Room(fitter)

    def full():
        raise StoreFull("no room")

    room.store.fault = full
    with pytest.raises(StoreFull):
        room.decide("meter", "GXT77", change="retire")
    room.store.fault = lambda: None
    room.accept("message")
    assert fitter.in_effect == [] and "meters" not in room.store.rows.documents


def test_other_commands_are_as_they_were_where_meters_can_be_changed():
    fitter = Fitter()
    room = Room(fitter)
    cut = room.accept()
    room.accept("cancel", cancels="c-1")
    room.accept("cancel", cancels="c-later")
    assert room.kept(cut).state is State.CANCELLED and "taken-back" in room.store.rows.documents
    fitter.wrong = "no such bus"
    assert room.decide("message").verdict.status == "accepted"
    assert fitter.kept == fitter.in_effect == []


@pytest.mark.parametrize("fitter", [None, Fitter()], ids=["nobody holds them", "it cannot be done"])
def test_a_change_of_the_meters_that_cannot_be_carried_out(fitter):
    room = Room(fitter)
    if fitter is not None:
        fitter.wrong = "no such bus"
    ruling = room.decide("meter", "GXT77", change="add", **PLACE)
    assert ruling.verdict.code is (R.E_METER if fitter else R.E_POLICY)
    assert ruling.cause == ("no such bus: GXT77" if fitter else "a meter is not carried out here")
    assert fitter is None or fitter.kept == fitter.in_effect == []


@pytest.mark.parametrize("change", CHANGES)
def test_what_hangs_on_the_wall_is_handed_on_to_the_meter_that_replaces_another(change):
    room = Room(Fitter())
    room.accept("freeze")
    room.accept("freeze", FAR_METER)
    locked(room)
    room.store.rows.sequences[METER] = RelaySequence(5, 5, 5)
    room.accept("meter", "GXT77", change=change, **CHANGES[change])
    new = {kind for kind, meter in room.store.rows.restraints if meter == "GXT77"}
    old = {kind for kind, meter in room.store.rows.restraints if meter == METER}
    assert new == ({"freeze", "lock"} if change == "replace" else set()) and old == {"freeze", "lock"}
    assert held(room, "GXT77") == RelaySequence(0, 0, 5 if change == "replace" else 0)


# ---- what takes back ------------------------------------------------------------------------------------------------

OVERTAKES = {
    # what waits, what comes, whether it makes that void
    "light, of a cut for credit": ({}, {"op": "connect"}, True),
    "light of another meter": ({}, {"op": "connect", "meter": FAR_METER}, False),
    "light by two, of one for safety": (SAFETY, {"op": "connect", "signers": BOTH}, True),
    "a payment, of one for credit": ({}, PAID, True),
    "a payment, of one for arrears": ({"why": "arrears"}, PAID, False),
    "a payment, of one for safety": (SAFETY, PAID, False),
    "a payment at another meter": ({}, PAID | {"meter": FAR_METER}, False),
    "a freeze, of one for safety": (SAFETY, {"op": "freeze", "signers": [WITNESS]}, True),
    "a freeze of another meter": ({}, {"op": "freeze", "meter": FAR_METER}, False),
    "a freeze of the box": ({}, {"op": "freeze", "meter": ...}, True),
    "a message": ({}, {"op": "message"}, False),
    "a limit": ({}, {"op": "limit", "watts": 1000}, False),
    "another cut": ({}, {}, False),
}


@pytest.mark.parametrize("name", OVERTAKES)
def test_what_waits_to_disconnect_is_overtaken(room, name):
    waiting, changes, void = OVERTAKES[name]
    cut = room.accept(**waiting)
    room.accept(**changes)
    assert room.kept(cut).state is (State.VOIDED if void else State.PENDING)


@pytest.mark.parametrize("state", [State.ACCEPTED, State.DISPATCHED, State.DONE])
def test_what_is_under_way_or_no_disconnect_is_not_overtaken(room, state):
    key = room.accept("message")
    room.keep(key, state=state)
    room.accept("connect")
    assert room.kept(key).state is state


def test_what_cannot_be_read_is_not_overtaken_and_hinders_nobody(room):
    cut, other = room.accept(), room.accept()
    room.keep(cut, payload=b"{}")
    room.accept("connect")
    assert (room.kept(cut).state, room.kept(other).state) == (State.PENDING, State.VOIDED)


def test_one_key_does_not_take_back_what_waits_for_safety(room):
    cut = room.accept(**SAFETY)
    assert room.decide("connect", signers=[BILLING]).verdict.code is R.E_QUORUM
    locked(room)
    assert room.decide("connect", signers=[BILLING]).verdict.code is R.E_QUORUM
    assert room.kept(cut).state is State.PENDING


REFUSED = {
    # what comes to a meter that is set aside or locked, why it is refused, the cut after it, numbers after it
    "light": ({"op": "connect", "seq": 9}, R.E_LOCKED, State.VOIDED, (9, 1)),
    "a payment": (PAID | {"seq": 9}, R.E_METER, State.VOIDED, (1, 1)),
    "a payment that is judged as a cut": (PAID | CUT | SAFETY | {"seq": 9}, R.E_METER, State.PENDING, (1, 1)),
    "a limit": ({"op": "limit", "watts": 1000, "seq": 9}, R.E_METER, State.PENDING, (1, 1)),
    "a cut": ({"seq": 9}, R.E_METER, State.PENDING, (1, 1)),
    "light that nobody may order": ({"op": "connect", "signers": [POLICY_A]}, R.E_QUORUM, State.PENDING, (1, 1)),
    "light of yesterday": ({"op": "connect", "iat": NOW - 9, "exp": NOW}, R.E_EXPIRED, State.PENDING, (1, 1)),
    "light that is older than the cut": ({"op": "connect", "seq": 1}, R.E_SEQ, State.PENDING, (1, 1)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_for_another_reason_takes_back_all_the_same(room, name):
    changes, code, state, numbers = REFUSED[name]
    cut = room.accept()
    room.aside.add(METER)
    locked(room)
    ruling = room.decide(**changes)
    assert (ruling.verdict.status, ruling.verdict.code) == ("refused", code)
    assert room.kept(cut).state is state
    assert (held(room).any, held(room).disconnect) == numbers


def test_a_connect_that_is_refused_stands_in_the_way_of_no_other_connect(room):
    locked(room)
    assert room.decide("connect", seq=9).verdict.code is R.E_LOCKED
    room.locks.lock(METER, "sunil", "", 0)
    assert room.decide("connect", seq=8).verdict.status == "accepted"


def test_a_cancel_that_came_first_holds_for_its_meter_and_for_what_cuts(room):
    room.accept("cancel", cancels="c-x")
    room.accept("cancel", cancels="c-y", meter=FAR_METER)
    limit = {"op": "limit", "watts": 100, **CUT, **SAFETY}
    for changes in ({}, limit):
        ruling = room.decide(cmd_id="c-x", **{"seq": 9} | changes)
        assert ruling.verdict.code is R.E_STATE, changes
        room.store.rows.commands.pop((ISS, "c-x"))
    assert room.decide("connect", cmd_id="c-x").verdict.status == "accepted"
    assert room.decide(cmd_id="c-y").verdict.status == "accepted"


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
        locked(room)
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
