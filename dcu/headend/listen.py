"""The consumer: batches decoded, each record taken once and kept before the broker is told so.

What is not a batch is logged, counted and acknowledged: it would come again for ever. Source: DESIGN 4 and 6,
`docs/head-end.md`.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from dcu.errors import ReplyMalformed
from dcu.headend.contract import Check
from dcu.headend.holdings import Holdings, Hole, Item
from dcu.mailbox import Stop
from dcu.record import Batch
from dcu.uplink.encoding import decode
from dcu.uplink.letters import Arrived
from dcu.uplink.topics import origin
from dcu.wire.fields import MAX_ID

log = logging.getLogger(__name__)

_COMPLAINTS: Final = 20


class Receiving(Protocol):
    """Where messages come from."""

    def receive(self, timeout_s: float) -> Arrived | None:
        """The next one, or None."""
        ...


class Keeping(Protocol):
    """What takes records: in memory (`Holdings`) or in a file (`Collection`)."""

    repeated: int

    def take(self, batch: Batch) -> list[Item]:
        """The records that were not held; they are, durably where it is a file, when this returns."""
        ...

    def holes(self) -> list[Hole]:
        """Ids that are missing."""
        ...

    def count(self) -> int:
        """Records held."""
        ...


def _ignore(*_: object) -> None:
    pass


class Listener:
    """Takes what arrives. `run` is a loop for one thread; the questions may be asked from any.

    Args:
        link: where messages come from.
        keeping: takes each record before it is acknowledged; memory where None.
        on_item: told of each new record, in the loop's thread.
        on_state: told of a box's presence: (dcu, state).
        check: holds each message against the published contract; one that fails is malformed.

    Attributes:
        malformed: messages that were no batch of their topic, or not of the contract.
        complaints: the last of them in words.
    """

    def __init__(
        self,
        link: Receiving,
        keeping: Keeping | None = None,
        on_item: Callable[[Item], object] = _ignore,
        on_state: Callable[[str, Mapping[str, Any]], object] = _ignore,
        check: Check = _ignore,
    ) -> None:
        self._link = link
        self._check = check
        self._on_item = on_item
        self._on_state = on_state
        self._lock = threading.Lock()
        self._holdings: Keeping = Holdings() if keeping is None else keeping
        self.malformed = 0
        self.complaints: deque[str] = deque(maxlen=_COMPLAINTS)

    @property
    def repeated(self) -> int:
        """Records that came again and were not taken."""
        with self._lock:
            return self._holdings.repeated

    def holes(self) -> list[Hole]:
        """Ids that are missing below the highest of each series."""
        with self._lock:
            return self._holdings.holes()

    def count(self) -> int:
        """Records held."""
        with self._lock:
            return self._holdings.count()

    def run(self, stop: Stop) -> None:
        """Take messages until `stop`."""
        while not stop:
            letter = self._link.receive(1.0)
            if letter is not None:
                self.take(letter)

    def take(self, letter: Arrived) -> None:
        """One message, kept and then acknowledged. Raises OperatorFault when it cannot be kept: then it is not."""
        try:
            self._sort(letter)
        except ReplyMalformed as fault:
            self.malformed += 1
            self.complaints.append(f"{letter.topic}: {fault}"[:1000])
            log.warning("%s: %s", letter.topic, fault)
        letter.session.acknowledge(letter.mid)

    def _sort(self, letter: Arrived) -> None:
        self._check(letter.topic, letter.octets, letter.content_type)
        dcu, what = origin(letter.topic) or ("", "")
        if what == "state":
            self._on_state(dcu, _state(letter.octets))
            return
        batch = decode(letter.octets, letter.content_type)
        if batch.first < 1 or batch.last > MAX_ID or not all(isinstance(record, dict) for record in batch.records):
            raise ReplyMalformed("a batch whose records are not maps, or that does not begin at an id")
        if batch.dcu != dcu or what != f"up/{batch.stream.value}":
            raise ReplyMalformed(f"a batch of {batch.dcu!r}, stream {batch.stream.value}, on another's topic")
        self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        with self._lock:
            items = self._holdings.take(batch)
        for item in items:
            self._on_item(item)


def _state(octets: bytes) -> Mapping[str, Any]:
    try:
        state = json.loads(octets)
    except ValueError as fault:
        raise ReplyMalformed(f"not a state: {fault}") from fault
    if not isinstance(state, dict) or not isinstance(state.get("online"), bool):
        raise ReplyMalformed("not a state: no `online`")
    return state
