"""Records that were made while the box did not know the time, dated by the rule of docs/head-end.md."""

import json
import re
import sqlite3
from contextlib import closing

import pytest

from dcu.headend.contract import SCHEMAS

SQL = re.findall(r"```sql\n(.*?)```", (SCHEMAS.parent / "head-end.md").read_text(), re.DOTALL)
TABLES, INSERT = SQL[:2]
[MOMENT] = [block for block in SQL if "VIEW moment" in block]
UTC = 1_800_000_000


@pytest.fixture
def moment():
    """`true_at` of the last of some records, each (dcu, stream, body)."""

    def true_at(*records):
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(TABLES)
            connection.executescript(MOMENT)
            for n, (dcu, stream, body) in enumerate(records, 1):
                row = {"dcu": dcu, "epoch": "e", "stream": stream, "id": n, "body": json.dumps(body)}
                connection.execute(INSERT, row)
            return connection.execute("SELECT true_at FROM moment ORDER BY n DESC").fetchone()[0]

    return true_at


def known(uptime_s, utc, boot="b1", dcu="JH-1"):
    facts = {"boot": boot, "uptime_s": uptime_s, "utc": utc, "step_s": 0}
    return dcu, "alarm", {"kind": "clock-known", "at": utc, "clock": "trusted", "text": "", "facts": facts}


def reading(uptime_s=None, read_at=77, boot="b1", dcu="JH-1", clock="untrusted"):
    since = {} if uptime_s is None else {"boot": boot, "uptime_s": uptime_s}
    return dcu, "profile", {"read_at": read_at, "clock": clock, **since}


@pytest.mark.parametrize("clock", ["trusted", "holdover"])
def test_what_was_known_then_is_true(moment, clock):
    assert moment(known(10, UTC), reading(read_at=5, clock=clock)) == 5


def test_before_and_behind_the_alarm(moment):
    assert moment(known(1000, UTC), reading(400)) == UTC - 600
    assert moment(known(1000, UTC), reading(1400)) == UTC + 400


def test_of_several_the_first_behind_it_counts_and_else_the_last_before(moment):
    alarms = known(1000, UTC), known(5000, UTC + 4030), known(9000, UTC + 8100)
    assert moment(*alarms, reading(400)) == UTC - 600
    assert moment(*alarms, reading(1001)) == UTC + 4030 - 3999
    assert moment(*alarms, reading(5000)) == UTC + 4030
    assert moment(*alarms, reading(9900)) == UTC + 8100 + 900


def test_another_boot_or_another_box_says_nothing(moment):
    assert moment(known(1000, UTC, boot="b2"), known(1000, UTC, dcu="JH-2"), reading(400)) is None


def test_alarms_and_health_are_dated_by_at(moment):
    body = {"kind": "started", "at": 3, "clock": "untrusted", "text": "", "boot": "b1", "uptime_s": 4}
    assert moment(known(1000, UTC), ("JH-1", "alarm", body)) == UTC - 996
