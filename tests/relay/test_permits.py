"""Permits: how many disconnects of a day are allowed, and by whom. What is taken, what is refused, what is used up."""

import pytest

from dcu.command import CommandRefused, Profile, Refusal
from dcu.relay.envelope import COMMAND, PERMIT, claims_of, open_envelope, payload_of, seal
from dcu.relay.permit import held_permit, read_permit, vet_permit
from dcu.relay.public_key import Role
from tests.relay.world import (
    DATE,
    DCU,
    ISS,
    JID,
    METER,
    NEIGHBOURS,
    NOW,
    PERMIT_ID,
    PERMITTER,
    PLAIN_PERMIT,
    PLANNER,
    POLICY_A,
    REQUEST,
    FakeMeter,
    box,
    trust,
)

R = Refusal
KEYS = trust().keys
OF_CITY = {"dcu": ..., "jid": ..., "profile": ..., "max_n": ..., "total": 6000}
SHARE = {"profile": "prepaid", "max_n": 12, "of": "T-1"}


def envelope(signers=(PERMITTER,), **changes):
    claims = {"v": 1, "typ": "permit", "id": "P-9", "iss": ISS, "dcu": DCU, "jid": JID, "date": DATE}
    claims |= {"profile": "arrears", "max_n": 5} | changes
    return seal({name: value for name, value in claims.items() if value is not ...}, PERMIT, signers)


def vetted(signers=(PERMITTER,), keys=KEYS, **changes):
    return vet_permit(open_envelope(envelope(signers, **changes), keys, NOW, {PERMIT}), keys, ISS, DCU, JID)


def test_a_permit_of_a_box():
    permit = vetted()
    assert (permit.id, permit.iss, permit.dcu, permit.date) == ("P-9", ISS, DCU, DATE)
    assert (permit.profile, permit.max_n, permit.of, permit.role) == (Profile.ARREARS, 5, "", Role.PERMIT)


def test_a_permit_of_the_whole_city_and_a_share_of_it():
    city, share = vetted(**OF_CITY), vetted((PLANNER,), **SHARE)
    assert (city.dcu, city.profile, city.max_n, city.role) == ("", None, 6000, Role.PERMIT)
    assert (share.dcu, share.profile, share.max_n) == (DCU, Profile.PREPAID, 12)
    assert (share.of, share.role) == ("T-1", Role.PLANNER)


