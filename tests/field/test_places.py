"""Where meters stand: one that takes another's place ends what was still expected of that one."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dcu import obis
from dcu.field.book import MeterBook
from dcu.field.clock_watch import Look
from dcu.field.parts import Writing
from dcu.field.places import note_place
from dcu.reading import ClockState
from tests.field.conftest import SERIAL


@pytest.mark.parametrize("trust", list(ClockState))
def test_a_replaced_meters_intervals_end_whether_the_box_knows_the_time_or_not(box, meter, clock, store, now_s, trust):
    meter.capture(now_s - 3600, now_s)
    box.visit()
    clock.advance(3 * 3600)
    clock.trust, face_s = trust, int(clock.now().timestamp())
    if trust is ClockState.UNTRUSTED:
        clock.wall = datetime(1970, 1, 1, tzinfo=UTC)
    book = MeterBook(replace(box.configured, serial="GXT2"), look=Look(face_s, clock.uptime_s, clock.uptime_s))
    writing = Writing("GXT2", clock)
    note_place(book, clock, writing)
    store.transact(writing.run)
    [(first, last, reason)] = store.transact(lambda tx: tx.profile(SERIAL, obis.BLOCK_LOAD)).absent
    assert (first, last, reason) == (now_s + 900, now_s + 3 * 3600, "meter replaced")
    assert "meter-replaced" in box.alarms()
