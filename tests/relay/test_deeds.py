"""What each operation sends, and what it makes of what a meter shows: octets and values, no line."""

import struct
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from dcu import obis
from dcu.clock_set import CLOCK_TIME
from dcu.command import Command, ControlState, Event, Operation, OutputState
from dcu.config.meter_models import shipped
from dcu.errors import AttributeDenied
from dcu.meter import AttributeRef
from dcu.reading import date_time
from dcu.relay.case import Evidence
from dcu.relay.deeds import (
    DEEDS,
    Scene,
    Step,
    doubt_of,
    event_of,
    evidence_of,
    look_of,
    refs_after,
    refs_before,
    steps_of,
)
from dcu.relay.deeds.limit import MONITORED, POWER_SCALER, THRESHOLD
from dcu.relay.deeds.plain import DISPLAY
from dcu.relay.deeds.sense import sensed
from dcu.relay.deeds.shape import CONTROL_MODE, CONTROL_STATE, OUTPUT_STATE, PAYMENT_MODE, always
from dcu.relay.receipts import ReadBack

IST = timezone(timedelta(minutes=330))
NOW = datetime(2026, 11, 23, 12, 30, 7, tzinfo=IST)
SCENE = Scene(shipped()["is15959-1ph"], IST, NOW)
RELAY = {OUTPUT_STATE: True, CONTROL_STATE: 1, CONTROL_MODE: 4, PAYMENT_MODE: 1}
WATCHED = [3, obis.ACTIVE_POWER.octets, 2]
REFUSED = AttributeDenied("no such object")


def order(op, **more):
    return Command("c", op, "i", "d", "j", "M", None, 1_795_000_000, None, 1_795_003_600, **more)


def limit(watts):
    return order(Operation.LIMIT, watts=watts)


def shown(threshold, scaler):
    return RELAY | {MONITORED: WATCHED, THRESHOLD: threshold, POWER_SCALER: [scaler, 27]}


def test_every_operation_that_changes_a_meter_has_its_deed():
    at_no_meter = {Operation.CANCEL, Operation.FREEZE, Operation.UNFREEZE, Operation.RESEND, Operation.METER}
    assert set(Operation) - set(DEEDS) == at_no_meter | {Operation.READ}


@pytest.mark.parametrize(
    "op", [Operation.BALANCE, Operation.MESSAGE, Operation.MODE, Operation.LIMIT, Operation.CLOCK_SET]
)
def test_a_deed_without_what_it_writes_is_none_rather_than_one_of_nothing(op):
    shows = shown(5000, 0) | purse() | {DISPLAY: b"", CLOCK_TIME: date_time(NOW, IST)}
    with pytest.raises(ValueError, match="is missing"):
        evidence_of(order(op), "M", shows, SCENE)


@pytest.mark.parametrize(("op", "method"), [(Operation.DISCONNECT, 1), (Operation.CONNECT, 2)])
def test_a_relay_is_moved_by_the_method_of_the_command(op, method):
    command = order(op)
    evidence = evidence_of(command, "M", RELAY, SCENE)
    (step,) = steps_of(command, evidence, SCENE)
    assert str(step.target) == f"70:0.0.96.3.10.255({method})" and step.data == b"\x0f\x00"
    assert evidence.unfit == "" and not evidence.there, "of a relay the states decide"


@pytest.mark.parametrize(
    ("watts", "threshold", "scaler", "octets"),
    [
        (3000, 5000, 0, b"\x06" + struct.pack(">I", 3000)),
        (3000, 50_000, -1, b"\x06" + struct.pack(">I", 30_000)),
        (3000, 5, 3, b"\x06" + struct.pack(">I", 3)),
        (3500, "5.0", 3, b"\x17" + struct.pack(">f", 3.5)),
        (0, 5000, 0, b"\x06\x00\x00\x00\x00"),
        ((1 << 32) - 1, 5000, 0, b"\x06\xff\xff\xff\xff"),
        (10**9, 2, 9, b"\x06\x00\x00\x00\x01"),
    ],
)
def test_a_limit_is_written_as_the_meter_shows_it(watts, threshold, scaler, octets):
    evidence = evidence_of(limit(watts), "M", shown(threshold, scaler), SCENE)
    assert evidence.unfit == "" and not evidence.there
    (step,) = steps_of(limit(watts), evidence, SCENE)
    assert (step.target, step.data) == (THRESHOLD, octets)


