"""How much may be written for documents: by whom, and how often. Pure: it is told the time.

Receipts and the journal are kept for more than a year and are never shed, so nobody may fill the store with them: not
who replays what was recorded, not who holds the least of keys. Beyond an allowance a document is counted, and neither
journalled nor answered. Only what is signed by those who may, for this box, counts against its keys: nobody else can
use their allowance up. Connects, cancels and freezes have a lane of their own.
Source: reference/command-authority.md 0 item 2, 8; what comes of it in a year: docs/decisions/0006.
"""

from collections.abc import Collection, Hashable
from typing import Final

from dcu.bucket import TokenBucket
from dcu.command import Operation, Refusal
from dcu.relay.gate import Sampler
from dcu.relay.policy.floor import DAY_S

AGAIN_S: Final = 60
"""The same document again is answered at most this often."""

REPEATS: Final = (60, 60 / DAY_S)
"""Receipts given out again, of the whole box: at once, and then a second."""

REFUSALS: Final = (120, 60 / DAY_S)
"""Refusals up to the quorum that are answered, of one key: whoever may do nothing can say little."""

PERMITS: Final = (120, 60 / DAY_S)
"""Permits of one key."""

COMMANDS: Final = (1000, 1 / 30)
"""Commands of one key that are judged, in each of two lanes."""

SPARING: Final = frozenset({Operation.CONNECT, Operation.CANCEL, Operation.FREEZE})
"""Their lane is their own: who floods a box with others does not keep light away."""


class Allowances:
    """Of one process; the buckets are full at its start."""

    def __init__(self) -> None:
        self._buckets: dict[Hashable, TokenBucket] = {}
        self._answered = Sampler(AGAIN_S)

    def repeat(self, monotonic_s: float) -> bool:
        """Whether a receipt may be given out once more."""
        return self._take("repeat", REPEATS, monotonic_s)

    def document_again(self, digest: bytes, monotonic_s: float) -> bool:
        """Whether a document that is in force may be answered once more."""
        return self._answered.due(digest, monotonic_s) and self.repeat(monotonic_s)

    def refusal(self, digest: bytes, code: Refusal, kids: Collection[str], monotonic_s: float) -> bool:
        """Whether those who signed may be told that they may not."""
        again = self._answered.due((digest, code), monotonic_s)
        return again and self._each("refusal", kids, REFUSALS, monotonic_s)

    def permit(self, kids: Collection[str], monotonic_s: float) -> bool:
        """Whether another permit of theirs is judged."""
        return self._each("permit", kids, PERMITS, monotonic_s)

    def command(self, kids: Collection[str], op: Operation, monotonic_s: float) -> bool:
        """Whether another command of theirs is judged."""
        return self._each(("command", op in SPARING), kids, COMMANDS, monotonic_s)

    def _each(self, what: Hashable, kids: Collection[str], allowed: tuple[int, float], monotonic_s: float) -> bool:
        taken = [self._take((what, kid), allowed, monotonic_s) for kid in kids]  # of every one of them
        return all(taken)

    def _take(self, name: Hashable, allowed: tuple[int, float], monotonic_s: float) -> bool:
        bucket = self._buckets.get(name)
        if bucket is None:  # one for each key that ever signed: a key document has 256 at most
            bucket = self._buckets[name] = TokenBucket(*allowed)
        return bucket.take(monotonic_s)
