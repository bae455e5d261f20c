"""Records: ids, batches, cursors, checksums."""

import sqlite3

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running_store import LAYOUT, running

from dcu import obis
from dcu.errors import OperatorFault
from dcu.record import Stream, checksum, encode_layout, layout_digest
from dcu.store import check


def fill(store, stream, count, size=10):
    def work(tx):
        return [tx.append(stream, bytes([n % 256]) * size) for n in range(count)]

    return store.transact(work)


def batch(store, after=None, max_bytes=10_000):
    return store.transact(lambda tx: tx.next_batch(after or {}, max_bytes))


def test_ids_begin_at_one_in_each_stream_and_have_no_hole(store):
    assert fill(store, Stream.PROFILE, 3) == [1, 2, 3]
    assert fill(store, Stream.ALARM, 2) == [1, 2]

    def broken(tx):
        tx.append(Stream.PROFILE, b"never")
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        store.transact(broken)
    assert fill(store, Stream.PROFILE, 1) == [4]


def test_an_empty_store_has_no_batch(store):
    assert batch(store) is None
    assert store.transact(lambda tx: tx.cursors()) == dict.fromkeys(Stream, (0, 0))


def test_a_batch_carries_the_layouts_it_uses_and_no_other(store):
    other = LAYOUT[:1]
    store.transact(lambda tx: tx.append(Stream.PROFILE, b"a" * 50, LAYOUT))
    store.transact(lambda tx: tx.append(Stream.PROFILE, b"b" * 50, LAYOUT))
    store.transact(lambda tx: tx.append(Stream.PROFILE, b"c" * 50, other))
    whole, digest = batch(store), layout_digest(encode_layout(LAYOUT))
    assert whole.layouts == {digest: encode_layout(LAYOUT), layout_digest(encode_layout(other)): encode_layout(other)}
    head = batch(store, max_bytes=100 + len(encode_layout(LAYOUT)) + 8)
    assert (head.first, head.bodies, set(head.layouts)) == (1, [b"a" * 50, b"b" * 50], {digest})


def test_a_record_above_the_budget_goes_alone(store):
    fill(store, Stream.HEALTH, 2, size=5000)
    found = batch(store, max_bytes=100)
    assert (found.first, len(found.bodies)) == (1, 1)


def test_a_batch_longer_than_one_step_is_whole(store):
    fill(store, Stream.PROFILE, 700, size=4)
    assert len(batch(store, max_bytes=10**6).bodies) == 700
    assert len(batch(store, max_bytes=4 * 333).bodies) == 333


def test_the_asker_is_not_handed_again_what_it_has(store):
    fill(store, Stream.PROFILE, 5)
    fill(store, Stream.ALARM, 1)
    assert batch(store).stream is Stream.ALARM
    assert batch(store, {Stream.ALARM: 1}).first == 1
    assert batch(store, {Stream.ALARM: 1, Stream.PROFILE: 3}).first == 4
    assert batch(store, {Stream.ALARM: 1, Stream.PROFILE: 5}) is None
    assert batch(store, {Stream.ALARM: 10**30, Stream.PROFILE: 10**30}) is None
    assert batch(store, {Stream.ALARM: -7, Stream.PROFILE: 5}).stream is Stream.ALARM


def test_the_cursor_moves_on_never_back_and_not_beyond(path):
    with running(path) as it:
        fill(it.store, Stream.PROFILE, 5)
        it.store.transact(lambda tx: tx.deliver(Stream.PROFILE, 3))
        it.store.transact(lambda tx: tx.deliver(Stream.PROFILE, 2))
        for beyond in (6, 10**30):
            with pytest.raises(OperatorFault, match="beyond the last record 5"):
                it.store.transact(lambda tx, beyond=beyond: tx.deliver(Stream.PROFILE, beyond))
        with pytest.raises(OperatorFault):
            it.store.transact(lambda tx: tx.deliver(Stream.RECEIPT, 1))
    with running(path) as it:
        assert it.store.transact(lambda tx: tx.cursors())[Stream.PROFILE] == (3, 5)
        assert batch(it.store).first == 4


def test_the_backlog_moves_while_urgent_records_keep_coming(store):
    fill(store, Stream.PROFILE, 3)
    seen = []
    for _ in range(8):
        n = fill(store, Stream.RECEIPT, 1)[0]
        found = batch(store, max_bytes=1)
        seen.append(found.stream)
        store.transact(lambda tx, found=found: tx.deliver(found.stream, found.first))
        assert found.stream is Stream.PROFILE or n >= found.first
    assert seen.count(Stream.PROFILE) == 2 and seen[0] is Stream.RECEIPT


@pytest.fixture
def unchecked(monkeypatch):
    """Nothing is looked at when the file is opened: damage is found when it is in the way."""
    monkeypatch.setattr(check, "NEWEST", 0)


def spoil(path, sql):
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute(sql)
    raw.close()


