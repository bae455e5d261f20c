"""The published schemas: what the box sends passes, and each way of being wrong is seen."""

import copy
import json
import zlib

import cbor2
import pytest

from dcu.command import Refusal
from dcu.errors import OperatorFault, ReplyMalformed
from dcu.event import Alarm, AlarmKind
from dcu.headend.contract import SCHEMAS, Contract, check_where_known
from dcu.reading import ClockState, from_epoch
from dcu.record import Stream, decode_batch, encode_alarm, encode_batch, encode_layout, layout_digest
from dcu.relay.canonical import from_base64url, to_base64url
from dcu.uplink.encoding import encode, to_json
from tests.records import record

CONTRACT = Contract()
DCU = "JH-RNC-0042"


def batch(stream, count=3):
    records = [record(stream, n) for n in range(1, count + 1)]
    layouts = {layout_digest(encode_layout(each)): encode_layout(each) for _, each in records if each}
    return encode_batch(DCU, "e", stream, 1, layouts, [body for body, _ in records])


@pytest.mark.parametrize("encoding", ["cbor", "json"])
@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("stream", list(Stream))
def test_what_the_box_encodes_passes(stream, count, encoding):
    CONTRACT.check(f"dcu/v1/{DCU}/up/{stream.value}", *encode(batch(stream, count), encoding))


@pytest.mark.parametrize(
    "state", [{"online": False}, {"online": True, "version": "1", "epoch": "e", "since": 1_795_000_000}]
)
def test_presence_passes(state):
    CONTRACT.check(f"dcu/v1/{DCU}/state", json.dumps(state).encode(), "application/json")


