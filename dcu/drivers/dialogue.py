"""Request and response over one data link, ciphered where the association is."""

import time
from collections.abc import Callable
from typing import Final

from dcu.drivers import reply
from dcu.drivers.apdu import RequestCodec
from dcu.drivers.ciphering import Ciphering
from dcu.drivers.data_link import DataLink
from dcu.drivers.reply import Block
from dcu.errors import LinkLost, OperatorFault, ReplyMalformed

_LONGEST_PAYLOAD: Final = 1 << 20  # a whole ring of 35 days is 0.2 MB; a meter without end must not fill the memory

_PATIENCE_S: Final = 60.0
_SLOWEST_S: Final = 0.1
"""How long an answer in blocks may take, and how much longer for each octet of it: three times 300 baud."""

_IN_CLEAR_AT_MOST: Final = 15
"""Refusals in clear in a row. They move no counter, and the next request has the invoke-id of the first that was so
refused: the meter's own answer to that one, held back on the line, would be taken for the answer to this."""


class Dialogue:
    """One association's way to the meter.

    Attributes:
        max_pdu_bytes: longest APDU that the meter takes; 0 where it states none.
    """

    def __init__(
        self,
        data_link: DataLink,
        ciphering: Ciphering | None,
        give_way: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """A dialogue over an open link.

        Args:
            data_link: open.
            ciphering: of the association, or None for a clear one.
            give_way: called before each read exchange; raises Preempted when an urgent errand waits.
            monotonic: seconds that never go back.
        """
        self._monotonic = monotonic
        self._data_link = data_link
        self._ciphering = ciphering
        self._give_way = give_way
        self.codec = RequestCodec()
        self.max_pdu_bytes = 0
        self._in_clear = 0

    def room(self) -> int:
        """Longest clear request that fits, octets."""
        return (self.max_pdu_bytes or 0xFFFF) - (self._ciphering.overhead if self._ciphering else 0)

    def ask(self, request: bytes) -> bytes:
        """A read exchange: asked again by the link when its answer is lost. Raises Preempted, and as `DataLink`."""
        self._give_way()
        return self._unprotected(self._data_link.exchange(self._protected(request), once=False))

    def order(self, request: bytes, spend: Callable[[], None]) -> bytes:
        """A SET or ACTION: `spend` is called with the octets ready, and they are sent at once, once.

        Raises:
            WarrantRequired: of `spend`; nothing is sent.
            OperatorFault: the meter takes no request as long as this one; nothing is sent and nothing spent.
            DcuError: as `DataLink.exchange` with `once`.
        """
        if len(request) > self.room():
            raise OperatorFault(f"the meter takes {self.room()} octets a request, this one has {len(request)}")
        octets = self._protected(request)  # raises before anything is spent
        self._data_link.settle()
        spend()
        return self._unprotected(self._data_link.exchange(octets, once=True))

    def get(self, request: bytes) -> bytes:
        """The payload of a GET response, its blocks joined.

        Raises:
            ReplyMalformed: not its answer, blocks out of order, without end, or hardly anything in them.
            DcuError: as `ask`, AttributeDenied and MeterBusy.
        """
        began_s = self._monotonic()
        part = reply.get_payload(request, self.ask(request))
        if isinstance(part, bytes):
            return part
        payload = bytearray()
        number = 1
        while True:
            if part.number != number:
                raise ReplyMalformed(f"block {part.number} where block {number} is due")
            payload += part.raw
            if part.last:
                # A single value's blocks hold the value alone; a list's hold its count and results.
                return bytes(payload) if request[1] != 1 else b"\x00" + bytes(payload)
            lasts_s = self._monotonic() - began_s
            if len(payload) > _LONGEST_PAYLOAD or lasts_s > _PATIENCE_S + _SLOWEST_S * len(payload):
                raise ReplyMalformed("a long GET without end")
            following = self.codec.next_block(request, number)
            part = self._block(following)
            number += 1

    def _block(self, request: bytes) -> Block:
        part = reply.get_payload(request, self.ask(request))
        if isinstance(part, bytes):
            raise ReplyMalformed("no block where one is due")
        return part

    def _protected(self, apdu: bytes) -> bytes:
        if self._in_clear >= _IN_CLEAR_AT_MOST:
            raise LinkLost(f"{self._in_clear} refusals in clear in a row: the order of answers is not known")
        return self._ciphering.protect(apdu) if self._ciphering else apdu

    def _unprotected(self, apdu: bytes) -> bytes:
        # An exception response stays clear even in a ciphered association; it carries no value.
        if self._ciphering is None:
            return apdu
        if reply.is_exception(apdu):
            self._in_clear += 1
            return apdu
        plaintext = self._ciphering.unprotect(apdu)
        self._in_clear = 0
        return plaintext
