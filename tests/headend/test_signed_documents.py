"""Schemas of what is signed, held against the code that judges it: what the box reads they let pass."""

import copy

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from dcu.command import CommandRefused, Operation
from dcu.errors import ReplyMalformed
from dcu.headend.contract import SCHEMAS, Contract
from dcu.relay.canonical import to_base64url

WHY = "the relay room does not judge these documents yet"
read_key_document = pytest.importorskip("dcu.relay.key_document", reason=WHY).read_key_document
read_permit = pytest.importorskip("dcu.relay.permit", reason=WHY).read_permit
read_policy = pytest.importorskip("dcu.relay.policy.document", reason=WHY).read_policy
COMMANDS = pytest.importorskip("dcu.relay.schema", reason=WHY)
OPERATIONS, READERS, read_command = COMMANDS.OPERATIONS, COMMANDS.READERS, COMMANDS.read_command

CONTRACT = Contract()
COMMON = {"v", "typ", "cmd_id", "op", "iss", "dcu", "jid", "iat", "exp"}

VALUES = [
    None, True, False, "", "a", "A-b_c.9", "x" * 40, "x" * 41, "a b", "x" * 64, "x" * 65, "~" * 80, "[::1]:80",
    -1, 0, 1, 6, 7, 240, 1 << 16, (1 << 16) + 1, 366 * 86400, 366 * 86400 + 1, 10**7, 10**7 + 1, 10**11, 10**11 + 1,
    -(10**11), -(10**11) - 1, 1 << 40, (1 << 40) + 1, 1 << 53, (1 << 53) + 1, [], ["a"], {}, {"a": 1},
    "credit", "arrears", "connected", "ready", "add", "retire", "profile", "receipt", "profiles",
    (1 << 14) - 1, 1 << 14, (1 << 31) - 1, 1 << 31, 1 - (1 << 31), 1 << 36, (1 << 36) + 1, 65535,
    "3:1.0.12.7.0.255/2", "3:1.0.12.7.0/2", "3:1.0.12.7.0.255/0",
    "1.0.99.1.0.255", "1.0.99.1.0.256", "1.0.99.1.0", "01.0.99.1.0.255",
]  # fmt: skip


def passes(schema, value):
    try:
        CONTRACT.check_value(schema, value)
    except ReplyMalformed:
        return False
    return True


def reads(read, *value):
    try:
        read(*value)
    except CommandRefused:
        return False
    return True


def loaded(name):
    return CONTRACT._validators[name].schema


def test_members_of_each_operation_are_those_of_the_table():
    schema = loaded("command.json")
    assert set(schema["required"]) == COMMON
    assert set(schema["properties"]) - {"v", "typ", "op"} == set(READERS)
    assert schema["properties"]["op"]["enum"] == [op.value for op in Operation]
    found = {b["if"]["properties"]["op"]["const"]: b["then"] for b in schema["allOf"]}
    for op, (required, optional) in OPERATIONS.items():
        then = found.pop(op.value)
        assert set(then["required"]) == required
        assert set(then["propertyNames"]["enum"]) == COMMON | required | optional
    assert found == {}


@pytest.mark.parametrize("member", list(READERS))
def test_each_member_may_hold_what_the_box_reads(member):
    """No value that the box takes is refused by the schema; nor the other way, but for what only names can say."""
    own = CONTRACT._validators["command.json"].evolve(
        schema={"$ref": f"https://dcu.invalid/schemas/v1/command.json#/$defs/{member}"}
    )
    for value in VALUES:
        taken = reads(READERS[member], value, member)
        assert own.is_valid(value) or not taken or member == "stream", (member, value)
        if member not in {"profile", "stream"}:  # leading zeros and streams are judged further on
            assert taken or not own.is_valid(value), (member, value)


