"""A work on its way to the writer and its result on the way back."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from dcu.errors import StoreBusy, StoreDown
from dcu.store.transaction import SqliteTransaction

T = TypeVar("T")


class Errand(Generic[T]):
    """One work. The caller waits; the writer takes it, runs it, and settles it after the commit."""

    def __init__(self, work: Callable[[SqliteTransaction], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._unsettled = threading.Lock()  # held until it is settled: cheaper than an Event, and one waits
        self._unsettled.acquire()
        self._taken = False
        self._given_up = False
        self._result: T | None = None
        self._committed = False
        self.fault: BaseException | None = None
        """Why nothing of it is committed."""

    # ---- the caller's side

    def wait(self, timeout_s: float) -> T:
        """The result, once it is committed.

        Raises:
            StoreDown: `timeout_s` passed, and it was not begun: it never will be.
            StoreBusy: `timeout_s` passed, and it was: nobody knows whether it will be committed.
            BaseException: what the work raised, or why its commit failed.
        """
        if not self._unsettled.acquire(timeout=timeout_s):
            with self._lock:
                self._given_up = True
                begun = self._taken
            # Settled in this very moment: then the answer is known and is the better one.
            if self._unsettled.locked():
                late = f"no answer within {timeout_s:g} s"
                if begun:
                    raise StoreBusy(f"{late}; it may or may not be committed", place="store")
                raise StoreDown(f"{late}; it was not begun and never will be", place="store")
        if self.fault is not None:
            raise self.fault
        return cast("T", self._result)

    @property
    def given_up(self) -> bool:
        """Whether its caller waits no more."""
        return self._given_up

    # ---- the writer's side

    def take(self) -> bool:
        """False when nobody waits for it any more: then it must not be run."""
        with self._lock:
            self._taken = not self._given_up
            return self._taken

    def run(self, transaction: SqliteTransaction) -> None:
        """Do the work, keep its result. Raises what it raises."""
        self._result = self._work(transaction)

    def fail(self, fault: BaseException) -> None:
        """Nothing of it is committed. The first cause stands."""
        if self.fault is None:
            self.fault = fault

    def committed(self) -> None:
        """Its transaction is on the disk."""
        self._committed = True

    def fail_unless_committed(self, fault: BaseException) -> None:
        """The last word of a turn: what was not committed has failed."""
        if not self._committed:
            self.fail(fault)

    def settle(self) -> None:
        """Wake the caller."""
        if self._unsettled.locked():
            self._unsettled.release()
