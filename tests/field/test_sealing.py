"""Payloads are made while the network is away: of what waits for it exactly what the store holds, nothing twice."""

import sqlite3
import threading
from contextlib import closing, contextmanager

import pytest

from dcu.clock import SystemClock
from dcu.config import load
from dcu.errors import StoreBusy, StoreDown
from dcu.event import DropReason
from dcu.field import sealing
from dcu.field.made_ahead import answer, chosen, up_to_payload
from dcu.field.main import build
from dcu.field.sealing import AWAY_S, LOOK_S, Sealing
from dcu.mailbox import Stop
from dcu.record import DEFLATE_ABOVE, Stream, encode_batch
from dcu.store import SealedFile
from dcu.uplink.encoding import SEALED_TYPE, decode
from tests.e2e.conftest import write_configuration
from tests.records import record
from tests.store.running_store import running

DCU = "JH-RNC-0042"
MANY = 600
"""Records of a stream: some batches, and one that is not full."""


class HandClock:
    def __init__(self):
        self.s = 1000.0

    def monotonic_s(self):
        return self.s


class Box:
    """A store and what makes payloads of it; `meanwhile` is called between two payloads, and at each bite."""

    def __init__(self, it, path, pages=20_000):
        self.running, self.store, self.path = it, it.store, path
        self.file = path.with_name("dcu-sealed.db")
        self.clock, self.stop, self.meanwhile, self.beats = HandClock(), Stop(), lambda: None, 0
        self.pages = pages
        self.start()

    def start(self):
        """As a start of the process."""
        self.seals = SealedFile(self.path, self.pages)
        self.sealing = Sealing(self.store, self.seals, DCU, self.clock, self.stop, self._beat, pause_s=0.0)

    def _beat(self):
        self.beats += 1
        self.meanwhile()

    def look(self, after_s=LOOK_S):
        self.clock.s += after_s
        self.sealing.look()

    def wait_for_network(self):
        """So long that what waits is sealed."""
        self.look(0.0)
        self.look(AWAY_S)

    def append(self, stream, count, start=0):
        bodies = [record(stream, n) for n in range(start, start + count)]
        return self.store.transact(lambda tx: [tx.append(stream, *each) for each in bodies])[-1]

    def deliver(self, stream, last):
        self.store.transact(lambda tx: tx.deliver(stream, last))

    def sealed(self, stream=Stream.PROFILE, epoch=None):
        """All seals of a stream."""
        epoch, found, n = epoch or self.store.epoch, [], 0
        while (n := self.seals.next_first(epoch, stream, n)) is not None:
            found.append(self.seals.run_from(epoch, stream, n)[0])
        return found

    def payloads(self, stream=Stream.PROFILE):
        """What is made, decoded: (batch, seal) each."""
        made = [(self.seals.payload(self.store.epoch, seal), seal) for seal in self.sealed(stream)]
        return [(decode(payload, SEALED_TYPE), seal) for payload, seal in made]

    def ids(self, stream=Stream.PROFILE):
        return [n for seal in self.sealed(stream) for n in range(seal.first, seal.last + 1)]

    def judge(self, stream=Stream.PROFILE):
        """What is made is what the store says of those records."""
        for batch, seal in self.payloads(stream):
            part = self.store.transact(lambda tx, s=seal: tx.again(s.stream, s.first, s.last, 10**6))
            encoded = encode_batch(DCU, self.store.epoch, stream, part.first, part.layouts, part.bodies)
            assert decode(encoded, "application/cbor") == batch and len(encoded) == seal.octets
            assert (batch.dcu, batch.epoch, batch.first, batch.last) == (DCU, self.store.epoch, seal.first, seal.last)


@contextmanager
def box_of(path, **options):
    with running(path, **options) as it:
        box = Box(it, path)
        with closing(box.seals):
            yield box


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dcu.db"


@pytest.fixture
def box(path):
    with box_of(path) as it:
        yield it


# ---- when