POLICY = {
    "v": 1, "typ": "policy", "iss": "hes.ranchi", "dcu": "JH-RNC-0042", "version": 7, "iat": 1, "nbf": 1, "exp": 2,
    "timezone": "Asia/Kolkata",
    "areas": {"JH-RNC": {"prepaid_live": True, "since": 1, "profile": "prepaid", "reconnect": "close",
                         "grace_days": 30}},
    "meters": {"GXT20931188": "JH-RNC"}, "hours": {"mon": "10:00-14:00"},
    "closed": ["2026-11-24", "2026-11-26T12:00/2026-11-27T09:00"], "protected": {"GXT20931188": "medical"},
    "grace": {"GXT20931188": 1796000000}, "emergency_h": 72,
    "caps": {
        name: {"hour": 2, "day": 5, "week": 20, "spacing_s": 120, "wait_s": 900} for name in ("arrears", "prepaid")
    },
    "limit_floor_w": 1000,
    "no_payment_mode_register": ["some-model"],
}  # fmt: skip
OF_BOX = {
    "v": 1, "typ": "permit", "id": "P-1", "iss": "hes", "dcu": "JH", "jid": "j", "date": "2026-11-23",
    "profile": "arrears", "max_n": 5,
}  # fmt: skip
SHARE = OF_BOX | {"profile": "prepaid", "of": "T-1"}
OF_CITY = {"v": 1, "typ": "permit", "id": "T-1", "iss": "hes", "date": "2026-11-23", "total": 6000}


def key(kid, person, role):
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (to_base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {
        "kid": kid, "x": x, "y": y, "roles": [role], "person": person, "admin": "", "nbf": 1, "exp": 2,
        "revoked": False,
    }  # fmt: skip


KEYS = {
    "v": 1, "typ": "keys", "iss": "hes", "version": 3, "iat": 1, "exp": 2, "threshold": 2,
    "keys": [key("root-a", "esha", "root"), key("root-b", "farid", "root"), key("req", "asha", "request")],
}  # fmt: skip
CUT = {
    "v": 1, "typ": "relay", "cmd_id": "c1", "op": "disconnect", "iss": "hes", "dcu": "JH", "jid": "e", "meter": "M1",
    "iat": 1, "exp": 2, "seq": 1, "why": "arrears", "pol": 7,
}  # fmt: skip
DOCUMENTS = [
    ("policy.json", read_policy, POLICY), ("permit.json", read_permit, OF_BOX), ("permit.json", read_permit, SHARE),
    ("permit.json", read_permit, OF_CITY), ("keys.json", read_key_document, KEYS), ("command.json", read_command, CUT),
]  # fmt: skip


def places(value, at=()):
    for name, member in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield (*at, name)
        yield from places(member, (*at, name))


def changed(document):
    """Each member in turn is away, is each of `VALUES`, or has a stranger beside it."""
    for *above, last in places(document):
        for change in (*VALUES, "away", "stranger"):
            other = copy.deepcopy(document)
            place = other
            for step in above:
                place = place[step]
            if change == "away":
                del place[last]
            elif change == "stranger" and isinstance(place, dict):
                place["stranger"] = 1
            else:
                place[last] = change
            yield (*above, last), change, other


@pytest.mark.parametrize(("schema", "read", "document"), DOCUMENTS)
def test_what_the_box_reads_the_schema_lets_pass_and_what_has_another_form_it_does_not(schema, read, document):
    assert reads(read, document)
    assert passes(schema, document)
    refused = 0
    for place, change, other in changed(document):
        taken, passed = reads(read, other), passes(schema, other)
        assert passed or not taken, (place, change)
        refused += not passed
        if change in ("away", "stranger") and not taken and isinstance(place[-1], str):
            assert not passed or len(place) > 1, (place, change)
    assert refused > 100


def test_every_typ_of_the_contract_has_its_schema():
    assert {path.stem for path in SCHEMAS.glob("*.json")} >= {"command", "policy", "permit", "keys", "receipt"}