def test_a_flipped_bit_is_never_delivered_and_does_not_block_its_stream(path, unchecked):
    with running(path) as it:
        fill(it.store, Stream.PROFILE, 4)
        epoch = it.store.epoch
    spoil(path, "UPDATE record_profile SET body = CAST(x'ff' || substr(body, 2) AS BLOB) WHERE id = 3")
    with running(path) as it:
        found = batch(it.store)
        assert (found.first, len(found.bodies)) == (1, 2), "what is good before the damage still goes"
        behind = batch(it.store, {Stream.PROFILE: 2})
        assert (behind.stream, behind.first, len(behind.bodies)) == (Stream.PROFILE, 4, 1), "and what is behind it too"
        told = batch(it.store, {Stream.PROFILE: 4})
        [alarm] = [cbor2.loads(body) for body in told.bodies]
        gone = {"epoch": epoch, "stream": "profile", "first": 3, "last": 3, "reason": "damaged"}
        assert (alarm["kind"], alarm["facts"]) == ("dropped", gone)
        assert alarm["text"] == "record 3 of profile: its checksum is wrong"
        assert batch(it.store, {Stream.PROFILE: 4, Stream.ALARM: 1}) is None, "and it is told once"
        assert batch(it.store, {Stream.PROFILE: 2, Stream.ALARM: 1}).first == 4
        [stock] = [s for s in it.store.transact(lambda tx: tx.stock()).streams if s.stream is Stream.PROFILE]
        assert (stock.held, stock.dropped) == (3, 1)


def test_many_damaged_records_are_stepped_over_in_pieces(path, unchecked):
    with running(path) as it:
        fill(it.store, Stream.PROFILE, 200)
    spoil(path, "UPDATE record_profile SET crc = crc + 1 WHERE id < 200")
    with running(path) as it:
        asked = [batch(it.store, {Stream.ALARM: 10**6}) for _ in range(5)]
        assert [found and found.first for found in asked] == [None, None, None, 200, 200]


@pytest.mark.parametrize("sql", ["DELETE FROM layout", "UPDATE layout SET encoded = x'80'"])
def test_a_damaged_layout_is_never_delivered(path, sql):
    with running(path) as it:
        it.store.transact(lambda tx: [tx.append(Stream.PROFILE, b"a", LAYOUT) for _ in range(5)])
        it.store.transact(lambda tx: tx.append(Stream.PROFILE, b"no layout"))
    spoil(path, sql)
    with running(path) as it:
        assert batch(it.store, {Stream.ALARM: 1}).bodies == [b"no layout"]
        [alarm] = [cbor2.loads(body) for body in batch(it.store).bodies]
        assert alarm["text"] == "records 1 to 5 of profile: its layout is damaged"


@pytest.mark.parametrize("sql", ["DELETE FROM layout", "UPDATE layout SET encoded = x'80'"])
def test_a_damaged_layout_that_the_ledger_knows_is_mended(path, sql):
    with running(path) as it:
        it.store.transact(lambda tx: tx.describe("GXT1", obis.BLOCK_LOAD, LAYOUT, 900, 0))
        it.store.transact(lambda tx: tx.append(Stream.PROFILE, b"a", LAYOUT))
    spoil(path, sql)
    with running(path) as it:
        found = batch(it.store)
        assert (found.bodies, found.layouts) == ([b"a"], {layout_digest(encode_layout(LAYOUT)): encode_layout(LAYOUT)})


def test_a_damaged_layout_holds_back_only_what_uses_it(path):
    other = (*LAYOUT, LAYOUT[1])
    with running(path) as it:
        it.store.transact(lambda tx: tx.append(Stream.PROFILE, b"good", LAYOUT))
        it.store.transact(lambda tx: tx.append(Stream.PROFILE, b"bad", other))
    spoil(path, f"DELETE FROM layout WHERE digest = x'{layout_digest(encode_layout(other)).hex()}'")
    with running(path) as it:
        assert batch(it.store).bodies == [b"good"]


def test_a_damaged_layout_behind_a_hole_is_found(path):
    with running(path) as it:
        it.store.transact(lambda tx: [tx.append(Stream.PROFILE, b"a", LAYOUT) for _ in range(3)])
    spoil(path, "DELETE FROM record_profile WHERE id = 1")
    spoil(path, "DELETE FROM layout")
    with running(path) as it:
        assert batch(it.store, {Stream.ALARM: 1}) is None
        assert it.store.transact(lambda tx: tx.cursors())[Stream.ALARM] == (0, 1)


def test_a_batch_ends_at_a_hole(path):
    with running(path) as it:
        fill(it.store, Stream.HEALTH, 6)
    spoil(path, "DELETE FROM record_health WHERE id IN (1, 4)")
    with running(path) as it:
        assert (batch(it.store).first, len(batch(it.store).bodies)) == (2, 2)
        assert (batch(it.store, {Stream.HEALTH: 3}).first) == 5
    spoil(path, "DELETE FROM record_health")
    with running(path) as it:
        assert batch(it.store) is None
        assert fill(it.store, Stream.HEALTH, 1) == [7], "an id is never used twice"


def test_records_carry_their_time_and_checksum(path):
    with running(path) as it:
        it.store.transact(lambda tx: tx.append(Stream.PROFILE, b"body"))
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT id, at_s, crc, body FROM record_profile").fetchall() == [
        (1, 1_795_341_600, checksum(b"body"), b"body")
    ]
    raw.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(1, 700), st.data())
def test_draining_gives_every_record_once_in_order(tmp_path_factory, sizes, max_bytes, data):
    bodies = [bytes([n % 256]) * size for n, size in enumerate(sizes)]
    with running(tmp_path_factory.mktemp("drain") / "dcu.db") as it:
        it.store.transact(lambda tx: [tx.append(Stream.PROFILE, body) for body in bodies])
        got, handed = [], 0
        while (found := batch(it.store, {Stream.PROFILE: handed}, max_bytes)) is not None:
            assert found.first == len(got) + 1
            assert len(found.bodies) == 1 or sum(map(len, found.bodies)) <= max_bytes
            got += found.bodies
            if data.draw(st.booleans()):
                last = len(got)
                it.store.transact(lambda tx, last=last: tx.deliver(Stream.PROFILE, last))
                handed = 0
            else:
                handed = len(got)
        assert got == bodies
