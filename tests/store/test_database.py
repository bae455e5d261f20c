"""Opening the file: its mode, its pragmas, its lock, its identity, and what is refused."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest
from running_store import running
from sqlite_utils import Database as Utilities

from dcu.errors import Fate, StoreFault
from dcu.store.opening import connect
from dcu.store.schema import MIGRATIONS


def ask(path, pragma):
    raw = sqlite3.connect(path)
    try:
        return raw.execute(f"PRAGMA {pragma}").fetchone()[0]
    finally:
        raw.close()


def test_a_new_file_is_private_in_wal_and_can_give_pages_back(path):
    before = os.umask(0)
    try:
        with running(path) as it:
            it.store.transact(lambda tx: tx.count("x"))
            for file in path.parent.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
            names = {file.name for file in path.parent.iterdir()}
            names -= {"dcu.db.ballast"}
            assert names == {"dcu.db", "dcu.db-wal"}, "no shared-memory file: nobody else can open it"
    finally:
        os.umask(before)
    assert (ask(path, "auto_vacuum"), ask(path, "journal_mode")) == (2, "wal")
    assert {file.name for file in path.parent.iterdir()} <= {
        "dcu.db",
        "dcu.db-wal",
        "dcu.db-shm",
        "dcu.db.ballast",
    }


def test_every_commit_is_synced(path):
    database, _ = connect(path, dcu="A")
    database.control("BEGIN")
    assert database.rows("PRAGMA synchronous") == [(2,)]
    assert database.rows("PRAGMA locking_mode") == [("exclusive",)]
    database.control("COMMIT")
    database.close()


def test_an_existing_file_is_made_private(path):
    connect(path, dcu="A")[0].close()
    path.chmod(0o644)
    connect(path, dcu="A")[0].close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_epoch_is_made_once_with_the_file(path, tmp_path):
    epochs = set()
    for _ in range(3):
        database, epoch = connect(path, dcu="A")
        database.close()
        epochs.add(epoch)
    database, other = connect(tmp_path / "other.db", dcu="A")
    database.close()
    assert len(epochs) == 1 and other not in epochs and len(other) == 16


def refused(path, **options):
    with pytest.raises(StoreFault) as caught:
        connect(path, **{"dcu": "A", **options})
    assert caught.value.fate is Fate.STOP_PROCESS
    assert caught.value.place == str(path) and caught.value.cure
    return str(caught.value)


def test_another_boxs_store_is_refused(path):
    connect(path, dcu="A")[0].close()
    assert "the store of A, not of B; set [dcu] id back" in refused(path, dcu="B")
    connect(path, dcu="A")[0].close()


def test_a_newer_programs_store_is_refused_and_left_as_it_was(path):
    connect(path, dcu="A")[0].close()
    raw = sqlite3.connect(path)
    raw.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('dcu', '0099_later', '')")
    raw.commit()
    raw.close()
    before = path.read_bytes()
    assert "written by a newer program (0099_later); install that version again" in refused(path)
    assert path.read_bytes() == before


def test_a_strangers_database_is_refused_and_left_as_it_was(path):
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE book (title TEXT)")
    raw.commit()
    raw.close()
    before = path.read_bytes()
    assert "a database, but not a store" in refused(path)
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused_and_left_as_it_was(path):
    path.write_bytes(b"readings, 2026-11\n" * 100)
    assert "not a database" in refused(path)
    assert path.read_bytes() == b"readings, 2026-11\n" * 100


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(StoreFault, match="gone/dcu.db: cannot be opened: No such file"):
        connect(tmp_path / "gone" / "dcu.db", dcu="A")


def test_a_second_opener_is_refused(path, monkeypatch):
    monkeypatch.setattr("dcu.store.opening.BUSY_S", 0.05)
    with running(path) as it:
        assert "another process has the store open; one field process a store" in refused(path)
        code = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=0)\n"
            "try: c.execute('SELECT count(*) FROM tally').fetchall()\n"
            "except sqlite3.OperationalError as e: sys.exit(str(e))"
        )
        other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
        assert (other.returncode, other.stderr.strip()) == (1, "database is locked")
        it.store.transact(lambda tx: tx.count("still mine"))
    with running(path) as it:
        assert it.store.transact(lambda tx: tx.counts()) == {"still mine": 1}


def names_of_migrations():
    with closing(Utilities(memory=True)) as nothing:
        return [migration.name for migration in MIGRATIONS.pending(nothing)]


@pytest.mark.parametrize("done", names_of_migrations())
def test_a_migration_that_was_cut_short_is_taken_up_again(path, done):
    raw = sqlite3.connect(path, isolation_level=None)
    MIGRATIONS.apply(Utilities(raw), stop_before=done)
    raw.close()
    with running(path) as it:
        it.store.transact(lambda tx: tx.count("x"))
        assert it.store.transact(lambda tx: tx.verify_journal()) == (0, bytes(32))


def test_all_tables_are_strict(path):
    connect(path, dcu="A")[0].close()
    raw = sqlite3.connect(path)
    listed = raw.execute(
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
    ).fetchall()
    raw.close()
    loose = {name for name, strict in listed if not strict}
    assert len(listed) > 15 and loose == {"_sqlite_migrations", "sqlite_sequence", "sqlite_schema"}


def older(path, before):
    raw = sqlite3.connect(path, isolation_level=None)
    MIGRATIONS.apply(Utilities(raw), stop_before=before)
    raw.execute("INSERT INTO identity (name, value) VALUES ('dcu', 'A'), ('epoch', 'old')")
    raw.close()


def test_of_an_older_programs_store_a_copy_is_kept(path, tmp_path):
    older(path, "0004_meters_and_marks")
    connect(path, dcu="A")[0].close()
    connect(path, dcu="A")[0].close()
    [copy] = tmp_path.glob("dcu.db.before-*")
    assert copy.name == "dcu.db.before-0004_meters_and_marks"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as raw:
        tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert raw.execute("SELECT value FROM identity WHERE name = 'epoch'").fetchall() == [("old",)]
    assert "profile" in tables and "mark" not in tables


def test_copies_are_few_and_a_new_store_has_none(path, tmp_path):
    connect(path, dcu="A")[0].close()
    assert list(tmp_path.glob("dcu.db.before-*")) == []
    for n in range(4):
        (tmp_path / f"dcu.db.before-000{n}").write_bytes(b"x")
        os.utime(tmp_path / f"dcu.db.before-000{n}", (n, n))
    path.unlink()
    older(path, "0002_gap_ledger")
    connect(path, dcu="A")[0].close()
    assert {each.name for each in tmp_path.glob("dcu.db.before-*")} == {
        "dcu.db.before-0003",
        "dcu.db.before-0002_gap_ledger",
    }


def test_no_room_for_a_copy_hinders_no_migration(path, tmp_path, monkeypatch):
    older(path, "0002_gap_ledger")
    full = os.statvfs(tmp_path)
    nothing = type("Disk", (), {"f_bavail": 0, "f_frsize": full.f_frsize})
    monkeypatch.setattr("dcu.store.before.os.statvfs", lambda _: nothing)
    connect(path, dcu="A")[0].close()
    assert list(tmp_path.glob("dcu.db.before-*")) == []
    with running(path, dcu="A") as it:
        it.store.transact(lambda tx: tx.count("x"))
