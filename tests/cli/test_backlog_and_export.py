"""`dcu backlog` and `dcu export`: the same answers of a running box and of a stopped one's file; the writer goes on."""

import csv
import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from click.testing import CliRunner

from dcu.cli.backlog import _size, _span, backlog
from dcu.cli.export import export
from dcu.headend.collection import Collection, line
from dcu.headend.holdings import Holdings
from dcu.record import Stream
from dcu.wire import connect
from tests.cli.conftest import DCU, fill
from tests.headend.batches import batch

COUNTS = {stream: 540 if stream is Stream.PROFILE else 40 for stream in Stream}


def run(command, box, *words, code=0):
    result = CliRunner().invoke(command, ["--config", str(box.config), *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def lines_of(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_backlog_says_what_is_held_and_what_waits(box, holder):
    answer = json.loads(run(backlog, box, "--json"))
    assert (answer["dcu"], answer["running"]) == (DCU, holder == "running")
    streams = {each["stream"]: each for each in answer["streams"]}
    assert {name: each["held"] for name, each in streams.items()} == {s.value: n for s, n in COUNTS.items()}
    assert (streams["profile"]["undelivered"], streams["alarm"]["undelivered"]) == (440, 40)
    assert answer["used_bytes"] < answer["limit_bytes"]
    text = run(backlog, box)
    assert text.splitlines()[0].startswith(f"{DCU}  epoch {answer['epoch']}  ({holder}")
    assert next(each for each in text.splitlines() if each.startswith("profile ")).split()[1:4] == ["540", "440", "0"]
    assert "outage" in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(214 * 86400 + 5, "214 days"), (47 * 3600.0, "47 hours"), (119 * 60, "119 minutes"), (0, "0 minutes")],
)
def test_spans_are_rounded_down(seconds, words):
    assert _span(seconds) == words


def test_sizes_are_readable():
    assert [_size(n) for n in (0, 999, 1000, 93_400_000, 2.5e10)] == ["0 B", "999 B", "1.0 kB", "93.4 MB", "25.0 GB"]


def test_json_lines_are_those_that_the_head_end_writes(box, holder, tmp_path):
    answer = json.loads(run(export, box, "--jsonl", tmp_path / "all.jsonl", "--json"))
    assert answer == {"running": holder == "running", "records": {s.value: n for s, n in COUNTS.items()}, "damaged": {}}
    found = lines_of(tmp_path / "all.jsonl")
    epoch = found[0]["epoch"]
    for stream in Stream:
        delivered = Holdings().take(batch(stream, 1, COUNTS[stream], epoch=epoch))
        assert [each for each in found if each["stream"] == stream.value] == [json.loads(line(i)) for i in delivered]
    assert "is there already" in run(export, box, "--jsonl", tmp_path / "all.jsonl", code=1)


def test_json_lines_are_printed(box, holder):
    result = CliRunner().invoke(export, ["--config", str(box.config), "--jsonl", "-", "--stream", "credit"])
    assert [json.loads(text)["id"] for text in result.stdout.splitlines()] == list(range(1, 41))
    assert "40 records of credit" in result.stderr


def test_csv_has_every_reading_exactly(box, holder, tmp_path):
    run(export, box, "--csv", tmp_path / "out", "--stream", "profile", "--stream", "alarm")
    [alarms, profile] = sorted((tmp_path / "out").iterdir())
    assert (alarms.name, profile.name[:30]) == ("alarm.csv", "profile-block-load-1.0.99.1.0."[:30])
    rows = list(csv.DictReader(profile.read_text().splitlines()))
    assert [int(row["id"]) for row in rows] == list(range(1, 541))
    column = next(name for name in rows[0] if name.endswith("[Wh] 1.0.1.29.0.255/2"))
    assert [row[column] for row in rows] == [f"{n}0" for n in range(1, 541)]  # scaler 1
    assert rows[59]["captured_at"] == "1970-01-01T05:31:00+05:30"


def test_sqlite_has_the_tables_of_the_head_end_and_fills_its_holes(box, holder, tmp_path):
    path = tmp_path / "headend.db"
    epoch = json.loads(run(backlog, box, "--json"))["epoch"]
    with Collection(path) as collection:
        collection.take(batch(Stream.PROFILE, 100, 10, epoch=epoch))
        assert collection.holes()
    run(export, box, "--sqlite", path)
    run(export, box, "--sqlite", path)  # and once more
    with Collection(path) as collection:
        assert (collection.holes(), collection.count()) == ([], sum(COUNTS.values()))
    with closing(sqlite3.connect(path)) as plain:
        [count] = plain.execute("SELECT COUNT(*) FROM reading WHERE profile = '1.0.99.1.0.255'").fetchone()
    assert count == 540


def test_only_what_is_wanted(box, holder, tmp_path):
    run(export, box, "--jsonl", tmp_path / "none", "--meter", "GXT1")
    assert (tmp_path / "none").read_text() == ""
    run(export, box, "--jsonl", tmp_path / "mine", "--meter", "GXT1", "--meter", "GXT20931188")
    assert {each["stream"] for each in lines_of(tmp_path / "mine")} == {"profile", "billing", "credit"}
    for n, (since, count) in enumerate(
        [("2026-11-22", 40), ("2026-11-22T15:30", 40), ("2026-11-22T15:31", 0), ("2026-11-22T10:00:01+00:00", 0)]
    ):
        run(export, box, "--jsonl", tmp_path / str(n), "--since", since, "--stream", "health")
        assert len(lines_of(tmp_path / str(n))) == count
    assert "is no date" in run(export, box, "--jsonl", tmp_path / "x", "--since", "yesterday", code=1)
    run(export, box, code=2)
    run(export, box, "--jsonl", tmp_path / "y", "--csv", tmp_path / "z", code=2)
    assert "cannot be" in run(export, box, "--jsonl", tmp_path / "no" / "file", code=1)


def test_a_box_that_never_ran_has_no_store(box):
    assert "there is no store" in run(backlog, box, code=1)


def test_a_box_that_is_just_starting_is_asked_again_later(box):
    """The store is open and the socket is not there yet."""
    with box.opened():
        command = [sys.executable, "-m", "dcu", "backlog", "--config", str(box.config)]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert asked.returncode == 75, asked.stderr
    assert "is `dcu field` running?" in asked.stderr


def test_a_reader_that_stands_still_delays_no_commit(box):
    """It asks for pages and takes none of the answers: the writer commits on, and other questions are answered."""
    with box.serving() as store:
        fill(store, Stream.PROFILE, 3000)
        stalled = [connect(box.directory / "field.sock") for _ in range(3)]
        for wire in stalled:
            wire.send({"ask": "page", "stream": "profile", "after": 0})
        for _ in range(200):
            fill(store, Stream.ALARM, 1)
        assert json.loads(run(backlog, box, "--json"))["streams"][1]["held"] == 200
        for wire in stalled:
            wire.close()


def test_an_export_under_load_is_whole_and_every_commit_goes_through(box, tmp_path):
    with box.serving() as store:
        fill(store, Stream.PROFILE, 2000)
        done, ended = [], threading.Event()

        def load():
            while not ended.is_set():
                done.extend(fill(store, Stream.PROFILE, 1))

        writer = threading.Thread(target=load)
        writer.start()
        before = len(done)
        run(export, box, "--jsonl", tmp_path / "all", "--stream", "profile")
        during = len(done) - before
        ended.set()
        writer.join(30)
    found = [each["id"] for each in lines_of(tmp_path / "all")]
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= 2000
    assert during > 0, "the writer stood still while the export went on"


@pytest.mark.parametrize(
    "question",
    [
        {"ask": "page"},
        {"ask": "page", "stream": "profile", "after": -1},
        {"ask": "page", "stream": "profile", "after": 2**63},
        {"ask": "page", "stream": "profile", "after": True},
        {"ask": "page", "stream": "sqlite_master", "after": 0},
        {"ask": "page", "stream": ["profile"], "after": 0},
    ],
)
def test_a_page_that_is_none_is_refused(box, question):
    with box.serving():
        wire = connect(box.directory / "field.sock")
        wire.send(question)
        assert "no page of a stream" in wire.receive(10)["refused"]["cause"]
        wire.send({"ask": "page", "stream": "profile", "after": 2**63 - 1})
        assert wire.receive(10)["answer"]["records"] == []
        wire.close()
