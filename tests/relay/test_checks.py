"""The check table: each check refuses its case, and with that check deleted the very same case is accepted."""

from dataclasses import replace

import pytest

from dcu.command import CommandRefused, ControlState, Operation, OutputState, Refusal, RelaySequence, Why
from dcu.config.meter_models import shipped
from dcu.meter import Meter
from dcu.reading import ClockState
from dcu.relay.canonical import canonical
from dcu.relay.case import Case, Evidence
from dcu.relay.checks import TABLE, When, check_all
from dcu.relay.policy import Area, Policy
from dcu.relay.schema import UNBUILT, read_command
from tests.relay.world import DCU, DHANBAD, FAR_METER, ISS, JID, METER, NOW, RANCHI, World, trust

POLICY = Policy(
    ISS, DCU, 1, NOW, NOW, NOW + 9999, {RANCHI: Area(True, NOW)}, {METER: RANCHI}, frozenset()
)  # fmt: skip
BUS_METER = Meter(METER, "north", shipped()["is15959-1ph"], 17, RANCHI, sim=True)
STAGES = (When.ACCEPTED, When.DUE)


def good(op: Operation, stage: When) -> Case:
    claims = World().start_claims(op.value)
    due = stage is When.DUE
    connected = op is not Operation.CONNECT
    evidence = Evidence(
        METER,
        OutputState.CONNECTED if connected else OutputState.DISCONNECTED,
        ControlState.CONNECTED if connected else ControlState.DISCONNECTED,
        4,
        1,
    )
    return Case(
        command=read_command(claims),
        claims=claims,
        digest=b"d" * 32,
        known=None,
        kids=("apr-1", "req-1") if op is Operation.DISCONNECT else ("req-1",),
        trust=trust(),
        policy=POLICY if op is not Operation.CONNECT else None,
        policy_fault="",
        dcu=DCU,
        jid=JID,
        now_s=NOW,
        clock=ClockState.TRUSTED,
        floor_s=NOW - 999_999,
        sequence=RelaySequence(5, 5) if due else RelaySequence(4, 4),
        meter=BUS_METER,
        set_aside=False,
        evidence=evidence if due else None,
    )


def command(**changes):
    return lambda case: replace(case, command=replace(case.command, **changes))


def evidence(**changes):
    return lambda case: replace(case, evidence=replace(case.evidence, **changes))


def with_(**changes):
    return lambda case: replace(case, **changes)


def expecting_otherwise(case):
    other = {OutputState.CONNECTED: OutputState.DISCONNECTED, OutputState.DISCONNECTED: OutputState.CONNECTED}
    return replace(case, command=replace(case.command, expect=other[case.evidence.output]))


def too_low(case):
    highest = case.command.seq + (1 if case.evidence else 0)
    return replace(case, sequence=RelaySequence(highest, highest))


