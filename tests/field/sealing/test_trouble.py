"""New epochs, no room, a store that cannot be read now, a garbled cache; and the loop as a part of the process."""

import sqlite3
from contextlib import closing

import pytest

from dcu.clock import SystemClock
from dcu.config import load
from dcu.errors import StoreBusy, StoreDown
from dcu.field.main import build
from dcu.field.sealing import AWAY_S
from dcu.record import Stream
from tests.e2e.conftest import write_configuration
from tests.field.sealing.box import MANY, Box, offered
from tests.store.running_store import running

# ---- epochs, room, trouble


def test_in_a_new_epoch_all_is_made_anew(box, monkeypatch):
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    old, ids = box.store.epoch, box.ids()
    monkeypatch.setattr(type(box.store), "epoch", property(lambda _: "other"))
    assert box.sealed() == []
    box.look()
    assert box.ids() == ids and box.sealed(epoch=old) == []
    assert {batch.epoch for batch, _ in box.payloads()} == {"other"}


def test_a_new_epoch_in_the_middle_ends_it(box, monkeypatch):
    """A salvage: what was read before it is of one epoch, what is read behind it of another."""
    box.append(Stream.PROFILE, MANY)
    box.look(0.0)
    box.meanwhile = lambda: monkeypatch.setattr(type(box.store), "epoch", property(lambda _: "other"))
    old = box.store.epoch
    box.look(AWAY_S)
    assert len(box.sealed(epoch=old)) == 1
    box.meanwhile = lambda: None
    box.look()
    assert {batch.epoch for batch, _ in box.payloads()} == {"other"} and len(box.sealed()) > 1


def test_what_is_in_the_way_is_discarded_and_not_made_before_there_is_room(box, monkeypatch):
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    assert box.file.exists()
    monkeypatch.setattr(box.seals, "_store_pages", 10**12)
    begun = []
    monkeypatch.setattr(box.seals, "begin", begun.append)
    for _ in range(3):
        box.look()
        assert box.seals.is_empty and not box.file.exists()
    assert not begun, "a file that is to be deleted at once is not made"
    monkeypatch.undo()
    box.look()
    assert box.sealed()
    box.judge()


def test_where_there_is_no_more_room_it_ends_and_goes_on_when_some_is_delivered(path):
    with running(path) as it:
        box = Box(it, path, pages=160)  # of which the cache may have 40
        box.append(Stream.PROFILE, 30 * MANY)
        box.wait_for_network()
        before = box.sealed()
        box.look()
        assert box.sealed() == before and before[-1].last < 29 * MANY and box.file.stat().st_size <= 40 * 4096
        box.deliver(Stream.PROFILE, before[len(before) // 2].last)
        box.wait_for_network()
        after = box.sealed()
        assert after[0].first == before[len(before) // 2].last + 1 and after[-1].last > before[-1].last
        box.judge()
        box.seals.close()


@pytest.mark.parametrize("fault", [StoreDown("so"), StoreBusy("so")])
def test_a_store_that_cannot_be_read_now_is_read_another_time(box, monkeypatch, fault):
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    before = box.sealed()
    transact = box.store.transact

    def fail(*_, **__):
        raise fault

    monkeypatch.setattr(box.store, "transact", fail)
    box.look()
    monkeypatch.setattr(box.store, "transact", transact)
    assert box.sealed() == before
    box.append(Stream.PROFILE, 2 * MANY, MANY)
    monkeypatch.setattr(type(box.store), "epoch", property(lambda _: fail()))
    box.look()
    monkeypatch.undo()
    calls = []
    monkeypatch.setattr(
        box.store, "transact", lambda work: fail() if len(calls) == 3 else (calls.append(1), transact(work))[1]
    )
    box.look()
    monkeypatch.undo()
    assert len(box.sealed()) == len(before) + 2
    box.look()
    assert len(box.sealed()) > len(before) + 4
    box.judge()


@pytest.mark.parametrize("left", [b"", b"garbage" * 5000, b"SQLite format 3\0" + bytes(5000)])
def test_a_cache_that_is_garbage_is_made_anew(box, left):
    box.append(Stream.PROFILE, MANY)
    box.file.write_bytes(left)
    box.wait_for_network()
    assert box.sealed()
    box.judge()


def test_a_garbled_end_does_not_keep_the_rest_from_being_made(box):
    """A flipped octet in the id of a last record: nothing would be made beyond it, and it would never be delivered."""
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    box.seals.close()
    with closing(sqlite3.connect(box.file)) as raw:
        raw.execute("UPDATE sealed SET last = 1 << 60 WHERE first = 1")
        raw.commit()
    box.start()
    box.append(Stream.PROFILE, MANY, MANY)
    box.wait_for_network()
    box.look()
    assert box.ids() == list(range(1, box.ids()[-1] + 1)) and box.ids()[-1] > MANY + MANY // 3
    box.judge()


def test_a_directory_in_its_place_hinders_nothing(box):
    box.file.mkdir()
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    assert [n for n, made in offered(box) if not made] == list(range(1, MANY + 1))


# ---- as a part of the process


def built(directory, encoding):
    """The units of a configured box by name; nothing runs."""
    file = directory / "dcu.toml"
    if not file.exists():
        write_configuration(directory, port=directory / "tty")
        file.write_text(file.read_text().replace("[uplink]", f'[uplink]\nencoding = "{encoding}"'))
    box = build(load(file), SystemClock())
    units = {unit.name: unit for unit in box.units}
    box.stop.set()
    for unit in (units["uplink"], units["cli"]):
        unit.run()  # it lets its socket go
    box.store.close()
    return units


def test_a_disk_that_stalls_under_a_payload_does_not_end_the_process_before_the_store_would(tmp_path):
    """Its thread writes to the same disk: to end the process mends nothing, and loses what waits in memory."""
    units = built(tmp_path, "cbor")
    assert units["sealing"].pulse.late_s() <= units["store"].pulse.late_s() + 1
    assert not units["sealing"].ends_last


def test_where_batches_travel_in_json_nothing_is_made_and_nothing_is_left(tmp_path):
    left = tmp_path / "state" / "dcu-sealed.db"
    left.parent.mkdir(mode=0o700)
    left.write_bytes(bytes(5000))
    assert "sealing" not in built(tmp_path, "json") and not left.exists()