@pytest.mark.parametrize(
    ("watts", "values", "words"),
    [
        (3500, shown(5, 3), "steps of 1000 W"),
        (10**7, shown(1, -3), "cannot hold"),
        (1 << 32, shown(5000, 0), "cannot hold"),
        (3000, shown(REFUSED, 0), "cannot be read"),
        (3000, shown(True, 0), "cannot be read"),
        (3000, shown("five", 0), "cannot be read"),
        (3000, shown(5000, 0) | {POWER_SCALER: REFUSED}, "cannot be read"),
        *((3000, shown(5000, 0) | {POWER_SCALER: pair}, "cannot be read") for pair in ([10, 27], [True, 27], [], 0)),
        (3000, shown(5000, 0) | {MONITORED: [3, obis.CLOCK.octets, 2]}, "does not watch"),
        (3000, RELAY, "cannot be read"),
    ],
)
def test_a_limiter_that_is_not_understood_is_left_alone(watts, values, words):
    assert words in evidence_of(limit(watts), "M", values, SCENE).unfit


def test_a_limit_that_is_there_already_and_one_that_is_not_kept():
    assert evidence_of(limit(5000), "M", shown(5000, 0), SCENE).there
    looks = [look_of(limit(3000), shown(value, 0), SCENE) for value in (3000, 5000, REFUSED)]
    assert [(look.holds, look.said) for look in looks] == [
        (True, {"watts": 3000}),
        (False, {"watts": 5000}),
        (None, {}),
    ]
    assert [event_of(limit(3000), (look, look)) for look in looks] == [
        Event.READ_BACK_TARGET,
        Event.READ_BACK_OTHER,
        Event.READ_BACK_NOTHING,
    ]


def test_what_is_always_read_is_read_of_every_command():
    for command in (order(Operation.CONNECT), limit(3000)):
        assert always(DISPLAY, THRESHOLD)(command, SCENE) == (DISPLAY, THRESHOLD)


PAID = order(Operation.BALANCE, recharge=500, recharged_at=1_794_999_000, balance=-7)
SWITCH = [f"70:0.0.96.3.10.255/{n}" for n in (2, 3, 4)]
METERED = "1:0.0.94.96.20.255/2"
FLOW = [f"3:1.0.{n}.7.0.255/{attribute}" for n in (12, 11) for attribute in (2, 3)]
LIMITER = ["71:0.0.17.0.0.255/2", "71:0.0.17.0.0.255/4", "3:1.0.1.7.0.255/3"]
MONEY = [f"1:0.0.94.96.{n}.255/2" for n in (21, 22, 25, 24)]
READ = [
    (order(Operation.CONNECT), SWITCH, SWITCH[:2] + FLOW),
    (order(Operation.DISCONNECT), [*SWITCH, METERED], SWITCH[:2] + FLOW),
    (order(Operation.MODE, control_mode=1), [*SWITCH, METERED], [METERED, SWITCH[2]]),
    (limit(3000), [*SWITCH, METERED, *LIMITER], LIMITER),
    (PAID, [*SWITCH, METERED, *MONEY], MONEY),
    (order(Operation.MESSAGE, text="Balance low"), [], ["1:0.0.96.13.0.255/2"]),
    (order(Operation.CLOCK_SET, most_s=60), ["8:0.0.1.0.0.255/2"], ["8:0.0.1.0.0.255/2"]),
]


@pytest.mark.parametrize(("command", "before", "after"), READ, ids=lambda each: getattr(each, "op", None))
def test_what_is_read_before_and_looked_at_afterwards(command, before, after):
    assert [str(ref) for ref in refs_before(command, SCENE)] == before
    assert [str(ref) for ref in refs_after(command, SCENE)] == after


def purse(**changes):
    paid_at = datetime.fromtimestamp(1_794_999_000, IST)
    held = {
        "21": 500,
        "22": date_time(paid_at, IST)[:4] + b"\x01" + date_time(paid_at, IST)[5:],  # with a weekday
        "25": date_time(datetime.fromtimestamp(1_795_000_000, IST), IST),
        "24": -7,
    } | changes
    return RELAY | {AttributeRef.of(f"1:0.0.94.96.{e}.255/2"): value for e, value in held.items()}


