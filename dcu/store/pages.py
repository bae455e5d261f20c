"""Records of a stream page by page, for whoever takes them out at the box: delivered or not, holes and all."""
# ruff: noqa: S608 - the only names put into statements are those of `schema.table`, made from the Stream enum

from typing import Final

from dcu.ports import Page, StoredRecord
from dcu.record import Stream, checksum, layout_digest
from dcu.store.database import Database
from dcu.store.schema import table

STEP: Final = 32
"""Records that are read at once: two megabytes at the most."""

MANY: Final = 1024
"""Damaged records that one page steps over."""


def page(database: Database, stream: Stream, after: int, max_bytes: int) -> Page:
    """See `ports.Transaction.page`."""
    after = min(max(after, 0), 2**62)
    records: list[StoredRecord] = []
    damaged: list[int] = []
    octets, more = 0, True
    while more and (octets < max_bytes or not records) and len(damaged) < MANY:
        found = database.rows(
            f"SELECT id, at_s, crc, layout, body FROM {table(stream)} WHERE id > ? ORDER BY id LIMIT ?", (after, STEP)
        )
        more = len(found) == STEP
        for n, at_s, crc, digest, body in found:
            if (records or damaged) and octets + len(body) > max_bytes:
                return _page(database, stream, records, damaged, after, more=True)
            after, octets = n, octets + len(body)
            if checksum(body) == crc:
                records.append(StoredRecord(n, at_s, digest, body))
            else:
                damaged.append(n)
    return _page(database, stream, records, damaged, after, more=more)


def _page(
    database: Database, stream: Stream, records: list[StoredRecord], damaged: list[int], upto: int, *, more: bool
) -> Page:
    layouts = {}
    for digest in {each.layout for each in records if each.layout is not None}:
        found = database.first("SELECT encoded FROM layout WHERE digest = ?", (digest,))
        if found is not None and layout_digest(found[0]) == digest:
            layouts[digest] = found[0]
    return Page(stream, tuple(records), layouts, tuple(damaged), upto, more)
