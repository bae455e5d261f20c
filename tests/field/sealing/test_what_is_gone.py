"""What became of the records meanwhile: of those given up, damaged or of a store that was put back nothing is offered,
all others once and in their order."""

import sqlite3
from contextlib import closing

from dcu.event import DropReason
from dcu.field.made_ahead import chosen
from dcu.field.sealing import AWAY_S
from dcu.record import Stream
from dcu.uplink.encoding import SEALED_TYPE, decode
from tests.field.sealing.box import MANY, box_of, offered


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


def put_back(path, copy):
    """An older copy of the store in its place, by a hand that knows nothing of the payloads beside it."""
    for left in path.parent.glob("dcu.db*"):
        left.unlink()
    path.write_bytes(copy)


def test_a_store_that_was_put_back_gives_its_own_records(path):
    """Its ids are given again to other records, in the same epoch: payloads of those that had them are none of it."""
    with box_of(path) as box:
        box.append(Stream.PROFILE, 300)
    copy = path.read_bytes()
    with box_of(path) as box:
        box.append(Stream.PROFILE, MANY, 300)
        box.wait_for_network()
        assert box.ids()[-1] > 600
    put_back(path, copy)
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
    put_back(path, copy)
    with box_of(path) as box:
        box.look(0.0)
        assert [n for n, _ in offered(box)] == list(range(1, 101))
        box.look(AWAY_S)
        box.append(Stream.PROFILE, MANY, 5000)
        box.look(AWAY_S)
        assert box.ids() == list(range(1, box.ids()[-1] + 1)) and box.ids()[-1] > 100
        box.judge()
