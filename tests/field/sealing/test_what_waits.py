"""Payloads are made while the network is away: when, and of what; of what waits for it exactly what the store holds."""

import threading

import pytest

from dcu.field import sealing
from dcu.field.sealing import AWAY_S, LOOK_S
from dcu.record import DEFLATE_ABOVE, Stream
from tests.field.sealing.box import MANY, offered
from tests.records import record

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
