"""What the store does not keep any more: announced in the transaction that gives it up, deleted in small bites later.

A stream is given up from its oldest end: its floor is raised, and nothing up to the floor is offered again from that
moment, whatever a crash leaves of the rows. Single records above the floor are given up where they are damaged.
"""
# ruff: noqa: S608 - the only names put into statements are those of `schema.table`, made from the Stream enum

import logging
from collections.abc import Sequence
from typing import Final

from dcu.clock import alarm_now
from dcu.event import AlarmKind, DropReason
from dcu.ports import Clock
from dcu.record import Stream, checksum, encode_alarm
from dcu.store.accounts import Accounts
from dcu.store.database import Database
from dcu.store.schema import table

log = logging.getLogger(__name__)

BITE: Final = 512
"""Rows that are deleted in one transaction: a few milliseconds."""

_WORDS: Final = {
    DropReason.AGE: "have been kept for as long as their class is kept",
    DropReason.NO_ROOM: "had to go: the store is full",
    DropReason.DAMAGED: "are not what was written",
}


class Dropping:
    """Gives records up."""

    def __init__(self, database: Database, clock: Clock, accounts: Accounts) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts

    def upto(self, stream: Stream, last: int, reason: DropReason) -> int:
        """All records of a stream up to `last`; how many ids that are."""
        account = self._accounts.account(stream)
        if last <= account.floor:
            return 0
        announced = last - account.floor
        self._announce(stream, account.floor + 1, last, reason)
        self._accounts.raise_floor(stream, last, self._holes(stream, account.floor + 1, last) if account.holes else 0)
        return announced

    def between(self, stream: Stream, first: int, last: int, reason: DropReason, why: str) -> None:
        """The records `first` to `last`, wherever they stand in the stream."""
        before = self._rows(stream, first, last)
        self._database.write(f"DELETE FROM {table(stream)} WHERE id BETWEEN ? AND ?", (first, last))
        self._accounts.add_holes(stream, before)
        self._announce(stream, first, last, reason, why)

    def sweep(self) -> bool:
        """Delete a bite of the rows that are given up; whether there may be more."""
        for stream, floor in self._accounts.floors().items():
            found = self._database.rows(
                f"SELECT id FROM {table(stream)} WHERE id <= ? ORDER BY id LIMIT ?", (floor, BITE)
            )
            if found:
                self._database.write(f"DELETE FROM {table(stream)} WHERE id <= ?", (found[-1][0],))
                return True
        return False

    def lost(self, stream: Stream, gone: Sequence[tuple[int, int]], epoch: str) -> None:
        """What could not be read of a damaged store, as (first, last) of the epoch that it had, all above the floor."""
        self._database.write("UPDATE account SET holes = 0 WHERE stream = ?", (stream.value,))
        for first, last in gone:
            self._accounts.add_holes(stream, last - first + 1)
            self._announce(stream, first, last, DropReason.DAMAGED, epoch=epoch)

    def _holes(self, stream: Stream, first: int, last: int) -> int:
        return last - first + 1 - self._rows(stream, first, last)

    def _rows(self, stream: Stream, first: int, last: int) -> int:
        [(count,)] = self._database.rows(
            f"SELECT count(*) FROM {table(stream)} WHERE id BETWEEN ? AND ?", (first, last)
        )
        return int(count)

    def _announce(
        self, stream: Stream, first: int, last: int, reason: DropReason, why: str = "", *, epoch: str | None = None
    ) -> None:
        if epoch is None:
            [(epoch,)] = self._database.rows("SELECT value FROM identity WHERE name = 'epoch'")
        which = f"record {first} of {stream.value}" if first == last else f"records {first} to {last} of {stream.value}"
        text = f"{which}: {why or _WORDS[reason]}"
        log.warning("dropped: %s", text)
        facts = {"epoch": epoch, "stream": stream.value, "first": first, "last": last, "reason": reason.value}
        body = encode_alarm(alarm_now(self._clock, AlarmKind.DROPPED, text, "", facts))
        self._accounts.note(Stream.ALARM, len(body))
        self._database.write(
            f"INSERT INTO {table(Stream.ALARM)} (at_s, crc, layout, body) VALUES (?, ?, NULL, ?)",
            (int(self._clock.now().timestamp()), checksum(body), body),
        )
