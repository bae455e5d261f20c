"""Networks as they are in the field, and other people's mistakes: nothing is lost, and what is wrong is told."""

import random
import secrets
import shutil
from pathlib import Path

import pytest

from dcu.event import Health
from dcu.reading import ClockState, from_epoch
from dcu.record import Stream, encode_health
from dcu.uplink.rivals import OFTEN, SOON_S, Rivals
from tests.broker import endpoint
from tests.uplink.proxy import FaultProxy, Inside
from tests.uplink.scripted import PUBACK
from tests.uplink.world import DCU, MOST_CONNECTS_AN_HOUR, Uplink, connects_of_two, until


@pytest.fixture
def proxy(broker):
    with FaultProxy(broker.port) as it:
        yield it


def links(field, noted):
    return [link for link in field.links if link.noted.value == noted]


def told(field, noted, words):
    """Until uplink said so."""
    until(lambda: any(words in link.text for link in links(field, noted)))


def append_dense(field, count, *, octets=300):
    """Health records that no deflating makes smaller."""
    facts = [{"meters": n, "meters_not_ok": 0, "pad": secrets.token_urlsafe(octets)} for n in range(count)]
    bodies = [encode_health(Health(from_epoch(n + 1), ClockState.TRUSTED, f)) for n, f in enumerate(facts)]
    field.store.transact(lambda tx: [tx.append(Stream.HEALTH, body) for body in bodies])


@pytest.mark.broker
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in flight"])
def test_a_link_that_swallows_everything_is_left(tmp_path, field, box, head_end, proxy, busy):
    """Row 29: found by what is not heard for 1.5 keepalives; paho alone needs two of them."""
    with Uplink(tmp_path, proxy.endpoint(box), keepalive_s=2):
        field.append(Stream.PROFILE, 5)
        until(lambda: field.delivered(Stream.PROFILE) == 5)
        proxy.black_hole = True
        if busy:
            field.append(Stream.PROFILE, 5)
        told(field, "lost", "nothing was heard for 3 s")
        proxy.reset()  # the network knows those connections no more
        proxy.black_hole = False
        field.append(Stream.PROFILE, 5)
        until(lambda: field.delivered(Stream.PROFILE) == (15 if busy else 10))
    assert head_end.ids(Stream.PROFILE) == list(range(1, 16 if busy else 11))


@pytest.mark.broker
def test_a_slow_link_that_breaks_often_makes_progress(tmp_path, field, box, head_end, proxy):
    """Row 30, ten times as fast: slow, far, in slices, connections cut; sent again is less than what was sent once."""
    proxy.rate_bytes_s, proxy.delay_s, proxy.slice_bytes, proxy.rng = 20_000, 0.15, 500, random.Random(30)
    append_dense(field, 120)
    proxy.reset_p = 0.02
    with Uplink(tmp_path, proxy.endpoint(box)):
        for part in (20, 50, 80):
            until(lambda at=part: field.delivered(Stream.HEALTH) > at, 90)
            proxy.reset()  # with batches on their way
        until(lambda: field.delivered(Stream.HEALTH) == 120, 90)
        assert proxy.connections > 2
    assert head_end.ids(Stream.HEALTH) == list(range(1, 121))
    assert head_end.listener.repeated < 120


@pytest.mark.broker
def test_an_alarm_waits_behind_little_on_a_slow_link(tmp_path, field, box, head_end, proxy):
    """What is in flight follows the link: what overtakes nothing on the wire is a second or two of it, not a window."""
    proxy.rate_bytes_s = 40_000
    append_dense(field, 1200)
    with Uplink(tmp_path, proxy.endpoint(box)):
        until(lambda: len(head_end.ids(Stream.HEALTH)) > 300, 60)
        before = len(head_end.ids(Stream.HEALTH))
        field.append(Stream.ALARM, 1)
        until(lambda: head_end.ids(Stream.ALARM))
        at = [item.series.stream for item in head_end.items].index(Stream.ALARM)
    overtaken_by = sum(item.series.stream is Stream.HEALTH for item in head_end.items[:at]) - before
    assert overtaken_by * 400 < 3 * proxy.rate_bytes_s