R = Refusal
TAMPERED = [
    ("keys", R.E_KID, with_(trust=trust(without=("req-1",)))),
    ("keys", R.E_KEY, with_(trust=trust(req_1={"revoked": True}))),
    ("keys", R.E_KEY, with_(trust=trust(req_1={"exp": NOW}))),
    ("keys", R.E_KEY, with_(trust=trust(req_1={"nbf": NOW + 1}))),
    ("target", R.E_TARGET, command(dcu="JH-RNC-0043")),
    ("target", R.E_TARGET, command(iss="hes.other")),
    ("journal", R.E_JID, command(jid="j-older")),
    ("id", R.E_ID_REUSE, with_(known=b"e" * 32)),
    ("one voice", R.E_QUORUM, with_(kids=("pol-a",))),
    ("one voice", R.E_QUORUM, with_(kids=("pol-a", "req-1"))),
    ("one voice", R.E_QUORUM, with_(kids=())),
    ("two persons", R.E_QUORUM, with_(kids=("req-1",))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-1",))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-1", "apr-asha"))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-asha", "req-1"))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-1", "pol-a", "req-1"))),
    ("life", R.E_TTL, command(iat=NOW - 1, exp=NOW + 4 * 3600)),
    ("life", R.E_TTL, command(iat=NOW + 30, exp=NOW + 30)),
    ("time", R.E_EARLY, command(nbf=NOW + 61)),
    ("time", R.E_EARLY, command(iat=NOW + 61)),
    ("time", R.E_EXPIRED, command(iat=NOW - 60, exp=NOW)),
    ("time", R.E_EXPIRED, with_(floor_s=NOW + 3600)),
    ("time of connect", R.E_EARLY, command(iat=NOW + 61)),
    ("time of connect", R.E_EXPIRED, command(iat=NOW - 60, exp=NOW)),
    ("time of connect", R.E_EXPIRED, with_(clock=ClockState.UNTRUSTED, floor_s=NOW + 3600)),
    ("sequence", R.E_SEQ, too_low),
    ("sequence of connect", R.E_SEQ, too_low),
    ("meter", R.E_METER, with_(meter=replace(BUS_METER, serial=FAR_METER))),
    ("meter", R.E_METER, with_(set_aside=True)),
    ("identity", R.E_METER, evidence(serial=FAR_METER)),
    ("relay", R.E_METER, evidence(output=None)),
    ("relay", R.E_METER, evidence(control_mode=0)),
    *(("built", R.E_POLICY, lambda c, name=name: replace(c, claims={**c.claims, name: 1})) for name in sorted(UNBUILT)),
    ("virtual", R.E_POLICY, with_(meter=replace(BUS_METER, sim=False))),
    ("reason", R.E_POLICY, command(why=Why.ARREARS)),
    ("reason", R.E_POLICY, command(why=Why.SAFETY)),
    ("reason", R.E_POLICY, command(why=Why.REQUEST)),
    ("reason of message", R.E_POLICY, command(why=Why.ARREARS)),
    ("reason of message", R.E_POLICY, command(why=Why.SAFETY)),
    ("policy", R.E_POLICY, command(pol=2)),
    ("policy", R.E_POLICY, with_(policy=None)),
    ("policy of message", R.E_POLICY, command(pol=2)),
    ("policy of message", R.E_POLICY, with_(policy=None)),
    ("area", R.E_AREA, command(area=DHANBAD)),
    ("area", R.E_AREA, with_(meter=replace(BUS_METER, area=DHANBAD))),
    (
        "area",
        R.E_AREA,
        with_(policy=replace(POLICY, meters={METER: "JH-BKR"}, areas={"JH-BKR": Area(True, NOW)})),
    ),
    ("live", R.E_NOT_LIVE, with_(policy=replace(POLICY, areas={RANCHI: Area(False, NOW)}))),
    ("live", R.E_NOT_LIVE, with_(policy=replace(POLICY, areas={RANCHI: Area(True, NOW + 1)}))),
    ("prepaid", R.E_NOT_PREPAID, evidence(payment_mode=0)),
    ("prepaid", R.E_NOT_PREPAID, evidence(payment_mode=None)),
    ("state", R.E_STATE, expecting_otherwise),
]
NOTHING_BEHIND = {
    ("keys", R.E_KID): KeyError,
    ("policy", R.E_POLICY): R.E_AREA,
    ("policy of message", R.E_POLICY): R.E_AREA,
}
"""Where a later check would stumble over the same fault: what then answers in its place."""

BY_NAME = {check.name: check for check in TABLE}


def cells():
    for name, code, tamper in TAMPERED:
        check = BY_NAME[name]
        for op in Operation:
            for stage in STAGES:
                if check.when(op) in {stage, When.BOTH}:
                    yield pytest.param(
                        name, code, tamper, op, stage, id=f"{name}-{code.value}-{op.value}-{stage.value}"
                    )


def outcome(case, table=TABLE):
    try:
        check_all(case, table)
    except CommandRefused as refusal:
        return refusal.code
    except KeyError:
        return KeyError
    return "accepted"


@pytest.mark.parametrize("op", Operation)
@pytest.mark.parametrize("stage", STAGES)
def test_what_is_in_order_passes(op, stage):
    assert outcome(good(op, stage)) == "accepted"


@pytest.mark.parametrize(("name", "code", "tamper", "op", "stage"), list(cells()))
def test_a_check_refuses_and_nothing_else_would(name, code, tamper, op, stage):
    case = tamper(good(op, stage))
    assert outcome(case) is code
    without = tuple(check for check in TABLE if check.name != name)
    assert outcome(case, without) in {"accepted", NOTHING_BEHIND.get((name, code))}


