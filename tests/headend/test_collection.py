"""What the head-end keeps: each record once, in memory and in a file alike; holes; nothing that poisons the file."""

import json
import sqlite3
import stat
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.errors import OperatorFault, ReplyMalformed
from dcu.event import AlarmKind
from dcu.headend.collection import Collection, line
from dcu.headend.holdings import Holdings, Hole, Series
from dcu.record import Batch, Stream
from tests.headend.batches import DCU, batch, dropped, salvaged

PROFILE = Series(DCU, "e", Stream.PROFILE)


@pytest.fixture(params=["memory", "file"])
def keeping(request, tmp_path):
    if request.param == "memory":
        yield Holdings()
    else:
        with Collection(tmp_path / "headend.db") as collection:
            yield collection


def test_batches_cut_in_other_ways_give_each_record_once(keeping):
    assert [i.id for i in keeping.take(batch(Stream.PROFILE, 1, 5))] == [1, 2, 3, 4, 5]
    assert [i.id for i in keeping.take(batch(Stream.PROFILE, 3, 6))] == [6, 7, 8]
    assert keeping.take(batch(Stream.PROFILE, 1, 8)) == []
    assert keeping.repeated == 3 + 8
    assert [i.id for i in keeping.take(batch(Stream.PROFILE, 1, 2, epoch="f"))] == [1, 2]  # another store
    assert [i.id for i in keeping.take(batch(Stream.PROFILE, 1, 2, dcu="JH-2"))] == [1, 2]
    assert keeping.count() == 12


def test_holes_are_shown_until_they_are_filled_or_announced(keeping):
    keeping.take(batch(Stream.PROFILE, 4, 2))
    keeping.take(batch(Stream.PROFILE, 9, 1))
    assert keeping.holes() == [Hole(PROFILE, 1, 3), Hole(PROFILE, 6, 8)]
    keeping.take(batch(Stream.PROFILE, 6, 1))
    keeping.take(dropped(1, Stream.PROFILE, 1, 2))
    assert keeping.holes() == [Hole(PROFILE, 3, 3), Hole(PROFILE, 7, 8)]
    keeping.take(dropped(2, Stream.PROFILE, 1, 7))  # what is announced may be held too, and may reach into a hole
    keeping.take(dropped(3, Stream.PROFILE, 1, 99, epoch="of a salvaged store"))
    assert Hole(PROFILE, 8, 8) in keeping.holes()
    keeping.take(dropped(4, Stream.PROFILE, 8, 8, kind=AlarmKind.RECORD_QUARANTINED))
    assert [hole for hole in keeping.holes() if hole.series == PROFILE] == []


def profile_holes(keeping):
    return [(h.series.epoch, h.first, h.last) for h in keeping.holes() if h.series.stream is Stream.PROFILE]


def test_a_salvaged_store_goes_on_where_the_old_one_ended(keeping):
    keeping.take(batch(Stream.PROFILE, 1, 6))
    keeping.take(batch(Stream.PROFILE, 9, 1))
    assert profile_holes(keeping) == [("e", 7, 8)]
    keeping.take(salvaged(1, "e", "f", 12))
    keeping.take(batch(Stream.PROFILE, 10, 4, epoch="f"))
    assert profile_holes(keeping) == [("f", 7, 8)]
    keeping.take(dropped(2, Stream.PROFILE, 7, 7))  # of the old epoch, told by the new one
    keeping.take(batch(Stream.PROFILE, 8, 1, epoch="f"))
    assert profile_holes(keeping) == []
    keeping.take(salvaged(1, "f", "g", 20))
    keeping.take(batch(Stream.PROFILE, 22, 1, epoch="g"))
    assert profile_holes(keeping) == [("g", 14, 21)]
    keeping.take(salvaged(3, "g", "e", 22))  # a lie that goes round ends all the same
    assert profile_holes(keeping) == []


