"""Authority in the box: leases, waiting, cancel, freeze, locks, permits, caps, spacing, lanes, keys that change."""

import contextlib
import threading
from dataclasses import replace
from itertools import pairwise

import pytest

from dcu.command import OutputState, Refusal, State
from dcu.event import AlarmKind
from dcu.headend.keys import key_claims, trust_entry
from dcu.reading import ClockState
from dcu.relay.envelope import KEYS, seal
from dcu.relay.leases import Leases
from dcu.relay.public_key import Role
from tests.relay.world import (
    APPROVE,
    BILLING,
    BOX,
    CAPS,
    DAY,
    FAR_METER,
    ISS,
    METER,
    NEIGHBOURS,
    NOW,
    PERMITTER,
    PLANNER,
    POLICY_A,
    RANCHI,
    REQUEST,
    ROOT_A,
    ROOT_B,
    ROOT_C,
    ROOTS,
    STRANGER,
    WITNESS,
    FakeMeter,
    commissioned,
    trust,
)

R = Refusal
HOUR = 3600


def running(**changes):
    """A fixture: a box whose policy has these changes."""

    @pytest.fixture
    def world():
        world = commissioned(**changes)
        world.wall |= {serial: FakeMeter(serial) for serial in NEIGHBOURS[:12]}
        yield world
        world.end()
        assert world.fallen is None, world.fallen

    return world


def caps(**changes):
    return {"caps": {"arrears": CAPS | changes, "prepaid": CAPS | changes}}


world = running()
slow = running(**caps(wait_s=900))
spaced = running(**caps(spacing_s=120))
tight = running(**caps(hour=2, day=3))


def last(world, kind="command"):
    return [r for r in world.receipts() if r.kind == kind][-1]


# ---- leases ---------------------------------------------------------------------------------------------------------


def test_a_lease_is_new_at_the_start_daily_and_at_a_return_and_the_one_before_is_good_for_an_hour():
    leases = Leases(lambda: "")
    assert leases.due(0.0) and leases.good(0.0) == frozenset() and leases.current == ""
    leases.renew(0.0, "a")
    assert leases.current == "a" and leases.good(0.0) == {"a"} and not leases.due(DAY - 1)
    assert leases.due(DAY)
    leases.renew(DAY, "b")
    assert leases.good(DAY + HOUR - 1) == {"a", "b"} and leases.good(DAY + HOUR) == {"b"}
    assert leases.good(2 * DAY + HOUR - 1) == {"b"}
    assert leases.good(2 * DAY + HOUR) == frozenset(), "one that nobody renews ends"
    leases.want()
    assert not leases.due(DAY + 59), "a connection that flaps makes no leases at will"
    assert leases.due(DAY + 60)
    leases.renew(3 * DAY, "c")
    leases.want()
    assert not leases.due(3 * DAY + 59) and leases.due(3 * DAY + 60)


def test_a_connection_that_is_there_before_the_first_lease_keeps_none_back():
    leases = Leases(lambda: "")
    leases.want()
    assert leases.due(0.0)
    leases.renew(0.0, "a")
    assert not leases.due(DAY - 1) and leases.good(0.0) == {"a"}


def test_the_lease_is_published_signed_with_all_that_a_head_end_needs(world):
    told = last(world, "lease")
    assert told.claims["lease"] == world.lease and told.jid == world.store.epoch
    assert {"n", "chain", "clock", "pol", "keys"} <= told.claims.keys() and told.claims["pol"] == 1


def test_a_cut_that_was_signed_before_a_restart_is_void(world):
    document = world.command()
    world.end()
    world.start()
    assert world.put(document).code is R.E_LEASE and world.wall[METER].acts == []
    assert world.put(world.command()).status == "accepted"


def test_a_return_of_the_connection_gives_a_new_lease_and_the_old_one_an_hour(world):
    first = world.lease
    world.clock.pass_s(61)
    world.desk.connected()
    world.settle()
    assert world.lease != first and last(world, "lease").claims["lease"] == world.lease
    assert world.put(world.command(lease=first)).status == "accepted"
    world.clock.pass_s(HOUR)
    assert world.put(world.command(lease=first)).code is R.E_LEASE


