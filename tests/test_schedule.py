"""The plan of a bus: who is visited when, and what a failure costs whom."""

from dcu.errors import Fate
from dcu.obis import BLOCK_LOAD, DAILY_LOAD
from dcu.schedule import SILENCE_LEAST_S, SILENCE_MOST_S, Schedule, Task, TaskKind


def ring(serial, profile=BLOCK_LOAD):
    return Task(serial, TaskKind.RING, profile)


def test_one_visit_does_all_that_is_due_at_a_meter():
    schedule = Schedule([ring("A"), ring("A", DAILY_LOAD), ring("B")], now_s=0)
    visit = schedule.visit(0)
    assert visit is not None
    assert (visit.serial, visit.tasks) == ("A", (ring("A"), ring("A", DAILY_LOAD)))


def test_the_meter_that_waited_longest_goes_first():
    schedule = Schedule([ring("A"), ring("B")], now_s=0)
    schedule.done(ring("A"), next_s=5)
    schedule.done(ring("B"), next_s=3)
    assert schedule.visit(2) is None
    assert schedule.idle_s(2) == 1
    assert schedule.visit(9).serial == "B"


def test_a_backlog_at_one_meter_does_not_starve_the_others():
    schedule = Schedule([ring("A"), ring("B")], now_s=0)
    order = []
    for now in range(6):  # A always has more to fetch and is due again at once; B is due every second
        visit = schedule.visit(now)
        order.append(visit.serial)
        schedule.done(visit.tasks[0], next_s=now + (0.5 if visit.serial == "A" else 1))
    assert order.count("B") >= 2


def test_a_silent_meter_is_backed_off_and_the_others_keep_their_cadence():
    schedule = Schedule([ring("dead"), ring("alive")], now_s=0)
    now, visits = 0.0, {"dead": 0, "alive": 0}
    while now < 3600:
        visit = schedule.visit(now)
        if visit is None:
            now += schedule.idle_s(now)
            continue
        visits[visit.serial] += 1
        if visit.serial == "dead":
            schedule.failed("dead", Fate.RETRY_LATER, now)
        else:
            schedule.done(visit.tasks[0], next_s=now + 10)
    assert visits["alive"] == 360
    assert 5 < visits["dead"] < 20


def test_the_first_failure_and_the_first_answer_after_it_are_told_apart():
    schedule = Schedule([ring("A")], now_s=0)
    assert not schedule.answered("A")
    assert schedule.failed("A", Fate.RETRY_LATER, 0)
    assert not schedule.failed("A", Fate.RETRY_LATER, SILENCE_LEAST_S)
    assert schedule.answered("A")
    assert not schedule.answered("A")
    assert schedule.visit(0) is not None, "a meter that answers again is not held any longer"


def test_back_off_doubles_up_to_its_bound():
    schedule = Schedule([ring("A")], now_s=0)
    for _ in range(40):
        schedule.failed("A", Fate.RETRY_LATER, 0)
    assert schedule.held("A", SILENCE_MOST_S - 1)
    assert not schedule.held("A", SILENCE_MOST_S)


def test_a_paused_meter_waits_long():
    schedule = Schedule([ring("A")], now_s=0)
    schedule.failed("A", Fate.PAUSE_METER, 0)
    assert schedule.visit(1799) is None
    assert schedule.visit(1800) is not None


def test_a_dropped_object_is_not_asked_again():
    schedule = Schedule([ring("A"), ring("A", DAILY_LOAD)], now_s=0)
    schedule.drop(ring("A", DAILY_LOAD))
    assert schedule.visit(0).tasks == (ring("A"),)
    schedule.drop(ring("A"))
    assert schedule.visit(10**6) is None
    assert schedule.idle_s(0, at_most_s=7) == 7


def test_first_visits_are_spread():
    schedule = Schedule([ring("A"), ring("B"), ring("C"), ring("D")], now_s=100, spread_s=8)
    first = {}
    for now in range(100, 110):
        while visit := schedule.visit(now):
            first[visit.serial] = now
            schedule.done(visit.tasks[0], next_s=1000)
    assert first == {"A": 100, "B": 102, "C": 104, "D": 106}
