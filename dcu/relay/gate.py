"""What stands before the cryptography: topic, QoS, retained flag, a token bucket (checks 1 and 2); and sampling.

Decisions about time take it as an argument. Source: reference/command-authority.md 4 and 8.
"""

import re
from collections import OrderedDict
from typing import Final

from dcu.bucket import TokenBucket
from dcu.command import CommandRefused, Refusal
from dcu.relay.canonical import from_base64url
from dcu.relay.envelope import MAX_OCTETS

_PAYLOAD: Final = re.compile(rb'\{"payload":"([A-Za-z0-9_-]*)"')

BURST: Final = 120
REFILL_PER_S: Final = 2.0

KEYS_BURST: Final = 10
KEYS_REFILL_PER_S: Final = 1 / 30
"""Of key documents: within what all documents may."""


class Gate:
    """Lets in what came the right way, no faster than a box can need it.

    What looks like a connect has a bucket of its own: a flood of others does not keep light away.

    Args:
        topic: the one command topic.
        burst: documents that may come at once.
        refill_per_s: documents a second after that.
    """

    def __init__(self, topic: str, burst: int = BURST, refill_per_s: float = REFILL_PER_S) -> None:
        self._topic = topic
        self._buckets = {lane: TokenBucket(burst, refill_per_s) for lane in (False, True)}
        self._keys = TokenBucket(KEYS_BURST, KEYS_REFILL_PER_S)

    def admit(self, topic: str, qos: int, retained: bool, monotonic_s: float, *, connect: bool = False) -> None:
        """Raises CommandRefused: E_TOPIC, E_RETAINED or E_FLOOD."""
        if topic != self._topic or qos != 1:
            raise CommandRefused(Refusal.E_TOPIC, "documents come on the command topic with QoS 1")
        if retained:
            raise CommandRefused(Refusal.E_RETAINED, "a retained command would come again at every reconnect")
        if not self._buckets[connect].take(monotonic_s):
            raise CommandRefused(Refusal.E_FLOOD, "more documents than anyone needs")

    def admit_keys(self, monotonic_s: float) -> None:
        """A key document, which costs a hundred times a command to read. Raises CommandRefused: E_FLOOD."""
        if not self._keys.take(monotonic_s):
            raise CommandRefused(Refusal.E_FLOOD, "more key documents than anyone needs")


def looks_like_connect(octets: bytes) -> bool:
    """Whether a document says that it gives light; verified by nobody, it only chooses the lane."""
    if len(octets) > MAX_OCTETS:
        return False
    found = _PAYLOAD.match(octets)
    if found is None:
        return False
    try:
        return b'"op":"connect"' in from_base64url(found[1].decode("ascii"))
    except CommandRefused:
        return False


class Sampler:
    """Lets the same thing through once a period; remembers a bounded number of things."""

    def __init__(self, period_s: float = 60.0, capacity: int = 1024) -> None:
        self._period_s = period_s
        self._capacity = capacity
        self._last_s: OrderedDict[object, float] = OrderedDict()

    def due(self, thing: object, monotonic_s: float) -> bool:
        """True when `thing` was not let through within the last period."""
        last_s = self._last_s.get(thing)
        if last_s is not None and monotonic_s - last_s < self._period_s:
            return False
        self._last_s[thing] = monotonic_s
        self._last_s.move_to_end(thing)
        while len(self._last_s) > self._capacity:
            self._last_s.popitem(last=False)
        return True
