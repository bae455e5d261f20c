"""The journal: what was commanded and what became of it, hash-chained so that nothing can be taken out unseen.

digest(n) = SHA-256(digest(n - 1) || canonical CBOR of [n, at_s, kind, body]), and digest(0) is 32 zero octets. The
receipts that leave the box carry digests of it, so that a rewritten journal would contradict them.
"""

import hashlib
from typing import Final

import cbor2

from dcu.errors import StoreFault
from dcu.ports import JournalEntry
from dcu.store.database import Database

GENESIS: Final = bytes(32)
"""What the first entry is chained to."""

_STEP: Final = 500


def link(previous: bytes, n: int, at_s: int, kind: str, body: bytes) -> bytes:
    """Digest of entry `n`, 32 octets."""
    return hashlib.sha256(previous + cbor2.dumps([n, at_s, kind, body], canonical=True)).digest()


class Journal:
    """The chain of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> tuple[int, bytes]:
        """(number, digest) of the newest entry; (0, 32 zero octets) before the first."""
        found = self._database.first("SELECT n, digest FROM journal ORDER BY n DESC LIMIT 1")
        return (0, GENESIS) if found is None else (found[0], found[1])

    def entries(self, after: int, limit: int) -> list[JournalEntry]:
        """See `ports.Transaction.journal_entries`."""
        found = self._database.rows(
            "SELECT n, at_s, kind, body, digest FROM journal WHERE n > ? ORDER BY n LIMIT ?", (after, limit)
        )
        return [JournalEntry(*row) for row in found]

    def append(self, at_s: int, kind: str, body: bytes) -> tuple[int, bytes]:
        """See `ports.Transaction.journal`."""
        n, previous = self.head()
        digest = link(previous, n + 1, at_s, kind, body)
        self._database.write(
            "INSERT INTO journal (n, at_s, kind, digest, body) VALUES (?, ?, ?, ?, ?)",
            (n + 1, at_s, kind, digest, body),
        )
        return n + 1, digest

    def verify(self) -> tuple[int, bytes]:
        """Walk the whole chain; its head.

        Raises:
            StoreFault: an entry is missing or is not what was written, with its number.
        """
        n, digest = 0, GENESIS
        while step := self._database.rows(
            "SELECT n, at_s, kind, body, digest FROM journal WHERE n > ? ORDER BY n LIMIT ?", (n, _STEP)
        ):
            for number, at_s, kind, body, stored in step:
                digest = link(digest, n + 1, at_s, kind, body)
                n += 1
                if (number, stored) != (n, digest):
                    raise StoreFault("the chain is broken here", place=f"journal entry {n}")
        (given,) = self._database.first("SELECT seq FROM sqlite_sequence WHERE name = 'journal'") or (0,)
        if n < given:
            raise StoreFault("the chain is broken here", place=f"journal entry {n + 1}")
        return n, digest
