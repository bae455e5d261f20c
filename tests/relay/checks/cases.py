"""Cases that pass, the ways in which they are tampered with, and what comes of them."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from dcu.command import (
    CommandRefused,
    ControlState,
    Debit,
    Operation,
    OutputState,
    Profile,
    RelaySequence,
    Restraint,
    State,
    Why,
)
from dcu.config.meter_models import shipped
from dcu.meter import Meter
from dcu.reading import ClockState
from dcu.relay.case import Case, Evidence, Ledger, Moment
from dcu.relay.checks import COLUMNS, TABLE, When, check_all
from dcu.relay.permit import Leave, Permit
from dcu.relay.policy import Area, Caps, Reconnect, read_policy
from dcu.relay.schema import read_command
from tests.relay.world import DATE, DAY, DCU, DHANBAD, FAR_METER, ISS, JID, METER, NOW, PERMIT_ID, RANCHI, World, trust

HOUR = 3600
KOLKATA = ZoneInfo("Asia/Kolkata")
LEASE = "L-1"
WORLD = World()
STAGES = (When.ACCEPTED, When.DUE)
BUS_METER = Meter(METER, "north", shipped()["is15959-1ph"], 17, RANCHI)
CAPS = Caps(2, 5, 20, 120, 900)
AREA = Area(True, NOW - 40 * DAY, Profile.PREPAID, Reconnect.CLOSE, 30)
TRUST = trust()
POLICY = replace(
    read_policy(WORLD.policy_claims()),
    areas={RANCHI: AREA, DHANBAD: Area(False, 0, Profile.ARREARS, Reconnect.CLOSE, 0)},
    meters={METER: RANCHI, FAR_METER: DHANBAD},
    emergency_h=72,
    caps={Profile.ARREARS: CAPS, Profile.PREPAID: CAPS},
)
STRICT = replace(POLICY, areas=POLICY.areas | {RANCHI: replace(AREA, profile=Profile.ARREARS)})
CREDIT = {"low_credit_at": NOW - 4 * DAY, "ledger": "W-1", "ledger_at": NOW - 600}
WRITTEN = {"notice": NOW - 16 * DAY, "case": "RNC-1"}
MORE = {
    "cancel": {"cancels": "c-4"},
    "read": {"profile": "1.0.99.1.0.255"},
    "resend": {"meter": ..., "stream": "receipt", "first": 1, "last": 2},
    "clock-set": {"most_s": 300},
    "balance": {"recharge": 100, "recharged_at": NOW, "balance": 500},
    "message": {"text": "Balance low", "why": "credit", "area": RANCHI},
    "limit": {"watts": 2000},
    "meter": {"change": "retire"},
    "mode": {"control_mode": 4},
}
KIDS = {
    Operation.DISCONNECT: ("bill-1", "wit-1"),
    Operation.MODE: ("apr-1", "req-1"),
    Operation.UNFREEZE: ("apr-1", "req-1"),
    Operation.METER: ("apr-1", "req-1"),
    Operation.BALANCE: ("bill-1",),
}


def leave(profile=Profile.PREPAID, **changes):
    of = "T-1" if profile is Profile.PREPAID else ""
    signers = (TRUST.keys["plan-1"], TRUST.keys["per-1"]) if of else (TRUST.keys["per-1"],)
    permit = Permit(PERMIT_ID, ISS, DCU, DATE, profile, 5, of, JID)
    return Leave(replace(permit, **changes), "", signers, 4)


def good(op: Operation, stage: When) -> Case:
    """A command that passes; a disconnect is for lack of credit, under the profile `prepaid`."""
    claims = WORLD.start_claims(op.value) | {"iat": NOW, "exp": NOW + HOUR} | MORE.get(op.value, {})
    if op is Operation.DISCONNECT:
        claims |= {"lease": LEASE, "case": ..., "notice": ..., **CREDIT}
    if op is Operation.MODE:
        claims |= {"lease": LEASE, "why": "arrears", **WRITTEN}
    claims = {name: value for name, value in claims.items() if value is not ...}
    due = stage is When.DUE
    connected = op is not Operation.CONNECT
    evidence = Evidence(
        METER,
        OutputState.CONNECTED if connected else OutputState.DISCONNECTED,
        ControlState.CONNECTED if connected else ControlState.DISCONNECTED,
        4,
        1,
        balance=400,
    )
    cuts = op in {Operation.DISCONNECT, Operation.MODE}
    profile = Profile.ARREARS if op is Operation.MODE else Profile.PREPAID
    ledger = Ledger(
        known=None,
        sequence=RelaySequence(5, 5) if due else RelaySequence(4, 4),
        debits=(debit(HOUR, 1), debit(2 * DAY, 2)),
        debited=cuts and due,
        restraints=(),
        leave=leave(profile) if cuts else Leave(),
        cancels=(METER, State.PENDING) if op is Operation.CANCEL else None,
        withdrawn=False,
        withdrawals=0,
        safety_waits=False,
        last_id=2 if op is Operation.RESEND else None,
        ranges=0,
    )
    return Case(
        command=read_command(claims),
        claims=claims,
        digest=b"d" * 32,
        kids=KIDS.get(op, ("req-1",)),
        trust=TRUST,
        policy=POLICY,
        policy_fault="",
        dcu=DCU,
        jid=JID,
        moment=Moment(NOW, ClockState.TRUSTED, NOW - 9 * DAY, "boot", 10 * DAY, heard=True),
        ledger=ledger,
        leases={LEASE},
        meter=BUS_METER,
        set_aside=False,
        meters=100,
        zone=KOLKATA,
        carried_out=frozenset(Operation),
        evidence=evidence if due else None,
        kept=POLICY,
    )


def debit(ago_s, n, *, profile=Profile.PREPAID, sent=True):
    at = (NOW - ago_s, "boot", 10 * DAY - ago_s)
    return Debit(ISS, f"c-{n}", profile, PERMIT_ID, *at, *((NOW - ago_s, 10 * DAY - ago_s) if sent else (None, None)))


def strict(case: Case) -> Case:
    """The same disconnect under the profile `arrears`: two people, notice and case."""
    command = replace(case.command, notice=WRITTEN["notice"], case=WRITTEN["case"])
    ledger = replace(case.ledger, leave=leave(Profile.ARREARS))
    return replace(case, command=command, policy=STRICT, kids=("apr-1", "req-1"), ledger=ledger)


def arrears(case: Case) -> Case:
    """For arrears: an area in which prepaid is not live will do."""
    command = replace(case.command, why=Why.ARREARS, low_credit_at=None, ledger=None, ledger_at=None)
    return strict(replace(case, command=command))


def command(**changes):
    return lambda case: replace(case, command=replace(case.command, **changes))


def evidence(**changes):
    return lambda case: replace(case, evidence=replace(case.evidence, **changes))


def ledger(**changes):
    return lambda case: replace(case, ledger=replace(case.ledger, **changes))


def policy(**changes):
    return lambda case: replace(case, policy=replace(case.policy, **changes))


def moment(**changes):
    return lambda case: replace(case, moment=replace(case.moment, **changes))


def with_(**changes):
    return lambda case: replace(case, **changes)


def of(*steps):
    def tamper(case):
        for step in steps:
            case = step(case)
        return case

    return tamper


def restrained(kind):
    return ledger(restraints=(Restraint(kind, "", "ravi", "work", HOUR, NOW + 1),))


def outcome(case, table=TABLE):
    try:
        check_all(case, table)
    except CommandRefused as refusal:
        return refusal.code
    except KeyError:
        return KeyError
    return "accepted"


CELL = ("name", "code", "tamper", "op", "stage")


def cells(tampered):
    """Each of these at each operation and stage to which the table applies its check."""
    by_name = {check.name: check for check in TABLE}
    for number, (name, code, tamper) in enumerate(tampered):
        for op in COLUMNS:
            for stage in STAGES:
                if by_name[name].when(op) in {stage, When.BOTH}:
                    yield pytest.param(
                        name, code, tamper, op, stage, id=f"{number}-{name}-{code.value}-{op.value}-{stage.value}"
                    )


def each_refuses(tampered, stumbles=None):
    """The test that each check refuses its case, and that with that check deleted the very same case is accepted.

    `stumbles`: where a later check would stumble over the same fault, what then answers in its place.
    """

    @pytest.mark.parametrize(CELL, list(cells(tampered)))
    def test(name, code, tamper, op, stage):
        case = tamper(good(op, stage))
        assert outcome(case) is code
        without = tuple(check for check in TABLE if check.name != name)
        assert outcome(case, without) in {"accepted"} | (stumbles or {}).get((name, code), set())

    return test


def each_passes(edges):
    """The test that a disconnect is accepted with each of these, which are just in order."""

    @pytest.mark.parametrize("name", edges)
    @pytest.mark.parametrize("stage", STAGES)
    def test(name, stage):
        assert outcome(edges[name](good(Operation.DISCONNECT, stage))) == "accepted"

    return test
