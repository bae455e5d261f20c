"""Responses of the xDLMS services GET, SET and ACTION, read against the request that they answer. Pure.

Nothing is taken from a response whose service, kind or invoke-id is not the request's. Source: Green Book 9.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dcu.drivers import axdr
from dcu.errors import AssociationRefused, AttributeDenied, AttributeFailed, DcuError, MeterBusy, ReplyMalformed
from dcu.meter import AttributeRef
from dcu.reading import Data

GET_RESPONSE: Final = 0xC4
SET_RESPONSE: Final = 0xC5
ACTION_RESPONSE: Final = 0xC7
EXCEPTION_RESPONSE: Final = 0xD8
SERVICE_ERROR: Final = 0x0E

_NORMAL: Final = 1
_BLOCK: Final = 2
_LIST: Final = 3
_COUNTER_ERROR: Final = 6  # exception-response, service-error: invocation counter
_TOO_MUCH: Final = {b"\x02": "service not supported", b"\x04": "PDU too long"}

_BUSY: Final = {2: "temporary failure", 15: "long get aborted", 16: "no long get in progress"}
_DENIED: Final = {
    1: "hardware fault",
    3: "read-write denied",
    4: "object undefined",
    9: "object class inconsistent",
    11: "object unavailable",
    12: "type unmatched",
    13: "scope of access violated",
    14: "data block unavailable",
    250: "other reason",
}
_LASTING: Final = frozenset({3, 4, 9, 11, 13})  # the others may pass


class RequestTooMuch(MeterBusy):
    """The meter refused the form of the request as a whole: service not supported, or PDU too long."""


class Asked(Protocol):
    """One attribute that was asked for and takes its own answer; as text it names meter and attribute."""

    ref: AttributeRef

    def take(self, octets: bytes, at: int) -> int:
        """Read the value that begins at `at`; the position behind it. Raises ReplyMalformed."""
        ...

    def refuse(self, refusal: Exception) -> None:
        """Take an error in the place of a value."""
        ...


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a long GET response.

    Attributes:
        number: counted from 1.
        last: no more follow.
        raw: its octets; the blocks side by side are what an unblocked response carries.
    """

    number: int
    last: bool
    raw: bytes


def refusal(result: int, what: object) -> DcuError:
    """The error that a data-access-result or action-result other than 0 stands for."""
    if result in _BUSY:
        return MeterBusy(f"{what}: {_BUSY[result]}")
    refused = AttributeDenied if result in _LASTING else AttributeFailed
    return refused(f"{what}: {_DENIED.get(result, f'result {result}')}")


def exception(response: bytes) -> DcuError:
    """The error that an exception-response or a confirmed service error stands for. It carries no value."""
    if response[:1] == bytes([EXCEPTION_RESPONSE]) and response[2:3] == bytes([_COUNTER_ERROR]):
        return AssociationRefused("the meter refused the invocation counter")
    if response[:1] == bytes([EXCEPTION_RESPONSE]) and response[2:3] in _TOO_MUCH:
        return RequestTooMuch(f"the meter refused the request: {_TOO_MUCH[response[2:3]]}")
    return MeterBusy(f"the meter answered with an exception ({response[:4].hex()})")


def is_exception(response: bytes) -> bool:
    """Whether the meter refused the request as a whole."""
    return response[:1] in {b"\xd8", b"\x0e"}


def get_payload(request: bytes, response: bytes) -> bytes | Block:
    """What follows the head of a GET response: `choice data` or `count choice data ..`; or a block of that.

    Raises:
        ReplyMalformed: not the answer to `request`.
        AttributeDenied, MeterBusy: a result code in the place of a block.
    """
    kind = _head(request, response, GET_RESPONSE)
    if kind != _BLOCK:
        if kind != request[1]:
            raise ReplyMalformed(f"GET response of kind {kind} to a request of kind {request[1]}")
        return response[3:]
    if len(response) < 9:
        raise ReplyMalformed("a block that ends early")
    last, number, choice = response[3] != 0, int.from_bytes(response[4:8], "big"), response[8]
    if choice != 0:
        raise refusal(response[9] if len(response) > 9 else 250, "block")
    length, at = axdr.decode_length(response, 9)
    if length != len(response) - at:
        raise ReplyMalformed("a block whose length is not its length")
    return Block(number, last, response[at:])


