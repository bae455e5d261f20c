"""`dcu headend listen` as a process: killed at any moment, away for a while, and each record once in every file."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest

from dcu.record import Stream
from tests.broker import endpoint, running_broker
from tests.uplink.world import DCU, Field, Uplink, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


@pytest.fixture
def world(tmp_path):
    with running_broker(tmp_path) as broker, Field(tmp_path) as field:
        with Uplink(tmp_path, endpoint(broker, broker.authority.client(DCU)), max_bytes=2048):
            yield broker, field


class Listening:
    """The command as a process; its records in `jsonl` and CSV."""

    def __init__(self, broker, directory, *options):
        hes = broker.authority.client("hes")
        self.jsonl, self.csv = directory / "all.jsonl", directory / "csv"
        command = [
            sys.executable, "-m", "dcu", "headend", "listen", "--broker", f"mqtts://localhost:{broker.port}",
            "--ca", broker.authority.certificate_file, "--cert", hes.certificate, "--key", hes.key,
            "--state", directory / "headend.db", "--csv", self.csv, "--jsonl", self.jsonl, "--json", *options,
        ]  # fmt: skip
        self.out = directory / "out"
        with self.out.open("ab") as out:
            self.process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=subprocess.PIPE)

    def written(self):
        """(stream, id) in the file of JSON lines."""
        lines = self.jsonl.read_text().splitlines() if self.jsonl.exists() else []
        return [(entry["stream"], entry["id"]) for entry in map(json.loads, lines)]

    def end(self):
        self.process.terminate()
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        return json.loads(self.out.read_text().splitlines()[-1])["end"]


def test_killed_again_and_again_each_record_is_in_each_file_once(tmp_path, world):
    broker, field = world
    given = (Stream.PROFILE, Stream.ALARM, Stream.RECEIPT)
    listening = Listening(broker, tmp_path)  # from now on the broker keeps for it, whoever is away
    until(lambda: b"online" in listening.process.stderr.readline(), 60)
    for n in range(1, 3):
        for stream in given:
            field.append(stream, 80)
        until(lambda n=n, now=listening: len(now.written()) > 240 * (n - 1), 60)
        os.kill(listening.process.pid, signal.SIGKILL)
        listening.process.communicate()
        listening = Listening(broker, tmp_path)
    for stream in given:
        field.append(stream, 1)
    wanted = [(stream.value, n) for stream in given for n in range(1, 162)]
    until(lambda: len(listening.written()) >= len(wanted), 90)
    end = listening.end()
    assert sorted(listening.written()) == sorted(wanted)
    assert (end["held"], end["holes"], end["malformed"]) == (len(wanted), [], 0)
    rows = [row for path in listening.csv.glob("*.csv") for row in csv.DictReader(path.read_text().splitlines())]
    assert len(rows) == len(wanted)
    assert [int(row["id"]) for row in rows if row.get("kind") == "started"] == list(range(1, 162))


def test_what_comes_while_it_is_away_is_there_when_it_is_back(tmp_path, world):
    broker, field = world
    listening = Listening(broker, tmp_path, "--count", "1")
    field.append(Stream.ALARM, 1)
    _, errors = listening.process.communicate(timeout=60)
    assert listening.process.returncode == 0, errors
    field.append(Stream.ALARM, 40)
    until(lambda: field.delivered(Stream.ALARM) == 41, 30)  # nobody listens, and the broker has them
    listening = Listening(broker, tmp_path, "--count", "40")
    listening.process.communicate(timeout=60)
    assert listening.written() == [("alarm", n) for n in range(1, 42)]


def test_a_place_that_cannot_be_written_is_told_and_nothing_is_lost(tmp_path, world):
    broker, field = world
    theirs = tmp_path / "all.jsonl"
    theirs.write_text("years of work")
    listening = Listening(broker, tmp_path)
    field.append(Stream.ALARM, 5)
    _, errors = listening.process.communicate(timeout=60)
    assert listening.process.returncode == 1
    assert "not of this collection" in errors.decode()
    theirs.unlink()
    listening = Listening(broker, tmp_path)
    until(lambda: len(listening.written()) == 5, 60)
    assert listening.end()["holes"] == []
