"""Rows of a range found by entry: the same as a meter with range access gives, in few looks."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers.by_entry import EntryBuffer
from dcu.drivers.profile import within
from dcu.reading import MeterTime, Row

START = datetime(2026, 11, 1, tzinfo=UTC)


class Buffer:
    """A meter's buffer: rows at these minutes, those in `bad` without a valid time."""

    def __init__(self, minutes, bad=(), *, newest_first=False):
        self.minutes = sorted(minutes, reverse=newest_first)
        self.bad = set(bad)
        self.reads = 0
        self.most = 0

    def read(self, first, last):
        assert 1 <= first <= last <= len(self.minutes)
        self.reads += 1
        self.most = max(self.most, last - first + 1)
        kept = [minute for minute in self.minutes[first - 1 : last] if minute not in self.bad]
        return [Row(MeterTime(START + timedelta(minutes=minute), 0, b""), (minute,)) for minute in kept]


RANGES = st.tuples(st.integers(-50, 6000), st.integers(-50, 6000))


@given(
    st.sets(st.integers(0, 400).map(lambda n: 15 * n), max_size=300), RANGES, st.booleans(), st.sampled_from([0, 900])
)
def test_the_same_rows_as_by_range(minutes, limits, newest_first, period_s):
    buffer = Buffer(minutes, newest_first=newest_first)
    since, until = (START + timedelta(minutes=minute) for minute in limits)
    found = EntryBuffer(buffer.read, len(minutes), newest_first, period_s).rows(since, until)
    everything = buffer.read(1, len(minutes)) if minutes else []
    assert found == within(everything, since, until)


@given(st.sets(st.integers(0, 99), max_size=20), st.integers(0, 99), st.integers(0, 30), st.booleans())
def test_rows_without_a_time_hide_no_others(bad, first, count, newest_first):
    minutes = [15 * n for n in range(100)]
    buffer = Buffer(minutes, [15 * n for n in bad], newest_first=newest_first)
    since, until = START + timedelta(minutes=15 * first), START + timedelta(minutes=15 * (first + count))
    found = EntryBuffer(buffer.read, 100, newest_first, 900).rows(since, until)
    assert found == within(buffer.read(1, 100), since, until)


def test_the_newest_rows_take_one_look_and_any_others_few():
    minutes = [15 * n for n in range(2880)]
    for first, last, reads in ((2878, 2879, 1), (2800, 2879, 2), (1000, 1050, 6), (0, 20, 6)):
        buffer = Buffer(minutes)
        since, until = START + timedelta(minutes=15 * first), START + timedelta(minutes=15 * last)
        assert (
            len(EntryBuffer(buffer.read, 2880, newest_first=False, period_s=900).rows(since, until)) == last - first + 1
        )
        assert buffer.reads <= reads
        assert buffer.most <= 96
    buffer = Buffer([15 * n for n in range(5760) if n % 2000 > 1000])  # long outages; no period known
    entries = len(buffer.minutes)
    EntryBuffer(buffer.read, entries, newest_first=False).rows(START, START + timedelta(days=11))
    assert buffer.reads < 12 + entries // 96
