"""Requests of the xDLMS service GET: one attribute, a list of them, the next block. Pure.

Ours and not gurux's, since they are the hot path: that one has no access selectors in a list, cuts lists at ten and
breaks on a small PDU (reference/gurux-dlms.md, pitfall 17). Where it can build a request, the octets are the same.
Source: Green Book 9.3.5 and 9.5, Blue Book 4.3.6 (selective access).
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Final, Protocol, TypeVar

from dcu import obis
from dcu.meter import AttributeRef, ClassId
from dcu.reading import date_time

NORMAL: Final = 1
NEXT_BLOCK: Final = 2
WITH_LIST: Final = 3

LONGEST_LIST: Final = 127
"""Attributes a list: their number stays one octet."""

_LIST_HEAD: Final = 4
_TARGET: Final = 10  # octets of an attribute in a list, without its selection
_GET: Final = 0xC0
_PRIORITY: Final = 0xC0  # high priority, confirmed
_SELECT_RANGE: Final = b"\x01"
_SELECT_ENTRY: Final = b"\x02"
_CLOCK_COLUMN: Final = (
    b"\x02\x04\x12" + ClassId.CLOCK.to_bytes(2, "big") + b"\x09\x06" + obis.CLOCK.octets + b"\x0f\x02\x12\x00\x00"
)


class Selected(Protocol):
    """An attribute to be read and which part of it.

    Attributes:
        ref: the attribute.
        selector: access selector and its parameters, of `by_range` or `by_entry`; empty for all of it.
    """

    ref: AttributeRef
    selector: bytes


_Item = TypeVar("_Item", bound=Selected)


def target(ref: AttributeRef, selector: bytes = b"") -> bytes:
    """Cosem-attribute-descriptor with its optional selection."""
    head = ref.class_id.to_bytes(2, "big") + ref.logical_name.octets + bytes((ref.attribute, 1 if selector else 0))
    return head + selector


def normal(invoke: int, ref: AttributeRef, selector: bytes = b"") -> bytes:
    """GET of one attribute, under invoke-id `invoke` (1..15)."""
    head = bytes((_GET, NORMAL, _PRIORITY | invoke, ref.class_id >> 8, ref.class_id & 0xFF))
    if selector:
        return head + ref.logical_name.octets + bytes((ref.attribute, 1)) + selector
    return head + ref.logical_name.octets + bytes((ref.attribute, 0))


def with_list(invoke: int, items: Sequence[Selected]) -> bytes:
    """GET with list, of 1 to 127 attributes, each with its own selection."""
    targets = b"".join([target(item.ref, item.selector) for item in items])
    return bytes((_GET, WITH_LIST, _PRIORITY | invoke, len(items))) + targets


def next_block(request: bytes, block: int) -> bytes:
    """GET-next for the block after `block`, under the invoke-id of `request`."""
    return bytes((_GET, NEXT_BLOCK, request[2])) + block.to_bytes(4, "big")


def parts(items: Sequence[_Item], room_bytes: int, longest: Callable[[], int]) -> Iterator[list[_Item]]:
    """`items` in order, in lists whose requests have at most `room_bytes`; one alone may have more.

    Args:
        items: at least one.
        room_bytes: of a request.
        longest: items a list; asked anew at each, since the answer to one list may teach it.
    """
    part: list[_Item] = []
    left = room_bytes - _LIST_HEAD
    for item in items:
        size = _TARGET + len(item.selector)
        if part and (size > left or len(part) >= longest()):
            yield part
            part, left = [], room_bytes - _LIST_HEAD
        part.append(item)
        left -= size
    yield part


def by_range(since: datetime, until: datetime, zone: tzinfo) -> bytes:
    """Selector 1: rows whose clock column lies in since..until, both ends included; all columns.

    The times stand as the clock's face in `zone`, weekday and deviation unspecified, as Indian meters have them.
    """
    moments = b"\x09\x0c" + date_time(since, zone) + b"\x09\x0c" + date_time(until, zone)
    return _SELECT_RANGE + b"\x02\x04" + _CLOCK_COLUMN + moments + b"\x01\x00"


def by_entry(first: int, last: int) -> bytes:
    """Selector 2: entries first..last of the buffer, counted from 1, a `last` of 0 for the end; all columns."""
    entries = b"\x06" + first.to_bytes(4, "big") + b"\x06" + last.to_bytes(4, "big")
    return _SELECT_ENTRY + b"\x02\x04" + entries + b"\x12\x00\x01\x12\x00\x00"
