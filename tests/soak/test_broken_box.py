"""A share of the soak in the suite, and boxes broken on purpose: the judge passes the one and finds the others."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import cbor2
import pytest

from dcu.field import explaining
from dcu.field.events import EventsPart
from dcu.field.ring import RingPart
from dcu.store import ledger
from tests.soak import run
from tests.soak.faults import HOUR_S, Fault, FaultKind
from tests.soak.run import BLOCK_LOAD, run_line
from tests.soak.scenario import Scenario

DAY = Scenario(
    7,
    days=1.0,
    meters=1,
    period_s=900,
    faults=(
        Fault(FaultKind.METER_OFF, 2 * HOUR_S, 2 * HOUR_S, 0),
        Fault(FaultKind.EVENT, 5 * HOUR_S, 0.0, 0, 7),
        Fault(FaultKind.CLOCK_SET, 6 * HOUR_S + 100.0, 0.0, 0, 3 * HOUR_S),
        Fault(FaultKind.EVENT, 10 * HOUR_S, 0.0, 0, 8),
    ),
)


def test_a_share_of_the_soak_leaves_nothing_unexplained():
    outcome = run_line(Scenario(7, days=6.0, meters=2, ring_days=2))
    assert outcome.verdict.mistakes == []
    assert {"held", "meter off"} <= outcome.verdict.intervals.keys()
    assert outcome.verdict.rows["held"] > 5
    assert outcome.happened.keys() == {kind.value for kind in FaultKind}


def code(name, change, *places):
    """A function of the box, wherever it is called from, with another result: made by `change` of what it gives."""

    def breaking(monkeypatch):
        for place in places:
            whole = getattr(place, name)
            monkeypatch.setattr(place, name, lambda *args, whole=whole: change(whole(*args)))

    return breaking


def rows(part, change):
    """Readings of a part with other rows."""
    return code("_reading", lambda reading: replace(reading, rows=tuple(change(list(reading.rows)))), part)


def reasons(change):
    """Other reasons for holes."""
    return code("explained", lambda found: tuple(change(found)), explaining, ledger)


def renamed(old, new):
    return reasons(lambda found: [(first, last, new if why == old else why) for first, last, why in found])


def store(*statements):
    """Its file as faults of the store would leave it; :n is the 20th record of the block load."""

    def breaking(monkeypatch):
        whole = run.holdings

        def holdings(path):
            with closing(sqlite3.connect(path)) as database, database:
                found = database.execute("SELECT id, body FROM record_profile ORDER BY id")
                numbers = [number for number, body in found if cbor2.loads(body)["profile"] == BLOCK_LOAD]
                for statement in statements:
                    assert database.execute(statement, {"n": numbers[20]}).rowcount > 0
            return whole(path)

        monkeypatch.setattr(run, "holdings", holdings)

    return breaking


def another_value(row):
    return replace(row, values=(row.values[0] + 1, *row.values[1:]))


def later(row):
    at = row.captured_at
    return replace(row, captured_at=replace(at, at=at.at.replace(second=1)))


TWO_LISTS = "ledger and records differ"
BREAKS = {
    "nothing": (lambda _monkeypatch: None, set()),
    "a value": (rows(RingPart, lambda came: [*came[:-1], another_value(came[-1])]), {"wrong value"}),
    "times": (rows(EventsPart, lambda came: [later(row) for row in came]), {"invented", "unexplained"}),
    "an event": (rows(EventsPart, lambda came: came[1:]), {"unexplained"}),
    "off was set": (renamed("meter off", "clock set"), {"wrong reason"}),
    "off was refused": (renamed("meter off", "refused"), {"wrong reason"}),
    "set was off": (renamed("clock set", "meter off"), {"wrong reason"}),
    "a record is lost": (store("DELETE FROM record_profile WHERE id = :n"), {TWO_LISTS, "unexplained"}),
    "the ledger is lost": (store("DELETE FROM held WHERE :n > 0", "DELETE FROM absent"), {TWO_LISTS, "unexplained"}),
    "reasons are lost": (store("DELETE FROM absent WHERE :n > 0"), {"unexplained"}),
    "absent too": (store("INSERT INTO absent SELECT profile, first_s, first_s, 'meter off' FROM held"), {TWO_LISTS}),
    "a record is there again": (
        store("UPDATE record_profile SET body = (SELECT body FROM record_profile WHERE id = :n) WHERE id = :n + 1"),
        {"twice", TWO_LISTS, "unexplained"},
    ),
}


@pytest.mark.parametrize("broken", list(BREAKS))
def test_what_is_broken_is_found(broken, monkeypatch):
    breaking, kinds = BREAKS[broken]
    breaking(monkeypatch)
    verdict = run_line(DAY).verdict
    assert verdict.kinds.keys() == kinds, verdict.mistakes
    if not kinds:
        assert (verdict.intervals["meter off"], verdict.intervals["clock set"]) == (8, 12), "as was injected"
