"""Whatever keeps the box from the broker is told in one line that names the cause; nothing is left open."""

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from dcu.errors import PublishRefused, SessionLost
from dcu.headend.link import HeadEndLink
from dcu.headend.pki import Authority, Identity
from dcu.mailbox import Mailbox, Stop
from dcu.uplink.diagnosis import Endpoint, certificate_until, of_reason
from dcu.uplink.letters import Acknowledged, Lost, Subscribed, SubscriptionRefused, Terms
from dcu.uplink.session import Session
from tests.broker import endpoint
from tests.uplink.world import DCU

pytestmark = pytest.mark.broker


def refusal(place, **terms):
    with pytest.raises(SessionLost) as told:
        Session.open(place, Terms(DCU, **terms), lambda _: None)
    text = str(told.value)
    assert "\n" not in text
    assert text.startswith(place.place)
    return text


def refused_for(place, words):
    """Each refusal names our certificate and says why, also where a reset took the first alert away."""
    for _ in range(10):
        text = refusal(place)
        assert str(place.certificate) in text
        assert words in text


def test_the_brokers_certificate_is_from_another_ca(tmp_path, broker, box):
    other = Authority(tmp_path / "other").certificate_file
    text = refusal(endpoint(broker, Identity(box.certificate, box.key), ca=other))
    assert f"not from the CA in {other}" in text


def test_our_certificate_is_from_another_ca(tmp_path, broker):
    foreign = Authority(tmp_path / "other").client(DCU)
    refused_for(endpoint(broker, foreign), "does not know the authority that signed our certificate")


def test_our_certificate_has_expired(broker):
    expired = broker.authority.client("expired", until=datetime.now(UTC) - timedelta(days=3))
    refused_for(endpoint(broker, expired), "expired on")


def test_the_broker_has_another_name(broker, box):
    text = refusal(endpoint(broker, Identity(box.certificate, box.key), host="127.0.0.1"))
    assert "not for the address 127.0.0.1" in text


def test_the_key_is_of_another_certificate(broker, box):
    other = broker.authority.client("other")
    text = refusal(endpoint(broker, Identity(box.certificate, other.key)))
    assert f"the key {other.key} is not the one of {box.certificate}" in text


@pytest.mark.parametrize("missing", ["ca", "certificate", "key"])
def test_a_file_is_missing_or_garbage_or_empty(tmp_path, box, missing):
    files = {"ca": box.ca, "certificate": box.certificate, "key": box.key}
    files[missing] = tmp_path / f"{missing}.pem"
    place = Endpoint(box.host, box.port, **files)
    assert f"no such file: {tmp_path / missing}.pem" in refusal(place)
    for words in ("garbage", ""):
        files[missing].write_text(words)
        assert f"no PEM certificate or key that can be used: {files[missing]};" in refusal(place)


def test_nobody_listens_or_the_name_is_unknown(box):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        closed = Endpoint("localhost", sock.getsockname()[1], box.ca, box.certificate, box.key)
        assert "nobody listens there" in refusal(closed)
    unknown = Endpoint("broker.invalid", 8883, box.ca, box.certificate, box.key)
    assert "cannot be resolved" in refusal(unknown)


def _answering(reply):
    """A server that answers whatever comes with `reply` and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        sock, _ = listener.accept()
        with sock:
            sock.recv(1024)
            if reply is None:
                sock.recv(1024)
            else:
                sock.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener, thread


def test_what_answers_does_not_speak_tls(box):
    listener, thread = _answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with listener:
        place = Endpoint("localhost", listener.getsockname()[1], box.ca, box.certificate, box.key)
        assert "does not speak TLS" in refusal(place)
        thread.join(5)


def test_what_answers_says_nothing(box):
    listener, thread = _answering(None)
    with listener:
        place = Endpoint("localhost", listener.getsockname()[1], box.ca, box.certificate, box.key)
        assert "no answer in time" in refusal(place, connect_s=0.3)
        thread.join(5)


def test_reason_codes_are_words():
    place = Endpoint("hes.example", 8883, *[None] * 3)
    assert str(of_reason(0x87, DCU, place, where="CONNACK")) == (
        f"hes.example:8883: CONNACK 0x87: not authorized; allow {DCU} at the broker"
    )
    assert "unknown reason" in str(of_reason(0xEE, DCU, place, where="DISCONNECT"))


def test_a_box_may_write_only_its_own_topics_and_read_only_its_own_commands(broker, box, hes):
    stop = Stop()
    letters = Mailbox(stop)
    session = Session.open(box, Terms(DCU), letters.post)
    mid = session.publish("dcu/v1/JH-RNC-0043/up/profile", b"x", "text/plain")
    assert letters.take(5) == Acknowledged(mid, 0x87)
    assert isinstance(letters.take(5), Lost)  # this mosquitto ends the connection of who it denied
    session.close()
    with pytest.raises(SessionLost):
        session.publish("dcu/v1/x", b"", "text/plain")
    session.close()

    spy = broker.authority.client("JH-RNC-0043")
    heard = Mailbox(stop)
    listening = Session.open(endpoint(broker, spy), Terms("JH-RNC-0043", (f"dcu/v1/{DCU}/cmd",)), heard.post)
    with HeadEndLink(hes, stop, filters=()) as link:
        with suppress(PublishRefused):
            link.send(DCU, b"secret")
    marker = listening.publish("dcu/v1/JH-RNC-0043/state", b"{}", "application/json")
    letter = heard.take(5)
    while isinstance(letter, Subscribed | SubscriptionRefused):
        letter = heard.take(5)
    assert letter == Acknowledged(marker, 0x10)  # and nothing came before it
    listening.close()


def test_sending_to_a_box_that_never_connected_is_refused(hes):
    with HeadEndLink(hes, Stop(), filters=()) as link, pytest.raises(PublishRefused, match="nobody is subscribed"):
        link.send("nobody", b"{}")


def test_the_window_of_the_broker_is_known(box):
    session = Session.open(box, Terms(DCU), lambda _: None)
    assert session.receive_maximum == 20
    assert session.alive
    session.close()
    assert not session.alive


def test_closing_is_quick_when_the_broker_is_suspended(broker, box):
    session = Session.open(box, Terms(DCU), lambda _: None)
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        for _ in range(50):
            session.publish(f"dcu/v1/{DCU}/up/profile", b"x" * 100_000, "text/plain")
        began = time.monotonic()
        session.close()
        assert time.monotonic() - began < 5
        assert not session.alive
    finally:
        os.kill(broker.pid, signal.SIGCONT)


def test_validity_of_a_certificate(tmp_path, broker):
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    assert certificate_until(broker.authority.client("nine-days", until=until).certificate) == until
    assert certificate_until(tmp_path / "none.pem") is None
