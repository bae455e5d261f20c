"""The consumer: batches decoded, each record taken once and kept before the broker is told so.

What is not a batch is logged, counted and acknowledged: it would come again for ever. Source: DESIGN 4 and 6.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dcu.errors import ReplyMalformed
from dcu.headend.holdings import Holdings, Hole, Item
from dcu.headend.journal import LineFile
from dcu.mailbox import Stop
from dcu.record import Batch
from dcu.uplink.encoding import decode
from dcu.uplink.letters import Arrived
from dcu.uplink.topics import origin

log = logging.getLogger(__name__)


class Receiving(Protocol):
    """Where messages come from."""

    def receive(self, timeout_s: float) -> Arrived | None:
        """The next one, or None."""
        ...


def _ignore(*_: object) -> None:
    pass


class Listener:
    """Takes what arrives. `run` is a loop for one thread; the questions may be asked from any.

    Args:
        link: where messages come from.
        file: keeps each record before it is acknowledged; None keeps nothing.
        on_item: told of each new record, in the loop's thread.
        on_state: told of a box's presence: (dcu, state).
    """

    def __init__(
        self,
        link: Receiving,
        file: LineFile | None = None,
        on_item: Callable[[Item], object] = _ignore,
        on_state: Callable[[str, Mapping[str, Any]], object] = _ignore,
    ) -> None:
        self._link = link
        self._file = file
        self._on_item = on_item
        self._on_state = on_state
        self._lock = threading.Lock()
        self._holdings = Holdings()
        self._malformed = 0
        if file is not None:
            file.recall(self._holdings)

    @property
    def repeated(self) -> int:
        """Records that came again and were not taken."""
        with self._lock:
            return self._holdings.repeated

    @property
    def malformed(self) -> int:
        """Messages that were no batch of their topic."""
        return self._malformed

    def holes(self) -> list[Hole]:
        """Ids that are missing below the highest of each series."""
        with self._lock:
            return self._holdings.holes()

    def count(self) -> int:
        """Records held."""
        with self._lock:
            return sum(last - first + 1 for ranges in self._holdings.held().values() for first, last in ranges)

    def run(self, stop: Stop) -> None:
        """Take messages until `stop`."""
        while not stop:
            letter = self._link.receive(1.0)
            if letter is not None:
                self.take(letter)

    def take(self, letter: Arrived) -> None:
        """One message, kept and then acknowledged. Raises OSError when it cannot be kept: it is not acknowledged."""
        try:
            self._sort(letter)
        except ReplyMalformed as fault:
            self._malformed += 1
            log.warning("%s: %s", letter.topic, fault)
        letter.session.acknowledge(letter.mid)

    def _sort(self, letter: Arrived) -> None:
        dcu, what = origin(letter.topic) or ("", "")
        if what == "state":
            self._on_state(dcu, _state(letter.octets))
            return
        batch = decode(letter.octets, letter.content_type)
        if batch.first < 1 or not all(isinstance(record, dict) for record in batch.records):
            raise ReplyMalformed("a batch whose records are not maps, or that does not begin at an id")
        if batch.dcu != dcu or what != f"up/{batch.stream.value}":
            raise ReplyMalformed(f"a batch of {batch.dcu!r}, stream {batch.stream.value}, on another's topic")
        self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        with self._lock:
            items = self._holdings.take(batch)
        if self._file is not None:
            self._file.append(items)
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
