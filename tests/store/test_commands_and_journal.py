"""Commands, sequences, documents, counts, and the hash-chained journal."""

import hashlib
import sqlite3
from dataclasses import replace

import cbor2
import pytest
from running_store import running

from dcu.command import RelaySequence, State, StoredCommand
from dcu.errors import StoreFault


def command(cmd_id="c1", state=State.ACCEPTED, iss="hes.ranchi"):
    return StoredCommand(iss, cmd_id, b"\x01" * 32, b'{"v":1}', ("k1", "k2"), state, b"receipt", 1_795_000_000)


def test_a_command_is_found_by_issuer_and_id(store):
    store.transact(lambda tx: tx.save_command(command()))
    assert store.transact(lambda tx: tx.command("hes.ranchi", "c1")) == command()
    assert store.transact(lambda tx: tx.command("hes.dhanbad", "c1")) is None
    assert store.transact(lambda tx: tx.command("hes.ranchi", "C1")) is None


def test_open_commands_oldest_first_also_when_they_moved_on(path):
    with running(path) as it:
        for cmd_id in ("z", "a", "m"):
            it.store.transact(lambda tx, c=cmd_id: tx.save_command(command(c)))
        it.store.transact(lambda tx: tx.save_command(replace(command("z"), state=State.DISPATCHED, receipt=b"two")))
        it.store.transact(lambda tx: tx.save_command(command("a", State.DONE)))
    with running(path) as it:
        found = it.store.transact(lambda tx: tx.open_commands())
        assert [(c.cmd_id, c.state, c.receipt) for c in found] == [
            ("z", State.DISPATCHED, b"two"),
            ("m", State.ACCEPTED, b"receipt"),
        ]


@pytest.mark.parametrize("state", State)
def test_open_is_what_the_life_table_calls_open(store, state):
    from dcu.command import OPEN

    store.transact(lambda tx: tx.save_command(command(state=state)))
    assert bool(store.transact(lambda tx: tx.open_commands())) == (state in OPEN)


def test_sequences_only_go_up_and_connects_leave_the_disconnect_mark(store):
    def at(seq, *, disconnect):
        store.transact(lambda tx: tx.raise_relay_sequence("GXT1", seq, disconnect=disconnect))
        return store.transact(lambda tx: tx.relay_sequence("GXT1"))

    assert store.transact(lambda tx: tx.relay_sequence("GXT1")) == RelaySequence(0, 0)
    assert at(5, disconnect=True) == RelaySequence(5, 5)
    assert at(9, disconnect=False) == RelaySequence(9, 5)
    assert at(7, disconnect=True) == RelaySequence(9, 7)
    assert at(2**53, disconnect=False) == RelaySequence(2**53, 7)
    assert store.transact(lambda tx: tx.relay_sequence("GXT2")) == RelaySequence(0, 0)


def test_documents_are_replaced(store):
    assert store.transact(lambda tx: tx.document("policy")) is None
    for version in (3, 4):
        store.transact(lambda tx, v=version: tx.save_document("policy", v, b"%d" % v))
    assert store.transact(lambda tx: tx.document("policy")) == (4, b"4")


def test_counts(store):
    for name in ("refused.E_SIG", "refused.E_SIG", "refused.E_JSON"):
        store.transact(lambda tx, name=name: tx.count(name))
    assert store.transact(lambda tx: tx.counts()) == {"refused.E_JSON": 1, "refused.E_SIG": 2}


def test_the_chain_is_what_anyone_can_compute(store):
    head = bytes(32)
    for n in range(1, 4):
        head = hashlib.sha256(head + cbor2.dumps([n, 100 + n, "accepted", b"b%d" % n], canonical=True)).digest()
        assert store.transact(lambda tx, n=n: tx.journal(100 + n, "accepted", b"b%d" % n)) == (n, head)
    assert store.transact(lambda tx: tx.journal_head()) == store.transact(lambda tx: tx.verify_journal()) == (3, head)


def test_the_first_link_by_a_golden_vector(store):
    """SHA-256 of 32 zero octets and 84 01 18 64 61 61 41 62, computed by coreutils' sha256sum."""
    entry = bytes(32) + bytes.fromhex("840118646161" + "4162")
    golden = "ddef26530eae11f20d6bfb453b0e44d3c6ba92f0da599701a73fed8a56a265ba"
    assert hashlib.sha256(entry).hexdigest() == golden
    assert store.transact(lambda tx: tx.journal(100, "a", b"b"))[1].hex() == golden


def test_a_rolled_back_entry_leaves_no_trace(store):
    def broken(tx):
        tx.journal(1, "x", b"")
        raise LookupError

    with pytest.raises(LookupError):
        store.transact(broken)
    assert store.transact(lambda tx: tx.verify_journal()) == (0, bytes(32))


@pytest.mark.parametrize(
    ("sql", "entry"),
    [
        ("UPDATE journal SET body = x'00' WHERE n = 600", 600),
        ("UPDATE journal SET at_s = 9 WHERE n = 1", 1),
        ("UPDATE journal SET kind = 'done' WHERE n = 3", 3),
        ("DELETE FROM journal WHERE n = 2", 2),
        ("DELETE FROM journal WHERE n > 698", 699),
        ("UPDATE journal SET digest = zeroblob(32) WHERE n = 700", 700),
    ],
)
def test_a_rewritten_journal_is_found_out(path, sql, entry):
    with running(path) as it:
        it.store.transact(lambda tx: [tx.journal(n, "accepted", b"body") for n in range(700)])
        assert it.store.transact(lambda tx: tx.verify_journal())[0] == 700
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute(sql)
    raw.close()
    with running(path) as it, pytest.raises(StoreFault, match=f"journal entry {entry}: the chain is broken here"):
        it.store.transact(lambda tx: tx.verify_journal())