def test_every_check_and_every_code_of_the_table_has_a_case():
    assert {(name, code) for name, code, _ in TAMPERED} == {(c.name, code) for c in TABLE for code in c.codes}


def test_the_table_is_in_order_and_forgets_nothing_when_due():
    assert [c.number for c in TABLE] == sorted(c.number for c in TABLE)
    for check in TABLE:
        for op in Operation:
            assert check.when(op) is not When.ACCEPTED or check.name == "id", "its debit only is not repeated when due"


def test_a_check_that_says_nothing_of_an_operation_is_written_so():
    silent = {(c.name, op.value) for c in TABLE for op in Operation if c.when(op) is When.NEVER}
    assert ("two persons", "disconnect") not in silent and ("live", "disconnect") not in silent
    assert {name for name, op in silent if op == "disconnect"} == {
        "one voice",
        "time of connect",
        "sequence of connect",
        "reason of message",
        "policy of message",
    }


@pytest.mark.parametrize("stage", STAGES)
def test_connect_stands_on_an_untrusted_clock_but_a_cut_does_not(stage):
    def years_on(case):
        return replace(case, clock=ClockState.UNTRUSTED, now_s=NOW + 10 * 365 * 86400)

    assert outcome(years_on(good(Operation.CONNECT, stage))) == "accepted"
    assert outcome(years_on(good(Operation.DISCONNECT, stage))) is R.E_EXPIRED


def test_a_model_that_has_no_payment_mode_register_is_named_by_the_policy():
    case = evidence(payment_mode=None)(good(Operation.DISCONNECT, When.DUE))
    exempting = replace(POLICY, no_payment_mode_register=frozenset({"is15959-1ph"}))
    assert outcome(replace(case, policy=exempting)) == "accepted"


def test_a_general_notice_needs_neither_policy_nor_area():
    case = command(why=Why.REQUEST, area=None)(good(Operation.MESSAGE, When.ACCEPTED))
    assert outcome(replace(case, policy=None)) == "accepted"


SCHEMA_FAULTS = {
    "no op": {"op": ...},
    "unknown op": {"op": "limit"},
    "op no text": {"op": ["disconnect"]},
    "version": {"v": 2},
    "version true": {"v": True},
    "typ": {"typ": "policy"},
    "unknown member": {"meters": "all"},
    "missing exp": {"exp": ...},
    "missing pol": {"pol": ...},
    "missing seq": {"seq": ...},
    "missing why": {"why": ...},
    "credit without area": {"area": ...},
    "seq 0": {"seq": 0},
    "seq true": {"seq": True},
    "seq text": {"seq": "7"},
    "iat negative": {"iat": -1},
    "nbf null": {"nbf": None},
    "wildcard meter": {"meter": "*"},
    "list of meters": {"meter": ["A", "B"]},
    "long id": {"cmd_id": "x" * 41},
    "empty id": {"cmd_id": ""},
    "why": {"why": "holiday"},
    "expect": {"expect": "open"},
    "text in a disconnect": {"text": "hello"},
}


@pytest.mark.parametrize("changes", SCHEMA_FAULTS.values(), ids=SCHEMA_FAULTS)
def test_a_payload_that_has_not_the_schema(changes):
    claims = World().start_claims("disconnect") | changes
    with pytest.raises(CommandRefused) as refusal:
        read_command({name: value for name, value in claims.items() if value is not ...})
    assert refusal.value.code is R.E_SCHEMA


@pytest.mark.parametrize(
    ("op", "changes"),
    [
        ("connect", {"nbf": NOW}),
        ("connect", {"pol": 1}),
        ("connect", {"area": "A"}),
        ("message", {"seq": 1}),
        ("message", {"text": "x" * 65}),
        ("message", {"text": ""}),
        ("message", {"expect": "connected"}),
    ],
)
def test_members_of_other_operations(op, changes):
    with pytest.raises(CommandRefused, match="E_SCHEMA"):
        read_command(World().start_claims(op) | changes)


def test_claims_of_the_tests_are_canonical():
    for op in Operation:
        assert canonical(World().start_claims(op.value))