def test_an_uplink_that_is_connected_again_and_again_fills_no_mailbox(world):
    """The relay thread may wait half a minute for a slow store, and whoever holds the socket says what it likes."""
    waits, go = threading.Event(), threading.Event()

    def beat():
        waits.set()
        go.wait(10)

    world.desk._beat = beat
    assert waits.wait(10)
    first = world.lease
    world.clock.pass_s(61)
    for _ in range(1000):
        world.desk.connected()
    assert len(world.desk._letters) == 0
    go.set()
    world.settle()
    assert world.lease != first


# ---- waiting, cancel, void ------------------------------------------------------------------------------------------


def test_a_cut_waits_and_then_goes(slow):
    assert slow.put(slow.command()).status == "accepted"
    assert slow.states() == {"c-1": State.PENDING} and slow.wall[METER].acts == []
    slow.clock.pass_s(899)
    slow.work()
    assert slow.wall[METER].acts == []
    slow.clock.pass_s(1)
    slow.work()
    assert slow.wall[METER].acts == [1] and last(slow).state == "done"


def test_a_clock_that_is_put_forward_does_not_shorten_the_wait(slow):
    slow.put(slow.command())
    slow.clock.epoch_s += 1000
    slow.work()
    assert slow.wall[METER].acts == []


def test_one_signature_takes_a_waiting_cut_back(slow):
    slow.put(slow.command())
    assert slow.put(slow.command("cancel", cancels="c-1", signers=[WITNESS])).status == "accepted"
    assert slow.states() == {"c-1": State.CANCELLED, "c-2": State.DONE}
    assert [r.state for r in slow.receipts() if r.cmd_id == "c-1"] == ["pending", "cancelled"]
    slow.clock.pass_s(900)
    slow.work()
    assert slow.wall[METER].acts == []


def test_what_another_meter_waits_for_cannot_be_taken_back(slow):
    slow.put(slow.command())
    assert slow.put(slow.command("cancel", cancels="c-1", meter=FAR_METER)).code is R.E_STATE
    assert slow.states()["c-1"] is State.PENDING


def test_what_was_sent_cannot_be_taken_back(world):
    world.put(world.command())
    assert world.put(world.command("cancel", cancels="c-1")).code is R.E_STATE


OVERTAKING = {
    "a connect": ({"op": "connect"}, [APPROVE]),
    "a payment": ({"op": "balance", "recharge": 500, "recharged_at": NOW, "balance": 900}, [BILLING]),
    "a freeze of the meter": ({"op": "freeze"}, [REQUEST]),
    "a freeze of the box": ({"op": "freeze", "meter": ...}, [WITNESS]),
}


@pytest.mark.parametrize("what", OVERTAKING)
def test_a_waiting_cut_is_overtaken(slow, what):
    claims, signers = OVERTAKING[what]
    slow.put(slow.command())
    members = {name: value for name, value in claims.items() if name != "op"}
    assert slow.put(slow.command(claims["op"], signers=signers, **members)).status == "accepted"
    assert slow.states()["c-1"] is State.VOIDED
    slow.clock.pass_s(900)
    slow.work()
    assert 1 not in slow.wall[METER].acts


def test_a_payment_does_not_overtake_a_cut_for_arrears(slow):
    slow.put(slow.command(why="arrears"))
    slow.put(slow.command("balance", signers=[BILLING], recharge=500, recharged_at=NOW, balance=900))
    assert slow.states()["c-1"] is State.PENDING


def test_another_meters_connect_overtakes_nothing(slow):
    slow.put(slow.command())
    slow.put(slow.command("connect", FAR_METER))
    assert slow.states()["c-1"] is State.PENDING


def test_what_waits_falls_with_a_restart(slow):
    slow.put(slow.command())
    slow.end()
    slow.start()
    assert slow.states() == {"c-1": State.ABANDONED}
    assert len(slow.store.rows.debits) == 1, "and its debit stays"


