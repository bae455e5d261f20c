"""Locks by somebody at the pole, and the passing of freezes and locks. They restrict, never actuate.

Each step is one transaction with its journal link and signed receipt. Called by the relay thread only.
Source: reference/command-authority.md 0 items 10 and 11, 6 (technician lockout).
"""

from dataclasses import replace
from typing import Final

from dcu.command import Restraint
from dcu.ports import Transaction
from dcu.relay.book import Book
from dcu.relay.policy.floor import LOCK_S
from dcu.relay.receipts import Account
from dcu.relay.restraints import LOCK, counted, lapsed, restraint

LOCKED: Final = "locked"
UNLOCKED: Final = "unlocked"
LAPSED: Final = "lapsed"


class Locks:
    """What restrains this box."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def lock(self, meter: str, who: str, why: str, seconds: int) -> Restraint:
        """Lock a meter, or with an empty serial the whole box; a lock that is there is renewed.

        Args:
            meter: serial, or empty.
            who: locks, in words.
            why: in words.
            seconds: how long, at most `floor.LOCK_S`.
        """
        book = self._book
        made = restraint(LOCK, meter, who, why, min(seconds, LOCK_S), book.moment())

        def work(tx: Transaction) -> None:
            tx.authority.restrain(made)
            book.record(tx, self._account(made, LOCKED))

        book.store.transact(work)
        return made

    def unlock(self, meter: str, who: str) -> Restraint | None:
        """End a lock; None where there is none."""
        book = self._book

        def work(tx: Transaction) -> Restraint | None:
            found = [r for r in tx.authority.restraints() if (r.kind, r.meter) == (LOCK, meter)]
            if not found:
                return None
            tx.authority.lift(LOCK, meter)
            book.record(tx, self._account(replace(found[0], who=who), UNLOCKED))
            return found[0]

        return book.store.transact(work)

    def held(self) -> list[Restraint]:
        """All that hold now, freezes among them."""
        moment = self._book.moment()
        found = self._book.store.transact(lambda tx: tx.authority.restraints())
        return [r for r in found if not lapsed(r, moment)]

    def pass_time(self) -> None:
        """Let lapse what has lapsed; count what waited for the time to be known, or was counted by another boot."""
        book, moment = self._book, self._book.moment()
        if not any(
            lapsed(r, moment) or counted(r, moment) for r in book.store.transact(lambda tx: tx.authority.restraints())
        ):
            return

        def work(tx: Transaction) -> None:
            for found in tx.authority.restraints():
                if lapsed(found, moment):
                    tx.authority.lift(found.kind, found.meter)
                    book.record(tx, self._account(found, LAPSED))
                elif onward := counted(found, moment):
                    tx.authority.restrain(onward)

        book.store.transact(work)

    def _account(self, found: Restraint, state: str) -> Account:
        told: dict[str, str | int] = {"who": found.who, "why": found.why, "seconds": found.seconds}
        if found.until_s is not None:
            told["until"] = found.until_s
        account = Account(found.kind, self._book.trust.issuer, "", found.kind, found.meter, b"", (), state)
        return replace(account, more=told)
