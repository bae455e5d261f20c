"""xDLMS services with logical names: requests off octets, responses onto octets (Green Book 9.3, 9.5). Values only."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from dcu.sim.axdr import NULL, Datum, Reader, encode, length
from dcu.sim.errors import Malformed

GET, SET, ACTION = 0xC0, 0xC1, 0xC3
GET_RESPONSE, SET_RESPONSE, ACTION_RESPONSE = 0xC4, 0xC5, 0xC7
EXCEPTION: Final = 0xD8
GLO_REQUEST: Final = {0xC8: GET, 0xC9: SET, 0xCB: ACTION}
"""Service-specific global ciphered requests and what they cover."""
GLO_RESPONSE: Final = {GET_RESPONSE: 0xCC, SET_RESPONSE: 0xCD, ACTION_RESPONSE: 0xCF}
GLO_INITIATE_REQUEST, GLO_INITIATE_RESPONSE = 0x21, 0x28


class Conformance(IntEnum):
    """Conformance bits, as numbers with bit 0 of the standard at the left of 24."""

    PRIORITY = 1 << 14
    BLOCK_GET = 1 << 12
    MULTIPLE_REFERENCES = 1 << 9
    GET = 1 << 4
    SET = 1 << 3
    SELECTIVE_ACCESS = 1 << 2
    ACTION = 1 << 0


OFFERED: Final = sum(Conformance)
"""What a virtual meter can do."""


class Result(IntEnum):
    """Data-access-result and action-result; the numbers agree where both have one."""

    SUCCESS = 0
    TEMPORARY_FAILURE = 2
    READ_WRITE_DENIED = 3
    OBJECT_UNDEFINED = 4
    CLASS_INCONSISTENT = 9
    TYPE_UNMATCHED = 12
    SCOPE_VIOLATED = 13
    BLOCK_UNAVAILABLE = 14
    NO_LONG_GET = 16
    BLOCK_NUMBER_INVALID = 19
    OTHER_REASON = 250


class Refused(Exception):
    """An attribute or method that is not given, and why."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.name)
        self.result = result


class ServiceError(IntEnum):
    """service-error of an exception-response."""

    OPERATION_NOT_POSSIBLE = 1
    SERVICE_NOT_SUPPORTED = 2
    OTHER_REASON = 3
    PDU_TOO_LONG = 4
    DECIPHERING_ERROR = 5
    INVOCATION_COUNTER_ERROR = 6


def exception(error: ServiceError, counter: int | None = None) -> bytes:
    """An exception-response; `counter` with an invocation counter error."""
    state = 2 if error is ServiceError.SERVICE_NOT_SUPPORTED else 1  # service unknown, service not allowed
    return bytes([EXCEPTION, state, error]) + (b"" if counter is None else counter.to_bytes(4, "big"))


@dataclass(frozen=True, slots=True)
class Reference:
    """One attribute or method as a request names it, with its selective access (selector 0: none)."""

    class_id: int
    name: bytes
    member: int
    selector: int = 0
    selection: Datum = NULL


@dataclass(frozen=True, slots=True)
class GetNormal:
    """GET of one attribute."""

    invoke: int
    reference: Reference


@dataclass(frozen=True, slots=True)
class GetNext:
    """GET of the block after `block`."""

    invoke: int
    block: int


@dataclass(frozen=True, slots=True)
class GetList:
    """GET of several attributes."""

    invoke: int
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class SetNormal:
    """SET of one attribute."""

    invoke: int
    reference: Reference
    value: Datum


@dataclass(frozen=True, slots=True)
class ActionNormal:
    """ACTION of one method, NULL where no parameter is given."""

    invoke: int
    reference: Reference
    parameter: Datum


Request = GetNormal | GetNext | GetList | SetNormal | ActionNormal


class Unsupported(Exception):
    """A service or a form of it that this meter does not have."""


def parse_request(apdu: bytes) -> Request:
    """The request in a clear APDU.

    Raises:
        Unsupported: another service, or another form of one.
        Malformed: not a request of its service.
    """
    reader = Reader(apdu)
    service, form, invoke = reader.octet(), reader.octet(), reader.octet()
    request: Request
    if (service, form) == (GET, 1):
        request = GetNormal(invoke, _reference(reader, selective=True))
    elif (service, form) == (GET, 2):
        request = GetNext(invoke, reader.number(4))
    elif (service, form) == (GET, 3):
        request = GetList(invoke, tuple(_reference(reader, selective=True) for _ in range(reader.length())))
    elif (service, form) == (SET, 1):
        request = SetNormal(invoke, _reference(reader, selective=True), reader.datum())
    elif (service, form) == (ACTION, 1):
        request = ActionNormal(invoke, _reference(reader, selective=False), _optional(reader))
    else:
        raise Unsupported(f"service {service:#04x} form {form}")
    if reader.left:
        raise Malformed(f"{reader.left} octets after the request")
    return request


def _reference(reader: Reader, *, selective: bool) -> Reference:
    class_id, name, member = reader.number(2), reader.take(6), reader.octet()
    if selective and reader.octet():
        return Reference(class_id, name, member, reader.octet(), reader.datum())
    return Reference(class_id, name, member)


def _optional(reader: Reader) -> Datum:
    return reader.datum() if reader.octet() else NULL


# ---- responses ------------------------------------------------------------------------------------------------------


def get_result(value: Datum | Result) -> bytes:
    """A Get-Data-Result: the value, or why there is none."""
    return bytes([1, value]) if isinstance(value, Result) else b"\x00" + encode(value)


def get_response(invoke: int, result: bytes) -> bytes:
    """GET-response normal."""
    return bytes([GET_RESPONSE, 1, invoke]) + result


def get_list_response(invoke: int, listed: bytes) -> bytes:
    """GET-response with list; `listed` starts with the count."""
    return bytes([GET_RESPONSE, 3, invoke]) + listed


def get_block(invoke: int, block: int, part: bytes, *, last: bool) -> bytes:
    """GET-response with a data block."""
    head = bytes([GET_RESPONSE, 2, invoke, 1 if last else 0]) + block.to_bytes(4, "big")
    return head + b"\x00" + length(len(part)) + part


def get_block_refused(invoke: int, block: int, result: Result) -> bytes:
    """GET-response that ends a block transfer with a reason."""
    return bytes([GET_RESPONSE, 2, invoke, 1]) + block.to_bytes(4, "big") + bytes([1, result])


def set_response(invoke: int, result: Result) -> bytes:
    """SET-response normal."""
    return bytes([SET_RESPONSE, 1, invoke, result])


def action_response(invoke: int, result: Result, value: Datum | None = None) -> bytes:
    """ACTION-response normal, with a return parameter where there is one."""
    head = bytes([ACTION_RESPONSE, 1, invoke, result])
    return head + (b"\x00" if value is None else b"\x01\x00" + encode(value))