@pytest.mark.broker
def test_lost_acknowledgements_cost_repetition_and_nothing_else(tmp_path, broker, field, box, head_end):
    """Row 31."""
    rng = random.Random(31)
    inside = Inside(broker.authority, broker.authority.client(DCU))
    with FaultProxy(broker.port, inside=inside) as proxy:
        proxy.drop = lambda kind, up: kind == PUBACK and not up and rng.random() < 0.3
        field.append(Stream.PROFILE, 16)
        with Uplink(tmp_path, proxy.endpoint(box), max_bytes=700, answer_s=0.3, in_flight=8):
            until(lambda: field.delivered(Stream.PROFILE) == 16, 90)
        assert proxy.dropped
    assert head_end.ids(Stream.PROFILE) == list(range(1, 17))
    assert head_end.listener.repeated > 0
    assert head_end.listener.holes() == []


@pytest.mark.broker
def test_two_with_one_identity_are_recognised_and_rest(tmp_path, field, box, proxy):
    """Row 33: this mosquitto says nothing to the one that it drops."""
    with (
        Uplink(tmp_path, proxy.endpoint(box), backoff_max_s=2.0),
        Uplink(tmp_path, proxy.endpoint(box), backoff_max_s=2.0),
    ):
        told(field, "lost", f"another client may use the id {DCU}; is a copy of this box's card in use?")
        assert proxy.connections <= 4 * OFTEN
    assert not any("0x8E" in link.text for link in field.links)


def test_two_with_one_identity_connect_a_few_times_an_hour():
    """Row 33 in virtual time, a day."""
    late = [at for at in connects_of_two(random.Random(33), 86_400) if at > 3600]
    assert len(late) / 23 < MOST_CONNECTS_AN_HOUR


def test_rivals_are_not_seen_where_the_broker_says_why_or_the_network_cuts():
    rivals = Rivals()
    for _ in range(20):
        assert not rivals.ended(1.0, closed=False, told=False)  # resets
        assert not rivals.ended(1.0, closed=True, told=True)  # refused, and closed
    for _ in range(20):
        assert not rivals.ended(SOON_S, closed=True, told=False)  # a broker that restarts now and then
    assert [rivals.ended(1.0, closed=True, told=False) for _ in range(4)] == [False, False, True, True]
    assert not rivals.ended(SOON_S, closed=True, told=False)
    assert not rivals.ended(1.0, closed=True, told=False)


def copy(identity, place):
    """Put new files in the place of those in use, as a renewal does."""
    for new, old in ((identity.certificate, place.certificate), (identity.key, place.key)):
        shutil.copy(new, f"{old}.new")
        Path(f"{old}.new").replace(old)


@pytest.mark.broker
def test_a_new_certificate_is_picked_up_while_running(tmp_path, broker, field, head_end):
    """Row 35."""
    own = broker.authority.client(DCU)
    for name in ("certificate", "key"):
        shutil.copy(getattr(own, name), tmp_path / name)
    box = endpoint(broker, type(own)(tmp_path / "certificate", tmp_path / "key"))
    with FaultProxy(broker.port) as proxy, Uplink(tmp_path, proxy.endpoint(box), look_s=0.1, max_bytes=2000):
        field.append(Stream.PROFILE, 100)
        until(lambda: field.delivered(Stream.PROFILE) > 20)
        shutil.copy(broker.authority.client("other").key, tmp_path / "key")  # half a renewal
        told(field, "certificate", "is not the one of")
        field.append(Stream.PROFILE, 100)
        until(lambda: field.delivered(Stream.PROFILE) == 200)
        assert proxy.connections == 1  # it goes on with what it has
        field.append(Stream.PROFILE, 200)
        copy(broker.authority.client(DCU), box)
        until(lambda: proxy.connections == 2)
        until(lambda: field.delivered(Stream.PROFILE) == 400)
        assert proxy.connections == 2
        until(lambda: len(head_end.states) >= 2)
        assert all(state["online"] for _, state in head_end.states)
    assert links(field, "lost") == []
    assert head_end.ids(Stream.PROFILE) == list(range(1, 401))
    assert head_end.listener.holes() == []
