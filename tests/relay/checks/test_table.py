"""The table: it is in order, each of its cells is written, and each check of it has a case that it alone refuses."""

from dataclasses import replace

import pytest

from dcu.command import CommandRefused, Operation, OutputState, Refusal, Why
from dcu.reading import ClockState
from dcu.relay.checks import COLUMNS, TABLE, When, freshness, meters, safety
from tests.relay.checks.cases import (
    AREA,
    STAGES,
    arrears,
    command,
    evidence,
    good,
    moment,
    of,
    outcome,
    policy,
    restrained,
    strict,
    with_,
)
from tests.relay.checks.test_freshness import TAMPERED as FRESHNESS
from tests.relay.checks.test_meters import TAMPERED as METERS
from tests.relay.checks.test_safety import TAMPERED as SAFETY
from tests.relay.checks.test_voices import TAMPERED as VOICES
from tests.relay.world import DAY, NOW, trust

TAMPERED = (*VOICES, *FRESHNESS, *METERS, *SAFETY)
R = Refusal


@pytest.mark.parametrize("op", Operation)
@pytest.mark.parametrize("stage", STAGES)
def test_what_is_in_order_passes(op, stage):
    assert outcome(good(op, stage)) == "accepted"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("turn", [strict, arrears, of(arrears, command(why=Why.SAFETY, notice=None, case=None))])
def test_the_strict_profile_passes(stage, turn):
    assert outcome(turn(good(Operation.DISCONNECT, stage))) == "accepted"


@pytest.mark.parametrize("stage", STAGES)
def test_connect_stands_where_a_cut_does_not(stage):
    """Any hour, no policy, no permit, no lease, a clock ten years off, a freeze, an expired key document and key."""

    def anything(case):
        case = moment(clock=ClockState.UNTRUSTED, now_s=NOW + 10 * 365 * DAY)(case)
        dated = trust(req_1={"nbf": NOW - DAY, "exp": NOW + DAY})
        case = with_(policy=None, leases=(), trust=replace(dated, exp=NOW))(case)
        return restrained("freeze")(case)

    assert outcome(anything(good(Operation.CONNECT, stage))) == "accepted"
    assert outcome(anything(good(Operation.DISCONNECT, stage))) != "accepted"


NOBODY = with_(meter=None)
NOTHING_READ = with_(evidence=None)
MISSING = [
    (meters.check_identity, R.E_METER, NOTHING_READ),
    (meters.check_relay, R.E_METER, NOTHING_READ),
    (meters.check_state, R.E_STATE, of(command(expect=OutputState.CONNECTED), NOTHING_READ)),
    (meters.check_fit, R.E_STATE, NOTHING_READ),
    (freshness.check_lease, R.E_LEASE, of(command(lease=None), with_(leases={None}))),
    (safety.check_prepaid, R.E_NOT_PREPAID, NOTHING_READ),
    (safety.check_prepaid, R.E_NOT_PREPAID, of(evidence(payment_mode=0), NOBODY)),
    (safety.check_area, R.E_AREA, NOBODY),
    (safety.check_area, R.E_AREA, of(arrears, command(area=None), policy(meters={}), NOBODY)),
    (safety.check_live, R.E_NOT_LIVE, policy(meters={}, areas={"X": AREA})),
]


@pytest.mark.parametrize(("rule", "code", "tamper"), MISSING)
def test_a_rule_that_has_nothing_to_judge_by_refuses(rule, code, tamper):
    with pytest.raises(CommandRefused) as refusal:
        rule(tamper(good(Operation.DISCONNECT, When.DUE)))
    assert refusal.value.code is code


def test_every_check_and_every_code_of_the_table_has_a_case():
    assert {(name, code) for name, code, _ in TAMPERED} == {(c.name, code) for c in TABLE for code in c.codes}
    for check in TABLE:  # and at least one case in which nothing else would refuse
        found = [
            outcome(tamper(good(op, stage)), tuple(c for c in TABLE if c.name != check.name))
            for name, _, tamper in TAMPERED
            if name == check.name
            for op in COLUMNS
            for stage in STAGES
            if check.when(op) in {stage, When.BOTH}
        ]
        assert "accepted" in found, check.name


def test_the_table_is_in_order_and_each_cell_is_written():
    numbers = [check.number for check in TABLE]
    assert numbers == sorted(numbers)
    for check in TABLE:
        assert len(check.cells.split()) == len(COLUMNS), check.name
    assert set(COLUMNS) | {Operation.MODE} == set(Operation)


AT_ONCE = {Operation.CANCEL, Operation.FREEZE, Operation.UNFREEZE, Operation.RESEND, Operation.METER}


def test_nothing_is_forgotten_when_it_is_due():
    for check in TABLE:
        for op in COLUMNS:
            if op not in AT_ONCE:
                assert check.when(op) is not When.ACCEPTED or check.name == "id", "its debit only is not repeated"
            else:
                assert check.when(op) not in {When.DUE, When.BOTH}, "what is done at once has no second judgement"


def test_a_disconnect_skips_nothing_but_what_is_written_for_others():
    assert {check.name for check in TABLE if check.when(Operation.DISCONNECT) is When.NEVER} == {
        "restrainer",
        "asker",
        "billing",
        "two persons",
        "after safety",
        "exact clock",
        "time where known",
        "sequence of connect",
        "meter if named",
        "reconnect",
        "change",
        "range",
        "area of message",
        "cancelled",
    }
