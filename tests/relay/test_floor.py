"""What no single key, no end of a document, no step of the clock and no other card lifts."""

import pytest

from dcu.command import Refusal
from dcu.reading import ClockState
from tests.relay.world import (
    BILLING,
    CAPS,
    DAY,
    METER,
    NEIGHBOURS,
    NOW,
    PLANNER,
    POLICY_A,
    RANCHI,
    WITNESS,
    Rows,
    World,
    box,
    commissioned,
)

R = Refusal
HOUR = 3600


@pytest.fixture
def world():
    with box() as world:
        yield world


def last(world, kind="command"):
    return [r for r in world.receipts() if r.kind == kind][-1]


def ranchi(**changes):
    """The usual areas of a policy, one of them otherwise."""
    areas = World().policy_claims()["areas"]
    return {"areas": areas | {RANCHI: areas[RANCHI] | changes}}


# ---- how light returns ----------------------------------------------------------------------------------------------


def test_one_policy_key_cannot_leave_an_area_without_reconnects(world):
    world.put(world.command())
    arming = ranchi(reconnect="arm")
    assert world.put(world.policy(2, signers=(POLICY_A,), **arming)).code is R.E_QUORUM
    world.put(world.policy(2, **arming))
    assert last(world, "policy").state == "waiting" and "button" in last(world, "policy").claims["reason"]
    world.put(world.command("connect"))
    assert world.wall[METER].connected


@pytest.mark.parametrize("narrowing", [{"exp": NOW + 1}, {"meters": {}}, {"areas": {}, "meters": {}}])
def test_no_end_and_no_narrowing_of_a_policy_closes_a_relay_with_nobody_at_home(narrowing):
    arming = ranchi(reconnect="arm")
    world = commissioned(**arming)
    try:
        world.wall[METER].connected, world.wall[METER].control = False, 0
        assert world.put(world.policy(2, signers=(POLICY_A,), **arming | narrowing)).status == "accepted"
        world.clock.pass_s(2)
        world.put(world.command("connect"))
        assert not world.wall[METER].connected and last(world).code == "E_METER"
    finally:
        world.end()


# ---- restraints by clock and uptime ---------------------------------------------------------------------------------


def held(world):
    """What restrains, after a while in which nothing else happened."""
    world.clock.mono_s += 61
    world.settle()
    return sorted(each.kind for each in world.desk.restraints())


def test_a_step_of_the_clock_ends_no_lock_and_no_freeze(world):
    world.desk.lock(METER, "sunil", "on the pole", 72 * HOUR)
    world.put(world.command("freeze", ""))
    world.clock.epoch_s += 73 * HOUR
    assert held(world) == ["freeze", "lock"]
    world.clock.epoch_s -= 73 * HOUR
    world.clock.pass_s(24 * HOUR)
    assert held(world) == ["lock"]
    world.clock.pass_s(48 * HOUR)
    assert held(world) == []


def test_after_a_reboot_the_rest_is_counted_by_the_new_uptime(world):
    world.desk.lock(METER, "sunil", "on the pole", 72 * HOUR)
    world.clock.pass_s(70 * HOUR)
    world.end()
    world.clock.boot_id, world.clock.mono_s = "boot-2", 5.0
    world.start()
    assert held(world) == ["lock"]
    world.clock.epoch_s += 3 * HOUR  # a step, and no uptime
    assert held(world) == ["lock"]
    world.clock.pass_s(2 * HOUR)
    assert held(world) == []


def test_a_lock_of_a_time_that_nobody_knew_counts_from_when_it_is_known(world):
    world.clock.trusted = ClockState.UNTRUSTED
    world.desk.lock(METER, "sunil", "on the pole", HOUR)
    world.clock.pass_s(2 * HOUR)
    assert held(world) == ["lock"]
    world.clock.trusted = ClockState.TRUSTED
    assert held(world) == ["lock"]
    world.clock.pass_s(HOUR)
    assert held(world) == []


def test_a_clock_that_is_held_still_lengthens_no_life():
    world = commissioned(caps={"arrears": CAPS | {"wait_s": 2 * HOUR}, "prepaid": CAPS})
    try:
        world.put(world.command())  # lives for an hour
        world.clock.mono_s += HOUR
        world.work()
        assert last(world).code == "E_EXPIRED" and world.wall[METER].acts == []
    finally:
        world.end()


