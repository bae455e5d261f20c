"""Invocation counters: never one twice."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running_store import running

from dcu.errors import CounterExhausted, StoreFault
from dcu.ports import CounterStanding
from dcu.reading import ClockState
from dcu.store import Counters
from dcu.store.invocation import LINE_SINCE_S, UNTRUSTED_SKIP

LIMIT = 2**32
DECISION = Path(__file__).parents[2] / "docs" / "decisions" / "0004-invocation-counters.md"


def test_reservations_follow_each_other(store):
    counters = Counters(store)
    assert counters.reserve("GXT1", 32, 0, 10) == range(10)
    assert counters.reserve("GXT1", 32, 0, 10) == range(10, 20)
    assert counters.reserve("GXT1", 32, 500, 10) == range(500, 510)
    assert counters.reserve("GXT1", 32, 3, 1) == range(510, 511)
    assert counters.reserve("GXT1", 48, 0, 1) == range(1), "each client has its own"
    assert counters.reserve("GXT2", 32, 0, 1) == range(1)


def test_the_last_counter_can_be_used_and_none_beyond_it(store):
    counters = Counters(store)
    with pytest.raises(CounterExhausted, match="GXT1: client 32 has 0 "):
        counters.reserve("GXT1", 32, LIMIT, 1)
    with pytest.raises(CounterExhausted, match="has 2 invocation counters left, 3 are needed"):
        counters.reserve("GXT1", 32, LIMIT - 2, 3)
    assert counters.reserve("GXT1", 32, LIMIT - 1, 1) == range(LIMIT - 1, LIMIT)
    with pytest.raises(CounterExhausted):
        counters.reserve("GXT1", 32, 0, 1)


@pytest.mark.parametrize(("at_least", "count"), [(0, 0), (0, -1), (-1, 1)])
def test_a_reservation_of_nothing_is_our_bug(store, at_least, count):
    with pytest.raises(ValueError, match="counters from"):
        Counters(store).reserve("GXT1", 32, at_least, count)


def test_nothing_is_reserved_when_the_store_is_gone(path):
    with running(path) as it:
        counters = Counters(it.store)
    with pytest.raises(StoreFault, match="closed"):
        counters.reserve("GXT1", 32, 0, 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 50)), max_size=6), max_size=4))
def test_no_counter_comes_twice_over_restarts(tmp_path_factory, runs):
    path, highest = tmp_path_factory.mktemp("counters") / "dcu.db", -1
    for asked in runs:
        with running(path) as it:
            for at_least, count in asked:
                got = Counters(it.store).reserve("GXT1", 32, at_least, count)
                assert len(got) == count and got[0] >= at_least and got[0] > highest
                highest = got[-1]


class WallClock:
    at, trust = datetime(2026, 11, 22, 10, 0, tzinfo=UTC), ClockState.TRUSTED

    def now(self):
        return self.at

    def state(self):
        return self.trust

    def monotonic_s(self):
        return 0.0


def test_where_counters_stand_and_what_a_lost_store_may_have_used(path):
    clock = WallClock()
    line = int(clock.at.timestamp()) - LINE_SINCE_S
    with running(path, clock=clock) as it:
        counters = Counters(it.store)
        assert counters.standing("GXT1", 32) == CounterStanding(0, line, by_time=True)
        counters.reserve("GXT1", 32, line, 64)
        assert counters.standing("GXT1", 32) == CounterStanding(line + 64, line + 64, by_time=True)
        assert counters.standing("GXT1", 48) == CounterStanding(0, line, by_time=True)
        clock.at += timedelta(days=3)
        assert counters.standing("GXT1", 32) == CounterStanding(line + 64, line + 3 * 86_400, by_time=True)
        clock.at = datetime(2099, 1, 1, tzinfo=UTC)
        assert counters.standing("GXT1", 32).beyond == line + 64
        clock.trust = ClockState.UNTRUSTED
        assert not counters.standing("GXT1", 32).by_time
        skips = [counters.standing("GXT1", 32).beyond - (line + 64) for _ in range(50)]
        assert len(set(skips)) > 40
        assert all(0 <= skip < UNTRUSTED_SKIP for skip in skips)


def test_a_person_may_say_that_a_published_counter_is_true(path):
    # The statement of docs/decisions/0004-invocation-counters.md, with the field process stopped.
    text = DECISION.read_text()
    statement = text[text.index("UPDATE invocation") :]
    statement = statement[: statement.index("`")].replace("SERIAL", "GXT1").replace("COUNTER", "1700000000")
    with running(path) as it:
        Counters(it.store).reserve("GXT1", 32, 0, 10)
        Counters(it.store).reserve("GXT1", 48, 0, 10)
    with closing(sqlite3.connect(path)) as raw, raw:
        assert raw.execute(statement).rowcount == 1
    with running(path) as it:
        assert Counters(it.store).standing("GXT1", 32).next == 1_700_000_001
        assert Counters(it.store).standing("GXT1", 48).next == 10
