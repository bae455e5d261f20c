"""Deny by default: whatever is signed, nothing but a refusal with its code comes of it, and the box lives on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.command import CommandRefused, Refusal, State
from dcu.relay import dispatch, intake
from dcu.relay.canonical import canonical
from dcu.relay.case import Evidence
from dcu.relay.envelope import claims_of, payload_of
from dcu.relay.key_document import read_key_document
from dcu.relay.letters import Brought
from dcu.relay.permit import read_permit
from dcu.relay.policy import compare, read_policy
from dcu.relay.receipts import ReadBack
from dcu.relay.schema import OPERATIONS, READERS, hints, read_command
from tests.relay.running import key_document
from tests.relay.test_policy import claims as policy_claims
from tests.relay.test_policy import permit_claims
from tests.relay.world import ISS, METER, World, commissioned

WORLD = World()
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 53), 1 << 53),
    st.sampled_from([0, -1, 1 << 40, (1 << 40) + 1, 1 << 53]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=50),
    st.sampled_from(
        ["9999-12-31", "0001-01-01", "9999-12-31T23:59/9999-12-31", "24:00-24:00", "Asia", "Etc/GMT-14", ""]
    ),
)
COMMON = {"v", "typ", "op", "cmd_id", "iss", "dcu", "jid", "iat", "exp"}
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "mon", METER, "x y"]), inner, max_size=3)
    ),
    max_leaves=6,
)
DOCUMENTS = {
    "command": (read_command, WORLD.start_claims("disconnect")),
    "policy": (read_policy, policy_claims()),
    "permit": (read_permit, permit_claims()),
    "keys": (read_key_document, claims_of(payload_of(key_document()))),
}


def places(value, path=()):
    """Every place in a document, the whole of it first."""
    yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list):
        for n in range(len(value)):
            yield from places(value[n], (*path, n))


def put_at(value, path, new):
    if not path:
        return new
    inner = dict(value) if isinstance(value, dict) else list(value)
    inner[path[0]] = put_at(value[path[0]], path[1:], new)
    return inner


def outcome(read, claims):
    try:
        return read(claims)
    except CommandRefused as refusal:
        return refusal


@pytest.mark.parametrize("kind", DOCUMENTS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_value_anywhere_is_taken_or_refused_in_words(kind, data):
    read, document = DOCUMENTS[kind]
    path = data.draw(st.sampled_from([p for p in places(document) if p]))
    changed = put_at(document, path, data.draw(JSON))
    taken = outcome(read, changed)
    if isinstance(taken, CommandRefused):
        assert taken.code in {Refusal.E_SCHEMA, Refusal.E_POLICY} and taken.cause
    elif kind == "policy":
        compare(read_policy(document), taken)
        compare(taken, read_policy(document))
        taken.open_at(1_795_417_800)
        taken.grace_until_s(METER)
        taken.date_at(1_795_417_800)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*READERS, "v", "typ", "op", "x"]), JSON), st.sampled_from(list(OPERATIONS)))
def test_any_members_of_any_operation_are_taken_or_refused(members, op):
    taken = outcome(read_command, {**WORLD.start_claims("connect"), **members, "op": op.value})
    assert not isinstance(taken, CommandRefused) or taken.code is Refusal.E_SCHEMA


def test_every_member_of_every_operation_has_a_reader_and_a_place():
    from dataclasses import fields

    from dcu.command import Command

    named = {member for required, optional in OPERATIONS.values() for member in required | optional}
    common = {"cmd_id", "iss", "dcu", "jid", "iat", "exp"}
    assert named | common == set(READERS)
    assert set(READERS) | {"op"} == {field.name for field in fields(Command)}


@pytest.fixture
def world():
    world = commissioned()
    yield world
    world.end()
    assert world.fallen is None


def stumble(*_args, **_more):
    raise ZeroDivisionError("our bug")


def test_a_bug_in_the_judging_refuses_and_the_box_goes_on(world, monkeypatch):
    document = world.command()
    with monkeypatch.context() as patch:
        patch.setattr(intake.Docket, "command", stumble)
        assert world.put(document).code is Refusal.E_SCHEMA
    assert world.put(document).status == "accepted" and world.wall[METER].acts == [1]


def test_a_bug_in_the_second_judging_ends_the_command_not_the_box(world, monkeypatch):
    world.wall[METER].connected = False
    with monkeypatch.context() as patch:
        patch.setattr(dispatch.Life, "dispatch", stumble)
        assert world.put(world.command("connect")).status == "accepted"
        assert world.states() == {"c-1": State.REFUSED}
    assert world.put(world.command("connect")).status == "accepted" and world.wall[METER].connected


def test_a_bug_behind_the_dispatch_ends_the_command_in_doubt_not_the_box(world, monkeypatch):
    settle = dispatch.Life.settle

    def stumbles(life, key, event, reason="", readback=()):
        if readback:
            raise ZeroDivisionError("our bug")
        return settle(life, key, event, reason)

    with monkeypatch.context() as patch:
        patch.setattr(dispatch.Life, "settle", stumbles)
        assert world.put(world.command()).status == "accepted"
        assert world.states() == {"c-1": State.IN_DOUBT}
    assert world.receipts()[-1].claims["reason"] == "unforeseen ZeroDivisionError"
    assert world.put(world.command("connect")).status == "accepted" and world.wall[METER].connected


def test_a_bug_where_a_read_is_told_ends_the_read_not_the_box(world, monkeypatch):
    monkeypatch.setattr(dispatch.Life, "bring", stumble)
    world.put(world.command("read", attribute="1:0.0.96.1.0.255/2"), work=False)
    world.desk._letters.post(Brought((ISS, "c-1"), Evidence(METER)), urgent=True)
    world.settle()
    assert world.states() == {"c-1": State.REFUSED}
    world.bus.queue.clear()
    assert world.put(world.command()).status == "accepted" and world.wall[METER].acts == [1]


@pytest.mark.parametrize("number", [1 << 53, (1 << 53) + 1, -(1 << 63), (1 << 64) - 1, 10**400])
def test_a_number_that_no_receipt_can_carry_is_told_by_its_digits(number):
    told = ReadBack(said={"watts": number}).claims["watts"]
    assert told == number if abs(number) <= 1 << 53 else told == str(number)[:200]
    canonical({"watts": told})


SCHEMA_FAULTS = {
    "no op": {"op": ...},
    "unknown op": {"op": "format"},
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
    "iat beyond all times": {"iat": (1 << 40) + 1},
    "nbf null": {"nbf": None},
    "wildcard meter": {"meter": "*"},
    "list of meters": {"meter": ["A", "B"]},
    "no meter": {"meter": ""},
    "long id": {"cmd_id": "x" * 41},
    "empty id": {"cmd_id": ""},
    "why": {"why": "holiday"},
    "expect": {"expect": "open"},
    "text in a disconnect": {"text": "hello"},
    "watts in a disconnect": {"watts": 1},
}


@pytest.mark.parametrize("changes", SCHEMA_FAULTS.values(), ids=SCHEMA_FAULTS)
def test_a_payload_that_has_not_the_schema(changes):
    claims = WORLD.start_claims("disconnect") | changes
    with pytest.raises(CommandRefused) as refusal:
        read_command({name: value for name, value in claims.items() if value is not ...})
    assert refusal.value.code is Refusal.E_SCHEMA


def cause_of(claims):
    with pytest.raises(CommandRefused, match="E_SCHEMA") as refusal:
        read_command(claims)
    return refusal.value.cause


def with_member(member, value):
    """Of the operation that has it, that member first: it is read before the others, which are empty."""
    op = next(op for op, (required, optional) in OPERATIONS.items() if member in COMMON | required | optional)
    names = COMMON | OPERATIONS[op][0]
    return {member: value} | dict.fromkeys(names - {member}) | {"v": 1, "typ": "relay", "op": op.value}


@pytest.mark.parametrize("member", READERS)
def test_what_is_wrong_with_a_member_names_it(member):
    assert cause_of(with_member(member, None)).startswith(f"{member} is n")


def test_what_is_wrong_with_the_whole_is_named():
    claims = WORLD.start_claims("disconnect")
    assert cause_of(claims | {"op": None}).startswith("op is none of connect, ")
    assert cause_of(claims | {"watts": 1}) == "watts in a disconnect"
    assert cause_of({name: value for name, value in claims.items() if name not in {"pol", "seq"}}) == "pol, seq missing"


NUMBERS = {
    **dict.fromkeys(("iat", "nbf", "exp", "notice", "low_credit_at", "ledger_at"), (0, 1 << 40)),
    **dict.fromkeys(("since", "until", "recharged_at"), (0, 1 << 36)),
    **dict.fromkeys(("seq", "first", "last"), (1, 1 << 53)),
    "pol": (0, 1 << 53),
    "most_s": (1, 366 * 86400),
    "recharge": (0, 2147483647),
    "balance": (-2147483647, 2147483647),
    "watts": (0, 10_000_000),
    "payment_mode": (0, 1),
    "control_mode": (0, 6),
    "address": (0, 16383),
    "port": (1, 65535),
}


@pytest.mark.parametrize("member", NUMBERS)
def test_each_number_has_its_bounds(member):
    least, most = NUMBERS[member]
    assert [READERS[member](number, member) for number in (least, most)] == [least, most]
    for number in (least - 1, most + 1):
        assert cause_of(with_member(member, number)) == f"{member} is not a number from {least} to {most}"


PROFILE, ATTRIBUTE = "1.0.99.1.0.255", "3:1.0.12.7.0.255/1"
PLACE = {"bus": "n", "address": 1, "model": "m", "area": "a", "secrets": "s"}
OTHERS = [
    ("connect", {"nbf": 1}),
    ("connect", {"pol": 1}),
    ("connect", {"area": "A"}),
    ("message", {"text": "hello", "why": "request", "seq": 1}),
    ("message", {"text": "x" * 65, "why": "request"}),
    ("message", {"text": "", "why": "request"}),
    ("message", {"text": "x", "why": "request", "expect": "connected"}),
    ("message", {"text": "hello", "why": "credit"}),
    ("cancel", {}),
    ("freeze", {"meter": "*"}),
    ("freeze", {"seq": 1}),
    ("read", {}),
    ("read", {"profile": PROFILE, "attribute": ATTRIBUTE}),
    ("read", {"attribute": ATTRIBUTE, "since": 1}),
    ("read", {"attribute": ATTRIBUTE, "until": 1}),
    ("read", {"attribute": 3}),
    ("read", {"attribute": "None"}),
    ("read", {"attribute": "3:1.0.12.7.0/1"}),
    ("read", {"attribute": "03:1.0.12.7.0.255/1"}),
    ("read", {"attribute": "3:1.0.12.7.0.255/0"}),
    ("read", {"attribute": "3:1.0.12.7.0.255/" + "1" * 5000}),
    ("read", {"profile": "1.0.99.1.0"}),
    ("read", {"profile": "1.0.99.1.0.256"}),
    ("read", {"profile": "0001.0.99.1.0.255"}),
    ("read", {"profile": "1.0.99.1.0.0255"}),
    ("read", {"profile": "1.0.99.1.0.255", "since": 2, "until": 1}),
    ("resend", {"meter": ..., "stream": "receipt", "first": 2, "last": 1}),
    ("resend", {"meter": ..., "stream": "receipt", "first": 1, "last": 10_001}),
    ("resend", {"stream": "receipt", "first": 1, "last": 1}),
    ("clock-set", {"most_s": 0}),
    ("balance", {"recharge": -1, "recharged_at": 1, "balance": 1}),
    ("balance", {"recharge": 1, "recharged_at": 1, "balance": 10**11 + 1}),
    ("limit", {"watts": -1}),
    ("meter", {"change": "add"}),
    ("meter", {"change": "retire", "bus": "north"}),
    ("meter", {"change": "retire", "old": "x"}),
    ("meter", {"change": "retire", "host": "h"}),
    ("meter", {"change": "retire", "port": 1}),
    ("meter", {"change": "add", "host": "h" * 81} | PLACE),
    *(("meter", {"change": "add"} | {name: each for name, each in PLACE.items() if name != gone}) for gone in PLACE),
    ("meter", {"change": "replace", "bus": "n", "address": 1, "model": "m", "area": "a", "secrets": "s"}),
    ("meter", {"change": "add", "old": "x", "bus": "n", "address": 1, "model": "m", "area": "a", "secrets": "s"}),
    ("mode", {}),
    ("mode", {"payment_mode": 1, "control_mode": 1}),
    ("mode", {"payment_mode": 2}),
    ("mode", {"control_mode": 7}),
]


def read_other(op, changes):
    claims = WORLD.claims(op) | ({"text": ..., "area": ...} if op == "message" else {}) | changes
    return read_command({name: value for name, value in claims.items() if value is not ...})


@pytest.mark.parametrize(("op", "changes"), OTHERS)
def test_members_of_other_operations(op, changes):
    with pytest.raises(CommandRefused, match="E_SCHEMA"):
        read_other(op, changes)


NAMED_BY_A_CUT = {
    "seq": 7, "why": "arrears", "area": "A", "pol": 1, "lease": "L", "permit": "P", "case": "C", "notice": 1,
    "low_credit_at": 1, "ledger": "W", "ledger_at": 1, "nbf": 1,
}  # fmt: skip
TAKEN = [
    ("disconnect", NAMED_BY_A_CUT | {"expect": "connected"}),
    ("limit", NAMED_BY_A_CUT | {"watts": 0}),
    ("balance", NAMED_BY_A_CUT | {"recharge": 0, "recharged_at": 1, "balance": -1}),
    ("mode", NAMED_BY_A_CUT | {"control_mode": 0}),
    ("limit", {"watts": 1}),
    ("balance", {"recharge": 1, "recharged_at": 1, "balance": 1}),
    ("connect", {"why": "credit"}),
    ("message", {"text": "hello", "why": "credit", "area": "A"}),
    ("message", {"text": "hello", "why": "request"}),
    ("freeze", {"meter": ...}),
    ("read", {"profile": PROFILE, "since": 1, "until": 1}),
    ("read", {"profile": PROFILE, "since": 2}),
    ("read", {"profile": PROFILE, "until": 1}),
    ("read", {"attribute": ATTRIBUTE}),
    ("resend", {"meter": ..., "stream": "receipt", "first": 1, "last": 10_000}),
    ("resend", {"meter": ..., "stream": "receipt", "first": 5, "last": 5}),
    ("meter", {"change": "retire"}),
    ("meter", {"change": "add"} | PLACE),
    ("meter", {"change": "add", "host": "h", "port": 1} | PLACE),
    ("meter", {"change": "add", "host": "h" * 80} | PLACE),
    ("meter", {"change": "replace", "old": "x"} | PLACE),
    ("mode", {"payment_mode": 1}),
    ("mode", {"control_mode": 6}),
]


@pytest.mark.parametrize(("op", "changes"), TAKEN)
def test_members_that_other_operations_have(op, changes):
    command = read_other(op, changes)
    for member, value in changes.items():
        assert value is ... or getattr(getattr(command, member), "value", getattr(command, member)) == value


def test_what_is_legible_of_a_command_that_has_not_the_schema():
    assert hints({"iss": "hes", "cmd_id": "c-1", "op": "format", "meter": "M"}) == ("hes", "c-1", "format", "M")
    assert hints({"iss": 1, "cmd_id": "a b", "op": ["x"]}) == ("", "", "", "")
