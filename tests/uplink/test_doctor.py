"""The walk to the broker stops where it stops, says why, and disturbs no running box."""

import socket
import ssl
from dataclasses import replace

import pytest

from dcu.headend.pki import Authority
from dcu.record import Stream
from dcu.uplink.doctor import STEPS, Doctor, Probe
from tests.broker import endpoint
from tests.uplink.scripted import ScriptedBroker, connack, puback, server_context
from tests.uplink.world import DCU, Uplink, until

PROBE = Probe(f"dcu/v1/{DCU}/state", b'{"online":false}', "application/json")


def walk(place, *, wait_s=5.0):
    findings = list(Doctor(place, DCU, PROBE, wait_s=wait_s).examine())
    assert [f.step for f in findings] == list(STEPS[: len(findings)])
    assert all(f.ok for f in findings[:-1])
    return findings


def stop(place, **more):
    """(step, text, cure) of the last one, which failed."""
    last = walk(place, **more)[-1]
    assert not last.ok
    return last.step, last.text, last.cure


@pytest.mark.broker
def test_the_way_is_open_and_the_running_box_is_not_disturbed(tmp_path, broker, box, field, head_end):
    with Uplink(tmp_path, box):
        field.append(Stream.PROFILE, 3)
        until(lambda: field.delivered(Stream.PROFILE) == 3)
        findings = walk(box)
        assert [f.step for f in findings] == list(STEPS)
        assert findings[-1].ok
        assert "proves nothing" in findings[-1].text
        assert f"taken as {DCU}-doctor" in findings[4].text
        field.append(Stream.PROFILE, 3)
        until(lambda: field.delivered(Stream.PROFILE) == 6)
    assert [link.noted.value for link in field.links] == ["connected"]


@pytest.mark.broker
def test_nobody_subscribed(box):
    step, text, cure = stop(box)
    assert (step, "nobody is subscribed" in text) == ("publish", True)
    assert "listener" in cure


@pytest.mark.broker
def test_a_topic_that_the_access_list_forbids(broker, head_end):
    step, text, cure = stop(endpoint(broker, broker.authority.client("JH-RNC-0043")))
    assert step == "publish"
    assert "0x87: not authorized" in text
    assert "allow" in cure


def test_files_name_and_port(tmp_path):
    authority = Authority(tmp_path / "pki")
    own = authority.client(DCU)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    place = endpoint_of("localhost", port, authority, own)
    assert stop(place)[0] == "tcp"
    assert "nobody listens there" in stop(place)[1]
    assert stop(replace(place, host="broker.invalid"))[0] == "name"
    step, text, _ = stop(replace(place, key=tmp_path / "none.key"))
    assert (step, "no such file" in text) == ("files", True)


def endpoint_of(host, port, authority, own):
    class Place:
        pass

    place = Place()
    place.host, place.port, place.authority = host, port, authority
    return endpoint(place, own)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


def test_who_answers_speaks_no_tls_or_is_another(tmp_path, authority):
    own = authority.client(DCU)
    with ScriptedBroker(authority) as broker:
        other = Authority(tmp_path / "other")
        step, text, _ = stop(endpoint(broker, own, ca=other.certificate_file))
        assert (step, "is not from the CA" in text) == ("tls", True)
        step, text, _ = stop(endpoint(broker, own, host="127.0.0.1"))
        assert (step, "not for the address" in text) == ("tls", True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_certificate_that_the_broker_refuses(tmp_path, authority, version):
    foreign = Authority(tmp_path / "other").client(DCU)
    context = server_context(authority.server("scripted", ("localhost",)), authority.certificate_file)
    context.maximum_version = version
    with ScriptedBroker(authority, tls=context) as broker:
        step, text, cure = stop(endpoint(broker, foreign))
    assert step == ("tls" if version is ssl.TLSVersion.TLSv1_2 else "connack")
    assert str(foreign.certificate) in text
    assert cure


@pytest.mark.parametrize(
    ("script", "step", "words"),
    [
        ({"greeting": connack(0x87)}, "connack", "CONNACK 0x87: not authorized"),
        ({"greeting": connack(0x84)}, "connack", "does not speak MQTT 5"),
        ({"on_publish": lambda broker, mid, topic: puback(mid, 0x97)}, "publish", "PUBACK 0x97: quota exceeded"),
        ({"on_publish": lambda broker, mid, topic: b""}, "publish", "does not answer"),
        ({"suback": 0x87}, "subscribe", "SUBACK 0x87: not authorized"),
    ],
)
def test_a_broker_that_refuses(authority, script, step, words):
    with ScriptedBroker(authority, **script) as broker:
        found, text, _ = stop(endpoint(broker, authority.client(DCU)), wait_s=2.0)
    assert found == step
    assert words in text
