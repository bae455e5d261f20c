"""Opening and release of an application association: AARQ, AARE, RLRQ in BER, InitiateRequest and its response. Pure.

Ours and not gurux's: that one ciphers the user-information itself, with counters that are committed nowhere and tags
that it does not verify. Source: Green Book 9.3.2 and 9.4.2 (ACSE), 9.5 (xDLMS initiate).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from dcu.drivers.axdr import decode_length, encode_length
from dcu.errors import AssociationRefused, ReplyMalformed
from dcu.meter import Mechanism

_OID: Final = bytes.fromhex("60857405 08")  # 2.16.756.5.8: DLMS UA
_LN_NAME: Final = 0x0007  # vaa-name of logical-name referencing

AARQ: Final = 0x60
AARE: Final = 0x61
RLRQ: Final = 0x62
RLRE: Final = 0x63
_INITIATE_REQUEST: Final = 0x01
_INITIATE_RESPONSE: Final = 0x08
_SERVICE_ERROR: Final = 0x0E


class Conformance(IntEnum):
    """Bits of the conformance block that matter here; bit 0 of the standard is the highest of 24."""

    GENERAL_PROTECTION = 1 << (23 - 1)
    BLOCK_GET = 1 << (23 - 11)
    MULTIPLE_REFERENCES = 1 << (23 - 14)
    GET = 1 << (23 - 19)
    SET = 1 << (23 - 20)
    SELECTIVE_ACCESS = 1 << (23 - 21)
    ACTION = 1 << (23 - 23)


PROPOSED: Final = int(
    Conformance.BLOCK_GET
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.GET
    | Conformance.SET
    | Conformance.SELECTIVE_ACCESS
    | Conformance.ACTION
)
"""What this box uses. General protection is added where the model has it: a meter that grants it may switch to it."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the meter granted.

    Attributes:
        conformance: negotiated conformance block, 24 bits.
        max_pdu_bytes: longest APDU that the meter receives; 0 means that it states no limit.
        meter_title: its system title; empty where it gave none.
        challenge: StoC of a high-level authentication; empty otherwise.
    """

    conformance: int
    max_pdu_bytes: int
    meter_title: bytes
    challenge: bytes


def initiate_request(conformance: int, max_pdu_bytes: int, dedicated_key: bytes = b"") -> bytes:
    """The InitiateRequest: a dedicated key or none, response allowed, DLMS version 6."""
    key = b"\x01" + encode_length(len(dedicated_key)) + dedicated_key if dedicated_key else b"\x00"
    block = b"\x5f\x1f\x04\x00" + conformance.to_bytes(3, "big")
    return b"\x01" + key + b"\x00\x00\x06" + block + max_pdu_bytes.to_bytes(2, "big")


def aarq(mechanism: Mechanism, initiate: bytes, *, title: bytes = b"", value: bytes = b"") -> bytes:
    """Association request.

    Args:
        mechanism: NONE leaves the authentication fields out.
        initiate: InitiateRequest, ciphered where the association is.
        title: system title of this client; with it the application context is the ciphered one.
        value: password of LLS, or the challenge CtoS.
    """
    fields = _field(0xA1, _field(0x06, _OID + bytes([1, 3 if title else 1])))
    if title:
        fields += _field(0xA6, _field(0x04, title))
    if mechanism is not Mechanism.NONE:
        fields += b"\x8a\x02\x07\x80" + _field(0x8B, _OID + bytes([2, mechanism])) + _field(0xAC, _field(0x80, value))
    return _field(AARQ, fields + _field(0xBE, _field(0x04, initiate)))


def rlrq(initiate: bytes = b"") -> bytes:
    """Release request, reason normal; a ciphered association proves it with a ciphered InitiateRequest."""
    return _field(RLRQ, b"\x80\x01\x00" + (_field(0xBE, _field(0x04, initiate)) if initiate else b""))


def is_release(octets: bytes) -> bool:
    """Whether `octets` are a release response, of whatever reason and with whatever in it."""
    return octets[:1] == bytes([RLRE])


def parse_aare(octets: bytes, mechanism: Mechanism, *, ciphered: bool) -> tuple[Accepted, bytes]:
    """What the meter grants, and its user-information still as it came.

    The conformance and PDU size inside `Accepted` are those of `parse_initiate`, zero here.

    Raises:
        AssociationRefused: the meter said no, in its own words.
        ReplyMalformed: not an AARE, or none that can be understood.
    """
    if octets[:1] != bytes([AARE]):
        raise ReplyMalformed(f"not an AARE: {octets[:4].hex()}")
    fields = dict(_fields(octets, 0, once=True))[AARE]
    found = _distinct(_fields(fields, 0))
    result = _integer(found.get(0xA2, b""))
    diagnostic = _diagnostic(found.get(0xA3, b""))
    if result != 0 or diagnostic not in _ACCEPTING:
        raise AssociationRefused(
            f"the meter refused: {_REFUSALS.get(diagnostic, f'diagnostic {diagnostic}')}",
            cure="check client, secret and keys of this meter",
        )
    context = _one(found.get(0xA1, b""), 0x06)
    if context != _OID + bytes([1, 3 if ciphered else 1]):
        raise ReplyMalformed("the meter answers in another application context")
    challenge = _one(found[0xAA], 0x80) if 0xAA in found else b""
    if mechanism in {Mechanism.HLS_SECRET, Mechanism.HLS_GMAC}:
        _check_challenge(found.get(0x89, b""), mechanism, challenge)
    title = _one(found[0xA4], 0x04) if 0xA4 in found else b""
    return Accepted(0, 0, title, challenge), _one(found.get(0xBE, b""), 0x04)


def parse_initiate(octets: bytes) -> tuple[int, int]:
    """(conformance, longest APDU that the meter receives) of a clear InitiateResponse.

    Raises:
        AssociationRefused: a confirmed service error in its place.
        ReplyMalformed: neither.
    """
    if octets[:1] == bytes([_SERVICE_ERROR]):
        raise AssociationRefused(f"the meter refused to initiate: service error {octets[1:4].hex()}")
    if octets[:1] != bytes([_INITIATE_RESPONSE]) or len(octets) < 2:
        raise ReplyMalformed("no InitiateResponse in the AARE")
    at = 2 if octets[1] == 0 else 3  # negotiated quality of service: absent, or one octet
    body = octets[at:]
    if len(body) != 12 or body[0] != 6 or body[1:5] != b"\x5f\x1f\x04\x00":
        raise ReplyMalformed("an InitiateResponse of another form")
    if int.from_bytes(body[10:12], "big") != _LN_NAME:
        raise ReplyMalformed("the meter speaks short names, not logical names")
    return int.from_bytes(body[5:8], "big"), int.from_bytes(body[8:10], "big")


def _check_challenge(named: bytes, mechanism: Mechanism, challenge: bytes) -> None:
    if named and named != _OID + bytes([2, mechanism]):
        raise AssociationRefused("the meter wants another authentication mechanism", cure="check its model")
    if not 8 <= len(challenge) <= 64:
        raise ReplyMalformed(f"a challenge has 8 to 64 octets, not {len(challenge)}")


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + encode_length(len(content)) + content


def _fields(octets: bytes, at: int, *, once: bool = False) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of BER fields side by side. Raises ReplyMalformed at one that is cut short."""
    while at < len(octets):
        tag = octets[at]
        length, at = decode_length(octets, at + 1)
        if length > len(octets) - at:
            raise ReplyMalformed("BER cut short")
        yield tag, octets[at : at + length]
        at += length
        if once and at != len(octets):
            raise ReplyMalformed("octets behind the AARE")


