"""A backlog of payloads to a broker that refuses, forgets and hangs up: what it has not confirmed is not delivered."""

import os
import random

import pytest

from dcu.headend.pki import Authority
from dcu.record import Stream
from dcu.uplink.encoding import decode
from tests.broker import endpoint
from tests.uplink.scripted import ScriptedBroker, connack, puback
from tests.uplink.test_quarantine import alarms
from tests.uplink.world import DCU, Uplink, until

SEEDS = range(int(os.environ.get("DCU_FICKLE_SEEDS", "3")))
RECORDS = {Stream.PROFILE: 3000, Stream.HEALTH: 1500}
FAREWELL = b"\xe0\x01\x8b"
NOBODY = 0x10


class Fickle:
    """Of each PUBLISH it may say nothing, or another time, or that nobody is there, or hang up before or behind it."""

    def __init__(self, seed):
        self.rng, self.confirmed = random.Random(seed), {stream: set() for stream in Stream}
        self._late, self._connection = [], 0

    def __call__(self, broker, mid, topic):
        if broker.connections != self._connection:
            self._late, self._connection = [], broker.connections
        name = topic.rpartition("/")[2]
        if name not in {stream.value for stream in Stream}:
            return puback(mid)
        batch = decode(broker.payload, "application/cbor" + ("+zlib" if broker.payload[:1] == b"\x78" else ""))
        self._late.append((mid, batch))
        match self.rng.choices(["yes", "later", "nobody", "silence", "farewell", "last"], (70, 12, 6, 3, 4, 5))[0]:
            case "yes":
                return self._confirm()
            case "nobody":
                self._late.pop()
                return puback(mid, NOBODY)
            case "silence":
                self._late.pop()
            case "farewell":
                return FAREWELL
            case "last":
                return self._confirm() + FAREWELL
        return b""

    def _confirm(self):
        """All that waits for an answer, the newest first."""
        late, self._late = self._late[::-1], []
        for _, batch in late:
            self.confirmed[batch.stream] |= set(range(batch.first, batch.last + 1))
        return b"".join(puback(mid) for mid, _ in late)


@pytest.mark.parametrize("receive_maximum", [None, 1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_all_is_confirmed_before_it_is_delivered(tmp_path, field, seed, receive_maximum):
    for stream, count in RECORDS.items():
        field.append(stream, count)
    field.seal()
    fickle, early = Fickle(seed), []

    def honest():
        for stream in RECORDS:
            delivered = field.delivered(stream)
            if not set(range(1, delivered + 1)) <= fickle.confirmed[stream]:
                early.append((stream, delivered))
        return all(field.delivered(stream) == count for stream, count in RECORDS.items())

    authority = Authority(tmp_path / "pki")
    with ScriptedBroker(authority, greeting=connack(0, receive_maximum), on_publish=fickle) as broker:
        to = endpoint(broker, authority.client(DCU))
        with Uplink(tmp_path, to, backoff_max_s=0.02, answer_s=0.3):
            until(honest, 60)
    assert not early and not alarms(field) and not field.refused_cursors and not field.fallen
    assert broker.connections > 1 or receive_maximum != 1