def test_the_balance_is_written_last_and_each_register_in_its_form():
    steps = steps_of(PAID, evidence_of(PAID, "M", purse(), SCENE), SCENE)
    assert [str(step.target) for step in steps] == [f"1:0.0.94.96.{e}.255/2" for e in (21, 22, 25, 24)]
    assert steps[0].data == b"\x05\x00\x00\x01\xf4" and steps[3].data == b"\x05\xff\xff\xff\xf9"
    assert [step.data[:2] for step in steps[1:3]] == [b"\x09\x0c"] * 2


def test_money_is_where_the_model_says_that_it_is():
    elsewhere = replace(SCENE.model, balance=tuple(AttributeRef.of(f"1:0.0.94.91.{e}/2") for e in range(20, 26)))
    refs = refs_before(PAID, replace(SCENE, model=elsewhere))
    assert AttributeRef.of("1:0.0.94.91.24/2") in refs and AttributeRef.of("1:0.0.94.96.24/2") not in refs
    unsaid = refs_before(PAID, replace(SCENE, model=replace(SCENE.model, balance=())))
    assert set(purse()) <= set(unsaid), "where the standard has it"


@pytest.mark.parametrize(
    ("changes", "holds"),
    [({}, True), ({"24": -8}, False), ({"22": b"\xff" * 12}, False), ({"21": REFUSED}, None), ({"24": True}, None)],
)
def test_a_payment_is_held_when_every_register_says_so(changes, holds):
    look = look_of(PAID, purse(**changes), SCENE)
    assert look.holds is holds
    told = {"recharge": changes.get("21", 500), "balance": changes.get("24", -7)}
    assert look.said == {name: amount for name, amount in told.items() if type(amount) is int}
    evidence = evidence_of(PAID, "M", purse(**changes), SCENE)
    assert evidence.there is (holds is True) and bool(evidence.unfit) is (holds is None)
    assert evidence.balance == (None if changes.get("24") is True else changes.get("24", -7))


@pytest.mark.parametrize(
    ("ahead_s", "most_s", "there", "fit"),
    [
        (0, 60, True, True),
        (1, 60, True, True),
        (-2, 60, False, True),
        (-59, 60, False, True),
        (60, 60, False, True),
        (61, 60, False, False),
    ],
)
def test_a_clock_is_moved_no_further_than_the_command_says(ahead_s, most_s, there, fit):
    command = order(Operation.CLOCK_SET, most_s=most_s)
    face = date_time(NOW + timedelta(seconds=ahead_s), IST)
    evidence = evidence_of(command, "M", {CLOCK_TIME: face}, SCENE)
    assert evidence.there is there
    assert evidence.unfit == ("" if fit else f"its clock is {ahead_s} s ahead; more than {most_s} s is left alone")
    (step,) = steps_of(command, evidence, SCENE)
    assert step.target == CLOCK_TIME and step.data[2:10] == bytes([0x07, 0xEA, 11, 23, 1, 12, 30, 7])


def test_a_mode_is_written_in_its_type():
    payment, control = order(Operation.MODE, payment_mode=0), order(Operation.MODE, control_mode=6)
    evidence = evidence_of(payment, "M", RELAY, SCENE)
    assert steps_of(payment, evidence, SCENE)[0].data == b"\x11\x00"
    assert steps_of(control, evidence, SCENE)[0].data == b"\x16\x06"
    assert look_of(control, RELAY, SCENE) == ReadBack(holds=False, said={"control_mode": 4})
    assert evidence.output is OutputState.CONNECTED and evidence.payment_mode == 1


@pytest.mark.parametrize(
    ("ahead_s", "look"),
    [
        (5, ReadBack(holds=True, said={"ahead_s": 5})),
        (-6, ReadBack(holds=False, said={"ahead_s": -6})),
        (None, ReadBack()),
    ],
)
def test_a_clock_that_was_set_shows_the_boxs_time_but_for_the_way(ahead_s, look):
    face = REFUSED if ahead_s is None else date_time(NOW + timedelta(seconds=ahead_s), IST)
    assert look_of(order(Operation.CLOCK_SET, most_s=300), {CLOCK_TIME: face}, SCENE) == look


