"""How many may be disconnected: permits of the day, shares of a city's total, caps and spacing."""

from itertools import pairwise

import pytest

from dcu.command import Refusal
from dcu.event import AlarmKind
from tests.relay.running import HOUR, caps, last, running
from tests.relay.world import (
    BILLING,
    DAY,
    METER,
    NEIGHBOURS,
    NOW,
    PLANNER,
    RANCHI,
    REQUEST,
    STRANGER,
    WITNESS,
    commissioned,
    trust,
)

R = Refusal
world = running()
spaced = running(**caps(spacing_s=120))
tight = running(**caps(hour=2, day=3))


def test_without_a_permit_nobody_is_cut_whoever_signed():
    world = commissioned(permit=False)
    assert world.put(world.command()).code is R.E_PERMIT
    assert world.put(world.permit(signer=REQUEST)).code is R.E_QUORUM
    assert world.put(world.permit(signer=STRANGER)).code is R.E_KID
    assert world.put(world.permit(date="2026-11-22")).status == "accepted"
    assert world.put(world.command()).code is R.E_PERMIT
    world.end()


def test_a_permit_is_debited_by_the_acceptance_and_never_refunded(world):
    world.put(world.permit("P-2", max_n=2))
    assert world.put(world.command(permit="P-2", expect="disconnected")).status == "accepted"
    assert last(world).code == "E_STATE"
    assert world.put(world.command("disconnect", NEIGHBOURS[0], permit="P-2")).status == "accepted"
    assert world.put(world.command("disconnect", NEIGHBOURS[1], permit="P-2")).code is R.E_PERMIT
    assert [d.permit for d in world.store.rows.debits] == ["P-2", "P-2"]


def test_permits_are_answered_kept_once_and_of_near_days(world):
    assert world.put(world.permit()).status == "duplicate"
    assert world.put(world.permit(max_n=9)).code is R.E_ID_REUSE
    assert world.put(world.permit("P-3", date="2027-11-23")).code is R.E_EARLY
    assert world.put(world.permit("P-3", date="2025-11-23")).code is R.E_EXPIRED
    assert len(world.store.rows.permits) == 1


def test_a_revoked_permit_key_permits_nothing_even_what_was_accepted(world):
    world.put(world.command(), work=False)
    world.renew(trust(per_1={"revoked": True}))
    world.work()
    assert last(world).code == "E_PERMIT" and world.wall[METER].acts == []


def prepaid_area():
    area = {"prepaid_live": True, "since": NOW - DAY, "profile": "prepaid", "reconnect": "close", "grace_days": 0}
    return {"areas": {RANCHI: area, "JH-DHN": area | {"prepaid_live": False}}}


prepaid = running(**prepaid_area())


def automatic(world, **changes):
    evidence = {"low_credit_at": NOW - DAY, "ledger": "W-1", "ledger_at": NOW - 60, "notice": ..., "case": ...}
    return world.command(signers=[BILLING, WITNESS], **evidence | {"permit": "P-share"} | changes)


SHARE = {"profile": "prepaid", "of": "T-1", "max_n": 5}
CITY = {"dcu": ..., "profile": ..., "max_n": ..., "total": 6000}


def test_the_automatic_profile_needs_the_boxs_share_of_a_total_that_a_person_approved(prepaid):
    assert prepaid.put(automatic(prepaid)).code is R.E_PERMIT
    prepaid.put(prepaid.permit("P-share", signer=PLANNER, **SHARE))
    assert prepaid.put(automatic(prepaid)).code is R.E_PERMIT, "nobody approved the total"
    prepaid.put(prepaid.permit("T-1", **CITY))
    assert prepaid.put(automatic(prepaid)).status == "accepted"
    assert prepaid.wall[METER].acts == [1] and last(prepaid).state == "done"


@pytest.mark.parametrize(
    ("share", "city"),
    [
        (SHARE | {"max_n": 6001}, CITY),
        (SHARE, CITY | {"date": "2026-11-24"}),
        (SHARE | {"of": "P-share"}, CITY),
        (SHARE | {"of": "P-1"}, CITY),
    ],
    ids=["more than the total", "another day's", "of itself", "of a box's permit"],
)
def test_a_share_that_is_none(prepaid, share, city):
    prepaid.put(prepaid.permit("T-1", **city))
    prepaid.put(prepaid.permit("P-share", signer=PLANNER, **share))
    assert prepaid.put(automatic(prepaid)).code is R.E_PERMIT


def test_arrears_in_a_prepaid_area_still_need_two_people(prepaid):
    assert prepaid.put(prepaid.command(why="arrears", signers=[BILLING, WITNESS])).code is R.E_QUORUM
    assert prepaid.put(prepaid.command(why="arrears")).status == "accepted"


def test_no_more_than_the_cap_in_an_hour_and_a_day(tight):
    codes = [tight.put(tight.command("disconnect", serial)).code for serial in NEIGHBOURS[:3]]
    assert codes == [None, None, R.E_CAP]
    tight.clock.pass_s(HOUR)
    codes = [tight.put(tight.command("disconnect", serial)).code for serial in NEIGHBOURS[3:5]]
    assert codes == [None, R.E_CAP]
    tight.clock.epoch_s += 30 * DAY
    assert tight.put(tight.command("disconnect", NEIGHBOURS[6], notice=NOW)).code in {R.E_POLICY, R.E_CAP}
    assert [a.facts["code"] for a in tight.alarms if a.kind is AlarmKind.COMMAND_REFUSED].count("E_CAP") >= 1


def test_no_policy_lets_more_than_a_tenth_of_a_box_be_cut_in_a_day(world):
    codes = [world.put(world.command("disconnect", serial)).code for serial in NEIGHBOURS[:12]]
    meters = 99  # of the policy; Dhanbad's is another
    assert len(world.meters) == meters + 1
    assert codes == [None] * 10 + [R.E_CAP] * 2


def test_cuts_keep_their_distance_and_none_is_lost(spaced):
    for serial in NEIGHBOURS[:3]:
        assert spaced.put(spaced.command("disconnect", serial)).status == "accepted"
    moments = []
    for _ in range(60):
        acts = sum(len(spaced.wall[s].acts) for s in NEIGHBOURS[:3])
        moments += [spaced.clock.mono_s] * (acts - len(moments))
        spaced.clock.pass_s(10)
        spaced.work()
    assert len(moments) == 3 and all(b - a >= 120 for a, b in pairwise(moments))
