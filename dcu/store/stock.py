"""What is held, in hours of outage rather than in rows. Nothing is counted by walking: sums grow with the records."""
# ruff: noqa: S608 - the only names put into statements are those of `schema.table`, made from the Stream enum

from typing import Final

from dcu.ports import Stock, StreamStock
from dcu.record import Stream
from dcu.store.accounts import DAY_S, Accounts
from dcu.store.database import Database
from dcu.store.limits import SHED_ABOVE, usage
from dcu.store.schema import table

ROW_BYTES: Final = 28
"""What a record takes in the file beside its body: id, time, checksum, layout, cell."""

FILL: Final = 1.08
"""Pages are not quite full."""

SHED_FIRST: Final = (Stream.PROFILE, Stream.HEALTH)


def stock(database: Database, accounts: Accounts, delivered: dict[Stream, tuple[int, int]]) -> Stock:
    """See `ports.Transaction.stock`."""
    streams = tuple(_one(database, accounts, stream, *delivered[stream]) for stream in Stream)
    room = usage(database)
    limit_bytes, used_bytes = int(room.limit * SHED_ABOVE) * room.page_bytes, room.used * room.page_bytes
    rates = [accounts.rate(each.stream, each.last) for each in streams]
    growth = sum((octets + ROW_BYTES * records) * FILL for records, octets in filter(None, rates))
    spare = sum(_delivered_bytes(each) for each in streams if each.stream in SHED_FIRST)
    holds_s = max(0.0, limit_bytes - used_bytes + spare) / growth * DAY_S if growth > 0 else None
    known = any(rate is not None for rate in rates)
    return Stock(streams, used_bytes, limit_bytes, growth if known else None, holds_s)


def _one(database: Database, accounts: Accounts, stream: Stream, delivered: int, last: int) -> StreamStock:
    account, rate = accounts.account(stream), accounts.rate(stream, last)
    above = (account.floor,)
    oldest = database.first(f"SELECT at_s FROM {table(stream)} WHERE id > ? ORDER BY id LIMIT 1", above)
    newest = database.first(f"SELECT at_s FROM {table(stream)} WHERE id > ? ORDER BY id DESC LIMIT 1", above)
    held = max(0, last - account.floor - account.holes)
    return StreamStock(
        stream,
        last,
        delivered,
        account.floor,
        held,
        min(held, last - max(delivered, account.floor)),
        accounts.octets_held(stream, last),
        account.floor + account.holes,
        oldest[0] if oldest else None,
        newest[0] if newest else None,
        rate[0] if rate else None,
    )


def _delivered_bytes(each: StreamStock) -> float:
    """What shedding the delivered records would free."""
    share = (each.held - each.undelivered) / each.held if each.held else 0.0
    return share * (each.octets + ROW_BYTES * each.held) * FILL