def steps(value, at=()):
    """The path of each member of a message."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from steps(member, (*at, key))


def inside(jws, **members):
    """A receipt record whose payload has other members."""
    envelope = json.loads(jws)
    payload = json.loads(from_base64url(envelope["payload"], Refusal.E_B64)) | members
    return json.dumps(envelope | {"payload": to_base64url(json.dumps(payload).encode())})


def parent(value, path):
    for step in path[:-1]:
        value = value[step]
    return value


OPEN = {"pad", "meters", "meters_not_ok"}
"""Facts of a health record are open: a fact of another type or name is a fact."""


def mutations(body):
    """(what was done, the message with it)."""
    for path in steps(body):
        if OPEN & set(path):
            continue
        for what, wrong in (("a float", 1.5), ("a map", {"x": {}})):
            other = copy.deepcopy(body)
            parent(other, path)[path[-1]] = wrong
            yield f"{what} at {path}", other
        other = copy.deepcopy(body)
        del parent(other, path)[path[-1]]
        if path[-2:-1] != ("records",):  # a batch may have one record fewer
            yield f"nothing at {path}", other
        if isinstance(parent(body, path), dict):
            other = copy.deepcopy(body)
            parent(other, path)["stranger"] = 1
            if path[-2:-1] != ("facts",):
                yield f"a stranger beside {path}", other


@pytest.mark.parametrize("stream", list(Stream))
def test_no_member_can_be_wrong_unseen(stream):
    """Each member in turn is another type, is away, or has a stranger beside it."""
    body = json.loads(to_json(batch(stream, 2)))
    tried = 0
    for what, other in mutations(body):
        with pytest.raises(ReplyMalformed):
            CONTRACT.check(f"dcu/v1/{DCU}/up/{stream.value}", json.dumps(other).encode(), "application/json")
            pytest.fail(f"passed: {what}")
        tried += 1
    assert tried > 20


@pytest.mark.parametrize(
    ("stream", "change"),
    [
        (Stream.PROFILE, lambda b: b.update(v=2)),
        (Stream.PROFILE, lambda b: b.update(first=0)),
        (Stream.PROFILE, lambda b: b.update(stream="profiles")),
        (Stream.PROFILE, lambda b: b.update(records=[])),
        (Stream.PROFILE, lambda b: b.update(layouts={})),
        (Stream.PROFILE, lambda b: b["layouts"].update({"00" * 8: next(iter(b["layouts"].values()))})),
        (Stream.PROFILE, lambda b: b["records"][0].update(profile="1.0.99.1.0")),
        (Stream.PROFILE, lambda b: b["records"][0].update(profile="1.0.99.1.0.256")),
        (Stream.PROFILE, lambda b: b["records"][0].update(clock="perhaps")),
        (Stream.PROFILE, lambda b: b["records"][0].update(status=[])),
        (Stream.PROFILE, lambda b: b["records"][0].update(again=[[1, 1]])),
        (Stream.PROFILE, lambda b: b["records"][0].update(again=[[0, 0]])),
        (Stream.PROFILE, lambda b: b["records"][0]["rows"][0].append(1)),
        (Stream.PROFILE, lambda b: b["records"][0]["rows"][0].__setitem__(1, {"hex": "0"})),
        (Stream.CREDIT, lambda b: b["records"][0].update(amount="dollar")),
        (Stream.CREDIT, lambda b: b["records"][0]["values"].pop()),
        (Stream.ALARM, lambda b: b["records"][0].update(kind="bored")),
        (Stream.ALARM, lambda b: b["records"][0].update(meter="GXT1")),
        (Stream.ALARM, lambda b: b["records"][0].update(kind="meter-silent")),
        (Stream.ALARM, lambda b: b["records"][0].update(text="")),
        (Stream.HEALTH, lambda b: b["records"][0]["facts"].update({"waiting.profile": -1})),
        (Stream.HEALTH, lambda b: b["records"][0]["facts"].update(meters="two")),
        (Stream.RECEIPT, lambda b: b["records"][0].update(jws="e30")),
        (Stream.RECEIPT, lambda b: b["records"][0].update(jws='{"payload":"e30","signatures":[]}')),
        (Stream.RECEIPT, lambda b: b["records"][0].update(jws=inside(b["records"][0]["jws"], state=7))),
        (Stream.RECEIPT, lambda b: b["records"][0].update(jws=inside(b["records"][0]["jws"], mood=["good"]))),
    ],
)  # fmt: skip
def test_what_is_not_of_the_contract_is_seen(stream, change):
    body = json.loads(to_json(batch(stream)))
    change(body)
    with pytest.raises(ReplyMalformed):
        CONTRACT.check(f"dcu/v1/{DCU}/up/{stream.value}", json.dumps(body).encode(), "application/json")


@pytest.mark.parametrize(
    ("topic", "octets", "content_type"),
    [
        (f"dcu/v1/{DCU}/up/health", batch(Stream.ALARM), "application/cbor"),
        ("dcu/v1/other/up/alarm", batch(Stream.ALARM), "application/cbor"),
        ("elsewhere", batch(Stream.ALARM), "application/cbor"),
        (f"dcu/v1/{DCU}/up/alarm", batch(Stream.ALARM), "application/json"),
        (f"dcu/v1/{DCU}/up/alarm", batch(Stream.ALARM), "text/plain"),
        (f"dcu/v1/{DCU}/up/alarm", batch(Stream.ALARM), "application/cbor+zlib"),
        (f"dcu/v1/{DCU}/up/alarm", zlib.compress(b"\xff"), "application/cbor+zlib"),
        (f"dcu/v1/{DCU}/state", b'{"online":true}', "application/json"),
        (f"dcu/v1/{DCU}/state", b'{"online":false,"since":1}', "application/json"),
        (f"dcu/v1/{DCU}/state", b"online", "application/json"),
    ],
)
def test_a_message_that_is_no_message_is_seen(topic, octets, content_type):
    with pytest.raises(ReplyMalformed):
        CONTRACT.check(topic, octets, content_type)


def test_every_kind_of_alarm_has_its_schema():
    """A schema may know more: what another version stored is delivered for as long as it is kept."""
    kinds = json.loads((SCHEMAS / "record-alarm.json").read_text())
    known = set(kinds["properties"]["kind"]["enum"])
    assert {kind.value for kind in AlarmKind} <= known, "docs/schemas/record-alarm.json: name it, and its facts"
    assert {branch["if"]["properties"]["kind"]["const"] for branch in kinds["allOf"]} == known


def test_the_words_of_the_program_are_those_of_the_schemas():
    common = json.loads((SCHEMAS / "common.json").read_text())["$defs"]
    assert common["stream"]["enum"] == [stream.value for stream in Stream]
    assert set(common["clock"]["enum"]) == {state.value for state in ClockState}


def test_a_fact_that_no_schema_knows_is_seen():
    alarm = Alarm(AlarmKind.BUS_DOWN, from_epoch(1), ClockState.TRUSTED, "gone", "", {"bus": "north", "colour": "red"})
    octets = encode_batch(DCU, "e", Stream.ALARM, 1, {}, [encode_alarm(alarm)])
    with pytest.raises(ReplyMalformed, match="colour"):
        CONTRACT.check(f"dcu/v1/{DCU}/up/alarm", octets, "application/cbor")
    assert decode_batch(octets).records == [cbor2.loads(encode_alarm(alarm))]


def test_without_schemas_there_is_no_contract(tmp_path):
    assert check_where_known() is not None
    with pytest.raises(OperatorFault, match="no schemas"):
        Contract(tmp_path)
