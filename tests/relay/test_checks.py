"""The check table: each check refuses its case, and with that check deleted the very same case is accepted."""

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
    Refusal,
    RelaySequence,
    Restraint,
    State,
    Why,
)
from dcu.config.meter_models import shipped
from dcu.meter import Meter
from dcu.reading import ClockState
from dcu.relay.case import Case, Evidence, Ledger, Moment
from dcu.relay.checks import COLUMNS, TABLE, When, check_all, freshness, meters, safety
from dcu.relay.checks.freshness import FREE_NUMBERS, LAST_CUT, STEP
from dcu.relay.checks.meters import RANGES_AT_MOST
from dcu.relay.checks.safety import spacing_left_s
from dcu.relay.permit import Leave, Permit
from dcu.relay.policy import Area, Caps, Reconnect, Shield, read_policy
from dcu.relay.policy.floor import LEAST_LIMIT_W
from dcu.relay.public_key import Role
from dcu.relay.schema import read_command
from dcu.relay.withdrawals import AT_MOST
from tests.relay.world import (
    DATE,
    DAY,
    DCU,
    DHANBAD,
    FAR_METER,
    ISS,
    JID,
    METER,
    NOW,
    PERMIT_ID,
    RANCHI,
    World,
    trust,
)

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
ARMING = replace(POLICY, areas={RANCHI: replace(AREA, reconnect=Reconnect.ARM)})
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


def expecting_otherwise(case):
    other = {OutputState.CONNECTED: OutputState.DISCONNECTED, OutputState.DISCONNECTED: OutputState.CONNECTED}
    return replace(case, command=replace(case.command, expect=other[case.evidence.output]))


def too_low(case):
    highest = (case.command.seq or 0) + (1 if case.evidence else 0)
    return ledger(sequence=RelaySequence(highest, highest))(case)


def first_kid(**changes):
    """Something is the matter with the first key that signed."""

    def tamper(case):
        kid = case.kids[0].replace("-", "_")
        return replace(case, trust=trust(**{kid: changes}))

    return tamper


def with_role(key, role):
    return with_(trust=trust(**{key: {"roles": frozenset({role})}}))


def without_first_kid(case):
    return replace(case, trust=trust(without=case.kids[:1]))


def restrained(kind):
    return ledger(restraints=(Restraint(kind, "", "ravi", "work", HOUR, NOW + 1),))


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
    ("keys", R.E_KID, without_first_kid),
    ("keys", R.E_KEY, first_kid(revoked=True)),
    ("dates of keys", R.E_KEY, first_kid(exp=NOW)),
    ("dates of keys", R.E_KEY, first_kid(nbf=NOW + 1)),
    ("dates of keys", R.E_KEY, of(first_kid(exp=NOW - 9 * DAY), moment(clock=ClockState.UNTRUSTED, heard=False))),
    ("key document", R.E_KEY, with_(trust=replace(TRUST, exp=NOW))),
    ("target", R.E_TARGET, command(dcu="JH-RNC-0043")),
    ("target", R.E_TARGET, command(iss="hes.other")),
    ("journal", R.E_JID, command(jid="j-older")),
    ("id", R.E_ID_REUSE, ledger(known=b"e" * 32)),
    ("restrainer", R.E_QUORUM, with_(kids=("plan-1",))),
    ("restrainer", R.E_QUORUM, with_(kids=())),
    ("asker", R.E_QUORUM, with_(kids=("pol-a",))),
    ("asker", R.E_QUORUM, with_(kids=("pol-a", "req-1"))),
    ("asker", R.E_QUORUM, with_(kids=())),
    ("asker", R.E_QUORUM, with_(kids=("root-a",))),
    ("billing", R.E_QUORUM, with_(kids=("apr-1", "req-1"))),
    ("billing", R.E_QUORUM, with_(kids=("bill-1", "req-1"))),
    ("two persons", R.E_QUORUM, with_(kids=("req-1",))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-1",))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-asha", "req-1"))),
    ("two persons", R.E_QUORUM, with_(kids=("bill-1", "wit-1"))),
    ("two persons", R.E_QUORUM, with_(kids=("apr-1", "apr-asha"))),
    ("two persons", R.E_QUORUM, of(with_(kids=("apr-1", "req-1")), with_role("apr_1", Role.REQUEST))),
    ("after safety", R.E_QUORUM, ledger(sequence=RelaySequence(4, 4, 3))),
    ("profile", R.E_QUORUM, with_(kids=("bill-1",))),
    ("profile", R.E_QUORUM, with_(kids=("wit-1",))),
    ("profile", R.E_QUORUM, with_(kids=("apr-1", "req-1"))),
    ("profile", R.E_QUORUM, with_(kids=("bill-1", "req-1", "wit-1"))),
    ("profile", R.E_QUORUM, with_(trust=trust(wit_1={"admin": "KIRAN"}))),
    ("profile", R.E_QUORUM, with_(trust=trust(wit_1={"admin": "billing"}))),
    ("profile", R.E_QUORUM, with_role("wit_1", Role.BILLING)),
    ("profile", R.E_QUORUM, with_role("bill_1", Role.WITNESS)),
    ("profile", R.E_QUORUM, of(strict, with_(kids=("req-1",)))),
    ("profile", R.E_QUORUM, of(strict, with_(kids=("apr-asha", "req-1")))),
    ("profile", R.E_QUORUM, of(strict, with_(kids=("apr-1", "pol-a", "req-1")))),
    ("profile", R.E_QUORUM, of(arrears, with_(kids=("bill-1", "wit-1")))),
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
STUMBLES = {
    ("keys", R.E_KID): {KeyError},
    ("dates of keys", R.E_KEY): {R.E_CLOCK},  # of a clock that nobody knows
    ("policy", R.E_POLICY): {R.E_POLICY},
    ("area of message", R.E_POLICY): {R.E_POLICY},
    ("meter", R.E_METER): {R.E_AREA},
    ("notice", R.E_NOTICE): {R.E_GRACE},
    ("live", R.E_NOT_LIVE): {R.E_NOTICE},  # nobody was told of low credit since then
}
"""Where a later check would stumble over the same fault: what then answers in its place."""

