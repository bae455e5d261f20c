"""The usual loop around the stock client of gurux_dlms, as its examples have it."""

from collections.abc import Callable

from gurux_dlms import GXByteBuffer, GXDLMSClient, GXReplyData

Exchange = Callable[[bytes], list[bytes]]
"""A frame to the meter, and the frames that it answers with."""


class GuruxSession:
    """A request, and what is needed until its answer is whole."""

    def __init__(self, client: GXDLMSClient, exchange: Exchange) -> None:
        self.client = client
        self._exchange = exchange

    def ask(self, requests) -> GXReplyData:
        """The answer to one request or several. Raises AssertionError for an error of the meter's."""
        reply = GXReplyData()
        for request in [requests] if isinstance(requests, bytes | bytearray) else requests:
            reply.clear()
            self._one(request, reply)
            while reply.isMoreData():
                self._one(self.client.receiverReady(reply), reply)
        return reply

    def _one(self, request, reply: GXReplyData) -> None:
        buffer = GXByteBuffer()
        for answer in self._exchange(bytes(request)):
            buffer.set(bytearray(answer))
        if not self.client.getData(buffer, reply):
            raise AssertionError("an answer that is not whole")
        if reply.error:
            raise AssertionError(f"gurux: error {reply.error}")
