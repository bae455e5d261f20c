"""Field's end of `uplink.sock`: the few verbs that uplink may ask, answered from the store and the relay.

Uplink is not trusted: it can delay or silence, and can cause nothing. Garbage, or a field out of bounds, ends that
connection and is counted; a claim to have delivered what was never given an id is refused and alarmed. A fault of the
store is none of uplink's: it is raised in `run`, and the process ends (crash-only). Source: DESIGN 2 and 4.
"""

import logging
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from dcu.clock import BUILT
from dcu.command import Refusal
from dcu.errors import DcuError, Fate, OperatorFault, SocketFault
from dcu.field import made_ahead, read_ahead
from dcu.field.door import Door
from dcu.field.read_ahead import ReadAhead, last_of
from dcu.mailbox import Bell, Stop
from dcu.ports import BatchSlice, Seal, Seals, Store, Transaction
from dcu.record import Stream, encode_batch
from dcu.relay import resends
from dcu.wire import PeerClosed, Wire, listen
from dcu.wire.verbs import (
    MAX_BATCH,
    Answer,
    Decided,
    Delivered,
    Denied,
    Done,
    Hello,
    Link,
    Next,
    Nothing,
    Offer,
    Put,
    Quarantine,
    Reason,
    Request,
    Resent,
    Sealed,
    Welcome,
    to_message,
    to_request,
)

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 4
_LOOK_S: Final = 0.5  # how often a quiet loop looks at `stop`
_MAX_OFFER: Final = MAX_BATCH + 48 * 1024  # records, layouts and head; what a frame carries beside its other fields


class Verdict(Protocol):
    """What became of a document: the relay's word."""

    @property
    def status(self) -> str:
        """accepted, refused or duplicate."""
        ...

    @property
    def code(self) -> Refusal | None:
        """Why it was refused."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """What the socket lends out of the field process.

    Attributes:
        store: records and cursors.
        put: decides a document (octets, topic, qos, retained) and returns after the decision is durable.
        set_aside: lets the cursor of a stream pass a record, by id, that the broker refuses with a code.
        note_link: told what uplink says of its connection; must not block.
        cursor_refused: told in words of a delivery that was never offered; must not block.
        bell: rung after each commit that appended records.
        dcu: id of the box.
        version: of the program.
        floor: no true time is before it.
        seals: payloads that are made already.
    """

    store: Store
    put: Callable[[bytes, str, int, bool], Verdict]
    set_aside: Callable[[Stream, int, int], None]
    note_link: Callable[[Link], None]
    cursor_refused: Callable[[str], None]
    bell: Bell
    dcu: str
    version: str
    floor: Callable[[], datetime]
    seals: Seals


class UplinkSocket:
    """The server of `uplink.sock`.

    Args:
        path: where it listens (mode 0660).
        store, put, set_aside, note_link, cursor_refused, bell, dcu, version, floor, seals: as in `Room`.
        stop: ends it.
        beat: called at each turn of the accepting loop.
        allowed_uids: users whose processes may connect.
        frame_s: within this time a frame that has begun must be whole.
    """

    def __init__(
        self,
        path: Path,
        *,
        store: Store,
        put: Callable[[bytes, str, int, bool], Verdict],
        set_aside: Callable[[Stream, int, int], None],
        note_link: Callable[[Link], None],
        cursor_refused: Callable[[str], None],
        bell: Bell,
        dcu: str,
        version: str,
        stop: Stop,
        beat: Callable[[], None],
        allowed_uids: Collection[int],
        seals: Seals,
        floor: Callable[[], datetime] = lambda: BUILT,
        frame_s: float = 10.0,
    ) -> None:
        self._path = path
        self._room = Room(store, put, set_aside, note_link, cursor_refused, bell, dcu, version, floor, seals)
        self._stop = stop
        self._beat = beat
        allowed = frozenset(allowed_uids)
        self._door = Door(path, lambda uid: uid in allowed)
        self._frame_s = frame_s
        self._lock = threading.Lock()
        self._wires: set[Wire] = set()
        self._fallen: BaseException | None = None
        self._garbage = 0
        self._listener = listen(path)

    @property
    def garbage(self) -> int:
        """Connections that ended because of what was sent on them."""
        return self._garbage

    @property
    def turned_away(self) -> int:
        """Connections refused at the door: a stranger's, or one too many."""
        return self._door.turned_away

    def run(self) -> None:
        """Accept until the process stops.

        Raises:
            StoreFault: the store failed under a request.
            Exception: a bug under a request.
        """
        self._listener.settimeout(_LOOK_S)
        try:
            while not self._stop and self._fallen is None:
                self._beat()
                try:
                    sock, _ = self._listener.accept()
                except TimeoutError:
                    continue
                self._admit(sock)
        finally:
            self._listener.close()
            with self._lock:
                wires = list(self._wires)
            for wire in wires:
                wire.close()
        if self._fallen is not None:
            raise self._fallen

    def _admit(self, sock: socket.socket) -> None:
        wire = Wire(sock, frame_s=self._frame_s)
        if not self._door.admits(sock):
            wire.close()
            return
        with self._lock:
            room = len(self._wires) < MAX_CONNECTIONS
            if room:
                self._wires.add(wire)
        if not room:
            self._door.turn_away("more connections than uplink needs")
            wire.close()
            return
        threading.Thread(target=self._converse, args=(wire,), name="uplink-conversation", daemon=True).start()

    def _converse(self, wire: Wire) -> None:
        try:
            Conversation(self._room, self._stop).run(wire)
        except PeerClosed:
            pass
        except SocketFault as fault:
            if not self._stop:
                with self._lock:
                    self._garbage += 1
                    count = self._garbage
                if count.bit_count() == 1:
                    log.warning("%s: connection ended: %s (%d so far)", self._path, fault, count)
        except Exception as fault:  # noqa: BLE001  whatever it is, `run` raises it and the process ends
            self._fallen = fault
        finally:
            with self._lock:
                self._wires.discard(wire)
            wire.close()


