"""Checks 18 to 22: restraints, protected consumers, reasons and their evidence, hours, permits, caps."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from dcu.command import CommandRefused, Operation, Profile, Refusal, Why
from dcu.relay.checks import When, check_all
from dcu.relay.checks.safety import spacing_left_s
from dcu.relay.permit import Leave
from dcu.relay.policy import Shield, read_policy
from tests.relay.checks.cases import (
    AREA,
    BUS_METER,
    HOUR,
    TRUST,
    WORLD,
    arrears,
    command,
    debit,
    each_passes,
    each_refuses,
    evidence,
    good,
    leave,
    ledger,
    moment,
    of,
    outcome,
    policy,
    restrained,
    strict,
    with_,
)
from tests.relay.world import DATE, DAY, DHANBAD, METER, NOW, RANCHI


def in_the_same_window(n, window_s):
    """`n` disconnects of the profile, the last of them just within the window."""

    def tamper(case):
        debits = [debit(window_s - 1 - 130 * k, k, profile=case.profile) for k in range(n)]
        return replace(case, ledger=replace(case.ledger, debits=debits))

    return tamper


OF_THE_OTHER_PROFILE = [debit(DAY - 9, n, profile=Profile.ARREARS) for n in range(3)]
LATER = command(ledger_at=NOW + 2 * HOUR, exp=NOW + 3 * HOUR)
OF_THE_REQUESTER = replace(leave(Profile.ARREARS), signers=(TRUST.keys["per-asha"],))
R = Refusal
TAMPERED = [
    ("carried out", R.E_POLICY, with_(carried_out=frozenset())),
    ("frozen", R.E_FROZEN, restrained("freeze")),
    ("locked", R.E_LOCKED, restrained("lock")),
    ("policy", R.E_POLICY, command(pol=2)),
    ("policy", R.E_POLICY, command(pol=None)),
    ("policy", R.E_POLICY, of(arrears, with_(policy=None))),
    ("area of message", R.E_POLICY, with_(policy=None)),
    ("protected", R.E_PROTECTED, policy(protected={METER: Shield.MEDICAL})),
    ("area", R.E_AREA, command(area=DHANBAD)),
    ("area", R.E_AREA, command(area=None)),
    ("area", R.E_AREA, with_(meter=replace(BUS_METER, area=DHANBAD))),
    ("area", R.E_AREA, of(arrears, command(area=DHANBAD))),
    ("area", R.E_AREA, of(arrears, policy(meters={}))),
    ("area of message", R.E_AREA, command(area=DHANBAD)),
    ("area of message", R.E_AREA, command(area=None)),
    ("area of message", R.E_AREA, with_(meter=replace(BUS_METER, area=DHANBAD))),
    ("live", R.E_NOT_LIVE, policy(areas={RANCHI: replace(AREA, prepaid_live=False)})),
    ("live", R.E_NOT_LIVE, policy(areas={RANCHI: replace(AREA, since=NOW + 1, grace_days=0)})),
    ("prepaid", R.E_NOT_PREPAID, evidence(payment_mode=0)),
    ("prepaid", R.E_NOT_PREPAID, evidence(payment_mode=None)),
    ("prepaid", R.E_NOT_PREPAID, of(evidence(payment_mode=0), policy(no_payment_mode_register={"is15959-1ph"}))),
    ("notice", R.E_NOTICE, command(low_credit_at=NOW + 1)),
    ("notice", R.E_NOTICE, command(low_credit_at=0)),
    ("notice", R.E_NOTICE, command(low_credit_at=NOW - 60 * DAY - 1)),
    ("notice", R.E_NOTICE, of(command(low_credit_at=NOW - 40 * DAY - 1), policy(emergency_h=0))),
    ("notice", R.E_NOTICE, command(low_credit_at=None)),
    ("notice", R.E_NOTICE, command(ledger=None)),
    ("notice", R.E_NOTICE, command(ledger_at=None)),
    ("notice", R.E_NOTICE, command(ledger_at=NOW - HOUR - 1)),
    ("notice", R.E_NOTICE, command(ledger_at=NOW + 61)),
    ("notice", R.E_NOTICE, of(arrears, command(case=None))),
    ("notice", R.E_NOTICE, of(arrears, command(notice=None))),
    ("notice", R.E_NOTICE, of(arrears, command(notice=NOW - 15 * DAY + 1))),
    ("notice", R.E_NOTICE, of(arrears, command(notice=0))),
    ("notice", R.E_NOTICE, of(arrears, command(notice=NOW - 731 * DAY - 1))),
    ("notice", R.E_NOTICE, of(strict, command(notice=0))),
    ("notice", R.E_NOTICE, of(arrears, command(why=None))),
    ("notice", R.E_NOTICE, of(arrears, command(why=Why.REQUEST, case=None))),
    ("notice", R.E_NOTICE, of(strict, command(notice=None))),
    ("grace", R.E_GRACE, policy(areas={RANCHI: replace(AREA, since=NOW - 29 * DAY)})),
    ("grace", R.E_GRACE, policy(grace={METER: NOW + 1})),
    ("grace", R.E_GRACE, command(low_credit_at=NOW - 71 * HOUR)),
    ("grace", R.E_GRACE, of(strict, command(low_credit_at=None))),
    ("window", R.E_WINDOW, policy(hours={})),
    ("window", R.E_WINDOW, policy(hours={"mon": (0, 12 * 60 + 40)})),
    ("window", R.E_WINDOW, policy(hours={"mon": (12 * 60 + 41, 1440)})),
    ("window", R.E_WINDOW, policy(closed=read_policy(WORLD.policy_claims(closed=[DATE])).closed)),
    ("window", R.E_WINDOW, with_(zone=ZoneInfo("Pacific/Auckland"))),  # 20:10 there
    ("window", R.E_WINDOW, with_(zone=ZoneInfo("UTC"))),  # 07:10
    ("permit", R.E_PERMIT, ledger(leave=Leave())),
    ("permit", R.E_PERMIT, command(permit="P-2")),
    ("permit", R.E_PERMIT, ledger(leave=leave(date="2026-11-24"))),
    ("permit", R.E_PERMIT, ledger(leave=leave(Profile.ARREARS))),
    ("permit", R.E_PERMIT, ledger(leave=replace(leave(), used=5))),
    ("permit", R.E_PERMIT, ledger(leave=replace(leave(), total=5, total_used=5))),
    ("permit", R.E_PERMIT, ledger(leave=replace(leave(), signers=(TRUST.keys["plan-1"], TRUST.keys["bill-1"])))),
    ("permit", R.E_PERMIT, of(strict, ledger(leave=OF_THE_REQUESTER))),
    ("caps", R.E_CAP, in_the_same_window(2, HOUR)),
    ("caps", R.E_CAP, in_the_same_window(5, DAY)),
    ("caps", R.E_CAP, in_the_same_window(20, 7 * DAY)),
    ("caps", R.E_CAP, of(with_(meters=30), in_the_same_window(3, DAY))),
    ("caps", R.E_CAP, of(with_(meters=39), ledger(debits=OF_THE_OTHER_PROFILE))),
    ("caps", R.E_CAP, of(in_the_same_window(2, HOUR), moment(now_s=NOW + 2 * HOUR), LATER)),
    ("spacing", R.E_CAP, ledger(debits=[debit(119, 1)])),
    ("debit", R.E_CAP, ledger(debited=False)),
]  # fmt: skip
STUMBLES = {
    ("policy", R.E_POLICY): {R.E_POLICY},
    ("area of message", R.E_POLICY): {R.E_POLICY},
    ("notice", R.E_NOTICE): {R.E_GRACE},
    ("live", R.E_NOT_LIVE): {R.E_NOTICE},  # nobody was told of low credit since then
}
AT_THE_EDGE = {
    "live since now": of(
        policy(areas={RANCHI: replace(AREA, since=NOW, grace_days=0)}, emergency_h=0), command(low_credit_at=NOW)
    ),
    "told sixty days ago": of(
        policy(areas={RANCHI: replace(AREA, since=NOW - 90 * DAY)}), command(low_credit_at=NOW - 60 * DAY)
    ),
    "a notice two years old": of(arrears, command(notice=NOW - 731 * DAY)),
    "a permit's last, and its total's": ledger(leave=replace(leave(), total=5)),
    "grace that is just over": policy(grace={METER: NOW}),
    "converted thirty days ago": policy(areas={RANCHI: replace(AREA, since=NOW - 30 * DAY)}),
    "emergency credit that is just over": command(low_credit_at=NOW - 72 * HOUR),
    "told this very second": of(policy(emergency_h=0), command(low_credit_at=NOW)),
    "a ledger read an hour ago": command(ledger_at=NOW - HOUR),
    "a ledger read by a clock ahead": command(ledger_at=NOW + 60),
    "a notice fifteen days old": of(arrears, command(notice=NOW - 15 * DAY)),
    "no area named for arrears": of(arrears, command(area=None)),
    "the minute in which it opens": policy(hours={"mon": (12 * 60 + 40, 12 * 60 + 41)}),
    "the last but one of an hour": in_the_same_window(1, HOUR),
    "the last but one of a day": in_the_same_window(4, DAY),
    "the last but one of a week": in_the_same_window(19, 7 * DAY),
    "two of an hour ago": ledger(debits=[debit(HOUR, n) for n in range(2)]),
    "twenty of a week ago": ledger(debits=[debit(7 * DAY, n) for n in range(20)]),
    "the last one two minutes ago": ledger(debits=[debit(120, 1)]),
    "one that was never sent": ledger(debits=[debit(1, 1, sent=False)]),
    "two of the other profile": ledger(debits=[debit(60, n, profile=Profile.ARREARS, sent=False) for n in range(2)]),
    "a request of the consumer's own": of(arrears, command(why=Why.REQUEST, notice=None)),
    "told nothing where there is no emergency credit": of(strict, policy(emergency_h=0), command(low_credit_at=None)),
    "the last of a permit": ledger(leave=replace(leave(), used=4)),
}  # fmt: skip

test_a_check_refuses_and_nothing_else_would = each_refuses(TAMPERED, STUMBLES)
test_what_is_just_in_order_passes = each_passes(AT_THE_EDGE)


def test_a_model_that_has_no_payment_mode_register_is_named_by_the_policy():
    case = evidence(payment_mode=None)(good(Operation.DISCONNECT, When.DUE))
    assert outcome(policy(no_payment_mode_register=frozenset({"is15959-1ph"}))(case)) == "accepted"


def test_a_general_notice_needs_neither_policy_nor_area():
    case = command(why=Why.REQUEST, area=None)(good(Operation.MESSAGE, When.ACCEPTED))
    assert outcome(replace(case, policy=None)) == "accepted"


@pytest.mark.parametrize(("hour", "opens"), [(7, False), (8, True), (17, True), (18, False), (0, False), (23, False)])
def test_no_policy_opens_the_night(hour, opens):
    local_midnight = NOW - (12 * HOUR + 40 * 60)
    case = policy(hours=dict.fromkeys(("mon", "tue"), (0, 1440)))(good(Operation.DISCONNECT, When.ACCEPTED))
    at = local_midnight + hour * HOUR
    case = command(iat=at, exp=at + HOUR, ledger_at=at)(moment(now_s=at, floor_s=0)(case))
    assert outcome(case) == ("accepted" if opens else R.E_WINDOW)


@pytest.mark.parametrize(("window_s", "n", "words"), [(HOUR, 2, "hour"), (DAY, 5, "day"), (7 * DAY, 20, "week")])
def test_a_cap_is_told_with_its_window(window_s, n, words):
    with pytest.raises(CommandRefused, match=f"{n} in the {words}; the policy allows {n}"):
        check_all(in_the_same_window(n, window_s)(good(Operation.DISCONNECT, When.ACCEPTED)))


@pytest.mark.parametrize(
    ("tamper", "days"),
    [
        (command(low_credit_at=NOW - 60 * DAY - 1), "told of low credit more than 60 days ago"),
        (of(arrears, command(notice=NOW - 15 * DAY + 1)), "no written notice that is 15 to 731 days old"),
    ],
)
def test_how_old_a_notice_is_to_be_is_told_in_days(tamper, days):
    with pytest.raises(CommandRefused, match=days):
        check_all(tamper(good(Operation.DISCONNECT, When.ACCEPTED)))


LAST = debit(100, 1)
SPACED = {
    "nobody before": ([], 0),
    "by the uptime": ([replace(LAST, sent_at_s=0)], 20),
    "by the clock, of another boot": ([replace(LAST, boot="older", sent_boot_s=0)], 20),
    "by a clock that went back": ([replace(LAST, boot="older", sent_at_s=NOW + 90)], 30),
    "behind the nearest": ([replace(LAST, sent_boot_s=LAST.sent_boot_s + 50), LAST], 70),
    "long enough": ([replace(LAST, sent_boot_s=LAST.sent_boot_s - 20)], 0),
    "long ago": ([replace(LAST, sent_boot_s=0)], 0),
    "behind nothing that was sent": ([debit(1, 1, sent=False)], 0),
    "behind one that was sent and one that was not": ([debit(1, 1, sent=False), LAST], 20),
    "behind what was half noted": ([replace(LAST, sent_at_s=None), replace(LAST, sent_boot_s=None)], 0),
}


@pytest.mark.parametrize("name", SPACED)
def test_seconds_to_the_next_disconnect(name):
    debits, left_s = SPACED[name]
    assert spacing_left_s(debits, good(Operation.DISCONNECT, When.DUE).moment, 120) == left_s


def test_what_was_cut_before_a_restart_counts_by_the_clock():
    case = in_the_same_window(2, HOUR)(good(Operation.DISCONNECT, When.ACCEPTED))
    older = [replace(d, boot="older", boot_s=0) for d in case.ledger.debits]
    assert outcome(ledger(debits=older)(case)) is R.E_CAP


def test_a_step_of_the_clock_empties_no_window():
    """Two within the last hour by the uptime; the clock says that they were yesterday."""
    case = in_the_same_window(2, HOUR)(good(Operation.DISCONNECT, When.ACCEPTED))
    debits = [replace(d, at_s=d.at_s - DAY) for d in case.ledger.debits]
    assert outcome(ledger(debits=debits)(case)) is R.E_CAP
    assert outcome(ledger(debits=[replace(d, boot="older") for d in debits])(case)) == "accepted"
