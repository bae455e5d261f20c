"""Uplink's end of `uplink.sock`: one connection to field, one request at a time, made again when it breaks."""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dcu.errors import SocketFault
from dcu.mailbox import Stop
from dcu.wire import Wire, connect
from dcu.wire.verbs import Answer, Hello, Request, Welcome, to_answer, to_message

ANSWER_S: Final = 60.0
"""Field answers within this time, beyond what it was asked to wait; a decision on a document may take a while."""

_LOOK_S: Final = 0.5


class FieldLine:
    """An open connection, greeted. One thread's own.

    Args:
        path: of the socket.
        dcu: id of the box that field must be.
        stop: ends every wait.

    Attributes:
        welcome: what field said of itself.

    Raises:
        SocketFault: nobody answers, or another box does.
    """

    def __init__(self, path: Path, dcu: str, stop: Stop) -> None:
        self._stop = stop
        self._wire: Wire = connect(path)
        try:
            answer = self.ask(Hello())
            if not isinstance(answer, Welcome):
                raise SocketFault(f"field answered hello with {type(answer).__name__}", place=str(path))
            if answer.dcu != dcu:
                raise SocketFault(f"field is {answer.dcu!r}, not {dcu!r}", place=str(path))
        except SocketFault:
            self._wire.close()
            raise
        self.welcome: Welcome = answer

    def ask(self, request: Request, wait_s: float = 0.0) -> Answer:
        """Field's answer to one request, which it was asked to hold for at most `wait_s`.

        Raises:
            SocketFault: it did not come, or is none of the contract; the connection is of no more use.
        """
        self._wire.send(to_message(request))
        left_s = wait_s + ANSWER_S
        while left_s > 0 and not self._wire.wait(_LOOK_S):
            if self._stop:
                raise SocketFault("this process ends")
            left_s -= _LOOK_S
        return to_answer(self._wire.receive(0.0))

    def close(self) -> None:
        """Idempotent."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