@pytest.mark.parametrize("face", [REFUSED, None, 7, b"\xff" * 12, b"short"])
def test_a_clock_that_cannot_be_read_is_left_alone(face):
    evidence = evidence_of(order(Operation.CLOCK_SET, most_s=300), "M", {CLOCK_TIME: face}, SCENE)
    assert evidence.unfit == "its clock cannot be read" and not evidence.there


@pytest.mark.parametrize(("milliseconds", "second"), [(499, 7), (500, 8)])
def test_a_clock_is_set_to_the_nearest_second(milliseconds, second):
    scene = replace(SCENE, now=NOW + timedelta(milliseconds=milliseconds))
    command = order(Operation.CLOCK_SET, most_s=300)
    (step,) = steps_of(command, evidence_of(command, "M", {}, scene), scene)
    assert step.data[7:10] == bytes([12, 30, second])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Balance low", True),
        (b"Balance low", True),
        ("Balance", False),
        ("Balance l\u20b9w", False),
        (REFUSED, None),
        (7, None),
    ],
)
def test_a_message_is_shown_when_the_display_says_so(value, shown):
    command = order(Operation.MESSAGE, text="Balance low")
    (step,) = steps_of(command, evidence_of(command, "M", RELAY, SCENE), SCENE)
    assert (step.target, step.data) == (DISPLAY, b"\x09\x0bBalance low")
    assert look_of(command, {DISPLAY: value}, SCENE) == ReadBack(text=shown, holds=shown)


def test_a_mode_that_cannot_be_read_back_and_one_of_payment():
    payment = order(Operation.MODE, payment_mode=1)
    assert look_of(payment, RELAY, SCENE) == ReadBack(holds=True, said={"payment_mode": 1})
    assert look_of(payment, RELAY | {PAYMENT_MODE: REFUSED}, SCENE) == ReadBack()
    assert steps_of(payment, evidence_of(payment, "M", RELAY, SCENE), SCENE) == (Step(PAYMENT_MODE, b"\x11\x01"),)


def sense(volts=None, amperes=None):
    values = {}
    for name, found in (("1.0.12.7.0.255", volts), ("1.0.11.7.0.255", amperes)):
        if found is not None:
            raw, scaler = found
            values |= {AttributeRef.of(f"3:{name}/2"): raw, AttributeRef.of(f"3:{name}/3"): scaler}
    return values


SENSED = [
    (sense((2304, [-1, 35]), (12, [0, 33])), {"millivolts": 230_400, "milliamperes": 12_000}),
    (sense((230, [0, 35]), (REFUSED, [0, 33])), {"millivolts": 230_000}),
    (sense(None, (-5, [-2, 33])), {"milliamperes": -50}),
    (sense(None, (5, [-4, 33])), {"milliamperes": 0}),
    (sense(None, (1, [6, 33])), {"milliamperes": 10**9}),
    (sense(None, (2, [6, 33])), {}),
    (sense(None, (0, [9, 33])), {"milliamperes": 0}),
    (sense(None, (0, [10, 33])), {}),
    (sense(None, (True, [0, 33])), {}),
    (sense(None, (5, REFUSED)), {}),
    (sense(None, (5, ["0", 33])), {}),
    (sense(None, (5, [0])), {}),
    ({}, {}),
]


@pytest.mark.parametrize(("values", "said"), SENSED)
def test_what_flows_is_told_in_thousandths(values, said):
    assert sensed(values) == said
    assert look_of(order(Operation.DISCONNECT), RELAY | values, SCENE).said == said


REACHED = [
    (Operation.CONNECT, {"output": OutputState.CONNECTED}, True),
    (Operation.CONNECT, {"output": OutputState.DISCONNECTED}, False),
    (Operation.CONNECT, {}, False),
    (Operation.DISCONNECT, {"output": OutputState.DISCONNECTED}, True),
    (Operation.DISCONNECT, {"output": OutputState.DISCONNECTED, "control": ControlState.READY_FOR_RECONNECTION}, False),
    (Operation.DISCONNECT, {"output": OutputState.CONNECTED}, False),
    (Operation.DISCONNECT, {}, False),
    (Operation.LIMIT, {"output": OutputState.DISCONNECTED}, False),
    (Operation.BALANCE, {"output": OutputState.CONNECTED}, False),
    (Operation.BALANCE, {"output": OutputState.CONNECTED, "there": True}, True),
]


