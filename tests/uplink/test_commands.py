"""Documents from the head-end: acknowledged only after field has decided, whoever is killed in between."""

import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from dcu.command import Refusal
from dcu.errors import PublishRefused, StoreBusy
from dcu.headend.link import HeadEndLink
from dcu.mailbox import Stop
from tests.broker import endpoint
from tests.uplink.world import DCU, ROOT, Field, Uplink, until, uplink_process

pytestmark = pytest.mark.broker

TOPIC = f"dcu/v1/{DCU}/cmd"


@pytest.fixture
def sender(hes):
    with HeadEndLink(hes, Stop(), filters=()) as link:
        yield link


def ready(field):
    until(lambda: any(link.noted.value == "connected" for link in field.links), 20)


def send_when_subscribed(sender, document, **more):
    def sent():
        try:
            sender.send(DCU, document, **more)
        except PublishRefused:
            return False
        return True

    until(sent)


def test_a_document_reaches_field_with_how_it_came(tmp_path, field, box, sender):
    with Uplink(tmp_path, box):
        ready(field)
        send_when_subscribed(sender, b"\x00\xffnot json")
        until(lambda: field.puts == [(b"\x00\xffnot json", TOPIC, 1, False)])
        sender.send(DCU, b"kept", retain=True)
        until(lambda: (b"kept", TOPIC, 1, True) in field.puts)
        sender.send(DCU, b"")
        until(lambda: (b"", TOPIC, 1, False) in field.puts)
        sender.send(DCU, b"x" * 8193)
        until(lambda: (b"x" * 8193, TOPIC, 1, False) in field.puts)


def test_what_is_retained_already_is_not_given_to_a_new_session(tmp_path, field, box, sender):
    with suppress(PublishRefused):  # nobody is subscribed; it is retained all the same
        sender.send(DCU, b"an old cut", retain=True)
    with Uplink(tmp_path, box):
        ready(field)
        send_when_subscribed(sender, b"new")
        until(lambda: field.puts)
    assert [p[0] for p in field.puts] == [b"new"]


def test_one_that_field_has_not_decided_comes_again_to_the_next_uplink(tmp_path, box, sender):
    undecided, release = threading.Event(), threading.Event()
    puts = []

    def put(octets, topic, qos, retained):
        puts.append(octets)
        undecided.set()
        release.wait(20)
        return SimpleNamespace(status="accepted", code=None)

    with Field(tmp_path, put) as field:
        process = uplink_process(tmp_path, box, tmp_path / "uplink.log")
        ready(field)
        send_when_subscribed(sender, b"cut")
        assert undecided.wait(10)
        process.kill()
        process.wait()
        release.set()
        process = uplink_process(tmp_path, box, tmp_path / "uplink.log")
        try:
            until(lambda: puts == [b"cut", b"cut"], 20)
            sender.send(DCU, b"next")  # and once decided it is acknowledged: it does not come a third time
            until(lambda: puts[-1] == b"next")
        finally:
            process.kill()
            process.wait()
        with Uplink(tmp_path, box):
            until(lambda: sum(link.noted.value == "connected" for link in field.links) == 3)
            sender.send(DCU, b"last")
            until(lambda: puts[-1] == b"last")
    assert puts.count(b"cut") == 2


FIELD = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from tests.uplink.world import Field
directory, mode = Path(sys.argv[1]), sys.argv[2]
def put(octets, topic, qos, retained):
    with open(directory / "puts", "ab") as file:
        file.write(mode.encode() + b" " + octets + b"\\n")
    if mode == "undecided":
        time.sleep(60)
    return SimpleNamespace(status="accepted", code=None)
with Field(directory, put) as field:
    (directory / "field-runs").touch()
    time.sleep(60)
"""


def field_process(directory, mode):
    (directory / "field-runs").unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "-c", FIELD, str(directory), mode], cwd=ROOT)
    until((directory / "field-runs").exists, 20)
    return process


def test_field_killed_before_its_decision_is_asked_again_in_the_same_session(tmp_path, box, sender):
    puts = tmp_path / "puts"
    field = field_process(tmp_path, "undecided")
    try:
        with Uplink(tmp_path, box):
            send_when_subscribed(sender, b"cut")
            until(lambda: puts.exists() and puts.read_bytes() == b"undecided cut\n")
            field.kill()
            field.wait()
            field = field_process(tmp_path, "decided")
            until(lambda: puts.read_bytes() == b"undecided cut\ndecided cut\n")
            sender.send(DCU, b"next")
            until(lambda: puts.read_bytes().endswith(b"decided next\n"))
    finally:
        field.kill()
        field.wait()


def test_a_busy_field_is_asked_again_and_not_acknowledged(tmp_path, box, sender):
    tries = []

    def put(octets, topic, qos, retained):
        tries.append(octets)
        if len(tries) < 3:
            raise StoreBusy("the store did not answer in time")
        return SimpleNamespace(status="refused", code=Refusal.E_SIG)

    with Field(tmp_path, put) as field, Uplink(tmp_path, box):
        ready(field)
        send_when_subscribed(sender, b"cut")
        until(lambda: len(tries) == 3, 20)
        assert field.socket.garbage == 0


def test_only_the_head_end_may_send(tmp_path, broker, field, box):
    other = endpoint(broker, broker.authority.client("JH-RNC-0043"))
    with Uplink(tmp_path, box):
        ready(field)
        with HeadEndLink(other, Stop(), filters=(), client_id="JH-RNC-0043") as intruder:
            with pytest.raises(PublishRefused, match="0x87"):
                intruder.send(DCU, b"cut")
    assert field.puts == []


def test_a_document_with_qos_0_is_refused_and_the_connection_stays(tmp_path, field, box, hes):
    """There is nothing to acknowledge; a PUBACK for it would be a protocol error, and the broker would hang up."""
    with Uplink(tmp_path, box):
        ready(field)
        with HeadEndLink(hes, Stop(), filters=()) as link:
            send_when_subscribed(link, b"first")
            until(lambda: field.puts)
            link._session._client.publish(TOPIC, b"unacknowledged", qos=0)
            until(lambda: (b"unacknowledged", TOPIC, 0, False) in field.puts)
            send_when_subscribed(link, b"last")
            until(lambda: (b"last", TOPIC, 1, False) in field.puts)
    assert [link.noted.value for link in field.links].count("lost") == 0
