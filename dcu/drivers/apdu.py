"""Requests of the xDLMS services GET, SET and ACTION: the one door to gurux_dlms.

gurux serves as encoder of PDUs (its PDU interface, ciphering off); nothing of it does I/O, framing or security here.
What the meter answers is read in `reply.py`: gurux matches neither invoke-id nor service to the request, takes
truncated octets for values and folds the errors of a list into one (reference/gurux-dlms.md, pitfalls 14, 15, 17).
gurux_dlms is GPL-2.0-only; see LICENSING.md.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from gurux_dlms import GXByteBuffer, GXDLMSClient
from gurux_dlms.enums import Authentication, Command, InterfaceType
from gurux_dlms.GXDLMS import GXDLMS
from gurux_dlms.GXDLMSLNParameters import GXDLMSLNParameters

from dcu import obis
from dcu.errors import ReplyMalformed
from dcu.meter import AttributeRef, ClassId, MethodRef
from dcu.reading import date_time

NORMAL: Final = 1
NEXT_BLOCK: Final = 2
WITH_LIST: Final = 3

_PRIORITY: Final = 0xC0  # high priority, confirmed
_NO_STATUS: Final = 0xFF
_SELECT_RANGE: Final = b"\x01"
_SELECT_ENTRY: Final = b"\x02"


class RequestCodec:
    """Builds the requests of one association; each gets the next invoke-id, 1 to 15."""

    def __init__(self) -> None:
        self._settings: Any = GXDLMSClient(True, 16, 1, Authentication.NONE, None, InterfaceType.PDU).settings
        self._settings.maxPduSize = 0xFFFF  # lengths are the association's affair: gurux would begin blocks by itself
        self._invoke = 0

    def get(self, ref: AttributeRef, selector: bytes = b"") -> bytes:
        """GET of one attribute.

        Args:
            ref: what.
            selector: access selector and its parameters, of `by_range` or `by_entry`.
        """
        target = _target(ref.class_id, ref.logical_name, ref.attribute)
        return self._pdu(Command.GET_REQUEST, NORMAL, target + (b"\x01" + selector if selector else b"\x00"))

    def get_list(self, refs: Sequence[AttributeRef]) -> bytes:
        """GET with list, of 1 to 127 attributes."""
        targets = b"".join(_target(r.class_id, r.logical_name, r.attribute) + b"\x00" for r in refs)
        return self._pdu(Command.GET_REQUEST, WITH_LIST, bytes([len(refs)]) + targets)

    def next_block(self, request: bytes, block: int) -> bytes:
        """GET-next for the block after `block`, under the invoke-id of `request`."""
        return self._pdu(Command.GET_REQUEST, NEXT_BLOCK, block.to_bytes(4, "big"), invoke=request[2])

    def set(self, ref: AttributeRef, data: bytes) -> bytes:
        """SET of A-XDR encoded `data`."""
        target = _target(ref.class_id, ref.logical_name, ref.attribute)
        return self._pdu(Command.SET_REQUEST, NORMAL, target + b"\x00", data)

    def action(self, method: MethodRef, data: bytes) -> bytes:
        """ACTION with the A-XDR encoded parameter `data`; empty for none."""
        target = _target(method.class_id, method.logical_name, method.method)
        return self._pdu(Command.METHOD_REQUEST, NORMAL, target + (b"\x01" if data else b"\x00"), data)

    def _pdu(self, command: int, kind: int, head: bytes, data: bytes = b"", *, invoke: int = 0) -> bytes:
        if not invoke:
            self._invoke = self._invoke % 15 + 1
            invoke = _PRIORITY | self._invoke
        try:
            body = GXByteBuffer(data) if data else None
            parameters = GXDLMSLNParameters(self._settings, invoke, command, kind, GXByteBuffer(head), body, _NO_STATUS)
            pdus = GXDLMS.getLnMessages(parameters)
        except Exception as fault:  # gurux raises what it likes; here it becomes ours
            raise ReplyMalformed(f"the request cannot be encoded: {type(fault).__name__}: {fault}") from fault
        if len(pdus) != 1:
            raise ReplyMalformed(f"the request needs {len(pdus)} PDUs")
        return bytes(pdus[0])


def by_range(since: datetime, until: datetime, zone: tzinfo) -> bytes:
    """Selector 1: rows whose clock column lies in since..until, both ends included; all columns.

    The times stand as the clock's face in `zone`, weekday and deviation unspecified, as Indian meters have them.
    """
    clock = b"\x12" + ClassId.CLOCK.to_bytes(2, "big") + b"\x09\x06" + obis.CLOCK.octets + b"\x0f\x02\x12\x00\x00"
    moments = b"".join(b"\x09\x0c" + date_time(at, zone) for at in (since, until))
    return _SELECT_RANGE + b"\x02\x04\x02\x04" + clock + moments + b"\x01\x00"


def by_entry(first: int, last: int) -> bytes:
    """Selector 2: entries first..last of the buffer, counted from 1; all columns."""
    entries = b"".join(b"\x06" + entry.to_bytes(4, "big") for entry in (first, last))
    return _SELECT_ENTRY + b"\x02\x04" + entries + b"\x12\x00\x01\x12\x00\x00"


def _target(class_id: int, logical_name: obis.LogicalName, index: int) -> bytes:
    return class_id.to_bytes(2, "big") + logical_name.octets + bytes([index])
