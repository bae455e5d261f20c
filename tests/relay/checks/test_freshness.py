"""Checks 13 to 16: clock, dates, lease, sequence."""

import pytest

from dcu.command import Operation, Refusal, RelaySequence, Why
from dcu.reading import ClockState
from dcu.relay.checks import When
from tests.relay.checks.cases import (
    HOUR,
    STAGES,
    command,
    each_passes,
    each_refuses,
    good,
    ledger,
    moment,
    of,
    outcome,
    with_,
)
from tests.relay.world import DAY, NOW


def too_low(case):
    highest = (case.command.seq or 0) + (1 if case.evidence else 0)
    return ledger(sequence=RelaySequence(highest, highest))(case)


R = Refusal
FREE_NUMBERS, STEP, LAST_CUT = 1 << 42, 1 << 32, 1 << 52  # as the head-ends are told
TAMPERED = [
    ("clock", R.E_CLOCK, moment(clock=ClockState.UNTRUSTED)),
    ("meters heard", R.E_CLOCK, moment(heard=False)),
    ("exact clock", R.E_CLOCK, moment(clock=ClockState.UNTRUSTED)),
    ("exact clock", R.E_CLOCK, moment(clock=ClockState.HOLDOVER)),
    ("life", R.E_TTL, command(iat=NOW - 1, exp=NOW + 4 * HOUR)),
    ("life", R.E_TTL, command(iat=NOW + 30, exp=NOW + 30)),
    ("time", R.E_EARLY, command(nbf=NOW + 61)),
    ("time", R.E_EARLY, command(iat=NOW + 61)),
    ("time", R.E_EXPIRED, command(iat=NOW - 60, exp=NOW)),
    ("time", R.E_EXPIRED, moment(floor_s=NOW + HOUR)),
    ("time where known", R.E_EARLY, command(iat=NOW + 61)),
    ("time where known", R.E_EXPIRED, command(iat=NOW - 60, exp=NOW)),
    ("time where known", R.E_EXPIRED, moment(clock=ClockState.UNTRUSTED, floor_s=NOW + HOUR)),
    ("lease", R.E_LEASE, with_(leases={"L-2"})),
    ("lease", R.E_LEASE, with_(leases=())),
    ("sequence", R.E_SEQ, too_low),
    ("sequence", R.E_SEQ, command(seq=None)),
    ("sequence", R.E_SEQ, command(seq=FREE_NUMBERS + 1)),
    ("sequence", R.E_SEQ, of(command(seq=LAST_CUT + 1), ledger(sequence=RelaySequence(LAST_CUT, LAST_CUT)))),
    ("sequence of connect", R.E_SEQ, command(seq=FREE_NUMBERS + 1)),
    ("sequence of connect", R.E_SEQ, too_low),
]  # fmt: skip
AT_THE_EDGE = {
    "four hours": command(iat=NOW, exp=NOW + 4 * HOUR),
    "a clock a minute ahead": command(iat=NOW + 60),
    "begins within a minute": command(nbf=NOW + 60),
    "the last second": command(exp=NOW + 1),
    "a second behind the floor": moment(floor_s=NOW + HOUR - 1),
    "the last number that is free": command(seq=FREE_NUMBERS),
    "the last number of a cut": of(command(seq=LAST_CUT), ledger(sequence=RelaySequence(LAST_CUT - 1, 5))),
}  # fmt: skip

test_a_check_refuses_and_nothing_else_would = each_refuses(TAMPERED)
test_what_is_just_in_order_passes = each_passes(AT_THE_EDGE)


@pytest.mark.parametrize("years", range(-10, 11))
@pytest.mark.parametrize("stage", STAGES)
def test_no_clock_that_is_not_trusted_cuts_anybody(years, stage):
    lost = moment(clock=ClockState.UNTRUSTED, now_s=NOW + years * 365 * DAY)
    code = outcome(lost(good(Operation.DISCONNECT, stage)))
    assert code in {R.E_CLOCK, R.E_KEY} and code != "accepted"
    assert outcome(lost(good(Operation.CONNECT, stage))) == "accepted"


@pytest.mark.parametrize("stage", STAGES)
def test_there_is_always_a_number_for_the_connect_after_a_cut(stage):
    after = ledger(sequence=RelaySequence(LAST_CUT, LAST_CUT))(good(Operation.CONNECT, stage))
    assert outcome(command(seq=LAST_CUT + 1)(after)) == "accepted"


@pytest.mark.parametrize("op", [Operation.CONNECT, Operation.DISCONNECT])
def test_numbers_may_be_milliseconds_and_go_up_in_steps(op):
    assert outcome(command(seq=NOW * 1000)(good(op, When.ACCEPTED))) == "accepted"
    high = ledger(sequence=RelaySequence(FREE_NUMBERS, 5))(good(op, When.ACCEPTED))
    assert outcome(command(seq=FREE_NUMBERS + STEP)(high)) == "accepted"
    assert outcome(command(seq=FREE_NUMBERS + STEP + 1)(high)) is R.E_SEQ


@pytest.mark.parametrize("years", [-50, 10])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("op", [Operation.BALANCE, Operation.MESSAGE, Operation.LIMIT])
def test_money_text_and_limits_do_not_wait_for_the_clock(op, stage, years):
    lost = moment(clock=ClockState.UNTRUSTED, now_s=NOW + years * 365 * DAY)
    case = command(why=Why.REQUEST)(good(op, stage)) if op is Operation.MESSAGE else good(op, stage)
    assert outcome(lost(case)) == "accepted"
    assert outcome(of(lost, moment(floor_s=NOW + HOUR))(case)) is R.E_EXPIRED


def test_meters_are_not_changed_by_a_clock_that_nobody_knows():
    assert outcome(moment(clock=ClockState.UNTRUSTED)(good(Operation.METER, When.ACCEPTED))) is R.E_CLOCK
