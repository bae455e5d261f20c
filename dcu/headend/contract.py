"""The published contract held against messages: the JSON Schemas of `docs/schemas`, and what a schema cannot say.

For tests and the demo: a message that the schemas do not know is a fault of the box or of the schemas. It needs the
`jsonschema` package and the documents of a checkout; a box has neither.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import cbor2

from dcu.command import CommandRefused, Refusal
from dcu.errors import OperatorFault, ReplyMalformed
from dcu.relay.canonical import from_base64url
from dcu.uplink.encoding import MAX_INFLATED, to_json
from dcu.uplink.topics import origin

SCHEMAS: Final = Path(__file__).resolve().parent.parent.parent / "docs" / "schemas"

Check = Callable[[str, bytes, str], None]
"""Takes (topic, payload, content-type). Raises ReplyMalformed."""


class Contract:
    """The schemas of a directory, by file name.

    Raises:
        OperatorFault: no schemas there, or jsonschema is not installed.
    """

    def __init__(self, directory: Path = SCHEMAS) -> None:
        try:
            import jsonschema
            import referencing.jsonschema
        except ImportError as fault:
            raise OperatorFault("jsonschema is not installed", cure="pip install 'dcu[dev]'") from fault
        documents = {path.name: json.loads(path.read_bytes()) for path in sorted(directory.glob("*.json"))}
        if not documents:
            raise OperatorFault("no schemas", place=str(directory), cure="use a checkout of the project")
        registry = referencing.Registry().with_resources(
            (document["$id"], referencing.jsonschema.DRAFT202012.create_resource(document))
            for document in documents.values()
        )
        self._best = jsonschema.exceptions.best_match
        self._validators = {
            name: jsonschema.Draft202012Validator(document, registry=registry) for name, document in documents.items()
        }

    def check(self, topic: str, octets: bytes, content_type: str) -> None:
        """One message of a box. Raises ReplyMalformed with the place in the message and what is wrong there."""
        dcu, what = origin(topic) or ("", "")
        body = _in_json(octets, content_type)
        if what == "state":
            self.check_value("state.json", body)
            return
        self.check_value("batch.json", body)
        if what != f"up/{body['stream']}" or body["dcu"] != dcu:
            raise ReplyMalformed("not the box and stream of its topic", place=topic)
        for n, record in enumerate(body["records"]):
            if "jws" in record:
                self.check_document(record["jws"].encode(), "receipt.json")
            if "layout" in record:
                _check_widths(record, body["layouts"], f"records/{n}")
        if unused := body["layouts"].keys() - {record.get("layout") for record in body["records"]}:
            raise ReplyMalformed(f"layouts that no record names: {', '.join(sorted(unused))}", place="layouts")

    def check_document(self, octets: bytes, payload: str) -> None:
        """A signed document in form: its envelope, each header, and its payload by that schema. Raises ReplyMalformed.

        Signatures are not verified here.
        """
        try:
            envelope = json.loads(octets)
            self.check_value("envelope.json", envelope)
            for signature in envelope["signatures"]:
                self.check_value("header.json", json.loads(from_base64url(signature["protected"], Refusal.E_B64)))
            self.check_value(payload, json.loads(from_base64url(envelope["payload"], Refusal.E_B64)))
        except (ValueError, CommandRefused) as fault:
            raise ReplyMalformed(f"not a signed document: {fault}", place=payload) from fault

    def check_value(self, schema: str, value: Any) -> None:
        """A value against the schema in that file. Raises ReplyMalformed."""
        worst = self._best(self._validators[schema].iter_errors(value))
        if worst is not None:
            place = "/".join(str(step) for step in worst.absolute_path) or "all of it"
            raise ReplyMalformed(f"{schema}: {worst.message[:400]}", place=place)


def check_where_known() -> Check | None:
    """The check, where the schemas and jsonschema are there; None on a box."""
    try:
        return Contract().check
    except OperatorFault:
        return None


def _in_json(octets: bytes, content_type: str) -> Any:
    """The JSON form of a message, however it is encoded."""
    kind = content_type.removesuffix("+zlib")
    try:
        if kind != content_type:
            octets = zlib.decompressobj().decompress(octets, MAX_INFLATED)
        if kind == "application/cbor":
            octets = to_json(octets)
        elif kind != "application/json":
            raise ReplyMalformed(f"content-type {content_type[:64]!r} is none of the contract")
        return json.loads(octets)
    except (zlib.error, cbor2.CBORError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ReplyMalformed(f"not {content_type}: {fault}") from fault


def _check_widths(record: Mapping[str, Any], layouts: Mapping[str, list[Any]], place: str) -> None:
    """What a schema cannot say: the layout is there, rows are as wide as it, and pairs name rows that exist."""
    columns = layouts.get(record["layout"])
    if columns is None:
        raise ReplyMalformed(f"its layout {record['layout']} is not in the batch", place=place)
    rows = record["rows"] if "rows" in record else [record["values"]]
    for row in rows:
        if len(row) != len(columns):
            raise ReplyMalformed(f"a row of {len(row)} members for {len(columns)} columns", place=place)
    for n, _ in [*record.get("status", ()), *record.get("again", ())]:
        if n >= len(rows):
            raise ReplyMalformed(f"row {n} of {len(rows)}", place=place)