class Conversation:
    """One connection: requests in turn, each answered before the next is read. Runs in a thread of its own."""

    def __init__(self, room: Room, stop: Stop) -> None:
        self._room = room
        self._stop = stop
        self._empty: tuple[int, Next] | None = None
        self._ahead = ReadAhead()

    def run(self, wire: Wire) -> None:
        """Answer until the peer closes or the process stops.

        Raises:
            SocketFault: the peer broke the contract, or closed.
            StoreFault: the store failed.
        """
        while not self._stop:
            if wire.wait(_LOOK_S):
                wire.send(to_message(self.answer(to_request(wire.receive(_LOOK_S)))))

    def answer(self, request: Request) -> Answer:
        """The answer to one request. Raises StoreFault when the store failed for good."""
        try:
            match request:
                case Hello():
                    floor_s = int(self._room.floor().timestamp())
                    return Welcome(self._room.dcu, self._room.store.epoch, self._room.version, floor=floor_s)
                case Next():
                    return self._next(request)
                case Delivered() | Resent() | Quarantine():
                    return self._move(request)
                case Put():
                    verdict = self._room.put(request.octets, request.topic, request.qos, request.retained)
                    return Decided(verdict.status, verdict.code)
                case Link():
                    self._room.note_link(request)
                    return Done()
        except DcuError as fault:
            if fault.fate is Fate.STOP_PROCESS:
                raise
            return Denied(Reason.BUSY, str(fault)[:500])

    def _next(self, request: Next) -> Answer:
        heard = self._room.bell.rung
        if self._empty != (heard, request):  # nothing came since this very question found nothing
            offer = self._offer(request, heard)
            if offer is not None:
                return offer
        if self._room.bell.wait(heard, request.wait_ms / 1000):
            heard = self._room.bell.rung
            offer = self._offer(request, heard)
            if offer is not None:
                return offer
        self._empty = (heard, request)
        return Nothing()

    def _offer(self, request: Next, rung: int) -> Offer | Sealed | None:
        room, limit = self._room, request.max_bytes
        kept = self._ahead.take(request, rung, room.store.epoch)
        if kept is not None and (offer := self._encoded(kept)) is not None:
            return offer
        while True:
            epoch = room.store.epoch
            choose = made_ahead.chosen(room.seals, epoch, request.sealed)
            found = room.store.transact(partial(_find, request, limit, choose))
            if found.seals:
                sealed = made_ahead.answer(room.seals, epoch, found.seals)
                if sealed is not None and room.store.epoch == epoch:
                    return sealed
                request = replace(request, sealed=0)  # they are damaged, or of a store that was salvaged meanwhile
                continue
            cut = request.sealed and not found.again
            parts = made_ahead.up_to_payload(room.seals, epoch, found.parts) if cut else found.parts
            self._ahead.keep(request, parts, rung, epoch)
            if not parts:
                return None
            if (offer := self._encoded(parts[0], again=found.again)) is not None:
                return offer
            if len(parts[0].bodies) == 1:
                raise OperatorFault(f"record {parts[0].first} of {parts[0].stream.value} is too large to be offered")
            limit = max(1, limit // 2)

    def _encoded(self, part: BatchSlice, *, again: bool = False) -> Offer | None:
        """None where it is more than a frame carries."""
        epoch = self._room.store.epoch
        batch = encode_batch(self._room.dcu, epoch, part.stream, part.first, part.layouts, part.bodies)
        return Offer(epoch, part.stream, part.first, last_of(part), batch, again) if len(batch) <= _MAX_OFFER else None

    def _move(self, request: Delivered | Resent | Quarantine) -> Answer:
        """Move a cursor: what uplink claims without right is refused and alarmed."""
        if request.epoch != self._room.store.epoch:
            text = f"the epoch is {self._room.store.epoch}, not {request.epoch[:64]!r}"
            self._room.cursor_refused(f"uplink claims a delivery in another epoch: {text}")
            return Denied(Reason.EPOCH, text)
        claim = "uplink claims a delivery of what was never offered"
        try:
            if isinstance(request, Quarantine):
                claim = f"uplink asks to pass record {request.n} of {request.stream.value}"
                self._room.set_aside(request.stream, request.n, request.code)
            elif isinstance(request, Resent):
                self._room.store.transact(lambda tx: resends.published(tx, request.stream, request.last))
            else:
                self._room.store.transact(lambda tx: tx.deliver(request.stream, request.last))
        except OperatorFault as fault:
            self._room.cursor_refused(f"{claim}: {fault}"[:500])
            return Denied(Reason.BEYOND, str(fault)[:500])
        return Done()


@dataclass(frozen=True, slots=True)
class _Found:
    """What is to be offered: seals, or else parts, of which an `again` is asked for by the head-end."""

    seals: Sequence[Seal] = ()
    parts: Sequence[BatchSlice] = ()
    again: bool = False


def _find(request: Next, max_bytes: int, choose: Callable[[Stream, int], Sequence[Seal]], tx: Transaction) -> _Found:
    """What comes next; of what is offered again one batch at a time, between all others."""
    again = resends.next_again(tx, max_bytes) if request.again else None
    if again is not None:
        return _Found(parts=[again], again=True)
    seals = tx.next_sealed(request.after, choose) if request.sealed else ()
    return _Found(seals) if seals else _Found(parts=read_ahead.read(tx, request, max_bytes))
