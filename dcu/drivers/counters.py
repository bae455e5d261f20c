"""Invocation counters of one line's meters: reserved in blocks ahead of use, handed out one by one, never twice.

Where to begin is asked once a process and after each refusal. A meter may publish the counter that it last accepted,
but in clear: whoever owns the line could say any number, and so drive the count to its end, or a number of the past.
What is believed is bounded (docs/decisions/0004-invocation-counters.md). A copy of the database that was put back is
overtaken by the box's clock, and by the meter's word.
"""

from collections.abc import Callable, Iterator
from typing import Final

from dcu.errors import ReplyForged
from dcu.ports import CounterVault

BLOCK: Final = 1024
"""Counters a reservation: one commit to disk for many exchanges, and days of polls while the store takes no commit.

What is left at the end of a process is skipped: ten power cuts a day stay far below the one a second that a meter's
line of counters allows, and 2^32 of them last for four million starts."""

FIRST: Final = 1

LEAP: Final = 1 << 20
"""How far above our own count published counters are believed, all together, and a counter a second more in a process:
years of another client's reads. A refusal in clear has the meter asked again at once, and silently: a bound on each
answer alone would be gone through in weeks."""

FIRST_CONTACT_BELOW: Final = 1 << 31
"""What is believed of a meter that was never spoken to."""

LOW: Final = 1 << 31
LOW_AGAIN: Final = 1 << 28
"""Half of all counters are used; and each further sixteenth."""

RESTART_AFTER_S: Final = 900.0
"""How long a meter whose own counter fell is refused before it is taken for one that counts anew: it was alarmed then,
and half the pause of a meter whose reply was forged has passed."""

CounterLow = Callable[[str, int, int], None]
"""Told of a serial, a client and the next counter when that is past LOW, and again at each LOW_AGAIN."""


class CounterBook:
    """What of the vault is in hand, and the meters' own counters, by meter and client. One thread a meter at a time.

    Args:
        vault: where counters are committed ahead of use.
        low: told long before they run out.
    """

    def __init__(self, vault: CounterVault, low: CounterLow = lambda _serial, _sap, _next: None) -> None:
        self._vault = vault
        self._low = low
        self._floors: dict[tuple[str, int], int] = {}
        self._blocks: dict[tuple[str, int], Iterator[int]] = {}
        self._met: set[tuple[str, int]] = set()
        self._leapt: dict[tuple[str, int], tuple[int, float]] = {}  # how far by a meter's word, since when
        self._told: dict[tuple[str, int], int] = {}
        self._heard: dict[tuple[str, int], int] = {}
        self._doubted_s: dict[tuple[str, int], float] = {}

    # ---- ours ----

    def knows(self, serial: str, client_sap: int) -> bool:
        """Whether it was learnt where to begin since this process began, or since it was forgotten."""
        return (serial, client_sap) in self._floors

    def learn(self, serial: str, client_sap: int, published: int | None, now_s: float = 0.0) -> None:
        """Begin above all that was reserved, all that a lost store may have, and what the meter says that it accepted.

        Args:
            serial: the meter.
            client_sap: the client.
            published: by the meter, in clear; None where it publishes nothing: our own count stands alone.
            now_s: seconds that never go back: each brings a counter more that is believed.

        Raises:
            ReplyForged: the published counter is further off than is believed.
            StoreFault: our own count cannot be read.
        """
        key = (serial, client_sap)
        standing = self._vault.standing(serial, client_sap)
        floor = max(standing.next, FIRST)
        timed = max(floor, standing.beyond) if standing.by_time else floor
        beyond = standing.beyond if published is None else timed  # a published counter may be one of the past
        leapt, since_s = self._leapt.setdefault(key, (0, now_s))
        if published is not None:
            left = LEAP - leapt + int(now_s - since_s)
            _believe(serial, client_sap, published, timed + left if standing.next else FIRST_CONTACT_BELOW)
            if standing.next:
                self._leapt[key] = leapt + max(0, published + 1 - timed), since_s
            floor = max(floor, published + 1)
        if key not in self._met:
            floor = max(floor, beyond)
        self._met.add(key)
        self._floors[key] = floor
        self._blocks.pop(key, None)

    def forget(self, serial: str, client_sap: int) -> None:
        """The meter refused, or its replies were no good: ask it again before the next association."""
        self._floors.pop((serial, client_sap), None)
        self._blocks.pop((serial, client_sap), None)

    def next(self, serial: str, client_sap: int) -> int:
        """A counter that is committed and was never used. Raises CounterExhausted, StoreFault."""
        key = (serial, client_sap)
        counter = next(self._blocks.get(key, iter(())), None)
        if counter is None:
            reserved = self._vault.reserve(serial, client_sap, self._floors.get(key, FIRST), BLOCK)
            self._floors[key] = reserved[-1] + 1
            block = iter(reserved)
            counter = next(block)
            self._blocks[key] = block
            self._warn(key, counter)
        return counter

    def _warn(self, key: tuple[str, int], counter: int) -> None:
        step = (counter - LOW) // LOW_AGAIN + 1 if counter >= LOW else 0
        if step > self._told.get(key, 0):
            self._told[key] = step
            self._low(*key, counter)

    # ---- the meters' ----

    def heard(self, serial: str, client_sap: int) -> int:
        """The last counter of the meter's own that a tag has proved in this process; -1 for none."""
        return self._heard.get((serial, client_sap), -1)

    def last_heard(self, serial: str, client_sap: int, now_s: float) -> int:
        """What the next association's first counter must be above; -1: nothing is known, or the meter counts anew."""
        doubted_s = self._doubted_s.get((serial, client_sap))
        if doubted_s is not None and now_s >= doubted_s + RESTART_AFTER_S:
            for known in (self._heard, self._doubted_s):
                for key in list(known):  # a restart is one for all its clients; other threads add other meters
                    if key[0] == serial:
                        known.pop(key, None)
        return self.heard(serial, client_sap)

    def hear(self, serial: str, client_sap: int, counter: int) -> None:
        """Remember it, beyond `forget`: an association of the past that is played again bears lower ones."""
        if counter > self.heard(serial, client_sap):
            self._heard[serial, client_sap] = counter
            self._doubted_s.pop((serial, client_sap), None)

    def doubt(self, serial: str, client_sap: int, now_s: float) -> None:
        """An association began with a counter that is not above the last: played again, or the meter counts anew."""
        self._doubted_s.setdefault((serial, client_sap), now_s)


def _believe(serial: str, client_sap: int, published: int, below: int) -> None:
    if published >= below:
        raise ReplyForged(
            f"the meter publishes invocation counter {published} for client {client_sap}, "
            f"where less than {below} is believed",
            place=serial,
            cure="somebody may be using the counters up; if it is true, docs/decisions/0004-invocation-counters.md",
        )
