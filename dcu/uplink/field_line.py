"""Uplink's end of `uplink.sock`: one connection to field, one request at a time, made again when it breaks."""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dcu.errors import SocketFault
from dcu.mailbox import Stop
from dcu.wire import Wire, connect
from dcu.wire.verbs import Answer, Denied, Hello, Next, Request, Welcome, to_answer, to_message

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
        self._asked_ahead = False
        self._ahead: Answer | None = None
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
        self._hear_ahead()
        self._wire.send(to_message(request))
        return self._receive(wait_s)

    def ask_ahead(self, request: Next) -> None:
        """Ask and go on with other work while field does its own: the answer is there when it is taken.

        At most one is out; it is a batch of what is in the store already, so field holds it no longer than that takes.
        """
        self._hear_ahead()
        self._ahead = None
        self._wire.send(to_message(request))
        self._asked_ahead = True

    def take_ahead(self) -> Answer | None:
        """The answer to what was asked ahead, once; None where nothing was. Raises as `ask`."""
        self._hear_ahead()
        answer, self._ahead = self._ahead, None
        return answer

    def _hear_ahead(self) -> None:
        """One request is outstanding on a connection: what was asked ahead is heard before anything else is asked."""
        if self._asked_ahead:
            self._asked_ahead = False
            self._ahead = self._receive(0.0)

    def _receive(self, wait_s: float) -> Answer:
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


def told(answer: Answer) -> str:
    """An answer in words."""
    return answer.text if isinstance(answer, Denied) else type(answer).__name__
