"""`field.sock`: the running field process, lent to the technician's CLI. The file's mode says who may ask.

Uplink's user is in the box's group and is barred by name: whoever takes over uplink must not lift a technician's lock.

A request is `{"ask": NAME, ...}`, an answer `{"answer": ...}` or `{"refused": {place, cause, cure}}`.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dcu.errors import DcuError, OperatorFault, SocketFault
from dcu.field.door import Door
from dcu.mailbox import Stop
from dcu.wire import Wire, listen

log = logging.getLogger(__name__)

Ask = Callable[[Mapping[str, Any]], Any]

IDLE_S = 120.0
MAX_CONNECTIONS = 4
LOOK_EVERY_S = 0.25


class FieldSocket:
    """Serves the CLI.

    Args:
        path: of the socket.
        asks: what can be asked, by name; each is given the request and returns plain data.
        stop: ends the loop.
        beat: called at every turn.
        barred: users whose processes are turned away.
    """

    def __init__(
        self,
        path: Path,
        asks: Mapping[str, Ask],
        stop: Stop,
        beat: Callable[[], None],
        barred: Collection[int] = (),
    ) -> None:
        stay_out = frozenset(barred)
        self._door = Door(path, lambda uid: uid not in stay_out)
        self._listener = listen(path)
        self._path = path
        self._asks = asks
        self._stop = stop
        self._beat = beat
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def run(self) -> None:
        """The loop of its thread."""
        self._listener.settimeout(LOOK_EVERY_S)
        with self._listener:
            while not self._stop:
                self._beat()
                with suppress(TimeoutError):
                    connection, _ = self._listener.accept()
                    if not self._door.admits(connection):
                        connection.close()
                        continue
                    if not self._free.acquire(blocking=False):
                        connection.close()  # four technicians at one pole: the fifth asks again
                        continue
                    wire = Wire(connection)
                    threading.Thread(target=self._serve, args=(wire,), name="cli-connection", daemon=True).start()
        self._path.unlink(missing_ok=True)

    def _serve(self, wire: Wire) -> None:
        try:
            while not self._stop:
                wire.send(self._answer(wire.receive(IDLE_S)))
        except SocketFault as fault:
            log.debug("field.sock: %s", fault)
        finally:
            wire.close()
            self._free.release()

    def _answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            ask = self._asks.get(str(request.get("ask")))
            if ask is None:
                raise OperatorFault(f"unknown question {request.get('ask')!r}", cure="use the dcu of this version")
            return {"answer": ask(request)}
        except DcuError as fault:
            return {"refused": {"place": fault.place, "cause": fault.cause, "cure": fault.cure}}
        except Exception as fault:
            log.exception("field.sock: a question failed")
            return {"refused": {"place": "field", "cause": f"{type(fault).__name__}: a bug", "cure": "see the log"}}