def test_a_new_store_shares_nothing_with_the_old_one(keeping):
    keeping.take(batch(Stream.PROFILE, 1, 6))
    keeping.take(batch(Stream.PROFILE, 3, 2, epoch="f"))
    assert profile_holes(keeping) == [("f", 1, 2)]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 6)), max_size=8),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 6)), max_size=4),
)
def test_memory_and_file_agree_with_a_set(tmp_path_factory, takes, drops):
    memory, model = Holdings(), defaultdict(set)
    with Collection(tmp_path_factory.mktemp("c") / "headend.db") as file:
        for first, length in takes:
            both = [k.take(batch(Stream.PROFILE, first, length)) for k in (memory, file)]
            assert both[0] == both[1]
            assert {i.id for i in both[0]} == set(range(first, first + length)) - model["held"]
            model["held"] |= set(range(first, first + length))
        for n, (first, more) in enumerate(drops, 1):
            model["gone"] |= set(range(first, first + more + 1))
            for keeping in (memory, file):
                keeping.take(dropped(n, Stream.PROFILE, first, first + more))
        highest = max(model["held"], default=0)
        missing = set(range(1, highest + 1)) - model["held"] - model["gone"]
        for holes in (memory.holes(), file.holes()):
            ids = {n for hole in holes if hole.series == PROFILE for n in range(hole.first, hole.last + 1)}
            assert {n for n in ids if n <= highest} == missing
        assert memory.repeated == file.repeated


def test_what_was_taken_is_there_again_with_its_octets_and_columns(tmp_path):
    path = tmp_path / "headend.db"
    with Collection(path) as collection:
        for stream in Stream:
            collection.take(batch(stream, 1, 3))
        before = collection.after(0, 100)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Collection(path) as collection:
        assert collection.count() == 18
        assert collection.after(0, 100) == before
        assert [n for n, _ in collection.after(15, 2)] == [16, 17]
        assert collection.take(batch(Stream.PROFILE, 2, 3))[0] == Holdings().take(batch(Stream.PROFILE, 4, 1))[0]
    taken = [item for stream in Stream for item in Holdings().take(batch(stream, 1, 3))]
    assert [item for _, item in before] == taken
    assert json.loads(line(taken[-7]))["record"]["rows"][0][3] == {"hex": "03"}


def test_one_process_a_file_and_only_its_own(tmp_path):
    path = tmp_path / "headend.db"
    with Collection(path), pytest.raises(OperatorFault, match="another process has it open"):
        Collection(path)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(OperatorFault, match="no collection"):
        Collection(other)
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Sir,\n" * 200)
    with pytest.raises(OperatorFault, match="not a database"):
        Collection(letter)
    assert letter.read_text() == "Dear Sir,\n" * 200
    with pytest.raises(OperatorFault, match="cannot be opened"):
        Collection(tmp_path / "no" / "file")


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("poison", [float("nan"), {b"octets": 1}, deep(3000)])
def test_what_json_cannot_hold_is_malformed_and_the_file_stays_legible(tmp_path, poison):
    with Collection(tmp_path / "headend.db") as collection:
        with pytest.raises(ReplyMalformed, match="JSON cannot hold"):
            collection.take(Batch(DCU, "e", Stream.ALARM, 1, {}, [{"kind": "started"}, {"x": poison}]))
        assert collection.count() == 0
        collection.take(
            Batch(DCU, "e", Stream.ALARM, 2, {}, [{"kind": "dropped", "facts": "none"}, {"kind": ["dropped"]}])
        )
        assert collection.holes() == [Hole(Series(DCU, "e", Stream.ALARM), 1, 1)]
        assert len(collection.after(0, 9)) == 2


def test_a_full_disk_is_told_and_nothing_of_the_batch_is_held(tmp_path):
    with Collection(tmp_path / "headend.db") as collection:
        collection.take(batch(Stream.PROFILE, 1, 1))
        pages = collection._connection.execute("PRAGMA page_count").fetchone()[0]
        collection._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OperatorFault, match="free space"):
            for n in range(100):
                collection.take(batch(Stream.PROFILE, 2 + 50 * n, 50))
        held = [item.id for _, item in collection.after(0, 10_000)]
        assert held == list(range(1, len(held) + 1))
        assert len(held) % 50 == 1
        collection._connection.execute("PRAGMA max_page_count = 100000")
        collection.take(batch(Stream.PROFILE, len(held) + 1, 50))
        assert collection.holes() == []