# ---- freezes --------------------------------------------------------------------------------------------------------


def test_a_freeze_stops_cuts_for_a_day_and_no_connect(world):
    assert world.put(world.command("freeze", meter=..., signers=[PERMITTER])).status == "accepted"
    told = world.put(world.command())
    assert told.code is R.E_FROZEN
    world.wall[METER].connected = False
    assert world.put(world.command("connect")).status == "accepted" and world.wall[METER].acts == [2]
    world.clock.pass_s(DAY)
    world.settle()
    assert world.store.rows.restraints == {} and last(world, "freeze").state == "lapsed"


def test_a_freeze_of_one_meter_is_of_that_meter(world):
    world.put(world.command("freeze", FAR_METER))
    assert world.put(world.command()).status == "accepted"
    assert world.put(world.command("disconnect", FAR_METER, why="arrears")).code is R.E_FROZEN


def test_who_unfreezes_are_two(world):
    world.put(world.command("freeze"))
    assert world.put(world.command("unfreeze", signers=[REQUEST])).code is R.E_QUORUM
    assert world.put(world.command("unfreeze", meter=...)).status == "accepted", "of the box: there was none"
    assert world.put(world.command()).code is R.E_FROZEN
    assert world.put(world.command("unfreeze")).status == "accepted"
    assert world.put(world.command()).status == "accepted"


def test_a_freeze_without_the_time_lasts_a_day_from_when_it_is_known(world):
    world.clock.trusted = ClockState.UNTRUSTED
    assert world.put(world.command("freeze")).status == "accepted"
    world.clock.pass_s(10 * DAY)
    world.settle()
    world.clock.trusted = ClockState.TRUSTED
    world.clock.pass_s(60)
    world.settle()
    (held,) = world.store.rows.restraints.values()
    assert held.until_s == world.clock.epoch_s + DAY


def test_a_freeze_survives_a_restart(world):
    world.put(world.command("freeze"))
    world.end()
    world.start()
    assert world.put(world.command()).code is R.E_FROZEN


# ---- locks at the pole ----------------------------------------------------------------------------------------------


def test_a_lock_stops_both_ways_is_signed_alarmed_and_ends(world):
    made = world.desk.lock(METER, "ravi", "at work on the line", 8 * HOUR)
    assert (made.who, made.until_s) == ("ravi", NOW + 8 * HOUR)
    assert world.alarms[-1].kind is AlarmKind.LOCKED and world.alarms[-1].meter == METER
    told = last(world, "lock")
    assert (told.state, told.meter, told.claims["who"], told.claims["until"]) == (
        "locked",
        METER,
        "ravi",
        NOW + 8 * HOUR,
    )
    assert world.put(world.command()).code is R.E_LOCKED
    assert world.put(world.command("connect")).code is R.E_LOCKED
    assert world.put(world.command("message")).status == "accepted"
    assert world.wall[METER].acts == ["set"], "and it actuates nothing"
    assert world.desk.lock(METER, "ravi", "", 0) == made and world.alarms[-1].kind is AlarmKind.UNLOCKED
    assert world.put(world.command()).status == "accepted"
    assert world.desk.lock(METER, "ravi", "", 0) is None


def test_a_lock_of_the_box_lasts_three_days_at_most_and_is_renewed(world):
    world.desk.lock("", "ravi", "storm", 1000 * HOUR)
    (held,) = world.desk.restraints()
    assert held.until_s == NOW + 72 * HOUR
    world.clock.pass_s(HOUR)
    world.desk.lock("", "ravi", "storm", 72 * HOUR)
    assert [r.until_s for r in world.desk.restraints()] == [NOW + 73 * HOUR]
    assert world.put(world.command("connect", FAR_METER)).code is R.E_LOCKED


