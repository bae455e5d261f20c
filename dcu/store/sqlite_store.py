"""The store: a file, its writer's loop, and the verbs `transact` and `keep`."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from dcu.errors import StoreBusy, StoreDamaged, StoreDown, StoreFault, StoreFull
from dcu.mailbox import Stop
from dcu.ports import Clock
from dcu.store.errand import Errand
from dcu.store.limits import page_limit_of
from dcu.store.memory import Kept
from dcu.store.seat import Opener, Seat
from dcu.store.transaction import SqliteTransaction
from dcu.store.writer import CAPACITY, Writer
from dcu.timekeeping import KeptTime

T = TypeVar("T")


class SqliteStore:
    """`ports.Store` in one SQLite file, locked against every other process for as long as it is open.

    `run` is for a thread of its own. Give it a `stop` that is set after all who use the store have ended: then what
    they do last is still committed.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        stop: Stop,
        clock: Clock,
        beat: Callable[[], None],
        dcu: str,
        max_mb: int | None = None,
        page_limit: int | None = None,
        on_append: Callable[[], None] = lambda: None,
    ) -> "SqliteStore":
        """Open or make the file, migrate it, lock it.

        Where the disk does not let it be opened now, or it is damaged, the store begins closed: `run` opens or
        salvages it, and until then `transact` raises StoreDown.

        Args:
            path: of the file; its directory must exist.
            stop: ends `run`.
            clock: puts the time on records.
            beat: called at least once a second while `run` makes progress.
            dcu: id of the box.
            on_append: called in the writer's thread after a commit that appended records; must not block.
            max_mb: most that the file may take: beyond 95 % of it readings are shed; None: by the size of the disk.
            page_limit: the same in pages of 4 KiB.

        Raises:
            StoreFault: not a store, another box's, a newer program's, or open elsewhere; with the cure.
        """
        path = Path(path)
        opener = Opener(path, dcu, page_limit or page_limit_of(path, max_mb), clock)
        opened: Seat | StoreFault
        try:
            opened = opener.open()
        except (StoreFull, StoreDamaged) as fault:
            opened = fault
        return cls(Writer(opener, opened, clock, stop, beat, on_append))

    @property
    def epoch(self) -> str:
        """Of the file. Raises StoreDown while it is not open."""
        seat = self._writer.seat
        if seat is None:
            raise StoreDown(f"it is not open: {self.condition}", place="store")
        return seat.epoch

    @property
    def condition(self) -> str:
        """Why nothing can be stored now, in words; "ok" while all is well."""
        trouble = self._writer.trouble
        return "ok" if trouble is None else str(trouble)

    def kept_time(self) -> KeptTime | None:
        """When the box last knew the time: for its clock, before anybody asks that. Before `run` only.

        None also while the file is not open.
        """
        seat = self._writer.seat
        if seat is None:
            return None
        seat.database.control("BEGIN")
        try:
            return seat.transaction.kept_time()
        finally:
            seat.database.control("ROLLBACK")

    def run(self) -> None:
        """The writer's loop, in the calling thread, until `stop` is set and nothing waits.

        Raises:
            StoreFault: the file is damaged, or open elsewhere; the process should end.
        """
        self._writer.run()

    def transact(self, work: Callable[[SqliteTransaction], T], *, wait_s: float = 30.0) -> T:
        """See `ports.Store`."""
        errand, pace = Errand(work), self._writer.pace
        turn = pace.turn
        if not self._writer.post(errand):
            raise StoreDown(f"{CAPACITY} works wait already", place="store")
        try:
            return errand.wait(wait_s)
        except (StoreBusy, StoreDown):
            if errand.given_up:
                pace.missed(turn, wait_s)
            raise

    def keep(self, work: Callable[[SqliteTransaction], Any], octets: int = 0) -> Kept:
        """See `ports.Store`."""
        return self._writer.memory.keep(work, octets)

    def close(self) -> None:
        """Let the file go, after `run` has ended. Idempotent."""
        seat = self._writer.seat
        if seat is not None:
            with suppress(StoreDown):
                seat.database.close()