def test_nothing_is_made_before_the_cursor_stood_for_long(box):
    box.append(Stream.PROFILE, MANY)
    for _ in range(int(AWAY_S // LOOK_S)):
        box.look()
    assert box.seals.is_empty
    box.look()
    assert not box.seals.is_empty


def test_nothing_is_made_while_the_cursor_moves(box):
    box.append(Stream.PROFILE, MANY)
    for n in range(30):
        box.deliver(Stream.PROFILE, n + 1)
        box.look()
    assert box.seals.is_empty
    box.look(AWAY_S)
    assert box.sealed()[0].first == 31


def test_each_stream_stands_for_itself(box):
    for stream in (Stream.PROFILE, Stream.HEALTH):
        box.append(stream, MANY)
    for n in range(12):
        box.deliver(Stream.HEALTH, n + 1)
        box.look()
    assert box.sealed() and not box.sealed(Stream.HEALTH)


def test_a_cursor_at_the_end_does_not_wait(box):
    """It stood for days since nothing came; what comes now has waited for no network yet."""
    box.deliver(Stream.PROFILE, box.append(Stream.PROFILE, 3))
    for _ in range(100):
        box.look()
    box.append(Stream.PROFILE, MANY)
    box.look()
    assert box.seals.is_empty
    box.look(AWAY_S)
    assert not box.seals.is_empty


def test_it_ends_as_soon_as_the_network_is_back(box):
    """A drain needs the processor, and sends faster than this makes."""
    box.append(Stream.PROFILE, MANY)
    box.look(0.0)
    box.meanwhile = lambda: box.deliver(Stream.PROFILE, 5)
    box.look(AWAY_S)
    assert len(box.sealed()) == 1


def test_its_loop_looks_by_the_clock_and_lets_the_file_go_at_the_end(box, monkeypatch):
    monkeypatch.setattr(sealing, "TURN_S", 0.001)
    box.append(Stream.PROFILE, MANY)
    begun, made = threading.Event(), threading.Event()
    add, begin = box.seals.add, box.seals.begin
    monkeypatch.setattr(box.seals, "begin", lambda epoch: (begin(epoch), begun.set()))
    monkeypatch.setattr(box.seals, "add", lambda *given: (made.set(), add(*given))[1])
    thread = threading.Thread(target=box.sealing.run)
    thread.start()
    assert begun.wait(10)
    box.clock.s += AWAY_S
    assert made.wait(10)
    box.stop.set()
    thread.join(10)
    assert not thread.is_alive() and box.beats and box.seals.is_empty
    box.seals.begin(box.store.epoch)
    assert box.sealed(), "it is kept for the next start"


# ---- what


@pytest.mark.parametrize("stream", Stream)
def test_what_is_made_is_what_the_store_holds_but_for_the_last_batch(box, stream):
    last = box.append(stream, MANY)
    box.wait_for_network()
    ids = box.ids(stream)
    assert ids == list(range(1, ids[-1] + 1)) and MANY // 4 < ids[-1] < last
    box.judge(stream)
    bodies = [body for batch, _ in box.payloads(stream) for body in batch.records]
    assert len(bodies) == len(ids)
    assert all(DEFLATE_ABOVE < seal.octets <= 33 * 1024 for seal in box.sealed(stream))


def test_nothing_is_made_of_a_batch_that_is_not_full(box):
    box.append(Stream.PROFILE, 20)
    box.wait_for_network()
    assert box.seals.is_empty


def test_it_goes_on_where_it_stopped(box):
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    before = box.sealed()
    box.look()
    assert box.sealed() == before
    box.append(Stream.PROFILE, MANY, MANY)
    box.look()
    after = box.sealed()
    assert (
        after[: len(before)] == before and len(after) > len(before) and box.ids() == list(range(1, box.ids()[-1] + 1))
    )
    box.judge()


def test_it_goes_on_after_a_restart(box):
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    before = box.sealed()
    box.seals.close()
    box.start()
    added = []
    add = box.seals.add
    box.seals.add = lambda epoch, seal, payload: (added.append(seal), add(epoch, seal, payload))[1]
    box.look(0.0)
    assert box.sealed() == before
    box.append(Stream.PROFILE, MANY, MANY)
    box.look(AWAY_S)
    assert added and added[0].first == before[-1].last + 1
    box.judge()


def test_it_ends_with_the_process_in_the_middle(box):
    box.append(Stream.PROFILE, MANY)
    box.look(0.0)
    box.meanwhile = box.stop.set
    box.look(AWAY_S)
    assert len(box.sealed()) == 1


def test_it_ends_with_the_process_while_it_forgets(box, monkeypatch):
    """A bite is some milliseconds, and a file of half a gigabyte has thousands."""
    monkeypatch.setattr("dcu.store.sealed.BITE", 1)
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    box.deliver(Stream.PROFILE, MANY)
    box.stop.set()
    before = len(box.sealed())
    assert before > 3
    box.look()
    assert len(box.sealed()) >= before - 1


def test_what_is_delivered_is_forgotten_and_the_file_goes_with_the_last(box):
    box.append(Stream.PROFILE, MANY)
    box.append(Stream.ALARM, MANY)
    box.wait_for_network()
    seals, alarms = box.sealed(), box.sealed(Stream.ALARM)
    box.deliver(Stream.PROFILE, seals[1].last + 1)
    box.look()
    assert box.sealed() == seals[2:] and box.sealed(Stream.ALARM) == alarms
    assert [n for n, _ in offered(box)] == list(range(seals[1].last + 2, MANY + 1))
    box.deliver(Stream.PROFILE, MANY)
    box.deliver(Stream.ALARM, MANY)
    box.look()
    assert box.seals.is_empty and not box.file.exists()
    box.look()
    box.append(Stream.PROFILE, MANY, MANY)
    box.wait_for_network()
    assert box.sealed()[0].first == MANY + 1
    box.judge()


def test_a_record_larger_than_a_batch_is_passed_by(box):
    first = box.append(Stream.PROFILE, MANY)
    body, layout = record(Stream.PROFILE, 7)
    [huge] = box.store.transact(lambda tx: [tx.append(Stream.PROFILE, body + bytes(100_000), layout)])
    box.append(Stream.PROFILE, MANY, MANY)
    box.wait_for_network()
    ids = box.ids()
    assert huge == first + 1 and huge not in ids and ids[-1] > huge + MANY // 4
    assert ids[:MANY] == list(range(1, MANY + 1)) and max(seal.octets for seal in box.sealed()) < 34_000


def test_a_record_too_small_to_be_deflated_is_passed_by(box):
    box.append(Stream.ALARM, 1)
    box.store.transact(lambda tx: tx.append(Stream.ALARM, b"\xa0" + bytes(40_000)))
    box.append(Stream.ALARM, MANY)
    box.store.transact(lambda tx: tx.append(Stream.HEALTH, b"\xa0"))
    box.store.transact(lambda tx: tx.append(Stream.HEALTH, b"\xa0" + bytes(40_000)))
    box.append(Stream.HEALTH, MANY)
    box.wait_for_network()
    assert 1 not in box.ids(Stream.HEALTH) and 3 in box.ids(Stream.HEALTH)
    assert all(seal.octets > DEFLATE_ABOVE for stream in Stream for seal in box.sealed(stream))


# ---- what is not there any more


def offered(box, stream=Stream.PROFILE, most=10**6):
    """Records as uplink would be offered them, from payloads where there are any: (id, from a payload) each."""
    found, after, epoch = [], dict.fromkeys(Stream, 10**9) | {stream: 0}, box.store.epoch
    choose = chosen(box.seals, epoch, most)
    while True:
        seals = box.store.transact(lambda tx, a=dict(after): tx.next_sealed(a, choose))
        if seals and (got := answer(box.seals, epoch, seals)) is not None:
            first = got.first
            for last, _, payload in got.payloads:
                batch = decode(payload, SEALED_TYPE)
                assert (batch.first, batch.last) == (first, last)
                found += [(n, True) for n in range(first, last + 1)]
                first = last + 1
        else:
            part = box.store.transact(lambda tx, a=dict(after): tx.next_batch(a, 32_768))
            if part is None:
                return found
            [part] = up_to_payload(box.seals, epoch, [part])
            found += [(part.first + n, False) for n in range(len(part.bodies))]
        after[stream] = found[-1][0]


def test_all_is_offered_once_in_its_order_whether_it_is_made_or_not(box):
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    made = set(box.ids())
    assert offered(box) == [(n, n in made) for n in range(1, MANY + 1)]


def test_records_given_up_in_the_middle_are_not_offered_and_the_rest_is(box):
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    seals = box.sealed()
    gone = range(seals[1].first + 2, seals[1].first + 5)
    box.store.transact(lambda tx: tx.dropping.between(Stream.PROFILE, gone[0], gone[-1], DropReason.DAMAGED, "so"))
    found = offered(box)
    assert [n for n, _ in found] == [n for n in range(1, MANY + 1) if n not in gone]
    torn = range(seals[1].first, seals[1].last + 1)
    assert all(not made for n, made in found if n in torn) and sum(made for _, made in found) >= MANY // 3


def test_records_dropped_from_the_oldest_end_are_not_offered_and_make_room(box):
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    seals = box.sealed()
    upto = seals[2].first + 3
    box.store.transact(lambda tx: tx.dropping.upto(Stream.PROFILE, upto, DropReason.NO_ROOM))
    assert [n for n, _ in offered(box)] == list(range(upto + 1, MANY + 1))
    box.store.transact(lambda tx: [tx.dropping.sweep() for _ in range(3)])
    box.look()
    assert box.sealed()[0].first >= seals[2].first, "payloads of what is given up leave their room to others"
    assert [n for n, _ in offered(box)] == list(range(upto + 1, MANY + 1))


def test_all_of_a_stream_dropped(box):
    box.append(Stream.PROFILE, MANY)
    box.wait_for_network()
    box.store.transact(lambda tx: tx.dropping.upto(Stream.PROFILE, MANY, DropReason.NO_ROOM))
    box.store.transact(lambda tx: [tx.dropping.sweep() for _ in range(3)])
    assert offered(box) == []
    box.look()
    assert box.seals.is_empty
    box.append(Stream.PROFILE, MANY, MANY)
    box.wait_for_network()
    assert box.sealed()[0].first == MANY + 1
    box.judge()


def test_a_damaged_record_is_stepped_over(path):
    with box_of(path) as box:
        box.append(Stream.PROFILE, MANY)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE record_profile SET body = CAST(body || 'x' AS BLOB) WHERE id IN (1, 50, 51, 200)")
        raw.commit()
    with box_of(path) as box:
        box.wait_for_network()
        assert not {1, 50, 51, 200} & set(box.ids()) and {2, 49, 52, 199, 201} <= set(box.ids())
        box.judge()
        assert [n for n, _ in offered(box)] == [n for n in range(1, MANY + 1) if n not in {1, 50, 51, 200}]
        assert [n for n, _ in offered(box)] == [n for n in range(1, MANY + 1) if n not in {1, 50, 51, 200}]


def test_a_store_that_was_put_back_gives_its_own_records(path):
    """Its ids are given again to other records, in the same epoch: payloads of those that had them are none of it."""
    with box_of(path) as box:
        box.append(Stream.PROFILE, 300)
    copy = path.read_bytes()
    with box_of(path) as box:
        box.append(Stream.PROFILE, MANY, 300)
        box.wait_for_network()
        assert box.ids()[-1] > 600
    for left in path.parent.glob("dcu.db*"):
        left.unlink()
    path.write_bytes(copy)
    with box_of(path) as box:
        box.append(Stream.PROFILE, 2 * MANY, 5000)
        box.look(0.0)
        kept = {n: body["rows"][0][1] for batch, _ in taken(box) for n, body in enumerate(batch.records, batch.first)}
        assert kept and all(number == (n - 1 if n <= 300 else 5000 + n - 301) for n, number in kept.items())
        assert [n for n, _ in offered(box)] == list(range(1, 2 * MANY + 301))


def taken(box):
    """What the store lets pass of what is made, decoded: (batch, seal) each."""
    epoch, n, found = box.store.epoch, 0, []
    while (n := box.seals.next_first(epoch, Stream.PROFILE, n)) is not None:
        after = dict.fromkeys(Stream, 10**9) | {Stream.PROFILE: n - 1}
        for seal in box.store.transact(lambda tx, a=after: tx.next_sealed(a, chosen(box.seals, epoch, 1))):
            found.append((decode(box.seals.payload(epoch, seal), SEALED_TYPE), seal))
    return found


def test_a_store_that_was_put_back_and_is_shorter_than_what_is_made_of_it(path):
    with box_of(path) as box:
        box.append(Stream.PROFILE, 100)
    copy = path.read_bytes()
    with box_of(path) as box:
        box.append(Stream.PROFILE, MANY, 100)
        box.wait_for_network()
    for left in path.parent.glob("dcu.db*"):
        left.unlink()
    path.write_bytes(copy)
    with box_of(path) as box:
        box.look(0.0)
        assert [n for n, _ in offered(box)] == list(range(1, 101))
        box.look(AWAY_S)
        box.append(Stream.PROFILE, MANY, 5000)
        box.look(AWAY_S)
        assert box.ids() == list(range(1, box.ids()[-1] + 1)) and box.ids()[-1] > 100
        box.judge()


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