def test_a_lock_that_comes_while_a_command_is_on_its_way_stops_it(world):
    world.put(world.command(), work=False)
    world.desk.lock(METER, "ravi", "at work", HOUR)
    world.work()
    assert last(world).code == "E_LOCKED" and world.wall[METER].acts == []


# ---- permits and caps -----------------------------------------------------------------------------------------------


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


# ---- safety, connects -----------------------------------------------------------------------------------------------


def test_after_a_cut_for_safety_two_people_give_light_again(world):
    world.put(world.command(why="safety", notice=..., case=...))
    assert last(world).state == "done"
    assert world.put(world.command("connect")).code is R.E_QUORUM
    assert world.put(world.command("connect", signers=[REQUEST, APPROVE])).status == "accepted"
    assert world.wall[METER].connected
    world.put(world.command())
    assert world.put(world.command("connect")).status == "accepted" and world.wall[METER].connected


def test_a_connect_tries_again_until_its_meter_answers(world):
    wall = world.wall[METER]
    wall.connected, wall.control, wall.silent = False, 0, True
    world.put(world.command("connect"))
    assert world.states() == {"c-1": State.ACCEPTED}
    for _ in range(3):
        world.clock.pass_s(30)
        world.work()
    assert wall.acts == []
    wall.silent = False
    world.clock.pass_s(30)
    world.work()
    assert wall.acts == [2] and last(world).state == "done"


def test_a_connect_gives_up_when_its_time_is_over(world):
    world.wall[METER].silent = True
    world.put(world.command("connect"))
    for _ in range(125):
        world.clock.pass_s(30)
        world.work()
    assert last(world).code == "E_EXPIRED" and world.states() == {"c-1": State.REFUSED}


def test_a_connect_of_which_nothing_was_sent_is_tried_again_one_that_was_sent_is_not(world):
    wall = world.wall[METER]
    wall.connected, wall.control = False, 0
    real = world.bus.associate

    @contextlib.contextmanager
    def dying(meter, purpose):
        with real(meter, purpose) as association:
            act = association.act

            def late(*args):
                world.clock.mono_s += 3
                act(*args)

            association.act = late
            yield association

    world.bus.associate = dying
    world.put(world.command("connect"))
    assert world.states() == {"c-1": State.ACCEPTED} and wall.acts == []
    world.bus.associate = real
    wall.sticks = True
    world.clock.pass_s(30)
    world.work()
    assert last(world).state == "failed" and wall.acts == [2]
    world.clock.pass_s(60)
    world.work()
    assert wall.acts == [2]


def test_connects_have_their_own_bucket_and_go_ahead(world):
    while world.put(b"{", work=False).code is not R.E_FLOOD:
        pass
    world.wall[METER].connected = False
    assert world.put(world.command("connect")).status == "accepted" and world.wall[METER].connected


def test_of_all_others_one_at_a_time_stands_before_a_bus(world):
    for serial in NEIGHBOURS[:4]:
        world.put(world.command("message", serial), work=False)
    world.put(world.command("connect"), work=False)
    world.settle()
    assert [e.meter.serial for e in world.bus.queue] == [NEIGHBOURS[0], METER]
    world.work()
    assert all(world.wall[s].text for s in NEIGHBOURS[:4])


# ---- keys -----------------------------------------------------------------------------------------------------------


def key_document(version=2, signers=(ROOT_A, ROOT_B), *, roots=ROOTS, drop=(), **changes):
    now = (NOW - DAY, NOW + 365 * DAY)
    entries = [
        trust_entry(key, sorted(key.roles, key=lambda r: r.value), key.person, *now, admin=key.admin)
        for key in trust(without=(*drop, "root-a", "root-b", "root-c")).keys.values()
    ]
    entries += [trust_entry(root, [Role.ROOT], person, *now) for root, person in roots]
    claims = key_claims(iss=ISS, version=version, iat=NOW, exp=NOW + 90 * DAY, threshold=2, entries=entries)
    return seal(claims | changes, KEYS, signers)


