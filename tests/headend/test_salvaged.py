"""What the head-end makes of a store that was damaged and salvaged: no hole that was not announced, no id twice."""

import sqlite3
from contextlib import closing

import pytest

from dcu.headend.holdings import Holdings
from dcu.record import Stream, decode_batch, encode_batch
from dcu.store.salvage import salvage
from tests.cli.conftest import DCU, fill
from tests.store.running_store import FixedClock, running

PAGES = 1 << 16


def offered(store, holdings, most):
    """Batches as uplink would deliver them, each told as delivered."""
    while most:
        batch = store.transact(lambda tx: tx.next_batch({}, 4096))
        if batch is None:
            return
        encoded = encode_batch(DCU, store.epoch, batch.stream, batch.first, batch.layouts, batch.bodies)
        holdings.take(decode_batch(encoded))
        last = batch.first + len(batch.bodies) - 1
        store.transact(lambda tx, to=batch.stream, last=last: tx.deliver(to, last))
        most -= 1


def zero(path, root):
    """Zeroes where the root page of a table was."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        page = connection.execute(query, (root,)).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))


@pytest.mark.parametrize("damaged", ["record_profile", "sqlite_sequence", "cursor", "record_alarm", "layout"])
@pytest.mark.parametrize("delivered", [0, 3, 1000])
def test_no_hole_is_left_unannounced(tmp_path, damaged, delivered):
    path, holdings = tmp_path / "dcu.db", Holdings()
    with running(path, dcu=DCU) as it:
        for stream in Stream:
            fill(it.store, stream, 60)
        offered(it.store, holdings, delivered)
        before = it.store.epoch
    zero(path, damaged)
    salvage(path, DCU, PAGES, FixedClock(), lambda: None)
    with running(path, dcu=DCU) as it:
        assert it.store.epoch != before
        for stream in Stream:
            fill(it.store, stream, 5)
        offered(it.store, holdings, 1000)
        lasts = {stream: last for stream, (_, last) in it.store.transact(lambda tx: tx.cursors()).items()}
    assert holdings.holes() == []
    assert all(last > 60 for last in lasts.values())
