"""What the writer does while nobody waits for it: in small bites, each a transaction of its own."""

from typing import Final

from dcu.ports import Clock
from dcu.store.check import Check
from dcu.store.database import Database
from dcu.store.limits import Room, usage
from dcu.store.retention import Retention
from dcu.store.transaction import SqliteTransaction
from dcu.store.trimming import Trimming

LOOK_S: Final = 60.0
"""How often the disk is looked at."""

DAY_S: Final = 86_400.0
FIRST_S: Final = 600.0
"""After a start the first round of what is done daily waits: a box that starts has more urgent things to do."""

PAGES_A_TURN: Final = 32
TURNS: Final = 64
"""A turn writes less than that as a rule; one that writes more is met by the page limit."""


class Upkeep:
    """Ages, sheds, trims and checks.

    Args:
        database: the connection.
        transaction: on it.
        room: of its file.
        clock: of the box.
    """

    def __init__(self, database: Database, transaction: SqliteTransaction, room: Room, clock: Clock) -> None:
        self._database = database
        self._accounts = transaction.accounts
        self._dropping = transaction.dropping
        self._retention = Retention(database, self._accounts, self._dropping)
        self._room = room
        self._clock = clock
        self._trimming = Trimming(database)
        self._check = Check(database, self._dropping, self._accounts)
        now_s = clock.monotonic_s()
        self._turns = 0
        self._look_s = now_s
        self._trim_s = self._check_s = now_s + FIRST_S

    def step(self) -> bool:
        """The next bite, inside a transaction; True when more of it waits."""
        if self._accounts.is_due():
            self._accounts.keep()
            self._retention.age()
            return True
        if self._retention.relieve() or self._dropping.sweep():
            return True
        now_s = self._clock.monotonic_s()
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._room.mend(self._database)
        if now_s >= self._trim_s:
            if self._trimming.step():
                return True
            self._trim_s = now_s + DAY_S
        if now_s >= self._check_s:
            if self._check.step():
                return True
            self._check_s = now_s + DAY_S
        return False

    def is_tight(self) -> bool:
        """Whether the file is so full that readings have to go, or might be taken again.

        Asked after each turn; the further the file is from being full the more seldom it is looked at.
        """
        self._turns -= 1
        if self._turns > 0 and not self._accounts.closed:
            return False
        excess = usage(self._database).excess
        self._turns = min(-excess // PAGES_A_TURN, TURNS)
        return excess > 0 or self._accounts.closed

    def relieve(self) -> bool:
        """One bite of what makes room, inside a transaction; False when there is enough, or nothing is left to shed."""
        return self._retention.relieve()

    def make_way(self) -> bool:
        """The store was found full, inside a transaction; whether it is the disk, so that the log should be cut."""
        return self._room.make_way(self._database)

    def end(self) -> None:
        """The last thing that is written, inside a transaction."""
        self._accounts.keep()
