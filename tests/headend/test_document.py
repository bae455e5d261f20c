"""`docs/head-end.md` as it is written: SQL, consumer, certificates and broker, each run out of the document."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from getpass import getuser
from pathlib import Path

import pytest

from dcu.errors import SessionLost
from dcu.headend.broker import ACCESS_LIST
from dcu.headend.collection import HOLES, Collection
from dcu.headend.contract import SCHEMAS
from dcu.headend.holdings import Holdings
from dcu.mailbox import Mailbox, Stop
from dcu.record import Stream
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.letters import Acknowledged, Terms
from dcu.uplink.session import Session
from tests.broker import endpoint, running_broker
from tests.headend.batches import DCU, batch, dropped, salvaged
from tests.uplink.world import Field, Uplink, until

DOCS = SCHEMAS.parent
TEXT = (DOCS / "head-end.md").read_text()
SQL = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
TABLES, INSERT, ANNOUNCED, HEIR, HOLES_QUERY, READINGS, INTERVALS, CLOCK = SQL


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


def spaceless(text):
    return " ".join(text.split())


@pytest.fixture
def plain(tmp_path):
    """A database with the tables and views of the document."""
    with closing(sqlite3.connect(tmp_path / "plain.db")) as connection:
        for script in (TABLES, ANNOUNCED, HEIR, READINGS, CLOCK):
            connection.executescript(script)
        yield connection


def take(connection, each):
    """A batch by the document's INSERT."""
    for n, record in enumerate(each.records, start=each.first):
        body = json.dumps(record, default=lambda octets: {"hex": octets.hex()})
        row = {"dcu": each.dcu, "epoch": each.epoch, "stream": each.stream.value, "id": n, "body": body}
        connection.execute(INSERT, row)
    connection.commit()


BATCHES = [
    batch(Stream.PROFILE, 1, 5), batch(Stream.PROFILE, 3, 6), batch(Stream.PROFILE, 12, 2), batch(Stream.ALARM, 2, 1),
    dropped(3, Stream.PROFILE, 9, 10), batch(Stream.RECEIPT, 1, 3), batch(Stream.PROFILE, 1, 2, dcu="JH-2"),
    salvaged(4, "e", "f", 14), batch(Stream.PROFILE, 16, 2, epoch="f"), batch(Stream.BILLING, 1, 4),
]  # fmt: skip


def test_its_sql_says_what_the_listener_says(plain, tmp_path):
    memory = Holdings()
    with Collection(tmp_path / "headend.db") as collection:
        for each in BATCHES:
            for keeping in (memory, collection):
                keeping.take(each)
            take(plain, each)
            found = plain.execute(HOLES_QUERY).fetchall()
            holes = [(h.series.dcu, h.series.epoch, h.series.stream.value, h.first, h.last) for h in collection.holes()]
            assert found == holes
            assert sorted(holes) == sorted(
                (h.series.dcu, h.series.epoch, h.series.stream.value, h.first, h.last) for h in memory.holes()
            )
    assert found == [
        (DCU, "e", "alarm", 1, 1), (DCU, "f", "alarm", 1, 3),
        (DCU, "f", "profile", 11, 11), (DCU, "f", "profile", 14, 15),
    ]  # fmt: skip
    assert spaceless(HOLES) == spaceless(HOLES_QUERY)


def test_the_collection_of_the_listener_has_its_tables(tmp_path):
    with Collection(tmp_path / "headend.db") as collection:
        for each in BATCHES:
            collection.take(each)
    with closing(sqlite3.connect(tmp_path / "headend.db")) as connection:
        views = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'").fetchall())
    for name, text in views.items():
        assert spaceless(text) in spaceless(ANNOUNCED + HEIR + READINGS + CLOCK), name
    assert set(views) == {"announced", "heir", "reading", "moment"}


def test_a_reading_counts_once_whatever_epoch_it_came_under(plain):
    take(plain, batch(Stream.PROFILE, 1, 6))
    take(plain, batch(Stream.PROFILE, 4, 5, epoch="of a new store"))
    assert plain.execute("SELECT COUNT(*) FROM reading").fetchone() == (11,)
    once = plain.execute("SELECT captured_at, epoch FROM reading_once ORDER BY captured_at").fetchall()
    assert once == [(n, "e" if n <= 6 else "of a new store") for n in range(1, 9)]


def test_missing_intervals_are_found(plain):
    for n, at in enumerate((1800, 3600, 9000, 10800), 1):
        body = {"meter": "M", "profile": "1.0.99.1.0.255", "rows": [[at, 1]]}
        row = {"dcu": DCU, "epoch": "e", "stream": "profile", "id": n, "body": json.dumps(body)}
        plain.execute(INSERT, row)
    assert plain.execute(INTERVALS).fetchall() == [("M", "1.0.99.1.0.255", 5400, 7200)]


# ---- the consumer ---------------------------------------------------------------------------------------------------


@contextmanager
def consumer(broker, file):
    hes = broker.authority.client("hes")
    words = [sys.executable, DOCS / "consumer.py", "localhost", broker.port, broker.authority.certificate_file,
             hes.certificate, hes.key, file]  # fmt: skip
    process = subprocess.Popen([str(word) for word in words])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def count(file):
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        try:
            return connection.execute("SELECT COUNT(*) FROM record").fetchone()[0]
        except sqlite3.OperationalError:
            return 0


