"""A disconnect by another name is a disconnect: a limit, a payment or a mode that takes light away."""

from dataclasses import replace

import pytest

from dcu.command import Operation, Refusal
from dcu.reading import ClockState
from dcu.relay.checks import When
from dcu.relay.permit import Leave
from dcu.relay.policy import Shield
from dcu.relay.policy.floor import LEAST_LIMIT_W
from tests.relay.checks.cases import (
    LEASE,
    STAGES,
    command,
    evidence,
    good,
    ledger,
    moment,
    of,
    outcome,
    policy,
    restrained,
    with_,
)
from tests.relay.world import METER

R = Refusal


def as_disconnect(op, stage, **changes):
    """A `limit`, `balance` or `mode` that is signed as a disconnect: lease, permit, evidence, two people."""
    case = good(Operation.MODE, stage)
    other = good(op, stage).command
    names = ("watts", "recharge", "recharged_at", "balance", "payment_mode", "control_mode")
    members = {name: getattr(other, name) for name in names} | changes
    return replace(case, command=replace(case.command, op=op, **members))


OTHER_NAMES = {
    "a limit below the floor": (Operation.LIMIT, {"watts": 999}),
    "no load at all": (Operation.LIMIT, {"watts": 0}),
    "a lowered balance": (Operation.BALANCE, {"balance": 399}),
    "the control mode": (Operation.MODE, {}),
    "the payment mode": (Operation.MODE, {"control_mode": None, "payment_mode": 0}),
}


@pytest.mark.parametrize("name", OTHER_NAMES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_disconnect_by_another_name_passes_every_check_of_one(name, stage):
    op, members = OTHER_NAMES[name]
    case = as_disconnect(op, stage, **members)
    assert case.column is Operation.DISCONNECT and outcome(case) == "accepted"
    for check, tamper, code in (
        ("lease", with_(leases=()), R.E_LEASE),
        ("window", policy(hours={}), R.E_WINDOW),
        ("protected", policy(protected={METER: Shield.MEDICAL}), R.E_PROTECTED),
        ("permit", ledger(leave=Leave()), R.E_PERMIT),
        ("frozen", restrained("freeze"), R.E_FROZEN),
        ("clock", moment(clock=ClockState.UNTRUSTED), R.E_CLOCK),
        ("profile", with_(kids=("req-1",)), R.E_QUORUM),
        ("profile", with_(kids=("bill-1",)), R.E_QUORUM),
    ):
        assert outcome(tamper(case)) is code, check


CUT = Operation.DISCONNECT
JUDGED_AS = [
    (Operation.LIMIT, When.ACCEPTED, command(watts=1000), Operation.LIMIT),
    (Operation.LIMIT, When.ACCEPTED, command(watts=999), CUT),
    (Operation.LIMIT, When.ACCEPTED, command(watts=None), CUT),
    (Operation.LIMIT, When.DUE, with_(policy=None), Operation.LIMIT),
    (Operation.LIMIT, When.DUE, with_(policy=None, kept=None), CUT),
    (Operation.LIMIT, When.DUE, command(lease=LEASE), CUT),
    (Operation.BALANCE, When.ACCEPTED, command(balance=None), Operation.BALANCE),
    (Operation.BALANCE, When.DUE, command(balance=400), Operation.BALANCE),
    (Operation.BALANCE, When.DUE, command(balance=399), CUT),
    (Operation.BALANCE, When.DUE, command(balance=None), CUT),
    (Operation.BALANCE, When.DUE, evidence(balance=None), CUT),
    (Operation.BALANCE, When.ACCEPTED, command(lease=LEASE), CUT),
    (Operation.MODE, When.ACCEPTED, of(), CUT),
    (Operation.CONNECT, When.DUE, command(lease=LEASE), Operation.CONNECT),
]


@pytest.mark.parametrize(("op", "stage", "tamper", "column"), JUDGED_AS)
def test_as_what_a_command_is_judged(op, stage, tamper, column):
    assert tamper(good(op, stage)).column is column


def test_what_is_signed_as_a_payment_or_a_limit_cannot_lower_anything():
    poorer = command(balance=399)(good(Operation.BALANCE, When.DUE))
    assert outcome(poorer) is R.E_QUORUM
    unseen = evidence(balance=None)(good(Operation.BALANCE, When.DUE))
    assert outcome(unseen) is R.E_QUORUM
    for stage in STAGES:
        assert outcome(command(watts=999)(good(Operation.LIMIT, stage))) is R.E_QUORUM
        assert outcome(with_(policy=None, kept=None)(good(Operation.LIMIT, stage))) is R.E_QUORUM


@pytest.mark.parametrize("stage", STAGES)
def test_power_is_given_back_by_a_limit_also_where_the_policy_has_ended(stage):
    ended = with_(policy=None)(good(Operation.LIMIT, stage))
    assert outcome(ended) == "accepted"
    assert outcome(command(watts=999)(ended)) is R.E_QUORUM


@pytest.mark.parametrize("watts", [0, 1, LEAST_LIMIT_W - 1])
@pytest.mark.parametrize("floor_w", [0, 1, LEAST_LIMIT_W])
@pytest.mark.parametrize("stage", STAGES)
def test_no_policy_makes_a_limit_of_next_to_nothing_a_limit(stage, floor_w, watts):
    case = of(policy(limit_floor_w=floor_w), command(watts=watts))(good(Operation.LIMIT, stage))
    assert case.column is Operation.DISCONNECT and outcome(case) is R.E_QUORUM
    least = of(policy(limit_floor_w=floor_w), command(watts=LEAST_LIMIT_W))(good(Operation.LIMIT, stage))
    assert least.column is Operation.LIMIT and outcome(least) == "accepted"


def test_a_floor_that_is_raised_while_a_limit_is_on_its_way_stops_it():
    case = policy(limit_floor_w=3000)(good(Operation.LIMIT, When.DUE))
    assert outcome(case) is R.E_QUORUM
    signed_as_one = as_disconnect(Operation.LIMIT, When.DUE, watts=2000)
    assert signed_as_one.column is Operation.DISCONNECT
    assert outcome(ledger(debited=False)(signed_as_one)) is R.E_CAP
