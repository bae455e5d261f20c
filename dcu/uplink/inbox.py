"""What arrives from the head-end, handed to field: acknowledged only after field has decided, durably.

The same connection carries uplink's own reports (`link`). A message that field could not decide is not acknowledged:
the broker sends it again to the next session. Source: DESIGN 5, command-authority.md section 0, decision 2.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dcu.errors import SocketFault
from dcu.mailbox import Mailbox, Stop
from dcu.uplink.backoff import Backoff
from dcu.uplink.field_line import FieldLine
from dcu.uplink.letters import Arrived
from dcu.wire.verbs import MAX_PUT, Decided, Denied, Done, Link, Put, Request

log = logging.getLogger(__name__)

_TOPIC_CHARACTERS: Final = 256
_RETRY_S: Final = 2.0


class Inbox:
    """A loop in a thread of its own.

    Args:
        path: of field's socket.
        dcu: id of the box.
        stop: ends it.
        beat: called at each turn.
    """

    def __init__(self, path: Path, dcu: str, stop: Stop, beat: Callable[[], None]) -> None:
        self._path = path
        self._dcu = dcu
        self._stop = stop
        self._beat = beat
        self._letters: Mailbox[Arrived | Link] = Mailbox(stop, capacity=256)
        self._line: FieldLine | None = None
        self._field_gone = False

    def post(self, letter: Arrived | Link) -> None:
        """Leave a letter; from any thread, never blocks. One too many is dropped: the broker has it still."""
        if not self._letters.post(letter):
            log.warning("inbox full: a letter is dropped")

    def run(self) -> None:
        """Hand letters to field until the process stops."""
        try:
            while not self._stop:
                self._beat()
                letter = self._letters.take(1.0)
                if letter is not None:
                    self._hand_in(letter)
        finally:
            self._hang_up()

    def _hand_in(self, letter: Arrived | Link) -> None:
        request = _request(letter)
        retry = Backoff(_RETRY_S)
        while not self._stop:
            self._beat()
            if isinstance(letter, Arrived) and not letter.session.alive:
                log.info("%s: its session ended before it was decided; the broker will send it again", letter.topic)
                return
            if self._decided(letter, request):
                return
            self._stop.wait(retry.next_s())

    def _decided(self, letter: Arrived | Link, request: Request) -> bool:
        try:
            if self._line is None:
                self._line = FieldLine(self._path, self._dcu, self._stop)
            answer = self._line.ask(request)
            match answer:
                case Decided() if isinstance(letter, Arrived):
                    code = f" {answer.code.value}" if answer.code else ""
                    log.info("%s: %s%s", letter.topic, answer.status, code)
                    if letter.qos:  # the acknowledgement of what asks for none would end the connection
                        letter.session.acknowledge(letter.mid)
                case Done() if isinstance(letter, Link):
                    pass
                case Denied():
                    log.warning("field denies: %s", answer.text)
                    return False
                case _:
                    raise SocketFault(f"field answered with {type(answer).__name__}")
        except SocketFault as fault:
            self._hang_up()
            if not self._field_gone and not self._stop:
                log.warning("field cannot take it: %s", fault)
            self._field_gone = True
            return False
        self._field_gone = False
        return True

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def _request(letter: Arrived | Link) -> Request:
    if isinstance(letter, Link):
        return letter
    # Cut, not dropped: field counts and refuses what is too long, whatever its length.
    return Put(letter.octets[:MAX_PUT], letter.topic[:_TOPIC_CHARACTERS] or "?", letter.qos, letter.retained)
