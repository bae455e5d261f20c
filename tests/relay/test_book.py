"""What is known of a command at the moment of judging it, and what is written down of a decision."""

import json
import re
from dataclasses import replace

import pytest

from dcu.command import CommandRefused, Debit, Profile, Refusal, State
from dcu.meter import Meter
from dcu.record import Stream
from dcu.relay.book import account_of, is_connect, legible, reread
from dcu.relay.receipts import Account
from dcu.relay.schema import read_command
from tests.relay.room import AREA, SAFETY, Room, evidence
from tests.relay.test_changes_of_meters import Fitter
from tests.relay.world import (
    BILLING,
    CAPS,
    DAY,
    DHANBAD,
    FAR_METER,
    ISS,
    METER,
    NOW,
    PERMIT_ID,
    PLANNER,
    RANCHI,
    WITNESS,
)

R = Refusal


def case(room, op="disconnect", *, due=False, **changes):
    """What is known when that command comes, or when it is due."""
    opened = room.opened(room.command(op, **changes))
    shown = evidence() if due else None
    command = read_command(opened.claims)
    return room.store.transact(lambda tx: room.book.case(tx, opened.payload, opened.kids, command, evidence=shown))


# ---- what is known --------------------------------------------------------------------------------------------------


def test_a_lease_is_a_name_that_nobody_foretells(room):
    names = {room.leases_of_its_own.make() for _ in range(3)}
    assert len(names) == 3 and all(re.fullmatch("L-[0-9a-f]{24}", name) for name in names)


def test_the_meters_that_count_are_those_of_the_policy_that_are_here(room):
    here = room.book.meters
    here["GXT7"] = Meter("GXT7", "north", here[METER].model, 20, RANCHI)
    assert case(room).meters == 2
    del here[FAR_METER]
    assert case(room).meters == 1
    room.store.rows.documents.pop("policy")
    assert case(room).meters == 0


def test_the_policy_in_force_or_why_there_is_none(room):
    found = case(room)
    assert (found.policy.version, found.policy_fault) == (1, "")
    room.clock.pass_s(31 * DAY)
    found = case(room)
    assert found.policy is None and found.policy_fault.startswith("the policy does not hold now")


def test_a_change_of_the_meters_is_asked_about_and_nothing_else_is():
    fitter = Fitter()
    fitter.wrong = "no such bus"
    assert case(Room(fitter), "meter", meter="GXT7", change="retire").change_fault == "no such bus: GXT7"
    assert case(Room(fitter), "message").change_fault == ""
    assert case(Room(), "meter", meter="GXT7", change="retire").change_fault == ""


