"""A virtual meter over the loop: read, and its relay moved with read-back by the box's own relay room."""

import time
from datetime import UTC

import pytest

from dcu import obis
from dcu.clock import SystemClock
from dcu.command import Command, ControlState, Event, Operation, OutputState
from dcu.errors import WarrantRequired
from dcu.mailbox import Mailbox
from dcu.meter import ClassId, MethodRef, Purpose
from dcu.reading import from_epoch
from dcu.relay.executor import Place, Switching, warrants_of
from dcu.relay.letters import Answer, Outcome
from dcu.relay.warrant import OneAct

SPEC = {"profile": obis.BLOCK_LOAD, "scalers": obis.BLOCK_LOAD_SCALERS}


def test_a_profile_is_read_as_the_meter_captured_it(near_bus, far_meter):
    truth = {at: values for at, *values in far_meter.rows("1.0.99.1.0.255")[-40:-1]}

    def read(association):
        layout = association.layout(SPEC["profile"], SPEC["scalers"])
        return association.rows(SPEC["profile"], layout, from_epoch(min(truth)), from_epoch(max(truth)))

    rows = near_bus.ask(Purpose.READ, read)
    assert {row.captured_at.epoch_s: list(row.values) for row in rows} == truth


def carry_out(near_bus, op):
    """What the relay thread does once a command is accepted, without the paper: leave, one act, two looks."""
    letters, seen = Mailbox(near_bus.stop), []
    place, now = Place(letters, SystemClock(assumed=True), UTC), int(time.time())
    command = Command(f"hil-{op.value}", op, "hil", "HIL-BOX", "j", near_bus.meter.serial, 1, now, None, now + 600)

    def leave(ready):
        seen.append(ready.evidence)
        return Answer(warrants_of(command, near_bus.meter, ready.evidence, place))

    near_bus.worker.post(Switching(command, near_bus.meter, place, leave, time.sleep, settle_s=0.2), urgent=True)
    outcome = letters.take(60)
    assert isinstance(outcome, Outcome), f"no outcome but {outcome}"
    [evidence] = seen
    return evidence, outcome


def test_a_relay_is_opened_and_closed_once_each_and_read_back_twice(near_bus, far_meter):
    for op, before, after, control in (
        (Operation.DISCONNECT, OutputState.CONNECTED, OutputState.DISCONNECTED, ControlState.DISCONNECTED),
        (Operation.CONNECT, OutputState.DISCONNECTED, OutputState.CONNECTED, ControlState.CONNECTED),
    ):
        evidence, outcome = carry_out(near_bus, op)
        assert (evidence.serial, evidence.output) == (far_meter.config.serial, before)
        assert outcome.event is Event.READ_BACK_TARGET
        assert [(look.output, look.control) for look in outcome.readback] == [(after, control)] * 2
    actuations = [entry["method"] for entry in far_meter.ledger.entries() if entry["kind"] == "relay"]
    assert actuations == [1, 2], "the meter itself counts one of each"


def test_without_a_warrant_nothing_is_sent(near_bus, far_meter):
    method = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 1)
    spent = OneAct(near_bus.meter.serial, method, b"\x0f\x00", until_s=0.0)
    with pytest.raises(WarrantRequired):
        near_bus.ask(Purpose.SWITCH, lambda association: association.act(method, b"\x0f\x00", spent))
    assert not [entry for entry in far_meter.ledger.entries() if entry["kind"] == "relay"]
