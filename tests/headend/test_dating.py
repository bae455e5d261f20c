"""The true time of what was stored without one: the rule of docs/decisions/0007, in Python and as the SQL of docs."""

import sqlite3
from contextlib import closing
from zoneinfo import ZoneInfo

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.event import Alarm, AlarmKind, Health
from dcu.headend.collection import Collection
from dcu.headend.dating import Dating
from dcu.headend.holdings import Holdings
from dcu.headend.tables import lines
from dcu.reading import ClockState, Uptime, from_epoch
from dcu.record import Batch, Stream, encode_alarm, encode_health

DCU = "JH"
QUERY = "SELECT true_at FROM record JOIN moment USING (n) WHERE stream = 'health' ORDER BY id"


def known(boot, uptime_s, utc):
    facts = {"boot": boot, "uptime_s": uptime_s, "utc": utc, "step_s": 0}
    return cbor2.loads(
        encode_alarm(Alarm(AlarmKind.CLOCK_KNOWN, from_epoch(utc), ClockState.TRUSTED, "known", "", facts))
    )


def health(boot, uptime_s):
    return cbor2.loads(
        encode_health(Health(from_epoch(5), ClockState.UNTRUSTED, {"meters": 1}, Uptime(boot, uptime_s)))
    )


def collected(path, alarms, records):
    with Collection(path) as collection:
        collection.take(Batch(DCU, "e", Stream.HEALTH, 1, {}, records))
        if alarms:
            collection.take(Batch(DCU, "e", Stream.ALARM, 1, {}, alarms))
        dating = collection.dating()
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(QUERY).fetchall()
    return dating, [at for (at,) in found]


@pytest.mark.parametrize(
    ("uptime_s", "time"),
    [
        (40, 1000 + 40 - 100),  # before the time was known: the next word counts
        (100, 1000),
        (101, 9000 + 101 - 300),  # behind a step the old word is no good
        (300, 9000),
        (999, 9000 + 999 - 300),  # behind the last word that one counts
    ],
)
def test_the_next_word_dates_a_record_or_the_last_one(tmp_path, uptime_s, time):
    alarms = [known("a", 300, 9000), known("a", 100, 1000), known("b", uptime_s, 5)]
    dating, rows = collected(tmp_path / "c.db", alarms, [health("a", uptime_s), health("none", uptime_s)])
    assert dating.time_of(DCU, health("a", uptime_s)) == time
    assert dating.time_of("another box", health("a", uptime_s)) is None
    assert rows == [time, None]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(0, 9)), max_size=5),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20)), min_size=1, max_size=5),
)
def test_python_and_sql_agree(tmp_path_factory, words, records):
    first = {(boot, uptime_s): utc for boot, uptime_s, utc in words}  # a box says one thing of a moment
    alarms, made = [known(*key, utc) for key, utc in first.items()], [health(*each) for each in records]
    dating, rows = collected(tmp_path_factory.mktemp("d") / "c.db", alarms, made)
    assert rows == [dating.time_of(DCU, each) for each in made]


def test_a_known_time_stays_and_tables_say_what_it_is_worth():
    dating = Dating()
    series = Holdings().take(Batch(DCU, "e", Stream.HEALTH, 1, {}, [health("a", 40)]))
    before = lines(series[0], ZoneInfo("UTC"), dating)[0]
    assert dict(zip(before.header, before.cells, strict=True)) | {"facts": ""} == {
        "at": "", "clock": "untrusted", "boot": "a", "uptime_s": "40", "facts": "", "dcu": DCU, "epoch": "e", "id": "1",
    }  # fmt: skip
    dating.hear(DCU, known("a", 100, 1000))
    after = lines(series[0], ZoneInfo("UTC"), dating)[0]
    assert after.cells[:2] == ("1970-01-01T00:15:40+00:00", "dated")
    trusted = {"at": 7, "clock": "holdover", "facts": {}}
    assert dating.time_of(DCU, trusted) == 7


@pytest.mark.parametrize("lie", [{}, {"facts": 7}, {"facts": {"boot": 1, "uptime_s": "x", "utc": None}}])
def test_a_word_that_is_none_dates_nothing(lie):
    dating = Dating()
    dating.hear(DCU, {"kind": "clock-known", **lie})
    assert dating.time_of(DCU, health("a", 1)) is None