KEPT = {
    # the command, when it is judged, after how many days, floor of the limits by the policy that goes on
    "light when it comes": ("connect", False, 0, None),
    "light when it is due": ("connect", True, 0, 1000),
    "light when no policy holds any more": ("connect", True, 31, 1000),
    "a limit under a policy": ("limit", False, 0, None),
    "a limit when no policy holds any more": ("limit", False, 31, 1000),
    "the same when it is due": ("limit", True, 31, 1000),
    "a message": ("message", True, 31, None),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_a_policy_spares_consumers_goes_on_where_that_bears_on_a_command(room, name):
    op, due, days, floor_w = KEPT[name]
    changes = {"watts": 2000} if op == "limit" else {}
    room.clock.pass_s(days * DAY)
    kept = case(room, op, due=due, **changes).kept
    assert (kept.limit_floor_w if kept is not None else None) == floor_w


@pytest.mark.parametrize(
    ("base_w", "narrowed_w", "floor_w"),
    [(1000, None, 1000), (1000, 1500, 1500), (1500, 1000, 1500), (None, 1500, None), (None, None, None)],
)
def test_the_floor_of_limits_that_goes_on_is_the_higher_one(room, base_w, narrowed_w, floor_w):
    documents = room.store.rows.documents
    documents.pop("policy")
    for name, watts in (("policy", base_w), ("policy-narrowed", narrowed_w)):
        if watts is not None:
            documents[name] = (1, room.policy(limit_floor_w=watts))
    room.clock.pass_s(31 * DAY)
    kept = case(room, "limit", watts=2000).kept
    assert (kept.limit_floor_w if kept is not None else None) == floor_w


def test_of_a_base_that_is_damaged_nothing_goes_on(room):
    room.store.rows.documents["policy"] = (1, b"{")
    assert case(room, "limit", watts=2000).kept is None and case(room, "connect", due=True).kept is None
    room.store.rows.documents["policy-narrowed"] = (2, room.policy(2))
    assert case(room, "limit", watts=2000).kept is None
    room.store.rows.documents |= {"policy": (1, room.policy()), "policy-narrowed": (2, b"{")}
    assert case(room, "limit", watts=2000).kept.version == 1


# ---- debits ---------------------------------------------------------------------------------------------------------


def test_a_cut_that_is_due_does_not_count_itself():
    room = Room(caps={"arrears": CAPS | {"hour": 1}, "prepaid": CAPS})
    room.give(room.permit("P-one", max_n=1))
    key = room.accept(permit="P-one")
    assert room.life.dispatch(key, evidence()).cmd_id == "c-1"
    assert room.decide().verdict.code is R.E_CAP
    room.store.rows.debits[:] = [replace(debit, at_s=NOW - DAY, boot="before") for debit in room.store.rows.debits]
    assert room.decide(permit="P-one").verdict.code is R.E_PERMIT


def test_what_was_not_debited_as_a_disconnect_is_not_sent_as_one(room):
    key = room.accept()
    room.accept(meter=FAR_METER, why="arrears")
    del room.store.rows.debits[0]
    assert room.life.dispatch(key, evidence()) is None
    assert room.receipts()[-1].code == "E_CAP"


@pytest.mark.parametrize(("age_s", "code"), [(7 * DAY - 1, R.E_CAP), (7 * DAY, None)])
def test_debits_of_a_week_count_whatever_boot_they_are_of(age_s, code):
    room = Room(caps={"arrears": CAPS | {"week": 1}, "prepaid": CAPS})
    room.store.rows.debits.append(Debit(ISS, "c-0", Profile.ARREARS, "P-0", NOW - age_s, "boot-0", 50))
    assert room.decide().verdict.code is code


# ---- permits --------------------------------------------------------------------------------------------------------

CREDIT = {"low_credit_at": NOW - DAY, "ledger": "W-1", "ledger_at": NOW - 60, "notice": ..., "case": ...}
CITY = {"dcu": ..., "profile": ..., "max_n": ..., "total": 5}
SHARE = {"profile": "prepaid", "of": "T-1", "max_n": 5, "signer": PLANNER}


@pytest.fixture
def prepaid():
    room = Room(areas={RANCHI: AREA, DHANBAD: AREA})
    room.give(room.permit("T-1", **CITY))
    return room


def automatic(room, **changes):
    return room.decide(**{"signers": [BILLING, WITNESS], "permit": "P-s", **CREDIT} | changes)


def test_a_cut_without_a_permit_or_with_one_that_nobody_gave(room):
    for permit, words in ((..., "the command names none"), ("P-9", "E_PERMIT: P-9 is not known here")):
        ruling = room.decide(permit=permit)
        assert ruling.verdict.code is R.E_PERMIT and words in ruling.cause


SHARES = {
    # the share that is named, what else is given, what is wrong with it
    "all of the total": ({}, {}, None),
    "one more": ({"max_n": 6}, {}, "no total of the city"),
    "of nothing that is known": ({"of": "T-9"}, {}, "T-9 is not known here"),
    "of a permit of the box": ({"of": PERMIT_ID}, {}, "no total of the city"),
    "of itself": ({"of": "P-s"}, {}, "no total of the city"),
    "of a share": ({"of": "P-t"}, {"P-t": SHARE}, "no total of the city"),
    "of a total of tomorrow": ({"of": "T-2"}, {"T-2": CITY | {"date": "2026-11-24"}}, "no total of the city"),
}


@pytest.mark.parametrize("name", SHARES)
def test_a_share_is_one_of_a_total_of_its_day_and_no_more_than_that(prepaid, name):
    share, more, words = SHARES[name]
    for permit, claims in {"P-s": SHARE | share, **more}.items():
        prepaid.give(prepaid.permit(permit, **claims))
    ruling = automatic(prepaid)
    assert ruling.verdict.code is (R.E_PERMIT if words else None)
    assert (words or "") in ruling.cause


def test_shares_of_a_total_are_debited_to_it_together_and_one_that_is_due_does_not_count_itself(prepaid):
    prepaid.give(prepaid.permit("T-3", **CITY | {"total": 2}))
    for permit in ("P-a", "P-b"):
        prepaid.give(prepaid.permit(permit, **SHARE | {"of": "T-3", "max_n": 2}))
    assert automatic(prepaid, permit="P-a").verdict.status == "accepted"
    assert automatic(prepaid, permit="P-b").verdict.status == "accepted"
    assert prepaid.life.dispatch((ISS, "c-2"), evidence()).cmd_id == "c-2"
    ruling = automatic(prepaid, permit="P-b")
    assert ruling.verdict.code is R.E_PERMIT and "the total T-3 is used up: 2 of 2" in ruling.cause


def test_what_a_permit_says_of_a_command(prepaid):
    prepaid.give(prepaid.permit("P-s", **SHARE))
    automatic(prepaid)
    leave = case(prepaid, signers=[BILLING, WITNESS], **CREDIT | {"permit": "P-s"}).ledger.leave
    assert (leave.permit.id, leave.fault, leave.used, leave.total, leave.total_used) == ("P-s", "", 1, 5, 1)
    assert [signer.kid for signer in leave.signers] == ["plan-1", "per-1"]
    leave = case(prepaid).ledger.leave
    assert (leave.permit.id, leave.fault, leave.used, leave.total) == (PERMIT_ID, "", 0, None)
    assert [signer.kid for signer in leave.signers] == ["per-1"]


# ---- what waits -----------------------------------------------------------------------------------------------------


def test_light_by_one_waits_for_no_cut_for_safety_but_that_of_its_meter(room):
    room.accept()
    assert not case(room, "connect").ledger.safety_waits, "that is one for credit"
    cut = room.accept(**SAFETY)
    assert case(room, "connect").ledger.safety_waits
    assert not case(room, "connect", meter=FAR_METER).ledger.safety_waits
    for changes in ({"state": State.DISPATCHED}, {"state": State.PENDING, "payload": b"{}"}):
        room.keep(cut, **changes)
        assert not case(room, "connect").ledger.safety_waits, changes
    assert room.decide("connect", signers=[BILLING]).verdict.status == "accepted"


def test_what_is_taken_back_is_of_that_meter_and_waits(room):
    cut = room.accept()
    assert room.decide("cancel", FAR_METER, cancels="c-1").verdict.code is R.E_STATE
    room.keep(cut, payload=b"{}")
    assert room.decide("cancel", cancels="c-1").verdict.code is R.E_STATE, "nobody knows of which meter it is"
    message = room.accept("message")
    assert room.decide("cancel", cancels=message[1]).verdict.code is R.E_STATE, "that is no disconnect"
    assert "taken-back" not in room.store.rows.documents


def test_256_that_were_taken_back_before_they_came_are_all_that_is_kept(room):
    waiting = [[f"c-{n:03}x", METER, NOW + DAY] for n in range(256)]
    room.store.rows.documents["taken-back"] = (0, json.dumps(waiting, separators=(",", ":")).encode())
    assert room.decide("cancel", cancels="c-more").verdict.code is R.E_FLOOD
    waiting.pop()
    room.store.rows.documents["taken-back"] = (0, json.dumps(waiting, separators=(",", ":")).encode())
    assert room.decide("cancel", cancels="c-more").verdict.status == "accepted"


# ---- what is written down -------------------------------------------------------------------------------------------

ACCOUNT = Account("permit", ISS, "", "permit", "", b"d", ("a", "b"), "accepted")


@pytest.mark.parametrize(
    ("changes", "pol"), [({"kind": "command"}, 1), ({"kind": "command", "pol": 7}, 7), ({}, None), ({"pol": 7}, 7)]
)
def test_a_command_is_told_with_the_policy_in_force_and_nothing_else_is(room, changes, pol):
    receipt = room.store.transact(lambda tx: room.book.record(tx, replace(ACCOUNT, **changes)))
    assert room.receipts()[-1].claims.get("pol") == room.journalled().get("pol") == pol
    assert receipt in room.store.rows.streams[Stream.RECEIPT][-1]


def test_a_refusal_is_told_with_the_policy_and_without_where_there_is_none(room):
    room.decide(meter="GXT1")
    assert room.receipts()[-1].claims["pol"] == 1
    room.store.rows.documents.pop("policy")
    room.decide(meter="GXT1")
    assert "pol" not in room.receipts()[-1].claims


def test_the_journal_says_who_signed_and_how_the_clock_was(room):
    room.accept()
    assert (room.journalled()["kids"], room.journalled()["clock"]) == (["apr-1", "req-1"], "trusted")
    assert "kids" not in room.receipts()[-1].claims
    at_s, kind, _ = room.store.rows.journal[-1]
    assert (at_s, kind) == (NOW, "command")


def test_what_is_kept_is_read_again_only_as_it_was_signed(room):
    light, cut = room.accept("connect"), room.accept()
    good = room.kept(cut)
    assert reread(good) == legible(good) and reread(good).cmd_id == "c-2"
    assert is_connect(room.kept(light)) is True and is_connect(good) is False
    room.keep(light, payload=good.payload)
    stored = room.kept(light)
    with pytest.raises(CommandRefused) as refused:
        reread(stored)
    assert refused.value.code is R.E_STORE
    assert legible(stored) is None and is_connect(stored) is False
    account = account_of(stored, State.ABANDONED)
    assert (account.kind, account.cmd_id, account.op, account.meter) == ("command", "c-1", "", "")
    account = account_of(good, State.DONE)
    assert (account.op, account.meter, account.state, account.kids) == ("disconnect", METER, "done", ("apr-1", "req-1"))
