"""The store: a file, its writer's loop, and the one verb `transact`."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dcu.errors import StoreBusy
from dcu.mailbox import Stop
from dcu.ports import Clock
from dcu.store import database
from dcu.store.database import Database
from dcu.store.errand import Errand
from dcu.store.transaction import SqliteTransaction
from dcu.store.writer import CAPACITY, Writer
from dcu.timekeeping import KeptTime

T = TypeVar("T")


class SqliteStore:
    """`ports.Store` in one SQLite file, locked against every other process for as long as it is open.

    `run` is for a thread of its own. Give it a `stop` that is set after all who use the store have ended: then what
    they do last is still committed.
    """

    def __init__(
        self,
        opened: Database,
        epoch: str,
        *,
        stop: Stop,
        clock: Clock,
        beat: Callable[[], None],
        on_append: Callable[[], None],
    ) -> None:
        self.epoch = epoch
        self._database = opened
        self._transaction = SqliteTransaction(opened, clock)
        self._writer = Writer(opened, self._transaction, stop, beat, on_append)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        stop: Stop,
        clock: Clock,
        beat: Callable[[], None],
        dcu: str,
        page_limit: int | None = None,
        on_append: Callable[[], None] = lambda: None,
    ) -> "SqliteStore":
        """Open or make the file, migrate it, lock it.

        Args:
            path: of the file; its directory must exist.
            stop: ends `run`.
            clock: puts the time on records.
            beat: called at least once a second while `run` makes progress.
            dcu: id of the box.
            on_append: called in the writer's thread after a commit that appended records; must not block.
            page_limit: most pages of 4 KiB; StoreFull beyond. None: as many as the disk holds.

        Raises:
            StoreFault: not a store, another box's, a newer program's, or open elsewhere; with the cure.
            StoreFull: no room even to open it.
        """
        opened, epoch = database.connect(Path(path), dcu=dcu, page_limit=page_limit)
        return cls(opened, epoch, stop=stop, clock=clock, beat=beat, on_append=on_append)

    def kept_time(self) -> KeptTime | None:
        """When the box last knew the time: for its clock, before anybody asks that. Before `run` only."""
        self._database.control("BEGIN")
        try:
            return self._transaction.kept_time()
        finally:
            self._database.control("ROLLBACK")

    def run(self) -> None:
        """The writer's loop, in the calling thread, until `stop` is set and nothing waits.

        Raises:
            StoreFault: the database failed; the process should end.
        """
        self._writer.run()

    def transact(self, work: Callable[[SqliteTransaction], T], *, wait_s: float = 30.0) -> T:
        """See `ports.Store`. A work that was not begun within `wait_s` never is."""
        errand = Errand(work)
        if not self._writer.post(errand):
            raise StoreBusy(f"{CAPACITY} works wait already", place="store")
        return errand.wait(wait_s)

    def close(self) -> None:
        """Let the file go, after `run` has ended. Idempotent."""
        self._database.close()
