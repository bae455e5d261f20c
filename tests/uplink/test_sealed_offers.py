"""Payloads that were made in advance, as field offers them: each record once, whatever became of the cache."""

import random

import pytest

from dcu.batching import BATCH_BYTES
from dcu.event import DropReason
from dcu.record import Stream
from dcu.relay import resends
from dcu.relay.resends import Range
from dcu.uplink.field_line import FieldLine
from dcu.wire.verbs import MAX_BATCH, MAX_SEALED, Delivered, Done, Next, Nothing, Offer, Sealed
from tests.uplink.offers import readings, seals_of, taken
from tests.uplink.world import DCU, until

RECORDS = 1000


@pytest.fixture
def line(field):
    with FieldLine(field.path, DCU, field.stop) as it:
        yield it


@pytest.fixture
def backlog(field):
    """Readings that waited for so long that their payloads are made."""
    field.append(Stream.PROFILE, RECORDS)
    field.seal()
    return field


def ids(field, answer):
    """Ids of the readings that came, as the head-end reads them out of the payload."""
    assert {(batch.dcu, batch.epoch) for batch in taken(answer)} == {(DCU, field.store.epoch)}
    if isinstance(answer, Sealed):
        assert all(BATCH_BYTES / 2 < octets <= BATCH_BYTES + 1024 for _, octets, _ in answer.payloads)
    found = readings(answer)
    assert all(number == n - 1 for n, number in found)
    return [n for n, _ in found]


def sealed(field):
    """All payloads that field has of its readings."""
    return list(seals_of(field.seals, field.store.epoch))


def drain(field, line, after=None, *, sealed=MAX_SEALED, max_bytes=BATCH_BYTES, again=False):
    """Ids of all that is offered, and of those that came in payloads."""
    after, heard, made = dict(after or {}), [], []
    while not isinstance(answer := line.ask(Next(after, max_bytes, 0, again, sealed)), Nothing):
        found = ids(field, answer)
        heard += found
        made += found if isinstance(answer, Sealed) else []
        after[answer.stream] = found[-1]
    return heard, made


def test_what_waited_comes_as_payloads_and_the_rest_as_batches(backlog, line):
    first = line.ask(Next({}, BATCH_BYTES, 0, sealed=MAX_SEALED))
    assert len(first.payloads) == 8
    heard, made = drain(backlog, line)
    assert heard == list(range(1, RECORDS + 1))
    assert made == list(range(1, sealed(backlog)[-1].last + 1))
    assert RECORDS - 150 < made[-1] < RECORDS, "the last batch is not full yet"


def test_payloads_come_only_to_who_asks_and_no_more_of_them(backlog, line):
    assert drain(backlog, line, sealed=0) == (list(range(1, RECORDS + 1)), [])
    one = line.ask(Next({}, BATCH_BYTES, 0, sealed=1))
    assert len(one.payloads) == 1
    two = line.ask(Next({}, BATCH_BYTES, 0, sealed=2 * BATCH_BYTES + 1000))
    assert len(two.payloads) == 2


def test_from_the_middle_of_a_payload_a_batch_leads_to_the_next(backlog, line):
    heard, made = drain(backlog, line, {Stream.PROFILE: 7})
    assert heard == list(range(8, RECORDS + 1))
    assert made == list(range(sealed(backlog)[1].first, sealed(backlog)[-1].last + 1))
    first = line.ask(Next({Stream.PROFILE: 7}, BATCH_BYTES, 0, sealed=MAX_SEALED))
    assert isinstance(first, Offer)
    assert isinstance(line.ask(Next({Stream.PROFILE: first.last}, BATCH_BYTES, 0, sealed=MAX_SEALED)), Sealed)


def test_small_batches_end_where_a_payload_begins(backlog, line):
    assert drain(backlog, line, {Stream.PROFILE: 7}, max_bytes=2000)[0] == list(range(8, RECORDS + 1))


def test_what_is_urgent_comes_first(backlog, line):
    backlog.append(Stream.ALARM, 3)
    answer = line.ask(Next({}, BATCH_BYTES, 0, sealed=MAX_SEALED))
    assert (answer.stream, answer.last) == (Stream.ALARM, 3)
    assert isinstance(line.ask(Next({Stream.ALARM: 3}, BATCH_BYTES, 0, sealed=MAX_SEALED)), Sealed)


def test_a_backlog_of_payloads_takes_its_turn_and_no_more(backlog, line):
    backlog.append(Stream.HEALTH, 1000)
    backlog.seal()
    after, turns = {}, []
    while not isinstance(answer := line.ask(Next(after, BATCH_BYTES, 0, sealed=1)), Nothing):
        after[answer.stream] = ids_of(answer)[-1]
        turns.append(answer.stream)
    first_health = turns.index(Stream.HEALTH)
    assert first_health == 3
    assert after == {Stream.PROFILE: RECORDS, Stream.HEALTH: 1000}


def ids_of(answer):
    last = answer.last if isinstance(answer, Offer) else answer.payloads[-1][0]
    return range(answer.first, last + 1)


