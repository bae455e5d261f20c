"""What uplink will ask for next, read in one turn of the store with what it asked for.

Each turn of the store's writer is two waits for a processor, and a box that meters and drains has few to spare. It is
done only where a backlog is all there is: nothing waits in another stream, so that no turn of another is passed by, and
what is kept counts only until something is appended, the store is another one, or the question is not the expected one.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from dcu.ports import BatchSlice, Transaction
from dcu.wire.verbs import Next

MOST: Final = 4
"""Batches read in one turn, the one that was asked for among them."""

MOST_BYTES: Final = 128 * 1024
"""Octets of records read in one turn, unless a single batch has more: all that a conversation keeps."""


def read(tx: Transaction, request: Next, max_bytes: int) -> list[BatchSlice]:
    """The batch that is asked for and those behind it; none where nothing waits."""
    first = tx.next_batch(request.after, max_bytes)
    if first is None:
        return []
    parts = [first]
    cursors = tx.cursors()
    others = [last - max(done, request.after.get(s, 0)) for s, (done, last) in cursors.items() if s is not first.stream]
    if max(others, default=0) > 0:
        return parts
    _, given = cursors[first.stream]
    for _ in range(min(MOST, MOST_BYTES // max_bytes) - 1):
        behind = last_of(parts[-1]) + 1
        part = tx.again(first.stream, behind, given, max_bytes)
        if part is None or part.first != behind:
            break  # a hole, or a damaged record: the search for a batch sees to that
        parts.append(part)
    return parts


def last_of(part: BatchSlice) -> int:
    """Id of the last record."""
    return part.first + len(part.bodies) - 1


class ReadAhead:
    """The batches that one conversation keeps, and the question that each is the answer to."""

    def __init__(self) -> None:
        self._parts: deque[BatchSlice] = deque()
        self._state: tuple[int, str] = (0, "")
        self._question: Next | None = None

    def keep(self, request: Next, parts: Sequence[BatchSlice], rung: int, epoch: str) -> None:
        """`parts[0]` is being offered to that request; the bell had rung so often before they were read."""
        self._parts = deque(parts[1:])
        self._state = (rung, epoch)
        self._question = _behind(request, parts[0]) if parts else None

    def take(self, request: Next, rung: int, epoch: str) -> BatchSlice | None:
        """The answer, where it is kept and still is one."""
        if not self._parts or (rung, epoch) != self._state or replace(request, wait_ms=0) != self._question:
            self._parts.clear()
            return None
        part = self._parts.popleft()
        self._question = _behind(request, part)
        return part


def _behind(request: Next, part: BatchSlice) -> Next:
    """The question that goes on behind a part."""
    return replace(request, after={**request.after, part.stream: last_of(part)}, wait_ms=0, again=False)
