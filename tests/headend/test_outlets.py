"""Files that grow exactly with what was taken, whatever is killed between two syncs."""

import json
import os
import random
from zoneinfo import ZoneInfo

import pytest

from dcu.errors import OperatorFault
from dcu.headend.collection import Collection
from dcu.headend.outlets import csv_outlet, line_outlet
from dcu.record import Stream
from tests.headend.batches import batch

UTC = ZoneInfo("UTC")


def fill(collection, rounds=3):
    for n in range(rounds):
        for stream in Stream:
            collection.take(batch(stream, 1 + 4 * n, 4))


def ids(path):
    return [(entry["stream"], entry["id"]) for entry in map(json.loads, path.read_text().splitlines())]


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_comes_is_appended_once_and_an_outlet_of_later_begins_at_the_start(tmp_path):
    path = tmp_path / "all.jsonl"
    with Collection(tmp_path / "headend.db") as collection:
        fill(collection, 1)
        assert line_outlet(collection, path).flush() == 24
        collection.take(batch(Stream.ALARM, 5, 2))
        outlet = line_outlet(collection, path)
        assert (outlet.flush(), outlet.flush()) == (2, 0)
        assert len(ids(path)) == 26 == len(set(ids(path)))
        assert csv_outlet(collection, tmp_path / "csv", UTC).flush() == 26
        assert (tmp_path / "csv" / "alarm.csv").read_text().count("\n") == 1 + 6


class Killed(Exception):
    pass


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_step_the_files_end_as_if_it_was_not(tmp_path, monkeypatch, seed):
    """A kill before, between and behind the writes of files and the notes of how long they are; half a write too."""
    monkeypatch.setattr("dcu.headend.outlets.PAGE", 7)
    with Collection(tmp_path / "headend.db") as collection:
        fill(collection)
        csv_outlet(collection, tmp_path / "calm", UTC).flush()
    dice, kills, left = random.Random(seed), 0, [0]
    sync = os.fsync

    def dying_sync(descriptor):
        if left[0] == 0:
            os.write(descriptor, b"half a li")
            raise Killed
        left[0] -= 1
        sync(descriptor)

    monkeypatch.setattr("os.fsync", dying_sync)
    torn = tmp_path / "torn"
    for _ in range(200):
        with Collection(tmp_path / "headend.db") as collection:
            outlet = csv_outlet(collection, torn, UTC)
            note, left[0] = collection.note_outlet, dice.randint(0, 9)

            def dying_note(*args, note=note):
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                note(*args)

            monkeypatch.setattr(collection, "note_outlet", dying_note)
            try:
                outlet.flush()
                break
            except Killed:
                kills += 1
    assert kills > 2
    assert contents(torn) == contents(tmp_path / "calm")


def test_a_file_that_is_taken_away_is_begun_anew(tmp_path):
    path = tmp_path / "all.jsonl"
    with Collection(tmp_path / "headend.db") as collection:
        outlet = line_outlet(collection, path)
        collection.take(batch(Stream.ALARM, 1, 3))
        outlet.flush()
        path.rename(tmp_path / "yesterday.jsonl")
        collection.take(batch(Stream.ALARM, 4, 2))
        outlet.flush()
    assert ids(tmp_path / "yesterday.jsonl") == [("alarm", 1), ("alarm", 2), ("alarm", 3)]
    assert ids(path) == [("alarm", 4), ("alarm", 5)]


def test_a_file_of_others_is_left_alone(tmp_path):
    with Collection(tmp_path / "headend.db") as collection:
        collection.take(batch(Stream.ALARM, 1, 3))
        theirs = tmp_path / "thesis.txt"
        theirs.write_text("years of work")
        with pytest.raises(OperatorFault, match="not of this collection"):
            line_outlet(collection, theirs).flush()
        assert theirs.read_text() == "years of work"
        ours = tmp_path / "all.jsonl"
        line_outlet(collection, ours).flush()
        ours.write_text("")
        collection.take(batch(Stream.ALARM, 4, 1))
        with pytest.raises(OperatorFault, match="shorter than"):
            line_outlet(collection, ours).flush()
        with pytest.raises(OperatorFault, match="cannot be made"):
            csv_outlet(collection, theirs, UTC)