@pytest.mark.parametrize("op", ["connect", "message"])
def test_what_cuts_nobody_is_not_over_by_a_clock_that_nobody_knows(world, op):
    world.wall[METER].connected = op != "connect"
    world.clock.trusted = ClockState.UNTRUSTED
    world.put(world.command(op, area=..., **({"why": "request"} if op == "message" else {})), work=False)
    world.clock.epoch_s += 10 * 365 * DAY
    world.work()
    assert last(world).state == "done"


def test_a_slip_in_the_timezone_of_a_policy_moves_no_night():
    world = commissioned(timezone="UTC")
    try:
        world.clock.pass_s(9 * HOUR + 1800)  # 16:40 UTC, 22:10 in Ranchi
        assert world.put(world.command(low_credit_at=...)).code is R.E_WINDOW
        assert "but night by Asia/Kolkata" in last(world).claims["reason"]
    finally:
        world.end()


# ---- the city's total -----------------------------------------------------------------------------------------------


def test_the_shares_of_a_total_are_together_within_it():
    world = commissioned(**ranchi(profile="prepaid"))
    try:
        city = {"dcu": ..., "profile": ..., "max_n": ...}
        world.put(world.permit("T-1", **city, total=2))
        told = {"low_credit_at": NOW - DAY, "ledger": "W-1", "ledger_at": NOW - 60, "notice": ..., "case": ...}
        codes = []
        for n in range(4):
            world.put(world.permit(f"S-{n}", signer=PLANNER, profile="prepaid", of="T-1", max_n=1))
            cut = world.command(signers=[BILLING, WITNESS], permit=f"S-{n}", **told)
            codes.append(world.put(cut).code)
        assert codes == [None, None, R.E_PERMIT, R.E_PERMIT]
        assert "total T-1 is used up" in last(world).claims["reason"]
    finally:
        world.end()


# ---- going live -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("since", [0, NOW - 61])
def test_prepaid_goes_live_no_earlier_than_its_policy_was_issued(since):
    """Or its grace is over before anybody has heard of it."""
    world = commissioned(**ranchi(prepaid_live=False, since=0))
    try:
        assert world.put(world.policy(2, iat=NOW - 60, **ranchi(since=since, grace_days=30))).code is R.E_POLICY
        assert "before the policy was issued" in last(world, "policy").claims["reason"]
        assert world.put(world.policy(2, iat=NOW - 60, **ranchi(since=NOW - 60, grace_days=30))).status == "accepted"
        assert "with grace until 2026-12-23" in last(world, "policy").claims["reason"]
    finally:
        world.end()


def test_an_area_that_was_paused_by_one_key_goes_on_as_it_was(world):
    assert world.put(world.policy(2, signers=(POLICY_A,), **ranchi(prepaid_live=False))).status == "accepted"
    assert world.put(world.policy(3)).status == "accepted"


# ---- another card ---------------------------------------------------------------------------------------------------


def test_a_used_up_permit_is_worth_nothing_on_another_card():
    world = commissioned(permit=False)
    try:
        permit = world.permit(max_n=1)
        world.put(permit)
        assert world.put(world.command()).status == "accepted"
        world.end()
        world.rows, world.epoch = Rows(), "j-new"  # wiped, or salvaged without its debits
        world.start()
        assert world.put(permit).code is R.E_JID
        assert world.put(world.command(permit="P-1")).code is R.E_PERMIT
        assert world.put(world.permit("P-2")).status == "accepted"
    finally:
        world.end()


def test_the_receipt_of_a_widening_leaves_nothing_out_in_silence():
    spared = dict.fromkeys(NEIGHBOURS[:20], "medical")
    world = commissioned(protected=spared)
    try:
        assert world.put(world.policy(2)).status == "accepted"
        reason = last(world, "policy").claims["reason"]
        assert reason.count("protected no more") + int(reason.split(" and ")[-1].split(" more")[0]) == 20
    finally:
        world.end()


def test_a_floor_that_one_key_has_raised_outlives_the_policy():
    world = commissioned()
    try:
        assert world.put(world.policy(2, signers=(POLICY_A,), limit_floor_w=3000)).status == "accepted"
        low, high = {"watts": 1500}, {"watts": 3000}
        assert world.put(world.command("limit", signers=[BILLING], **low)).code is R.E_QUORUM
        world.clock.pass_s(31 * DAY)  # both policies have ended
        assert world.put(world.command("limit", signers=[BILLING], **low)).code is R.E_QUORUM
        assert world.put(world.command("limit", signers=[BILLING], **high), work=False).status == "accepted"
        world.bus.queue.clear()
    finally:
        world.end()
