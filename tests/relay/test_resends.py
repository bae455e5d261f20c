"""Ranges of records that are to be published once more: which are kept, in which order they come, and when they end."""

import threading

import pytest

from dcu.command import Command, Operation
from dcu.mailbox import Stop
from dcu.record import Stream
from dcu.relay import resends
from dcu.relay.resends import DOCUMENT, Range
from dcu.store import SqliteStore
from tests.records import record
from tests.relay.world import HandClock

ALARM, HEALTH = Stream.ALARM, Stream.HEALTH
WHOLE = 1 << 20  # octets that hold every range here


class Box:
    """A real store with ten records of two streams, of which the first six are delivered."""

    def __init__(self, store):
        self.store = store
        for stream in (ALARM, HEALTH):
            self.do(lambda tx, stream=stream: [tx.append(stream, *record(stream, n)) for n in range(10)])
            self.do(lambda tx, stream=stream: tx.deliver(stream, 6))

    def do(self, work):
        return self.store.transact(work)

    def want(self, *wanted):
        for stream, first, last in wanted:
            named = {"stream": stream.value, "first": first, "last": last}
            command = Command("c", Operation.RESEND, "hes", "d", "j", "", None, 0, None, 1, **named)
            self.do(lambda tx, command=command: resends.want(tx, command))

    def again(self, max_bytes=WHOLE):
        """What comes next: its stream, its first id and how many; None: nothing."""
        found = self.do(lambda tx: resends.next_again(tx, max_bytes))
        return found and (found.stream, found.first, len(found.bodies))

    def published(self, stream, last):
        self.do(lambda tx: resends.published(tx, stream, last))

    @property
    def waiting(self):
        return [(each.stream, each.first, each.last) for each in self.do(resends.ranges)]

    def keep(self, octets):
        self.do(lambda tx: tx.save_document(DOCUMENT, 0, octets))


@pytest.fixture
def box(tmp_path):
    stop = Stop()
    store = SqliteStore.open(tmp_path / "dcu.db", stop=stop, clock=HandClock(), beat=lambda: None, dcu="JH-RNC-0042")
    thread = threading.Thread(target=store.run)
    thread.start()
    try:
        yield Box(store)
    finally:
        stop.set()
        thread.join(10)
        store.close()


WANTED = [
    # first and last of a command, of six records that are delivered
    (1, 6, [(ALARM, 1, 6)]),
    (6, 6, [(ALARM, 6, 6)]),
    (4, 10, [(ALARM, 4, 6)]),
    (7, 10, []),
    (900, 905, []),
]


@pytest.mark.parametrize(("first", "last", "kept"), WANTED)
def test_what_was_not_delivered_yet_is_left_out(box, first, last, kept):
    box.want((ALARM, first, last))
    assert box.waiting == kept


def test_ranges_come_in_the_order_in_which_they_were_wanted(box):
    box.want((HEALTH, 3, 4), (ALARM, 1, 2), (HEALTH, 1, 1))
    assert box.do(lambda tx: tx.document(DOCUMENT))[1] == b'[["health",3,4],["alarm",1,2],["health",1,1]]'
    for came in [(HEALTH, 3, 2), (ALARM, 1, 2), (HEALTH, 1, 1)]:
        assert box.again() == came
        assert box.again() == came, "until the broker has it"
        box.published(came[0], came[1] + came[2] - 1)
    assert box.again() is None and box.waiting == []


def test_a_range_comes_in_pieces_of_the_size_that_is_asked_for(box):
    box.want((ALARM, 2, 5))
    for first in (2, 3, 4, 5):
        assert box.again(max_bytes=1) == (ALARM, first, 1)
        box.published(ALARM, first)
    assert box.again(max_bytes=1) is None


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_what_is_not_held_any_more_is_passed_over_and_forgotten(box, gone):
    box.keep(b"[" + b'["health",901,902],' * gone + b'["alarm",2,3],["health",1,1]]')
    assert box.again() == (ALARM, 2, 2)
    assert box.waiting == [(ALARM, 2, 3), (HEALTH, 1, 1)]


def test_where_nothing_of_all_is_held_any_more_nothing_waits(box):
    box.keep(b'[["alarm",900,905],["health",901,902]]')
    assert box.again() is None and box.waiting == []


PUBLISHED = {
    # stream and last id that the broker has, of ALARM 2 to 5, HEALTH 1 to 3, ALARM 1 to 4; what is left
    "in part": (ALARM, 3, [(ALARM, 4, 5), (HEALTH, 1, 3), (ALARM, 1, 4)]),
    "its first": (ALARM, 2, [(ALARM, 3, 5), (HEALTH, 1, 3), (ALARM, 1, 4)]),
    "all but its last": (ALARM, 4, [(ALARM, 5, 5), (HEALTH, 1, 3), (ALARM, 1, 4)]),
    "whole, and no other of its stream": (ALARM, 5, [(HEALTH, 1, 3), (ALARM, 1, 4)]),
    "another stream's": (HEALTH, 3, [(ALARM, 2, 5), (ALARM, 1, 4)]),
    "in part, of another stream": (HEALTH, 1, [(ALARM, 2, 5), (HEALTH, 2, 3), (ALARM, 1, 4)]),
    "one that begins later is not meant": (ALARM, 1, [(ALARM, 2, 5), (HEALTH, 1, 3), (ALARM, 2, 4)]),
    "of what nobody wanted": (Stream.RECEIPT, 3, [(ALARM, 2, 5), (HEALTH, 1, 3), (ALARM, 1, 4)]),
}


@pytest.mark.parametrize("what", PUBLISHED)
def test_what_the_broker_has_is_taken_off_the_first_range_that_it_is_of(box, what):
    stream, last, left = PUBLISHED[what]
    box.want((ALARM, 2, 5), (HEALTH, 1, 3), (ALARM, 1, 4))
    box.published(stream, last)
    assert box.waiting == left


UNREADABLE = {
    "no text": (b"\xff", []),
    "no list": (b"{}", []),
    "a number": (b"3", []),
    "no ranges in it": (b'[3,"alarm",null]', []),
    "no end": (b'[["alarm",1],["alarm",2,3]]', [Range(ALARM, 2, 3)]),
    "an end that is no number": (b'[["alarm",1,"2"],["alarm",2,3]]', [Range(ALARM, 2, 3)]),
    "a stream of another version": (b'[["gossip",1,2],["alarm",2,3]]', [Range(ALARM, 2, 3)]),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_no_range(box, what):
    octets, found = UNREADABLE[what]
    box.keep(octets)
    assert box.do(resends.ranges) == found
    box.want((HEALTH, 1, 1))
    assert box.do(resends.ranges) == [*found, Range(HEALTH, 1, 1)]