@pytest.mark.broker
@pytest.mark.parametrize("encoding", ["cbor", "json"])
def test_its_consumer_takes_each_record_once_whatever_is_killed(tmp_path, encoding):
    file = tmp_path / "consumer.db"
    with running_broker(tmp_path) as broker, Field(tmp_path) as field:
        with consumer(broker, file) as process:
            with Uplink(tmp_path, endpoint(broker, broker.authority.client(DCU)), max_bytes=2048, encoding=encoding):
                for stream in Stream:
                    field.append(stream, 60)
                until(lambda: count(file) > 30, 60)
                process.send_signal(signal.SIGKILL)
                process.wait()
                for stream in Stream:
                    field.append(stream, 20)  # while nobody is there: the broker keeps them
                until(lambda: all(field.delivered(stream) == 80 for stream in Stream), 60)
        with consumer(broker, file):
            until(lambda: count(file) == 80 * len(Stream), 60)
    with closing(sqlite3.connect(file)) as connection:
        for script in (TABLES, ANNOUNCED, HEIR, READINGS, CLOCK):
            connection.executescript(script)
        assert connection.execute(HOLES_QUERY).fetchall() == []
        assert connection.execute("SELECT COUNT(*) FROM reading").fetchone() == (160,)
        assert connection.execute("SELECT COUNT(*) FROM reading_once").fetchone() == (120,)  # 20 of each were the same
        [body] = connection.execute("SELECT body FROM record WHERE stream = 'profile' AND id = 7").fetchone()
        like = "SELECT DISTINCT digest FROM layout WHERE columns LIKE '%1.0.1.29.0.255%'"
        [digest] = connection.execute(like).fetchone()
    assert json.loads(body)["layout"] == digest
    assert json.loads(body)["rows"][0][3] == {"hex": "06"}


# ---- the broker -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mosquitto(tmp_path):
    """Certificates and broker by the document's blocks; only the directories, the host's name and the port are ours."""
    certs = tmp_path / "certs"
    certs.mkdir()
    [script], [configuration], [access] = blocks("sh"), blocks("conf"), blocks("acl")
    made = subprocess.run(
        ["sh", "-eu", "-c", script.replace("hes.example", "localhost")], cwd=certs, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for there, here in (
        ("listener 8883", f"listener {port} 127.0.0.1"),
        ("/etc/mosquitto", str(tmp_path)),
        ("/var/lib/mosquitto/", f"{tmp_path}/"),
    ):
        assert there in configuration
        configuration = configuration.replace(there, here)
    (tmp_path / "dcu.acl").write_text(access)
    (tmp_path / "dcu.acl").chmod(0o600)
    (tmp_path / "dcu.conf").write_text(f"{configuration}user {getuser()}\n")
    command = ["mosquitto", "-c", str(tmp_path / "dcu.conf")]
    process = subprocess.Popen(command, env={"PATH": "/usr/sbin:/usr/bin:/usr/local/sbin"})
    try:
        until(lambda: process.poll() is not None or accepts(port), 30)
        assert process.poll() is None, "mosquitto refuses the document's configuration"
        yield lambda name: Endpoint("localhost", port, certs / "ca.pem", certs / f"{name}.pem", certs / f"{name}.key")
    finally:
        process.terminate()
        process.wait(30)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def published(place, client_id, topic):
    """The reason code of a publish by whoever holds those files."""
    letters = Mailbox(Stop())
    session = Session.open(place, Terms(client_id), letters.post)
    try:
        session.publish(topic, b"{}", "application/json")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            letter = letters.take(1.0)
            if isinstance(letter, Acknowledged):
                return letter.code
    finally:
        session.close()


def test_its_access_list_is_that_of_the_project():
    [access] = blocks("acl")
    assert access == ACCESS_LIST


@pytest.mark.broker
def test_its_broker_lets_a_box_speak_for_itself_and_nobody_else(tmp_path, mosquitto):
    box, hes = mosquitto(DCU), mosquitto("hes")
    file = tmp_path / "consumer.db"
    words = [sys.executable, DOCS / "consumer.py", hes.host, hes.port, hes.ca, hes.certificate, hes.key, file]
    listening = subprocess.Popen([str(word) for word in words])
    try:
        with Field(tmp_path) as field, Uplink(tmp_path, box):
            field.append(Stream.ALARM, 3)
            until(lambda: field.delivered(Stream.ALARM) == 3, 60)
            until(lambda: count(file) == 3, 60)
    finally:
        listening.kill()
        listening.wait()
    assert published(box, DCU, f"dcu/v1/{DCU}/up/alarm") == 0x00
    assert published(box, DCU, "dcu/v1/JH-RNC-0043/up/alarm") == 0x87
    assert published(box, DCU, f"dcu/v1/{DCU}/cmd") == 0x87
    assert published(hes, "hes-send", f"dcu/v1/{DCU}/cmd") in {0x00, 0x10}
    assert published(hes, "hes-send", f"dcu/v1/{DCU}/up/alarm") == 0x87


@pytest.mark.broker
def test_its_broker_takes_no_client_of_another_authority(tmp_path, mosquitto):
    box = mosquitto(DCU)
    with running_broker(tmp_path / "other") as other:
        stranger = other.authority.client(DCU)
    place = Endpoint(box.host, box.port, box.ca, stranger.certificate, stranger.key)
    with pytest.raises(SessionLost):
        Session.open(place, Terms(DCU), lambda _: None)


def test_what_it_names_is_there():
    for name in re.findall(r"`(?:docs/)?(schemas/[\w-]+\.json)`", TEXT):
        assert (DOCS / name).is_file(), name
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (DOCS / target).exists(), target
    assert {f"| `{stream.value}` |" in TEXT for stream in Stream} == {True}
    assert Path(DOCS / "consumer.py").read_text().count("\n") < 75
