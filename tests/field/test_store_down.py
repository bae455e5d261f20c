"""While nothing can be stored metering goes on at its cadence, and what came waits in memory."""

import pytest

from dcu import obis
from dcu.errors import StoreDown
from dcu.event import AlarmKind
from dcu.field.announce import Announcer
from dcu.meter import ProfileKind, ProfileSpec
from dcu.record import Stream
from tests.field.conftest import BLOCK, Buffer, Field, records

PRESENT = ProfileSpec("instantaneous", obis.INSTANTANEOUS, None, ProfileKind.SNAPSHOT)


@pytest.fixture
def box(meter, store, clock, now_s):
    meter.buffers[obis.INSTANTANEOUS] = Buffer(rows=[(now_s, (1, 2))])
    return Field(meter, store, clock, (PRESENT, BLOCK))


class Down:
    """The store refuses all, and keeps what it is given; `up` does what was kept, in its order."""

    def __init__(self, store):
        self.store, self.kept = store, []
        store.transact, store.keep = self._refuse, self.kept.append

    def _refuse(self, _work, **_options):
        raise StoreDown("SQLITE_READONLY", place="dcu.db")

    def up(self):
        del self.store.transact, self.store.keep
        for work in self.kept:
            self.store.transact(work)


def test_visits_go_on_and_their_readings_are_stored_when_the_store_is_back(box, meter, store, clock, now_s):
    meter.capture(now_s - 3600, now_s)
    box.visit(spare=False)
    before = len(box.records())
    down = Down(store)
    done = []
    box.report.done = lambda task, next_s: done.append((task.profile, next_s))
    for n in range(1, 4):
        clock.advance(900)
        meter.capture(now_s + 900 * n, now_s + 900 * n)
        meter.buffers[obis.INSTANTANEOUS].rows = [(now_s + 900 * n, (n, n))]
        polls = len(meter.polls)
        box.visit(spare=False)
        assert len(meter.polls) == polls + 1, "one poll a visit: what is not stored is not asked for again at once"
        assert {profile for profile, _ in done} == {obis.INSTANTANEOUS, obis.BLOCK_LOAD}
        assert all(next_s > clock.monotonic_s() for _, next_s in done), "the next visit comes at its time"
        done.clear()
    assert len(down.kept) == 3
    down.up()
    assert box.times() == list(range(now_s - 3600, now_s + 2701, 900)), "each interval once"
    snapshots = [r for r in box.records()[before:] if r["profile"] == str(obis.INSTANTANEOUS)]
    assert [r["rows"][0][0] for r in snapshots] == [now_s + 900, now_s + 1800, now_s + 2700]


def test_alarms_and_health_wait_too(store, clock):
    announcer, down = Announcer(store, clock), Down(store)
    announcer.alarm(AlarmKind.BUS_DOWN, "the port is gone", bus="north")
    announcer.health(meters=1)
    down.up()
    assert [alarm["kind"] for alarm in records(store, Stream.ALARM)] == ["bus-down"]
    assert len(records(store, Stream.HEALTH)) == 1
