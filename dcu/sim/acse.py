"""Opening and closing associations: AARQ, AARE, RLRQ, RLRE and the InitiateRequest in them (Green Book 9.4, 9.5).

ACSE is BER, what it carries is A-XDR. Octets and values only.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from dcu.sim.axdr import Reader, length
from dcu.sim.errors import Malformed

AARQ, AARE, RLRQ, RLRE = 0x60, 0x61, 0x62, 0x63
_CONTEXT_OID: Final = bytes.fromhex("608574050801")
_MECHANISM_OID: Final = bytes.fromhex("608574050802")
CONTEXT_CLEAR, CONTEXT_CIPHERED = 1, 3
_VAA_LN: Final = b"\x00\x07"
_WELL_KNOWN: Final = b"\x5f\x1f\x04\x00"


class Diagnostic(IntEnum):
    """ACSE-service-user diagnostics in use."""

    NULL = 0
    NO_REASON = 1
    CONTEXT_NOT_SUPPORTED = 2
    CALLING_TITLE_NOT_RECOGNISED = 3
    MECHANISM_NOT_RECOGNISED = 11
    MECHANISM_REQUIRED = 12
    AUTHENTICATION_FAILURE = 13
    AUTHENTICATION_REQUIRED = 14


class InitiateError(IntEnum):
    """ConfirmedServiceError of an InitiateRequest."""

    OTHER = 0
    VERSION_TOO_LOW = 1
    INCOMPATIBLE_CONFORMANCE = 2
    PDU_SIZE_TOO_SHORT = 3


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """What an AARQ asks for.

    Attributes:
        context: application context id: 1 logical names, 3 logical names with ciphering.
        mechanism: authentication mechanism id, None where none is named.
        calling_title: client's system title, maybe empty.
        authentication: password, or the client's challenge; maybe empty.
        initiate: InitiateRequest, maybe ciphered.
    """

    context: int
    mechanism: int | None
    calling_title: bytes
    authentication: bytes
    initiate: bytes


@dataclass(frozen=True, slots=True)
class Proposal:
    """An InitiateRequest: xDLMS version, conformance bits (24), the largest APDU that the client takes, and its key."""

    version: int
    conformance: int
    max_pdu: int
    dedicated_key: bytes = b""


def _fields(octets: bytes) -> dict[int, bytes]:
    reader = Reader(octets)
    found: dict[int, bytes] = {}
    while reader.left:
        code = reader.octet()
        if code in found:
            raise Malformed(f"field {code:#04x} twice")
        found[code] = reader.counted()
    return found


def _inner(found: dict[int, bytes], code: int, tag: int) -> bytes:
    """Contents of the one element with `tag` inside field `code`; empty where the field is absent."""
    if code not in found:
        return b""
    reader = Reader(found[code])
    if reader.octet() != tag:
        raise Malformed(f"field {code:#04x} holds no {tag:#04x}")
    inner = reader.counted()
    if reader.left:
        raise Malformed(f"field {code:#04x} holds more than one element")
    return inner


def _last_arc(oid: bytes, root: bytes) -> int:
    if len(oid) != len(root) + 1 or not oid.startswith(root):
        raise Malformed("unknown object identifier")
    return oid[-1]


def parse_aarq(apdu: bytes) -> AssociationRequest:
    """The request in an AARQ.

    Raises:
        Malformed: not an AARQ.
    """
    reader = Reader(apdu[1:])
    found = _fields(reader.counted())
    if reader.left:
        raise Malformed("octets after the AARQ")
    context = _last_arc(_inner(found, 0xA1, 0x06), _CONTEXT_OID)
    mechanism = _last_arc(found[0x8B], _MECHANISM_OID) if 0x8B in found else None
    return AssociationRequest(
        context=context,
        mechanism=mechanism,
        calling_title=_inner(found, 0xA6, 0x04),
        authentication=_inner(found, 0xAC, 0x80),
        initiate=_inner(found, 0xBE, 0x04),
    )


def parse_initiate(octets: bytes) -> Proposal:
    """A clear InitiateRequest.

    Raises:
        Malformed: not one.
    """
    reader = Reader(octets)
    if reader.octet() != 0x01:
        raise Malformed("no InitiateRequest")
    key = reader.counted() if reader.octet() else b""
    if reader.octet():
        reader.octet()  # response-allowed
    if reader.octet():
        reader.octet()  # quality of service
    version = reader.octet()
    if reader.take(2) != _WELL_KNOWN[:2]:
        raise Malformed("no conformance block")
    if reader.take(2) != _WELL_KNOWN[2:]:
        raise Malformed("conformance block is not 24 bits")
    proposal = Proposal(version, reader.number(3), reader.number(2), key)
    if reader.left:
        raise Malformed("octets after the InitiateRequest")
    return proposal


def initiate_response(conformance: int, max_pdu: int) -> bytes:
    """A clear InitiateResponse: version 6, negotiated conformance, the largest APDU that the meter takes."""
    return b"\x08\x00\x06" + _WELL_KNOWN + conformance.to_bytes(3, "big") + max_pdu.to_bytes(2, "big") + _VAA_LN


def initiate_error(error: InitiateError) -> bytes:
    """A ConfirmedServiceError that refuses an InitiateRequest."""
    return bytes([0x0E, 0x01, 0x06, error])


def _field(code: int, body: bytes) -> bytes:
    return bytes([code]) + length(len(body)) + body


def aare(
    context: int,
    diagnostic: Diagnostic,
    user_information: bytes,
    *,
    accepted: bool,
    title: bytes = b"",
    mechanism: int = 0,
    challenge: bytes = b"",
) -> bytes:
    """An AARE. `title`, `mechanism` and `challenge` are left out when empty or 0; a refusal is permanent."""
    body = _field(0xA1, _field(0x06, _CONTEXT_OID + bytes([context])))
    body += _field(0xA2, b"\x02\x01" + (b"\x00" if accepted else b"\x01"))
    body += _field(0xA3, _field(0xA1, b"\x02\x01" + bytes([diagnostic])))
    if title:
        body += _field(0xA4, _field(0x04, title))
    if mechanism:
        body += _field(0x88, b"\x07\x80") + _field(0x89, _MECHANISM_OID + bytes([mechanism]))
    if challenge:
        body += _field(0xAA, _field(0x80, challenge))
    if user_information:
        body += _field(0xBE, _field(0x04, user_information))
    return _field(AARE, body)


def parse_rlrq(apdu: bytes) -> bytes:
    """User information of an RLRQ, maybe empty.

    Raises:
        Malformed: not an RLRQ.
    """
    reader = Reader(apdu[1:])
    found = _fields(reader.counted())
    return _inner(found, 0xBE, 0x04)


def rlre() -> bytes:
    """A normal RLRE."""
    return bytes([RLRE, 0x03, 0x80, 0x01, 0x00])
