"""Requests of one association: GET of our own encoding, SET and ACTION by gurux_dlms. The one door to that library.

gurux serves as encoder of PDUs (its PDU interface, ciphering off); nothing of it does I/O, framing or security here.
What the meter answers is read in `reply.py`: gurux matches neither invoke-id nor service to the request, takes
truncated octets for values and folds the errors of a list into one (reference/gurux-dlms.md, pitfalls 14, 15, 17).
gurux_dlms is GPL-2.0-only; see LICENSING.md.
"""

from collections.abc import Sequence
from typing import Any, Final

from gurux_dlms import GXByteBuffer, GXDLMSClient
from gurux_dlms.enums import Authentication, Command, InterfaceType
from gurux_dlms.GXDLMS import GXDLMS
from gurux_dlms.GXDLMSLNParameters import GXDLMSLNParameters

from dcu import obis
from dcu.drivers import get_request
from dcu.drivers.get_request import Selected
from dcu.errors import ReplyMalformed
from dcu.meter import AttributeRef, MethodRef

_NORMAL: Final = 1
_PRIORITY: Final = 0xC0  # high priority, confirmed
_NO_STATUS: Final = 0xFF


class RequestCodec:
    """Builds the requests of one association; each gets the next invoke-id, 1 to 15."""

    __slots__ = ("_invoke", "_settings")

    def __init__(self) -> None:
        self._settings: Any = None
        self._invoke = 0

    def get(self, ref: AttributeRef, selector: bytes = b"") -> bytes:
        """GET of one attribute.

        Args:
            ref: what.
            selector: access selector and its parameters, of `get_request.by_range` or `by_entry`.
        """
        self._invoke = self._invoke % 15 + 1
        return get_request.normal(self._invoke, ref, selector)

    def get_list(self, items: Sequence[Selected]) -> bytes:
        """GET with list, of 1 to 127 attributes, each with its own selection."""
        self._invoke = self._invoke % 15 + 1
        return get_request.with_list(self._invoke, items)

    def next_block(self, request: bytes, block: int) -> bytes:
        """GET-next for the block after `block`, under the invoke-id of `request`."""
        return get_request.next_block(request, block)

    def set(self, ref: AttributeRef, data: bytes) -> bytes:
        """SET of A-XDR encoded `data`."""
        target = _target(ref.class_id, ref.logical_name, ref.attribute)
        return self._pdu(Command.SET_REQUEST, target + b"\x00", data)

    def action(self, method: MethodRef, data: bytes) -> bytes:
        """ACTION with the A-XDR encoded parameter `data`; empty for none."""
        target = _target(method.class_id, method.logical_name, method.method)
        return self._pdu(Command.METHOD_REQUEST, target + (b"\x01" if data else b"\x00"), data)

    def _pdu(self, command: int, head: bytes, data: bytes) -> bytes:
        if self._settings is None:
            self._settings = GXDLMSClient(True, 16, 1, Authentication.NONE, None, InterfaceType.PDU).settings
            self._settings.maxPduSize = 0xFFFF  # lengths are the association's affair: gurux would begin blocks
        self._invoke = self._invoke % 15 + 1
        invoke = _PRIORITY | self._invoke
        try:
            body = GXByteBuffer(data) if data else None
            head_buffer = GXByteBuffer(head)
            parameters = GXDLMSLNParameters(self._settings, invoke, command, _NORMAL, head_buffer, body, _NO_STATUS)
            pdus = GXDLMS.getLnMessages(parameters)
        except Exception as fault:  # gurux raises what it likes; here it becomes ours
            raise ReplyMalformed(f"the request cannot be encoded: {type(fault).__name__}: {fault}") from fault
        if len(pdus) != 1:
            raise ReplyMalformed(f"the request needs {len(pdus)} PDUs")
        return bytes(pdus[0])


def _target(class_id: int, logical_name: obis.LogicalName, index: int) -> bytes:
    return class_id.to_bytes(2, "big") + logical_name.octets + bytes([index])