def _distinct(fields: Iterator[tuple[int, bytes]]) -> dict[int, bytes]:
    """By tag. Raises ReplyMalformed where one stands twice: which of them holds would be anyone's choice."""
    found: dict[int, bytes] = {}
    for tag, content in fields:
        if tag in found:
            raise ReplyMalformed(f"a field {tag:#04x} twice in the AARE")
        found[tag] = content
    return found


def _one(octets: bytes, tag: int) -> bytes:
    """Content of the one field `tag` that `octets` are. Raises ReplyMalformed."""
    fields = list(_fields(octets, 0))
    if len(fields) != 1 or fields[0][0] != tag:
        raise ReplyMalformed(f"a field {tag:#04x} is missing in the AARE")
    return fields[0][1]


def _integer(octets: bytes) -> int:
    content = _one(octets, 0x02)
    if len(content) != 1:
        raise ReplyMalformed("an AARE result of another form")
    return content[0]


def _diagnostic(octets: bytes) -> tuple[int, int]:
    """(who: 1 service user, 2 provider; code)."""
    fields = list(_fields(octets, 0))
    if len(fields) != 1 or fields[0][0] not in {0xA1, 0xA2}:
        raise ReplyMalformed("an AARE without its diagnostic")
    return fields[0][0] - 0xA0, _integer(fields[0][1])


_ACCEPTING: Final = {(1, 0), (2, 0), (1, 14)}  # null; authentication required: the high-level passes follow

_REFUSALS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context not supported (clear against ciphered)",
    (1, 3): "calling AP title not recognised",
    (1, 11): "authentication mechanism not recognised",
    (1, 12): "authentication mechanism required",
    (1, 13): "authentication failed",
    (1, 14): "authentication required",
    (2, 1): "no reason given (provider)",
    (2, 2): "no common ACSE version",
}
