"""Each way in which TLS fails is told in words that say what to do, and dates are judged by the best known time."""

import socket
import ssl
import warnings
from datetime import timedelta

import pytest

from dcu.clock import BUILT
from dcu.errors import SessionLost
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.letters import Terms
from dcu.uplink.session import Session
from dcu.uplink.tls import known_time
from tests.uplink.pki import CLIENT, DAY, NOW, SERVER, Ca
from tests.uplink.scripted import ScriptedBroker, server_context
from tests.uplink.world import DCU


class World:
    """A scripted broker's side and ours, each with what is wrong with it."""

    def __init__(self, directory):
        self.ca, self.other = Ca(directory / "ca", "CA"), Ca(directory / "other", "Other")
        self.server = self.ca.issue("broker", SERVER, hosts=("localhost",))
        self.own = self.ca.issue(DCU, CLIENT)
        self.trusted, self.known = self.ca.file, self.ca.file  # by us, by the broker
        self.host = "localhost"
        self.revoked = None
        self.version = None

    def context(self):
        context = server_context(self.server, self.known)
        if self.version:
            with warnings.catch_warnings():  # Python warns of the old version that we ask for
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = min(context.minimum_version, self.version)
                context.maximum_version = self.version
                context.set_ciphers("ALL:@SECLEVEL=0")  # the old versions sign with what OpenSSL 3 allows only there
        if self.revoked:
            context.load_verify_locations(self.revoked)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        return context

    def open(self, now=lambda: NOW, look=lambda _session: None):
        with ScriptedBroker(None, tls=self.context()) as broker:
            try:
                place = Endpoint(self.host, broker.port, self.trusted, self.own.certificate, self.own.key)
                session = Session.open(place, Terms(DCU), lambda _: None, now)
                look(session)
                session.close()
            finally:
                self.spoken = broker.connects


def server_expired(w):
    w.server = w.ca.issue("broker", SERVER, hosts=("localhost",), until=NOW - 3 * DAY, since=NOW - 9 * DAY)


def server_not_yet(w):
    w.server = w.ca.issue("broker", SERVER, hosts=("localhost",), since=NOW + 3 * DAY)


def authority_expired(w):
    w.ca = Ca(w.ca.directory, "CA", since=NOW - 9 * DAY, until=NOW - 3 * DAY)
    w.trusted, w.server = w.ca.file, w.ca.issue("broker", SERVER, hosts=("localhost",))


def server_of_another_ca(w):
    w.trusted = w.other.file


def server_of_another_name(w):
    w.server = w.ca.issue("broker", SERVER, hosts=("broker.example",))


def server_of_another_address(w):
    w.host = "127.0.0.1"


def server_is_a_client(w):
    w.server = w.ca.issue("broker", CLIENT, hosts=("localhost",))


def own_of_another_ca(w):
    w.own = w.other.issue(DCU, CLIENT)


def own_expired(w):
    w.own = w.ca.issue(DCU, CLIENT, since=NOW - 9 * DAY, until=NOW - 3 * DAY)


def own_not_yet(w):
    w.own = w.ca.issue(DCU, CLIENT, since=NOW + 3 * DAY)


def own_revoked(w):
    w.revoked = w.ca.revocations(w.own)


def own_is_a_server(w):
    w.own = w.ca.issue(DCU, SERVER)


def broker_too_old(w):
    w.version = ssl.TLSVersion.TLSv1_1


THREE_AGO, IN_THREE = f"{NOW - 3 * DAY:%Y-%m-%d}", f"{NOW + 3 * DAY:%Y-%m-%d}"

OUR_CERTIFICATE = [
    (own_of_another_ca, "CN=Other", "is that authority known there", "does not know the authority", "install one"),
    (own_expired, f"expired on {THREE_AGO}", "install a new one", "expired on", "install a new one"),
    (own_not_yet, f"is not valid before {IN_THREE}", "machine's clock right?", "is not valid", "clock right?"),
    (own_revoked, f"CN={DCU}", "not revoked?", "revoked", "install a new one"),
    (own_is_a_server, f"CN={DCU}", "see the broker's log", "for no client's", "clientAuth"),
]


@pytest.mark.parametrize(
    ("wrong", "cause", "cure"),
    [
        (server_expired, f"the broker's certificate expired on {THREE_AGO}", "renew it at the broker"),
        (server_not_yet, f"the broker's certificate is not valid before {IN_THREE}", "it is 2026"),
        (authority_expired, f"the authority CN=CA of the broker's certificate expired on {THREE_AGO}", "renew it"),
        (server_of_another_ca, "the broker's certificate is not from the CA in ", "install the broker's CA there"),
        (server_of_another_name, "is not for the host localhost", "name the broker as its certificate does"),
        (server_of_another_address, "is not for the address 127.0.0.1", "name the broker as its certificate does"),
        (server_is_a_client, "is not one for servers", "the broker needs one"),
        (broker_too_old, "speaks no TLS of 1.2 or later", "enable TLS 1.2 or 1.3 there"),
    ],
)
def test_the_brokers_side_of_tls_fails_in_words_before_any_mqtt(tmp_path, wrong, cause, cure):
    world = World(tmp_path)
    wrong(world)
    with pytest.raises(SessionLost) as told:
        world.open()
    assert cause in told.value.cause
    assert cure.replace("2026", f"{NOW:%Y}") in told.value.cure
    assert world.spoken == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize(("wrong", "cause", "cure", "alert", "its_cure"), OUR_CERTIFICATE)
def test_our_side_of_tls_fails_in_words(tmp_path, version, wrong, cause, cure, alert, its_cure):
    """With TLS 1.3 the alert that says why can be lost to a reset: then our certificate is named as what it is."""
    world = World(tmp_path)
    wrong(world)
    world.version = version
    with pytest.raises(SessionLost) as told:
        world.open()
    assert str(world.own.certificate) in told.value.cause
    words = (told.value.cause, told.value.cure)
    assert any(a in words[0] and b in words[1] for a, b in ((cause, cure), (alert, its_cure))), words
    assert world.spoken == 0


def test_all_is_well(tmp_path):
    world = World(tmp_path)
    world.open()
    assert world.spoken == 1


def test_the_socket_delays_nothing_and_does_not_wait_for_ever(tmp_path):
    """With Nagle a batch above 16 KB waits for a delayed ACK; without an end a vanished broker is waited for."""
    told = []

    def look(session):
        told.extend(
            session._socket.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_NODELAY, socket.TCP_USER_TIMEOUT)
        )

    World(tmp_path).open(look=look)
    assert told == [1, 60_000]


def test_dates_are_judged_by_the_best_known_time_and_not_by_the_kernels(tmp_path):
    world = World(tmp_path)
    world.server = world.ca.issue("broker", SERVER, hosts=("localhost",), since=NOW + 100 * DAY, until=NOW + 200 * DAY)
    world.open(lambda: NOW + 150 * DAY)  # the kernel's clock is years behind
    with pytest.raises(SessionLost, match="expired on"):
        world.open(lambda: NOW + 201 * DAY)
    with pytest.raises(SessionLost, match="not valid before"):
        world.open(lambda: NOW)


def test_no_time_is_before_the_floor():
    assert known_time(NOW + timedelta(days=5000)) == NOW + timedelta(days=5000)
    assert known_time() >= BUILT
    assert known_time(BUILT) >= NOW
