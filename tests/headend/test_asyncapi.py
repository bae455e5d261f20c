"""`docs/asyncapi.yaml`: valid by AsyncAPI's own schema, whole, and true of the program.

AsyncAPI's schema lies beside this file (`asyncapi/3.0.0.json`, of the npm package @asyncapi/specs 6.11.1; Apache-2.0).
The other tests see that all references lead somewhere, that nothing is left over, that topics, limits and streams are
the program's, and that the examples are messages of the schemas.
"""

import copy
import json
import warnings
from pathlib import Path

import jsonschema
import pytest
import yaml

from dcu.headend.contract import SCHEMAS, Contract
from dcu.record import Stream
from dcu.uplink import topics
from dcu.uplink.letters import MAX_INBOUND

DOCS = SCHEMAS.parent
DOCUMENT = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
PUBLISHED = Path(__file__).parent / "asyncapi" / "3.0.0.json"


def published():
    schema = json.loads(PUBLISHED.read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of jsonschema: AsyncAPI's schema resolves within itself
        return jsonschema.validators.validator_for(schema)(schema)


def test_it_is_asyncapi_3():
    assert list(published().iter_errors(DOCUMENT)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(asyncapi="2.6.0"),
        lambda d: d["info"].pop("version"),
        lambda d: d["operations"]["sendState"].update(action="publish"),
        lambda d: d["operations"]["sendState"].pop("channel"),
        lambda d: d["servers"]["broker"].pop("protocol"),
        lambda d: d["channels"]["state"].update(colour="red"),
    ],
)
def test_the_published_schema_sees_what_is_wrong(change):
    other = copy.deepcopy(DOCUMENT)
    change(other)
    assert list(published().iter_errors(other))


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def resolved(reference):
    place = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    return place


def test_every_reference_leads_somewhere_and_every_part_is_used():
    found = set(references(DOCUMENT))
    files = {reference for reference in found if not reference.startswith("#/")}
    assert all((DOCS / file).is_file() for file in files)
    for reference in found - files:
        assert resolved(reference)
    for kind, parts in DOCUMENT["components"].items():
        assert {f"#/components/{kind}/{name}" for name in parts} <= found
    assert {f"#/channels/{name}" for name in DOCUMENT["channels"]} <= found


def test_every_schema_is_reached_and_says_which_it_is():
    reached, waiting = set(), {Path(r).name for r in references(DOCUMENT) if not r.startswith("#/")}
    # what a signed document holds is base64url inside of its envelope: no reference can say it, its description does
    waiting |= {"header.json", "receipt.json"} | {Path(name).name for name in signed()}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        schema = json.loads((SCHEMAS / name).read_text())
        assert schema["$id"] == f"https://dcu.invalid/schemas/v1/{name}"
        jsonschema.Draft202012Validator.check_schema(schema)
        waiting |= {r.split("#")[0] for r in references(schema)} - reached - {""}
    assert reached == {path.name for path in SCHEMAS.glob("*.json")}


def signed():
    """Schemas of payloads that the description of the document names."""
    words = DOCUMENT["components"]["messages"]["document"]["description"].replace(",", " ").split()
    return [word.rstrip(".") for word in words if word.rstrip(".").endswith(".json")]


def test_topics_and_limits_are_those_of_the_program():
    addresses = {name: channel["address"] for name, channel in DOCUMENT["channels"].items()}
    assert addresses == {
        "state": topics.state("{dcu}"),
        "cmd": topics.cmd("{dcu}"),
        **{stream.value: topics.up("{dcu}", stream) for stream in Stream},
    }
    assert DOCUMENT["servers"]["broker"]["bindings"]["mqtt"]["maximumPacketSize"] == MAX_INBOUND
    sending = [o for o in DOCUMENT["operations"].values() if o["action"] == "send"]
    assert len(sending) == len(Stream) + 1


def test_examples_are_messages_of_the_contract():
    contract, seen = Contract(), 0
    for channel in DOCUMENT["channels"].values():
        for reference in channel["messages"].values():
            for example in resolved(reference["$ref"]).get("examples", []):
                topic = channel["address"].replace("{dcu}", "JH-RNC-0042")
                contract.check(topic, json.dumps(example["payload"]).encode(), "application/json")
                seen += 1
    assert seen >= 5
