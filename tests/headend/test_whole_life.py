"""All that a box stores in days of a line with its faults: of the contract, and whole in the listener's file."""

import sqlite3
from contextlib import closing

import cbor2
import pytest

from dcu.headend.collection import Collection
from dcu.headend.contract import Contract
from dcu.record import Stream, decode_batch, encode_batch
from tests.soak import run
from tests.soak.scenario import Scenario

BOX = "SOAK"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The store of a box that has read two meters on one line for six days, in virtual time."""
    held, kept = run.holdings, tmp_path / "dcu.db"

    def copied(path):
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(kept)) as target:
            source.backup(target)
        return held(path)

    monkeypatch.setattr(run, "holdings", copied)
    run.run_line(Scenario(5, 0, 6.0, 2))
    with closing(sqlite3.connect(kept)) as connection:
        yield connection


def batches(store, stream, step=20):
    layouts = dict(store.execute("SELECT digest, encoded FROM layout").fetchall())
    rows = store.execute(f"SELECT id, layout, body FROM record_{stream.value} ORDER BY id").fetchall()
    for n in range(0, len(rows), step):
        page = rows[n : n + step]
        used = {digest: layouts[digest] for _, digest, _ in page if digest is not None}
        yield encode_batch(BOX, "e", stream, page[0][0], used, [body for _, _, body in page])


@pytest.mark.timeout(240)
def test_every_record_is_of_the_contract_and_every_reading_is_found_again(store, tmp_path):
    contract, rows, records = Contract(), set(), 0
    with Collection(tmp_path / "headend.db") as collection:
        for stream in Stream:
            for batch in batches(store, stream):
                contract.check(f"dcu/v1/{BOX}/up/{stream.value}", batch, "application/cbor")
                records += len(collection.take(decode_batch(batch)))
                for record in (r for r in cbor2.loads(batch)["records"] if "rows" in r):
                    again = dict(record.get("again", ()))
                    name = record["meter"], record["profile"]
                    rows |= {(*name, row[0], again.get(n, 0)) for n, row in enumerate(record["rows"])}
        assert collection.holes() == []
        assert collection.count() == records > 300
    with closing(sqlite3.connect(tmp_path / "headend.db")) as connection:
        found = connection.execute("SELECT meter, profile, captured_at, again FROM reading").fetchall()
    assert len(found) == len(set(found)), "within an epoch a row is let in once"
    assert set(found) == rows
