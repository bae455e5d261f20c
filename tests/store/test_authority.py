"""Debits, permits, restraints on disk: what restricts is kept, a debit is never taken back."""

import sqlite3
from dataclasses import replace

from running_store import running
from sqlite_utils import Database as Utilities

from dcu.command import Debit, Profile, RelaySequence, Restraint, State, StoredCommand
from dcu.store.schema import MIGRATIONS

ONE = Debit("hes", "c-1", Profile.ARREARS, "P-1", 1_000_000, "boot-1", 50)


def ask(store, work):
    return store.transact(lambda tx: work(tx.authority))


def test_debits_are_of_a_time_or_of_a_boot_and_know_when_they_were_sent(path):
    two = replace(ONE, cmd_id="c-2", profile=Profile.PREPAID, permit="P-2", at_s=2_000_000, boot="boot-2")
    with running(path) as it:
        ask(it.store, lambda a: (a.debit(ONE), a.debit(two), a.note_sent("hes", "c-2", 2_000_009, 59)))
    with running(path) as it:
        sent = replace(two, sent_at_s=2_000_009, sent_boot_s=59)
        assert ask(it.store, lambda a: list(a.debits(0, ""))) == [ONE, sent]
        assert ask(it.store, lambda a: list(a.debits(1_500_000, "boot-3"))) == [sent]
        assert ask(it.store, lambda a: list(a.debits(1_500_000, "boot-1"))) == [ONE, sent]
        assert ask(it.store, lambda a: (a.permit_uses("hes", "P-1"), a.permit_uses("other", "P-1"))) == (1, 0)


def test_debits_to_shares_are_debits_to_their_total(store):
    shares = [replace(ONE, cmd_id=f"s-{n}", permit=f"S-{n}", total="T-1") for n in range(3)]
    ask(store, lambda a: [a.debit(each) for each in (ONE, *shares)])
    assert ask(store, lambda a: [a.permit_uses("hes", name) for name in ("T-1", "S-1", "P-1", "")]) == [3, 1, 1, 0]
    assert ask(store, lambda a: a.permit_uses("other", "T-1")) == 0
    assert ask(store, lambda a: list(a.debits(0, "")))[1:] == shares


def test_a_permit_is_found_by_issuer_and_name(store):
    ask(store, lambda a: a.save_permit("hes", "P-1", b"envelope"))
    assert ask(store, lambda a: (a.permit("hes", "P-1"), a.permit("other", "P-1"))) == (b"envelope", None)


def test_restraints_are_renewed_and_lifted_one_by_one(path):
    lock = Restraint("lock", "GXT1", "ravi", "at work", 3600, 1_003_600, "boot-1", -17)
    freeze = Restraint("freeze", "", "asha", "storm", 86400, None)
    with running(path) as it:
        ask(it.store, lambda a: (a.restrain(lock), a.restrain(freeze), a.restrain(replace(lock, until_s=5))))
    with running(path) as it:
        assert ask(it.store, lambda a: list(a.restraints())) == [freeze, replace(lock, until_s=5)]
        ask(it.store, lambda a: (a.lift("freeze", "GXT1"), a.lift("lock", "GXT1")))
        assert ask(it.store, lambda a: list(a.restraints())) == [freeze]


def test_what_was_cut_for_safety_is_remembered_and_ended(store):
    store.transact(lambda tx: tx.raise_relay_sequence("GXT1", 7, disconnect=True))
    ask(store, lambda a: a.note_safety("GXT1", 7))
    store.transact(lambda tx: tx.raise_relay_sequence("GXT1", 9, disconnect=False))
    assert store.transact(lambda tx: tx.relay_sequence("GXT1")) == RelaySequence(9, 7, 7)
    ask(store, lambda a: a.note_safety("GXT1", 0))
    assert store.transact(lambda tx: tx.relay_sequence("GXT1")) == RelaySequence(9, 7, 0)


def test_what_waits_is_open_and_a_document_is_forgotten(store):
    waiting = StoredCommand("hes", "c-1", b"\x01" * 32, b"{}", ("k",), State.PENDING, b"r", 0)
    store.transact(lambda tx: tx.save_command(waiting))
    assert store.transact(lambda tx: list(tx.open_commands())) == [waiting]
    store.transact(lambda tx: tx.save_document("policy-waiting", 2, b"e"))
    ask(store, lambda a: a.forget_document("policy-waiting"))
    assert store.transact(lambda tx: tx.document("policy-waiting")) is None


def test_an_older_programs_lock_holds_and_is_of_no_boot(path):
    raw = sqlite3.connect(path, isolation_level=None)
    MIGRATIONS.apply(Utilities(raw), stop_before="0008_restraints_by_uptime_and_totals")
    raw.execute("INSERT INTO restraint VALUES ('lock', 'GXT1', 'ravi', 'at work', 3600, 1003600)")
    raw.execute(
        "INSERT INTO debit (iss, cmd_id, profile, permit, at_s, boot, boot_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
        ("hes", "c-1", "arrears", "P-1", 1_000_000, "boot-1", 50),
    )
    raw.close()
    with running(path) as it:
        held = Restraint("lock", "GXT1", "ravi", "at work", 3600, 1_003_600)
        assert ask(it.store, lambda a: list(a.restraints())) == [held]
        assert ask(it.store, lambda a: list(a.debits(0, ""))) == [ONE]
