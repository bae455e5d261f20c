"""How a batch looks on the wire: CBOR as it is, or JSON transcoded from it; deflated above 256 octets.

The MQTT 5 content-type says which. In JSON an octet-string is `{"hex": "0a0b"}`, and a layout's digest, as a key and
in the field `layout`, is its plain hex. Pure. Source: DESIGN 6.
"""

import json
import zlib
from typing import Any, Final, Literal

import cbor2

from dcu.errors import ReplyMalformed
from dcu.record import DEFLATE_ABOVE, THOROUGH, Batch, decode_batch, deflate

Encoding = Literal["cbor", "json"]

MAX_INFLATED: Final = 4 * 1024 * 1024
"""Octets that a deflated batch may grow to: many times what a frame carries, and far from filling a memory."""

_SUFFIX: Final = "+zlib"

SEALED_TYPE: Final = f"application/cbor{_SUFFIX}"
"""Content-type of what field has made in advance."""


def encode(batch: bytes, encoding: Encoding, level: int = THOROUGH) -> tuple[bytes, str]:
    """(payload, content-type) of a batch that is encoded in CBOR, deflated at that level of zlib."""
    octets = batch if encoding == "cbor" else to_json(batch)
    content_type = f"application/{encoding}"
    if len(octets) <= DEFLATE_ABOVE:
        return octets, content_type
    return deflate(octets, level), content_type + _SUFFIX


def decode(payload: bytes, content_type: str) -> Batch:
    """The batch in a payload; the inverse of `encode` for both encodings.

    Raises:
        ReplyMalformed: an unknown content-type, a damaged payload, or one that inflates without end.
    """
    kind, deflated = content_type.removesuffix(_SUFFIX), content_type.endswith(_SUFFIX)
    octets = _inflate(payload) if deflated else payload
    if kind == "application/cbor":
        return decode_batch(octets)
    if kind == "application/json":
        return decode_batch(from_json(octets))
    raise ReplyMalformed(f"content-type {content_type[:64]!r} is none of ours")


def to_json(batch: bytes) -> bytes:
    """A batch in JSON, from one in CBOR."""
    body: dict[str, Any] = cbor2.loads(batch)
    body["layouts"] = {digest.hex(): columns for digest, columns in body["layouts"].items()}
    body["records"] = [_named_layout(record, bytes.hex) for record in body["records"]]
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, default=_octets).encode()


def from_json(octets: bytes) -> bytes:
    """A batch in CBOR, from one in JSON. Raises ReplyMalformed when it is none."""
    try:
        body = json.loads(octets, object_hook=_restored)
        body["layouts"] = {bytes.fromhex(digest): columns for digest, columns in body["layouts"].items()}
        body["records"] = [_named_layout(record, bytes.fromhex) for record in body["records"]]
        return cbor2.dumps(body)
    except (cbor2.CBORError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise ReplyMalformed(f"not a batch in JSON: {fault}") from fault


def _named_layout(record: dict[str, Any], name: Any) -> dict[str, Any]:
    return record | {"layout": name(record["layout"])} if "layout" in record else record


def _octets(value: object) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    raise TypeError(f"{type(value).__name__} has no place in a record")


def _restored(value: dict[str, Any]) -> Any:
    return bytes.fromhex(value["hex"]) if value.keys() == {"hex"} else value


def _inflate(payload: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        octets = inflater.decompress(payload, MAX_INFLATED)
    except zlib.error as fault:
        raise ReplyMalformed(f"a damaged payload: {fault}") from fault
    if not inflater.eof or inflater.unused_data:
        raise ReplyMalformed("a payload that inflates without end, is cut off, or has octets after its end")
    return octets
