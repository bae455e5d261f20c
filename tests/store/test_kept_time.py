"""When the box last knew the time: it survives the process, and is there before the writer runs."""

from dataclasses import replace

from running_store import FixedClock, running

from dcu.mailbox import Stop
from dcu.store import SqliteStore
from dcu.timekeeping import KeptTime

KEPT = KeptTime(1_795_000_000.25, "4b1c", 86_400.5, 1_795_003_600.75)


def kept(path):
    store = SqliteStore.open(path, stop=Stop(), clock=FixedClock(), beat=lambda: None, dcu="JH-RNC-0042")
    try:
        return store.kept_time()
    finally:
        store.close()


def test_it_is_there_at_the_next_start_before_anybody_asks_for_the_time(tmp_path):
    path = tmp_path / "dcu.db"
    assert kept(path) is None
    with running(path) as it:
        it.store.transact(lambda tx: tx.keep_time(KEPT))
        it.store.transact(lambda tx: tx.keep_time(replace(KEPT, boot_s=90_000.125)))
        assert it.store.transact(lambda tx: tx.kept_time()).boot_s == 90_000.125
    assert kept(path) == replace(KEPT, boot_s=90_000.125)


def test_asking_before_the_writer_runs_leaves_no_transaction_open(tmp_path):
    path = tmp_path / "dcu.db"
    kept(path)
    with running(path) as it:
        assert it.store.transact(lambda tx: tx.kept_time()) is None