REFUSED = {
    "another box": ({"dcu": "JH-RNC-0043"}, R.E_TARGET),
    "another journal": ({"jid": "j-older"}, R.E_JID),
    "a share of another journal": ({"signers": (PLANNER,), "jid": "j-older"} | SHARE, R.E_JID),
    "another head-end": ({"iss": "hes.other"}, R.E_TARGET),
    "the city of another head-end": (OF_CITY | {"iss": "hes.other"}, R.E_TARGET),
    "signed by who requests": ({"signers": (REQUEST,)}, R.E_QUORUM),
    "signed by who signs policies": ({"signers": (POLICY_A,)}, R.E_QUORUM),
    "of a box, by the planner": ({"signers": (PLANNER,)}, R.E_QUORUM),
    "of the city, by the planner": (OF_CITY | {"signers": (PLANNER,)}, R.E_QUORUM),
    "a share, by who permits": (SHARE, R.E_QUORUM),
    "signed by two": ({"signers": (PERMITTER, PLAIN_PERMIT)}, R.E_QUORUM),
    "prepaid, a share of nothing": ({"signers": (PLANNER,), "profile": "prepaid"}, R.E_SCHEMA),
    "arrears, a share": ({"of": "T-1"}, R.E_SCHEMA),
    "of the city and of a box": (OF_CITY | {"dcu": DCU}, R.E_SCHEMA),
    "a number and a total": ({"total": 5}, R.E_SCHEMA),
    "a member more": ({"meters": [METER]}, R.E_SCHEMA),
    "no date": ({"date": ...}, R.E_SCHEMA),
    "no number": ({"max_n": ...}, R.E_SCHEMA),
    "a date of ours": ({"date": "23.11.2026"}, R.E_SCHEMA),
    "a date without dashes": ({"date": "20261123"}, R.E_SCHEMA),
    "a date of a week": ({"date": "2026-W48-1"}, R.E_SCHEMA),
    "a day that is none": ({"date": "2026-11-31"}, R.E_SCHEMA),
    "a date in seconds": ({"date": NOW}, R.E_SCHEMA),
    "fewer than none": ({"max_n": -1}, R.E_SCHEMA),
    "more than a city has": ({"max_n": 10**6 + 1}, R.E_SCHEMA),
    "a number as text": ({"max_n": "5"}, R.E_SCHEMA),
    "true many": ({"max_n": True}, R.E_SCHEMA),
    "another profile": ({"profile": "any"}, R.E_SCHEMA),
    "no name": ({"id": "a b"}, R.E_SCHEMA),
    "another typ": ({"typ": "policy"}, R.E_SCHEMA),
    "another v": ({"v": 2}, R.E_SCHEMA),
    "v true": ({"v": True}, R.E_SCHEMA),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_permit_that_is_refused(name):
    changes, code = REFUSED[name]
    with pytest.raises(CommandRefused) as refusal:
        vetted(**changes)
    assert refusal.value.code is code


PERMITS = {"of a box": {}, "of the city": OF_CITY, "a share": SHARE}


def cause_of(changes):
    with pytest.raises(CommandRefused, match="E_SCHEMA") as refusal:
        read_permit(claims_of(payload_of(envelope(**changes))))
    return refusal.value.cause


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        *(("of a box", member) for member in ("id", "iss", "dcu", "jid", "date", "profile", "max_n")),
        *(("of the city", member) for member in ("id", "iss", "date", "total")),
        ("a share", "of"),
    ],
)
def test_what_is_wrong_with_a_member_names_it(kind, member):
    assert cause_of(PERMITS[kind] | {member: None}).startswith(f"{member} is ")


@pytest.mark.parametrize(
    ("kind", "member"), [("of a box", "meters"), ("of the city", "of"), ("of the city", "dcu"), ("a share", "total")]
)
def test_what_no_permit_of_its_kind_has_is_named(kind, member):
    words = "dcu, jid, max_n, of, profile in a permit" if member == "total" else f"{member} in a permit"
    assert cause_of(PERMITS[kind] | {member: 5}) == words


@pytest.mark.parametrize("number", [0, 10**6])
def test_the_numbers_that_a_permit_may_have(number):
    assert vetted(max_n=number).max_n == number


def test_a_permit_that_was_stored_is_judged_again_on_current_trust():
    stored = envelope()
    permit, signer = held_permit(stored, KEYS, ISS, DCU, JID, NOW)
    assert (permit.id, signer.kid) == ("P-9", "per-1")
    for keys, code in (
        (trust(per_1={"revoked": True}), R.E_KEY),
        (trust(per_1={"exp": NOW}), R.E_KEY),
        (trust(per_1={"roles": frozenset({Role.REQUEST})}), R.E_QUORUM),
        (trust(without=("per-1",)), R.E_KID),
    ):
        with pytest.raises(CommandRefused) as refusal:
            held_permit(stored, keys.keys, ISS, DCU, JID, NOW)
        assert refusal.value.code is code


def test_a_permit_is_sealed_as_one():
    claims = {"v": 1, "typ": "permit", "id": "P-9", "iss": ISS, "dcu": DCU, "jid": JID, "date": DATE}
    assert read_permit(claims | {"profile": "arrears", "max_n": 5}).id == "P-9"
    with pytest.raises(CommandRefused) as refusal:
        dressed = seal(claims | {"profile": "arrears", "max_n": 5}, COMMAND, [PERMITTER])
        held_permit(dressed, KEYS, ISS, DCU, JID, NOW)
    assert refusal.value.code is R.E_HDR


# ---- in the box ----


@pytest.fixture
def world():
    with box(permit=False) as world:
        yield world


def told(world):
    return [(r.cmd_id, r.state, r.code) for r in world.receipts() if r.kind == "permit"]


