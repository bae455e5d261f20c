"""Checks 17 and 25: the right meter, with a relay that can be judged, where the head-end believes it to be."""

from dataclasses import replace

import pytest

from dcu.command import Operation, OutputState, Refusal, State
from dcu.relay.checks import When, meters
from dcu.relay.checks.meters import RANGES_AT_MOST
from dcu.relay.policy import Reconnect
from dcu.relay.withdrawals import AT_MOST
from tests.relay.checks.cases import (
    AREA,
    BUS_METER,
    POLICY,
    command,
    each_passes,
    each_refuses,
    evidence,
    good,
    ledger,
    of,
    outcome,
    with_,
)
from tests.relay.world import FAR_METER, METER, RANCHI


def expecting_otherwise(case):
    other = {OutputState.CONNECTED: OutputState.DISCONNECTED, OutputState.DISCONNECTED: OutputState.CONNECTED}
    return replace(case, command=replace(case.command, expect=other[case.evidence.output]))


ARMING = replace(POLICY, areas={RANCHI: replace(AREA, reconnect=Reconnect.ARM)})
R = Refusal
TAMPERED = [
    ("meter", R.E_METER, with_(meter=replace(BUS_METER, serial=FAR_METER))),
    ("set aside", R.E_METER, with_(set_aside=True)),
    ("meter", R.E_METER, with_(meter=None)),
    ("meter if named", R.E_METER, with_(meter=None)),
    ("change", R.E_METER, with_(change_fault="no such model")),
    ("identity", R.E_METER, evidence(serial=FAR_METER)),
    ("relay", R.E_METER, evidence(output=None)),
    ("relay", R.E_METER, evidence(control_mode=0)),
    ("reconnect", R.E_METER, with_(kept=ARMING)),
    ("reconnect", R.E_METER, with_(kept=ARMING, policy=None)),
    ("reconnect", R.E_METER, of(with_(kept=ARMING), evidence(control_mode=2))),
    ("state", R.E_STATE, expecting_otherwise),
    ("range", R.E_STATE, ledger(last_id=1)),
    ("range", R.E_STATE, ledger(last_id=None)),
    ("range", R.E_STATE, command(last=None)),
    ("range", R.E_FLOOD, ledger(ranges=RANGES_AT_MOST)),
    ("fit", R.E_STATE, evidence(unfit="no limiter")),
    ("cancelled", R.E_FLOOD, ledger(cancels=None, withdrawals=AT_MOST)),
    ("cancelled", R.E_STATE, ledger(cancels=(FAR_METER, State.PENDING))),
    ("cancelled", R.E_STATE, ledger(cancels=(METER, State.DISPATCHED))),
    ("cancelled", R.E_STATE, ledger(cancels=(METER, State.ACCEPTED))),
    ("withdrawn", R.E_STATE, ledger(withdrawn=True)),
]  # fmt: skip
STUMBLES = {("meter", R.E_METER): {R.E_AREA}}
AT_THE_EDGE = {
    "one that does not expect anything": command(expect=None),
    "one that expects what is there": command(expect=OutputState.CONNECTED),
}

test_a_check_refuses_and_nothing_else_would = each_refuses(TAMPERED, STUMBLES)
test_what_is_just_in_order_passes = each_passes(AT_THE_EDGE)


def test_the_whole_box_is_frozen_without_naming_a_meter():
    case = of(command(meter=""), with_(meter=None))(good(Operation.FREEZE, When.ACCEPTED))
    assert outcome(case) == "accepted"


TAKEN_BACK = {
    "one of that meter that waits": ledger(withdrawals=0),
    "one that waits, though no more can be remembered": ledger(withdrawals=AT_MOST),
    "one that has yet to come": ledger(cancels=None),
    "the last that can be remembered": ledger(cancels=None, withdrawals=AT_MOST - 1),
}


@pytest.mark.parametrize("name", TAKEN_BACK)
def test_what_may_be_taken_back(name):
    assert outcome(TAKEN_BACK[name](good(Operation.CANCEL, When.ACCEPTED))) == "accepted"


NEED_NO_BUTTON = {
    "there never was a policy": with_(kept=None),
    "the policy knows nothing of this meter": with_(kept=replace(ARMING, meters={})),
    "the policy lets it close": with_(kept=POLICY),
    "nothing was read: other checks refuse that": with_(kept=ARMING, evidence=None),
}


@pytest.mark.parametrize("name", NEED_NO_BUTTON)
def test_a_button_is_asked_for_by_a_policy_alone_and_of_a_meter_that_was_read(name):
    meters.check_reconnect(NEED_NO_BUTTON[name](good(Operation.CONNECT, When.DUE)))


def test_a_meter_of_an_arming_area_that_waits_for_its_button_is_connected():
    case = with_(kept=ARMING)(good(Operation.CONNECT, When.DUE))
    for mode in (1, 3, 5, 6, None):
        assert outcome(evidence(control_mode=mode)(case)) == "accepted"


def test_sixteen_ranges_may_wait():
    assert outcome(ledger(ranges=15)(good(Operation.RESEND, When.ACCEPTED))) == "accepted"
    assert outcome(ledger(ranges=16)(good(Operation.RESEND, When.ACCEPTED))) is R.E_FLOOD
