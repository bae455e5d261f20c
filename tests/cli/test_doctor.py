"""`dcu doctor uplink`: what it says, its exit codes, and what it publishes."""

import json
import threading
import time

import pytest
from click.testing import CliRunner

from dcu.cli.doctor import doctor
from dcu.clock import BUILT
from dcu.field.field_socket import FieldSocket
from dcu.field.stored import Stored
from dcu.headend.pki import Authority
from dcu.mailbox import Stop
from dcu.record import Stream
from dcu.uplink.encoding import decode
from tests.cli.conftest import DCU, fill
from tests.uplink.scripted import ScriptedBroker, puback


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


def aim(box, broker, authority):
    """Have the box's configuration name that broker, and give it true files."""
    own = authority.client(DCU)
    for name, source in (("ca.pem", authority.certificate_file), ("dcu.pem", own.certificate), ("dcu.key", own.key)):
        (box.directory / "tls" / name).write_bytes(source.read_bytes())
    text = box.config.read_text()
    start = text.index('broker = "') + len('broker = "')
    box.config.write_text(f"{text[:start]}mqtts://localhost:{broker.port}{text[text.index(chr(34), start) :]}")


def run(box, *words, code):
    result = CliRunner().invoke(doctor, ["uplink", "--config", str(box.config), *words])
    assert result.exit_code == code, result.output
    return result.output


def test_it_publishes_a_record_that_was_delivered_and_says_that_field_does_not_run(box, authority):
    with box.opened() as store:
        fill(store, Stream.PROFILE, 20)
        fill(store, Stream.ALARM, 20)
        store.transact(lambda tx: tx.deliver(Stream.PROFILE, 12))
    with ScriptedBroker(authority) as broker:
        aim(box, broker, authority)
        answer = json.loads(run(box, "--json", code=0))
        sent = decode(broker.payload, "application/cbor+zlib")
        text = run(box, code=0)
    assert (sent.stream, sent.first, len(sent.records)) == (Stream.PROFILE, 12, 1)
    assert sent.dcu == DCU
    assert (answer["ok"], answer["stops_at"], answer["box"]) == (True, None, None)
    assert answer["client_id"] == f"{DCU}-doctor"
    assert [s["step"] for s in answer["steps"]] == ["files", "name", "tcp", "tls", "connack", "publish", "subscribe"]
    assert text.splitlines()[-2:] == ["the way to the broker is open", "the box itself: field does not run"]


def test_a_box_that_holds_nothing_says_that_it_is_away(box, authority):
    with ScriptedBroker(authority) as broker:
        aim(box, broker, authority)
        run(box, "--json", code=0)
        assert broker.payload == b'{"online":false}'
        assert broker.published[-1][2] == f"dcu/v1/{DCU}/state"


def test_where_it_stops_is_said_with_the_cure_and_code_1(box, authority):
    with ScriptedBroker(authority, on_publish=lambda broker, mid, topic: puback(mid, 0x10)) as broker:
        aim(box, broker, authority)
        answer = json.loads(run(box, "--json", code=1))
        text = run(box, code=1)
    assert (answer["ok"], answer["stops_at"]) == (False, "publish")
    assert "nobody is subscribed" in answer["steps"][-1]["text"]
    stopped = next(line for line in text.splitlines() if line.startswith("STOP"))
    assert stopped.startswith("STOP publish   the broker takes it and nobody is subscribed")
    assert "does the head-end's listener run" in stopped


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (None, "no command has arrived since field was started"),
        ({"at": 1_800_000_000, "status": "refused", "code": "E_SIG"}, "on 2027-01-15 at 13:30 and was refused E_SIG"),
    ],
)
def test_a_grant_proves_nothing_so_the_last_command_is_told(box, authority, last, words):
    link = {"certificate_until": None, "certificate_days": None, "last_document": last}
    status = {"time": {"floor": int(BUILT.timestamp())}, "uplink": "connected: to it", "link": link}
    stop = Stop()
    with box.opened() as store, ScriptedBroker(authority) as broker:
        fill(store, Stream.HEALTH, 1)
        aim(box, broker, authority)
        asks = {**Stored(store, DCU).asks(), "status": lambda _: status}
        server = FieldSocket(box.directory / "field.sock", asks, stop, lambda: None)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            text = run(box, code=0)
            answer = json.loads(run(box, "--json", code=0))
        finally:
            stop.set()
            thread.join(10)
    assert "the box itself: connected: to it" in text
    assert words in text
    assert answer["box"] == {"uplink": "connected: to it", **link}


def test_certificates_are_judged_by_the_floor_of_the_box(box, authority):
    floor = int(time.time()) + 800 * 86_400  # the demo authority's certificates end before that
    link = {"certificate_until": None, "certificate_days": None, "last_document": None}
    status = {"time": {"floor": floor}, "uplink": "", "link": link}
    stop = Stop()
    with box.opened() as store, ScriptedBroker(authority) as broker:
        aim(box, broker, authority)
        asks = {**Stored(store, DCU).asks(), "status": lambda _: status}
        server = FieldSocket(box.directory / "field.sock", asks, stop, lambda: None)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            answer = json.loads(run(box, "--json", code=1))
        finally:
            stop.set()
            thread.join(10)
    assert answer["stops_at"] == "files"
    assert "expired on" in answer["steps"][-1]["text"]


def test_a_bad_configuration_is_3(box):
    box.config.write_text("version = 1\n")
    run(box, code=3)