def test_what_the_head_end_wants_again_comes_between(backlog, line):
    assert line.ask(Delivered(backlog.store.epoch, Stream.PROFILE, 50)) == Done()
    backlog.store.transact(lambda tx: resends._keep(tx, [Range(Stream.PROFILE, 10, 20)]))
    answer = line.ask(Next({}, BATCH_BYTES, 0, again=True, sealed=MAX_SEALED))
    assert (answer.again, answer.first, answer.last) == (True, 10, 20)


def test_payloads_of_records_that_were_given_up_are_not_offered(backlog, line):
    backlog.store.transact(lambda tx: tx.dropping.between(Stream.PROFILE, 500, 510, DropReason.DAMAGED, "rot"))
    kept = [*range(1, 500), *range(511, RECORDS + 1)]
    heard, made = drain(backlog, line, {Stream.ALARM: 10})
    assert heard == kept
    whole = [
        seal for seal in sealed(backlog) if not seal.first <= 510 <= seal.last and not seal.first <= 500 <= seal.last
    ]
    assert made == [n for seal in whole for n in range(seal.first, seal.last + 1)]


def test_payloads_below_the_floor_are_not_offered(backlog, line):
    backlog.store.transact(lambda tx: tx.dropping.upto(Stream.PROFILE, 600, DropReason.NO_ROOM))
    heard, _ = drain(backlog, line, {Stream.ALARM: 10})
    assert heard == list(range(601, RECORDS + 1))


def test_a_damaged_payload_is_made_of_the_records_again(backlog, line):
    whole = sealed(backlog)
    rot = "UPDATE sealed SET payload = zeroblob(length(payload)) WHERE first = ?"
    rotten = (whole[0], whole[2])
    for seal in rotten:
        backlog.seals._do(lambda database, n=seal.first: database.write(rot, (n,)), None)
    heard, made = drain(backlog, line)
    assert heard == list(range(1, RECORDS + 1))
    assert made == [n for seal in whole if seal not in rotten for n in range(seal.first, seal.last + 1)]
    assert backlog.seals.payload(backlog.store.epoch, whole[0]) is None


def test_the_cache_may_go_at_any_moment(backlog, line):
    first = line.ask(Next({}, BATCH_BYTES, 0, sealed=1))
    backlog.seals.discard()
    rest, made = drain(backlog, line, {Stream.PROFILE: first.payloads[-1][0]})
    assert rest == list(range(first.payloads[-1][0] + 1, RECORDS + 1))
    assert made == []


def test_the_cache_of_another_epoch_is_none(backlog, line):
    backlog.seals.begin("another")
    assert drain(backlog, line) == (list(range(1, RECORDS + 1)), [])


@pytest.mark.parametrize("seed", range(8))
def test_however_payloads_holes_and_limits_fall_each_record_comes_once(field, line, seed):
    """A drain of any sizes, over any cache, of a stream with any holes."""
    dice = random.Random(seed)
    gone = set()
    for _ in range(3):
        field.append(Stream.PROFILE, dice.randint(1, 900))
        if dice.random() < 0.7:
            field.seal()
    last = field.store.transact(lambda tx: tx.cursors())[Stream.PROFILE][1]
    for _ in range(dice.randint(0, 4)):
        begin = dice.randint(1, last)
        end = min(last, begin + dice.randint(0, 40))
        drop = Stream.PROFILE, begin, end, DropReason.DAMAGED, "rot"
        field.store.transact(lambda tx, drop=drop: tx.dropping.between(*drop))
        gone |= set(range(begin, end + 1))
    after, heard = {Stream.ALARM: 1000}, []
    while True:
        ask = Next(
            after, dice.choice([300, 4000, BATCH_BYTES]), 0, dice.random() < 0.5, dice.choice([0, 1, MAX_SEALED])
        )
        answer = line.ask(ask)
        if isinstance(answer, Nothing):
            break
        found = ids_of(answer)
        heard += found
        after[Stream.PROFILE] = found[-1]
    assert heard == [n for n in range(1, last + 1) if n not in gone]


def test_delivered_payloads_are_forgotten_and_at_last_the_file_goes(backlog, line):
    path = backlog.path.with_name("dcu-sealed.db")
    assert path.exists()
    heard, _ = drain(backlog, line)
    line.ask(Delivered(backlog.store.epoch, Stream.PROFILE, heard[-1]))
    backlog.seal()
    until(lambda: not path.exists())
    assert backlog.seals.is_empty


def test_an_answer_is_never_more_than_a_frame(field, line):
    """Records that do not deflate at all."""
    noise = random.Random(1)
    for _ in range(40):
        field.store.transact(
            lambda tx: [tx.append(Stream.HEALTH, b"\xa1\x61x\x58\xfa" + noise.randbytes(250)) for _ in range(100)]
        )
    field.seal()
    answer = line.ask(Next({}, BATCH_BYTES, 0, sealed=MAX_SEALED))
    assert isinstance(answer, Sealed)
    assert 4 < len(answer.payloads) < 8
    assert sum(len(payload) for _, _, payload in answer.payloads) <= MAX_BATCH
