"""GET, SET and ACTION of an open association, with block transfer of answers that exceed the client's PDU size."""

from collections.abc import Callable

from dcu.sim import xdlms
from dcu.sim.axdr import Datum, Tag, encode, enum, i8, length, octets, structure, text, u8, u16
from dcu.sim.objects import Cabinet
from dcu.sim.xdlms import (
    ActionNormal,
    Conformance,
    GetList,
    GetNext,
    GetNormal,
    Reference,
    Refused,
    Request,
    Result,
    ServiceError,
    SetNormal,
)

CURRENT_ASSOCIATION = bytes([0, 0, 40, 0, 0, 255])
_BLOCK_HEAD = 3 + 1 + 4 + 1 + 3
"""Octets of a GET-response with block before its raw data: choice, invoke id, last, number, result, length."""


class Service:
    """Serves one client of one open association.

    Args:
        cabinet: the meter's objects.
        client: who asks.
        room: the largest clear response APDU, octets.
        conformance: what was negotiated.
        wrote: told of each accepted SET: reference and value.
    """

    def __init__(
        self,
        cabinet: Cabinet,
        client: int,
        room: int,
        conformance: int,
        wrote: Callable[[Reference, bytes], None],
    ) -> None:
        self._cabinet = cabinet
        self._client = client
        self._room = room
        self._conformance = conformance
        self._wrote = wrote
        self._pending = b""
        self._block = 0

    def answer(self, request: Request) -> bytes:
        """The clear response APDU."""
        if not self._allowed(request):
            return xdlms.exception(ServiceError.OPERATION_NOT_POSSIBLE)
        match request:
            case GetNext(invoke, block):
                return self._next(invoke, block)
            case GetNormal(invoke, reference):
                result = self._get(reference)
                whole = xdlms.get_response(invoke, xdlms.get_result(result))
                return self._fit(invoke, whole, encode(result) if isinstance(result, Datum) else b"")
            case GetList(invoke, references):
                results = (xdlms.get_result(self._get(reference)) for reference in references)
                listed = length(len(references)) + b"".join(results)
                return self._fit(invoke, xdlms.get_list_response(invoke, listed), listed)
            case SetNormal(invoke, reference, value):
                return xdlms.set_response(invoke, self._set(reference, value))
            case ActionNormal(invoke, reference, parameter):
                return xdlms.action_response(invoke, self._act(reference, parameter))

    def _allowed(self, request: Request) -> bool:
        needed = {SetNormal: Conformance.SET, ActionNormal: Conformance.ACTION, GetNext: Conformance.BLOCK_GET}
        wanted = int(needed.get(type(request), Conformance.GET))
        references: tuple[Reference, ...] = ()
        if isinstance(request, GetList):
            wanted |= Conformance.MULTIPLE_REFERENCES
            references = request.references
        elif isinstance(request, GetNormal):
            references = (request.reference,)
        if any(reference.selector for reference in references):
            wanted |= Conformance.SELECTIVE_ACCESS
        return self._conformance & wanted == wanted

    # ---- GET --------------------------------------------------------------------------------------------------------

    def _get(self, reference: Reference) -> Datum | Result:
        try:
            if reference.name == CURRENT_ASSOCIATION:
                return self._own(reference)
            return self._cabinet.read(self._client, reference)
        except Refused as refused:
            return refused.result

    def _own(self, reference: Reference) -> Datum:
        """The current association, which is another object for each client."""
        if reference.class_id != 15:
            raise Refused(Result.CLASS_INCONSISTENT)
        match reference.member:
            case 1:
                return octets(CURRENT_ASSOCIATION)
            case 2:
                return self._cabinet.object_list(self._client)
            case 3:
                return structure(i8(self._client), u16(1))
            case 5:
                bits = f"{self._conformance:024b}"
                return structure(Datum(Tag.BIT_STRING, bits), u16(self._room), u16(self._room), u8(6), i8(0), text(""))
            case 8:
                return enum(2)  # associated
            case 7:
                raise Refused(Result.READ_WRITE_DENIED)
            case _:
                raise Refused(Result.OBJECT_UNDEFINED)

    def _fit(self, invoke: int, whole: bytes, raw: bytes) -> bytes:
        """The response as it is, or its first block."""
        self._pending, self._block = b"", 0
        if len(whole) <= self._room:
            return whole
        if not self._conformance & Conformance.BLOCK_GET or self._room <= _BLOCK_HEAD:
            return xdlms.get_response(invoke, xdlms.get_result(Result.OTHER_REASON))
        self._pending = raw
        return self._send_block(invoke)

    def _send_block(self, invoke: int) -> bytes:
        step = self._room - _BLOCK_HEAD
        part, self._pending = self._pending[:step], self._pending[step:]
        self._block += 1
        return xdlms.get_block(invoke, self._block, part, last=not self._pending)

    def _next(self, invoke: int, block: int) -> bytes:
        if not self._pending:
            return xdlms.get_block_refused(invoke, block, Result.NO_LONG_GET)
        if block != self._block:
            self._pending = b""
            return xdlms.get_block_refused(invoke, block, Result.BLOCK_NUMBER_INVALID)
        return self._send_block(invoke)

    # ---- SET and ACTION ---------------------------------------------------------------------------------------------

    def _set(self, reference: Reference, value: Datum) -> Result:
        self._pending = b""
        try:
            self._cabinet.write(self._client, reference, value)
        except Refused as refused:
            return refused.result
        self._wrote(reference, encode(value))
        return Result.SUCCESS

    def _act(self, reference: Reference, parameter: Datum) -> Result:
        self._pending = b""
        try:
            self._cabinet.act(self._client, reference, parameter)
        except Refused as refused:
            return refused.result
        return Result.SUCCESS