def test_a_key_document_over_the_air_is_in_force_at_once_and_after_a_restart(world):
    world.put(world.command(), work=False)
    assert world.put(key_document(drop=("apr-1",)), work=False).status == "accepted"
    world.work()
    assert last(world).code == "E_KID" and world.wall[METER].acts == []
    assert world.put(world.command()).code is R.E_KID
    world.end()
    world.start()
    assert world.put(world.command()).code is R.E_KID
    assert world.put(key_document(drop=("apr-1",))).status == "duplicate"
    assert world.put(key_document(1)).code is R.E_VERSION
    assert world.put(key_document(3)).status == "accepted"
    assert world.put(world.command()).status == "accepted"


def test_a_key_document_of_too_few_roots_changes_nothing(world):
    n = len(world.store.rows.journal)
    assert world.put(key_document(signers=(ROOT_A,))).code is R.E_QUORUM
    assert len(world.store.rows.journal) == n + 1, "one root is known: it is answered"
    own = ((STRANGER, "mallory"), (BOX, "trent"))
    assert world.put(key_document(signers=(STRANGER, BOX), roots=own)).code is R.E_KID
    assert len(world.store.rows.journal) == n + 1, "nobody is known: it is counted"
    assert world.put(key_document(signers=(ROOT_A, STRANGER), roots=own)).code is R.E_QUORUM
    assert world.put(world.command()).status == "accepted"


def test_roots_rotate_by_old_and_new(world):
    new = ((ROOT_C, "gita"), (STRANGER, "hari"))
    assert world.put(key_document(2, (ROOT_C, STRANGER), roots=new)).code is R.E_QUORUM
    assert world.put(key_document(2, (ROOT_A, ROOT_B), roots=new)).code is R.E_QUORUM
    assert world.put(key_document(2, (ROOT_A, ROOT_B, ROOT_C, STRANGER), roots=new)).status == "accepted"
    assert world.put(key_document(3, (ROOT_A, ROOT_B))).code in {R.E_KID, R.E_QUORUM}
    assert world.put(key_document(3, (ROOT_C, STRANGER), roots=new)).status == "accepted"


def test_other_roots_in_trust_json_end_what_was_taken_on_the_word_of_the_old(world):
    world.put(key_document(2))
    world.renew(replace(trust(without=("root-a", "root-b", "apr-1")), version=0))
    assert world.put(world.command()).code is R.E_KID
    assert world.put(key_document(2, (ROOT_C, STRANGER), roots=((ROOT_C, "gita"), (STRANGER, "hari")))).code in {
        R.E_VERSION,
        R.E_QUORUM,
    }, "and its version never goes back"


def test_an_expired_key_document_cuts_nobody_and_connects(world):
    world.put(key_document(2, exp=NOW + 60))
    world.clock.pass_s(60)
    assert world.put(world.command()).code is R.E_KEY
    world.wall[METER].connected = False
    assert world.put(world.command("connect")).status == "accepted"
    assert world.wall[METER].connected and last(world).claims["readback"][0]["output"] == OutputState.CONNECTED.value


def test_a_root_key_commands_nothing(world):
    assert world.put(world.command("connect", signers=[ROOT_A])).code is R.E_QUORUM
    assert world.put(world.policy(2, signers=(ROOT_A, ROOT_B))).code is R.E_QUORUM


def test_documents_of_trust_json_that_are_older_than_what_came_since_are_not_answered_again(world):
    world.commissioned = (key_document(1), *world.commissioned)
    world.put(key_document(3))
    world.put(world.policy(2, signers=(POLICY_A,), hours={}))
    before = [r for r in world.receipts() if r.kind in {"keys", "policy"}]
    world.end()
    world.start()
    assert [r for r in world.receipts() if r.kind in {"keys", "policy"}] == before
    assert world.put(world.command(pol=2)).code is R.E_WINDOW


def test_a_sequence_number_of_a_payment_uses_up_none_of_a_cut(world):
    world.put(world.command("balance", signers=[BILLING], recharge=5, recharged_at=NOW, balance=9, seq=1 << 53))
    assert world.put(world.command()).status == "accepted"