BY_NAME = {check.name: check for check in TABLE}


def cells():
    for number, (name, code, tamper) in enumerate(TAMPERED):
        check = BY_NAME[name]
        for op in COLUMNS:
            for stage in STAGES:
                if check.when(op) in {stage, When.BOTH}:
                    yield pytest.param(
                        name, code, tamper, op, stage, id=f"{number}-{name}-{code.value}-{op.value}-{stage.value}"
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


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("turn", [strict, arrears, of(arrears, command(why=Why.SAFETY, notice=None, case=None))])
def test_the_strict_profile_passes(stage, turn):
    assert outcome(turn(good(Operation.DISCONNECT, stage))) == "accepted"


AT_THE_EDGE = {
    "four hours": command(iat=NOW, exp=NOW + 4 * HOUR),
    "a clock a minute ahead": command(iat=NOW + 60),
    "begins within a minute": command(nbf=NOW + 60),
    "the last second": command(exp=NOW + 1),
    "a second behind the floor": moment(floor_s=NOW + HOUR - 1),
    "a key of this second": first_kid(nbf=NOW),
    "a key in its last second": first_kid(exp=NOW + 1),
    "a key document in its last second": with_(trust=replace(TRUST, exp=NOW + 1)),
    "live since now": of(
        policy(areas={RANCHI: replace(AREA, since=NOW, grace_days=0)}, emergency_h=0), command(low_credit_at=NOW)
    ),
    "told sixty days ago": of(
        policy(areas={RANCHI: replace(AREA, since=NOW - 90 * DAY)}), command(low_credit_at=NOW - 60 * DAY)
    ),
    "a notice two years old": of(arrears, command(notice=NOW - 731 * DAY)),
    "a permit's last, and its total's": ledger(leave=replace(leave(), total=5)),
    "the last number of a cut": of(command(seq=LAST_CUT), ledger(sequence=RelaySequence(LAST_CUT - 1, 5))),
    "grace that is just over": policy(grace={METER: NOW}),
    "converted thirty days ago": policy(areas={RANCHI: replace(AREA, since=NOW - 30 * DAY)}),
    "emergency credit that is just over": command(low_credit_at=NOW - 72 * HOUR),
    "told this very second": of(policy(emergency_h=0), command(low_credit_at=NOW)),
    "a ledger read an hour ago": command(ledger_at=NOW - HOUR),
    "a ledger read by a clock ahead": command(ledger_at=NOW + 60),
    "a notice fifteen days old": of(arrears, command(notice=NOW - 15 * DAY)),
    "one that does not expect anything": command(expect=None),
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


@pytest.mark.parametrize("name", AT_THE_EDGE)
@pytest.mark.parametrize("stage", STAGES)
def test_what_is_just_in_order_passes(name, stage):
    assert outcome(AT_THE_EDGE[name](good(Operation.DISCONNECT, stage))) == "accepted"


@pytest.mark.parametrize("op", [Operation.FREEZE, Operation.CANCEL])
@pytest.mark.parametrize("kid", ["req-1", "apr-1", "bill-1", "wit-1", "pol-a", "per-1"])
def test_whoever_has_a_say_may_take_back_and_stop(op, kid):
    assert outcome(with_(kids=(kid,))(good(op, When.ACCEPTED))) == "accepted"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kid", ["req-1", "apr-1", "bill-1"])
def test_one_who_asks_is_enough_for_light(kid, stage):
    assert outcome(with_(kids=(kid,))(good(Operation.CONNECT, stage))) == "accepted"


def test_the_whole_box_is_frozen_without_naming_a_meter():
    case = of(command(meter=""), with_(meter=None))(good(Operation.FREEZE, When.ACCEPTED))
    assert outcome(case) == "accepted"


def test_a_command_that_is_known_by_its_own_digest_and_one_range_more():
    known = good(Operation.CONNECT, When.ACCEPTED)
    assert outcome(ledger(known=known.digest)(known)) == "accepted"
    assert outcome(ledger(ranges=15)(good(Operation.RESEND, When.ACCEPTED))) == "accepted"
    assert outcome(ledger(ranges=16)(good(Operation.RESEND, When.ACCEPTED))) is R.E_FLOOD


@pytest.mark.parametrize(("window_s", "n", "words"), [(HOUR, 2, "hour"), (DAY, 5, "day"), (7 * DAY, 20, "week")])
def test_a_cap_is_told_with_its_window(window_s, n, words):
    with pytest.raises(CommandRefused, match=f"{n} in the {words}; the policy allows {n}"):
        check_all(in_the_same_window(n, window_s)(good(Operation.DISCONNECT, When.ACCEPTED)))


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


@pytest.mark.parametrize(("name", "code", "tamper", "op", "stage"), list(cells()))
def test_a_check_refuses_and_nothing_else_would(name, code, tamper, op, stage):
    case = tamper(good(op, stage))
    assert outcome(case) is code
    without = tuple(check for check in TABLE if check.name != name)
    assert outcome(case, without) in {"accepted"} | STUMBLES.get((name, code), set())


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


# ---- a disconnect by another name -----------------------------------------------------------------------------------


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


# ---- connects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_connect_stands_where_a_cut_does_not(stage):
    """Any hour, no policy, no permit, no lease, a clock ten years off, a freeze, an expired key document and key."""

    def anything(case):
        case = moment(clock=ClockState.UNTRUSTED, now_s=NOW + 10 * 365 * DAY)(case)
        dated = trust(req_1={"nbf": NOW - DAY, "exp": NOW + DAY})
        case = with_(policy=None, leases=(), trust=replace(dated, exp=NOW))(case)
        return restrained("freeze")(case)

    assert outcome(anything(good(Operation.CONNECT, stage))) == "accepted"
    assert outcome(anything(good(Operation.DISCONNECT, stage))) is not "accepted"  # noqa: F632


@pytest.mark.parametrize(("clock", "known_s"), [*zip(ClockState, (NOW, NOW, None), strict=True)])
def test_dates_of_documents_are_judged_by_a_clock_that_was_right_within_a_day(clock, known_s):
    case = moment(clock=clock)(good(Operation.CONNECT, When.ACCEPTED))
    assert case.moment.known_s == known_s
    assert outcome(first_kid(exp=NOW)(case)) == ("accepted" if known_s is None else R.E_KEY)


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


def test_after_a_cut_for_safety_two_people_connect():
    case = ledger(sequence=RelaySequence(4, 4, 3))(good(Operation.CONNECT, When.ACCEPTED))
    assert outcome(with_(kids=("apr-1", "req-1"))(case)) == "accepted"
    assert outcome(with_(kids=("bill-1", "wit-1"))(case)) is R.E_QUORUM


# ---- exceptions that a policy makes ---------------------------------------------------------------------------------


def test_a_model_that_has_no_payment_mode_register_is_named_by_the_policy():
    case = evidence(payment_mode=None)(good(Operation.DISCONNECT, When.DUE))
    assert outcome(policy(no_payment_mode_register=frozenset({"is15959-1ph"}))(case)) == "accepted"


def test_a_general_notice_needs_neither_policy_nor_area():
    case = command(why=Why.REQUEST, area=None)(good(Operation.MESSAGE, When.ACCEPTED))
    assert outcome(replace(case, policy=None)) == "accepted"


def test_a_meter_of_an_arming_area_that_waits_for_its_button_is_connected():
    case = with_(kept=ARMING)(good(Operation.CONNECT, When.DUE))
    for mode in (1, 3, 5, 6, None):
        assert outcome(evidence(control_mode=mode)(case)) == "accepted"


@pytest.mark.parametrize(("hour", "opens"), [(7, False), (8, True), (17, True), (18, False), (0, False), (23, False)])
def test_no_policy_opens_the_night(hour, opens):
    local_midnight = NOW - (12 * HOUR + 40 * 60)
    case = policy(hours=dict.fromkeys(("mon", "tue"), (0, 1440)))(good(Operation.DISCONNECT, When.ACCEPTED))
    at = local_midnight + hour * HOUR
    case = command(iat=at, exp=at + HOUR, ledger_at=at)(moment(now_s=at, floor_s=0)(case))
    assert outcome(case) == ("accepted" if opens else R.E_WINDOW)


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