def one(payload: bytes, what: str) -> Data:
    """The value of a GET of one attribute. Raises AttributeDenied, MeterBusy, ReplyMalformed."""
    value, end = _choice(payload, 0, what)
    if end != len(payload):
        raise ReplyMalformed(f"{what}: {len(payload) - end} octets behind the value")
    if isinstance(value, DcuError):
        raise value
    return value


def take_one(payload: bytes, item: Asked) -> None:
    """Give `item` the value of a GET of one attribute, or its refusal. Raises ReplyMalformed."""
    end = _take(payload, 0, item)
    if end != len(payload):
        raise ReplyMalformed(f"{item.ref}: {len(payload) - end} octets behind the value")


def take_several(payload: bytes, items: Sequence[Asked]) -> None:
    """Give `items`, in order, the values of a GET with list, an error to each that was refused.

    Raises:
        ReplyMalformed: not one result an item, or a value that cannot be read, so that what follows it is lost too.
    """
    count, at = axdr.decode_length(payload, 0)
    if count != len(items):
        raise ReplyMalformed(f"{count} results to a list of {len(items)}")
    for item in items:
        at = _take(payload, at, item)
    if at != len(payload):
        raise ReplyMalformed(f"{len(payload) - at} octets behind the list")


def _take(payload: bytes, at: int, item: Asked) -> int:
    """Position behind the result that begins at `at`."""
    if at + 1 >= len(payload):
        raise ReplyMalformed(f"{item.ref}: the response ends early")
    choice = payload[at]
    if choice == 0:
        return item.take(payload, at + 1)
    if choice == 1:
        item.refuse(refusal(payload[at + 1], item))
        return at + 2
    raise ReplyMalformed(f"{item.ref}: neither a value nor a result")


def check_set(request: bytes, response: bytes, what: str) -> None:
    """Raises AttributeDenied, MeterBusy when the SET was refused, ReplyMalformed when this is not its answer."""
    if _head(request, response, SET_RESPONSE) != _NORMAL or len(response) != 4:
        raise ReplyMalformed(f"{what}: a SET response of another form")
    if response[3] != 0:
        raise refusal(response[3], what)


def action_result(request: bytes, response: bytes, what: str) -> Data:
    """What the method returned, None for nothing. Raises as `check_set`."""
    if _head(request, response, ACTION_RESPONSE) != _NORMAL or len(response) < 4:
        raise ReplyMalformed(f"{what}: an ACTION response of another form")
    if response[3] != 0:
        raise refusal(response[3], what)
    returned = response[4:]
    if returned in {b"", b"\x00"}:
        return None
    if returned[0] != 1:
        raise ReplyMalformed(f"{what}: an ACTION response of another form")
    return one(returned[1:], what)


def _head(request: bytes, response: bytes, service: int) -> int:
    """Kind of a response whose service and invoke-id are the request's."""
    if len(response) < 3 or response[0] != service:
        if is_exception(response):
            raise exception(response)
        raise ReplyMalformed(f"another service answered: {response[:3].hex() or 'nothing'}")
    if (response[2] ^ request[2]) & 0x0F:
        raise ReplyMalformed(f"invoke-id {response[2] & 0x0F} answers {request[2] & 0x0F}")
    return response[1]


def _choice(payload: bytes, at: int, what: str) -> tuple[Data | DcuError, int]:
    if at + 1 >= len(payload):
        raise ReplyMalformed(f"{what}: the response ends early")
    if payload[at] == 0:
        return axdr.decode_at(payload, at + 1)
    if payload[at] == 1:
        return refusal(payload[at + 1], what), at + 2
    raise ReplyMalformed(f"{what}: neither a value nor a result")
