"""One transaction with as many works as wait: each in a savepoint, so that one that raises is rolled back alone."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dcu.errors import StoreDown, StoreFault, StoreFull
from dcu.store.database import Database
from dcu.store.errand import Errand
from dcu.store.transaction import SqliteTransaction

log = logging.getLogger(__name__)

Errands = Sequence[Errand[Any]]


def commit(database: Database, transaction: SqliteTransaction, errands: Errands) -> Errands:
    """Run the works and commit; those behind a transaction that SQLite rolled back are left over, and returned.

    Raises:
        StoreFault: other than for want of room; all of the works are told so.
    """
    done: list[Errand[Any]] = []
    try:
        database.control("BEGIN IMMEDIATE")
        alone = len(errands) == 1
        for n, errand in enumerate(errands, 1):
            if (_alone if alone else _one)(database, transaction, errand):
                done.append(errand)
            elif alone:
                return ()
            if not database.in_transaction:
                _lose(done, StoreFull("rolled back together with a work that found no room", place="store"))
                return errands[n:]
        database.control("COMMIT")
    except StoreFault as fault:
        with suppress(StoreFault):
            if database.in_transaction:
                database.control("ROLLBACK")
        if not isinstance(fault, StoreFull) or isinstance(fault, StoreDown):
            log.error("the store failed: %s", fault)  # noqa: TRY400  one line: who waits is told the rest
            _lose(errands, fault)
            raise
        _lose(done, fault)
        return ()
    for errand in done:
        errand.committed()
    return ()


def _one(database: Database, transaction: SqliteTransaction, errand: Errand[Any]) -> bool:
    """Run a work inside a savepoint; whether the commit will hold it."""
    database.control("SAVEPOINT work")
    try:
        errand.run(transaction)
        if not database.in_transaction:
            raise StoreFull("the transaction was rolled back inside the work", place="store")
    except Exception as fault:  # noqa: BLE001 - whatever a work raises is raised to its caller
        errand.fail(fault)
        if database.in_transaction:
            database.control("ROLLBACK TO work")
            database.control("RELEASE work")
        return False
    database.control("RELEASE work")
    return True


def _alone(database: Database, transaction: SqliteTransaction, errand: Errand[Any]) -> bool:
    """The same for the only work of a transaction, which is its own savepoint."""
    try:
        errand.run(transaction)
        if not database.in_transaction:
            raise StoreFull("the transaction was rolled back inside the work", place="store")
    except Exception as fault:  # noqa: BLE001 - as above
        errand.fail(fault)
        if database.in_transaction:
            database.control("ROLLBACK")
        return False
    return True


def _lose(errands: Errands, fault: StoreFault) -> None:
    """Tell the works that the commit did not hold them; each caller gets an exception of its own."""
    for errand in errands:
        errand.fail(type(fault)(fault.cause, place=fault.place, cure=fault.cure))