@pytest.mark.parametrize(("op", "said", "there"), REACHED)
def test_a_meter_is_where_it_shall_be_by_its_relay_or_by_what_it_holds(op, said, there):
    assert Evidence("M", **said).reached(op) is there


OPEN, SHUT = (ReadBack(each) for each in (OutputState.DISCONNECTED, OutputState.CONNECTED))
FLOWS = replace(OPEN, said={"milliamperes": -251})
ARMED = replace(OPEN, control=ControlState.READY_FOR_RECONNECTION)
ENDS = [
    (Operation.DISCONNECT, [SHUT, OPEN], Event.READ_BACK_TARGET, False),
    (Operation.DISCONNECT, [OPEN, SHUT], Event.READ_BACK_OTHER, False),
    (Operation.DISCONNECT, [OPEN, ARMED], Event.READ_BACK_OTHER, False),
    (Operation.DISCONNECT, [OPEN, FLOWS], Event.READ_BACK_NOTHING, True),
    (Operation.DISCONNECT, [FLOWS, OPEN], Event.READ_BACK_TARGET, False),
    (Operation.DISCONNECT, [OPEN, replace(OPEN, said={"milliamperes": 250})], Event.READ_BACK_TARGET, False),
    (Operation.DISCONNECT, [OPEN, ReadBack()], Event.READ_BACK_NOTHING, False),
    (Operation.DISCONNECT, [OPEN], Event.READ_BACK_NOTHING, False),
    (Operation.DISCONNECT, [], Event.READ_BACK_NOTHING, False),
    (Operation.CONNECT, [OPEN, SHUT], Event.READ_BACK_TARGET, False),
    (Operation.CONNECT, [SHUT, OPEN], Event.READ_BACK_OTHER, False),
    (Operation.CONNECT, [OPEN, ARMED], Event.READ_BACK_ARMED, False),
    (Operation.CONNECT, [OPEN, FLOWS], Event.READ_BACK_OTHER, False),
    (Operation.DISCONNECT, [OPEN, replace(FLOWS, output=OutputState.CONNECTED)], Event.READ_BACK_OTHER, False),
    (Operation.DISCONNECT, [OPEN, replace(FLOWS, output=None)], Event.READ_BACK_NOTHING, False),
    (Operation.CONNECT, [SHUT, replace(SHUT, said={"milliamperes": 5000})], Event.READ_BACK_TARGET, False),
]


@pytest.mark.parametrize(("op", "looks", "event", "doubted"), ENDS)
def test_the_second_look_decides(op, looks, event, doubted):
    assert event_of(order(op), looks) is event
    assert (doubt_of(order(op), looks) != "") is doubted


@pytest.mark.parametrize("control", ControlState)
@pytest.mark.parametrize("connected", [True, False, 1, 0])
def test_the_state_of_a_relay_is_taken_as_the_meter_says_it(connected, control):
    relay = RELAY | {OUTPUT_STATE: connected, CONTROL_STATE: control.value}
    evidence = evidence_of(order(Operation.CONNECT), "M", relay, SCENE)
    assert evidence.output is (OutputState.CONNECTED if connected else OutputState.DISCONNECTED)
    assert evidence.control is control and not evidence.there


@pytest.mark.parametrize("value", [True, 2, "1", [1], None, REFUSED])
def test_a_state_that_is_none_is_not_known(value):
    relay = {OUTPUT_STATE: value, CONTROL_STATE: 3 if value == 2 else value, CONTROL_MODE: value, PAYMENT_MODE: value}
    evidence = evidence_of(order(Operation.CONNECT), "M", relay, SCENE)
    assert evidence.output is (OutputState.CONNECTED if value is True else None)
    assert (evidence.control, evidence.control_mode) == (None, 2 if value == 2 else None)
