"""The end of the certificate is announced once at each step, by the best known time; made-up ends fill no disk."""

from datetime import timedelta
from types import SimpleNamespace

import cbor2
import pytest

from dcu.command import Refusal
from dcu.field.link_watch import BURST, LinkWatch, step_of
from dcu.reading import ClockState
from dcu.record import Stream
from tests.field.conftest import FakeClock

DAY = 86_400


@pytest.mark.parametrize(
    ("days", "step"),
    [(61, None), (60.01, None), (60, 60), (31, 60), (30, 30), (14.5, 30), (14, 14), (7, 7), (0.1, 7), (0, 0), (-9, 0)],
)
def test_steps(days, step):
    assert step_of(days * DAY) == step


class Clock(FakeClock):
    """One with a floor."""

    def __init__(self):
        super().__init__()
        self.known = self.wall

    def floor(self):
        return self.known


@pytest.fixture
def clock():
    return Clock()


def announced(store):
    page = store.transact(lambda tx: tx.page(Stream.ALARM, 0, 1_000_000))
    bodies = [cbor2.loads(record.body) for record in page.records]
    return [b["facts"]["days"] for b in bodies if b["kind"] == "certificate-expires"]


def until(clock, days):
    return int((clock.now() + timedelta(days=days)).timestamp())


def test_each_step_is_announced_once(store, clock):
    watch = LinkWatch(store, clock)
    watch.heard(until(clock, 90))
    for _ in range(95 * 4):
        clock.advance(DAY / 4)
        watch.look()
    assert announced(store) == [60, 30, 14, 7, 0]
    assert watch.report()["certificate_days"] == -5


def test_it_is_not_announced_again_after_a_start_and_a_new_certificate_begins_anew(store, clock):
    end = until(clock, 25)
    for _ in range(3):
        LinkWatch(store, clock).heard(end)
    assert announced(store) == [30]
    clock.advance(12 * DAY)
    LinkWatch(store, clock).heard(end)
    assert announced(store) == [30, 14]
    watch = LinkWatch(store, clock)
    watch.heard(until(clock, 365))
    assert announced(store) == [30, 14]
    watch.heard(until(clock, 50))
    assert announced(store) == [30, 14, 60]
    watch.heard(None)
    assert watch.report()["certificate_days"] is None


def test_ends_that_are_made_up_fill_no_disk(store, clock):
    watch = LinkWatch(store, clock)
    for n in range(100):
        watch.heard(until(clock, 1) + n)
    assert len(announced(store)) == BURST


def test_an_untrusted_clock_is_nothing_to_go_by(store, clock):
    end = until(clock, 90)
    clock.trust = ClockState.UNTRUSTED
    watch = LinkWatch(store, clock)
    clock.advance(10_000 * DAY)  # the clock says 2054
    watch.heard(end)
    assert announced(store) == []
    clock.known += timedelta(days=80)
    watch.look()
    assert announced(store) == [14]


def test_the_last_document_is_known(store, clock):
    watch = LinkWatch(store, clock)
    assert watch.report()["last_document"] is None
    put = watch.noting(lambda *_: SimpleNamespace(status="refused", code=Refusal.E_JSON))
    assert put(b"", "t", 1, False).status == "refused"
    at = int(clock.now().timestamp())
    assert watch.report()["last_document"] == {"at": at, "status": "refused", "code": "E_JSON"}