def test_without_a_permit_nobody_is_disconnected_and_light_comes_back(world):
    assert world.put(world.command()).code is R.E_PERMIT
    assert world.wall[METER].acts == []
    assert world.put(world.command("connect")).status == "accepted"


def test_a_permit_is_answered_and_its_name_used_once(world):
    permit = world.permit(max_n=5)
    assert world.put(permit).status == "accepted"
    receipt = world.receipts()[-1]
    assert (receipt.kind, receipt.claims["max_n"], receipt.claims["date"]) == ("permit", 5, DATE)
    assert world.put(permit).status == "duplicate"
    assert world.put(world.permit(max_n=6)).code is R.E_ID_REUSE
    assert told(world)[-1] == (PERMIT_ID, "refused", "E_ID_REUSE")
    assert world.store.rows.permits == {(ISS, PERMIT_ID): permit}


def test_a_permit_is_debited_and_used_up(world):
    meters = [METER, *NEIGHBOURS[:2]]
    world.wall |= {serial: FakeMeter(serial) for serial in NEIGHBOURS[:2]}
    world.put(world.permit(max_n=2))
    assert [world.put(world.command(meter=serial)).code for serial in meters] == [None, None, R.E_PERMIT]
    assert [len(world.wall[serial].acts) for serial in meters] == [1, 1, 0]
    assert "used up: 2 of 2" in world.receipts()[-1].claims["reason"]
    world.put(world.permit("P-2", max_n=1))  # another one, of the same day
    assert world.put(world.command(meter=meters[2], permit="P-2")).status == "accepted"


def test_a_permit_for_none_permits_none(world):
    world.put(world.permit(max_n=0))
    assert world.put(world.command()).code is R.E_PERMIT


@pytest.mark.parametrize("day", ["2026-11-22", "2026-11-24"])
def test_a_permit_is_of_one_day(world, day):
    assert world.put(world.permit(date=day)).status == "accepted"
    assert world.put(world.command()).code is R.E_PERMIT
    assert f"is of {day}" in world.receipts()[-1].claims["reason"]


@pytest.mark.parametrize(
    ("ahead", "code"),
    [("2026-12-24", None), ("2026-12-25", R.E_EARLY), ("2026-11-21", None), ("2026-11-20", R.E_EXPIRED)],
)
def test_permits_of_far_days_are_not_hoarded(world, ahead, code):
    assert world.put(world.permit(date=ahead)).code is code
    assert len(world.store.rows.permits) == (code is None)


def test_who_permits_does_not_sign_the_command(world):
    """asha holds a request key and a permit key: two keys, one voice."""
    world.put(world.permit("P-asha", signer=PLAIN_PERMIT))
    assert world.put(world.command(permit="P-asha")).code is R.E_PERMIT
    assert "does not permit it" in world.receipts()[-1].claims["reason"]


def test_a_permit_of_the_city_is_not_one_of_a_box(world):
    assert world.put(world.permit("T-1", **OF_CITY)).status == "accepted"
    assert world.put(world.command(permit="T-1")).code is R.E_PERMIT


def test_a_permit_whose_signer_is_revoked_permits_nothing_any_more(world):
    world.put(world.permit())
    world.renew(trust(per_1={"revoked": True}))
    assert world.put(world.command()).code is R.E_PERMIT
    world.renew(trust())
    assert world.put(world.command()).status == "accepted"


def test_a_refused_permit_is_told_and_not_kept(world):
    assert world.put(world.permit(signer=REQUEST)).code is R.E_QUORUM
    assert told(world)[-1][1:] == ("refused", "E_QUORUM")
    assert world.store.rows.permits == {}


def test_permits_outlive_a_restart_and_so_do_their_debits(world):
    world.put(world.permit(max_n=1))
    assert world.put(world.command()).status == "accepted"
    world.end()
    world.start()
    assert world.put(world.command(meter=NEIGHBOURS[0])).code is R.E_PERMIT
    assert "used up: 1 of 1" in world.receipts()[-1].claims["reason"]
