"""The writer: the one loop that uses the database. Works that wait at the same time share one commit.

A work runs inside a savepoint: one that raises is rolled back alone. Results are handed over after the commit, never
before: what a caller has been told is on the disk (WAL, synchronous=FULL). When SQLite itself rolls the transaction
back (a full disk), the works before it in that commit are told so, and those behind it begin in a new one.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from dcu.errors import StoreFault, StoreFull
from dcu.mailbox import Mailbox, Stop
from dcu.store.database import Database
from dcu.store.errand import Errand
from dcu.store.transaction import SqliteTransaction

log = logging.getLogger(__name__)

TURN_S: Final = 1.0
"""Longest wait for work between two heartbeats."""

AT_MOST: Final = 256
"""Works that may share a commit."""

CAPACITY: Final = 1024
"""Works that may wait; more are refused at once."""


class Writer:
    """The loop and its mailbox."""

    def __init__(
        self,
        database: Database,
        transaction: SqliteTransaction,
        stop: Stop,
        beat: Callable[[], None],
        on_append: Callable[[], None],
    ) -> None:
        self._database = database
        self._transaction = transaction
        self._stop = stop
        self._beat = beat
        self._on_append = on_append
        self._mailbox: Mailbox[Errand[Any]] = Mailbox(stop, CAPACITY)
        self._gate = threading.Lock()
        self._closed = False
        self._full = False
        self._appended = 0  # by committed turns

    def post(self, errand: Errand[Any]) -> bool:
        """Leave a work; False when too many wait.

        Raises:
            StoreFault: the loop has ended.
        """
        with self._gate:
            if self._closed:
                raise StoreFault("the store is closed", place="store")
            return self._mailbox.post(errand)

    def run(self) -> None:
        """Serve until the process stops and nothing waits any more.

        Raises:
            StoreFault: a transaction could not be begun or committed; all who waited for it have been told.
        """
        self._database.claim()
        try:
            while True:
                errands = [errand for errand in self._mailbox.drain(TURN_S, AT_MOST) if errand.take()]
                self._beat()
                if errands:
                    self._turn(errands)
                elif self._stop and not len(self._mailbox):
                    return
        finally:
            self._end()

    def _turn(self, errands: Sequence[Errand[Any]]) -> None:
        """Run the works, commit, and wake every caller, whatever happened."""
        waiting = errands
        try:
            while waiting:
                waiting = self._commit(waiting)
        finally:
            for errand in errands:
                errand.fail_unless_committed(StoreFault("the store failed before this work was committed"))
                errand.settle()
        self._note_room(errands)
        if self._transaction.appended > self._appended:
            self._appended = self._transaction.appended
            self._on_append()

    def _commit(self, errands: Sequence[Errand[Any]]) -> Sequence[Errand[Any]]:
        """One transaction with as many of the works as it can hold; those behind a lost transaction are left over."""
        done: list[Errand[Any]] = []
        try:
            self._database.control("BEGIN IMMEDIATE")
            for n, errand in enumerate(errands, 1):
                if self._one(errand):
                    done.append(errand)
                if not self._database.in_transaction:
                    _lose(done, StoreFull("rolled back together with a work that found no room", place="store"))
                    return errands[n:]
            self._database.control("COMMIT")
        except StoreFault as fault:
            if self._database.in_transaction:
                self._database.control("ROLLBACK")
            if not isinstance(fault, StoreFull):
                log.exception("the store failed")
                _lose(errands, fault)
                raise
            _lose(done, fault)
            return ()
        for errand in done:
            errand.committed()
        return ()

    def _one(self, errand: Errand[Any]) -> bool:
        """Run a work inside a savepoint; whether the commit will hold it."""
        self._database.control("SAVEPOINT work")
        try:
            errand.run(self._transaction)
            if not self._database.in_transaction:
                raise StoreFull("the transaction was rolled back inside the work", place="store")
        except Exception as fault:  # noqa: BLE001 - whatever a work raises is raised to its caller
            errand.fail(fault)
            if self._database.in_transaction:
                self._database.control("ROLLBACK TO work")
                self._database.control("RELEASE work")
            return False
        self._database.control("RELEASE work")
        return True

    def _note_room(self, errands: Sequence[Errand[Any]]) -> None:
        """One line when the store becomes full, and one when it takes records again."""
        full = any(isinstance(errand.fault, StoreFull) for errand in errands)
        if full and not self._full:
            log.warning("the store is full: nothing more is kept until there is room")
        elif self._full and not full and self._transaction.appended > self._appended:
            log.warning("the store has room again")
        else:
            return
        self._full = full

    def _end(self) -> None:
        """Nothing is taken any more; whoever still waits is told."""
        with self._gate:
            self._closed = True
        while left := self._mailbox.drain(0, CAPACITY):
            for errand in left:
                errand.fail(StoreFault("the store is closed", place="store"))
                errand.settle()


def _lose(errands: Sequence[Errand[Any]], fault: StoreFault) -> None:
    """Tell the works that the commit did not hold them; each caller gets an exception of its own."""
    for errand in errands:
        errand.fail(type(fault)(fault.cause, place=fault.place, cure=fault.cure))
