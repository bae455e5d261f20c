"""The plan of a bus: who is visited when, and what a failure costs whom."""

from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import Fate
from dcu.obis import BLOCK_LOAD, DAILY_LOAD, INSTANTANEOUS
from dcu.schedule import JITTER, PROBE_PATIENCE_S, SILENCE_LEAST_S, SILENCE_MOST_S, Schedule, Task, TaskKind


def ring(serial, profile=BLOCK_LOAD):
    return Task(serial, TaskKind.RING, profile)


def snapshot(serial):
    return Task(serial, TaskKind.SNAPSHOT, INSTANTANEOUS)


def balance(serial):
    return Task(serial, TaskKind.BALANCE)


def test_one_visit_does_all_that_is_due_at_a_meter():
    schedule = Schedule([ring("A"), ring("A", DAILY_LOAD), ring("B")], now_s=0)
    visit = schedule.visit(0)
    assert visit is not None
    assert (visit.serial, visit.tasks) == ("A", (ring("A"), ring("A", DAILY_LOAD)))
    assert not visit.spare
    assert not visit.probe


def test_a_visit_stays_the_next_one_until_its_outcome_is_told():
    schedule = Schedule([ring("A"), ring("B")], now_s=0)
    assert schedule.visit(0) == schedule.visit(0)


def test_the_meter_that_waited_longest_goes_first():
    schedule = Schedule([ring("A"), ring("B")], now_s=0)
    schedule.put_off(ring("A"), 5)
    schedule.put_off(ring("B"), 3)
    assert schedule.visit(2) is None
    assert schedule.idle_s(2) == 1
    assert schedule.visit(9).serial == "B"


def test_a_meter_that_is_always_due_does_not_starve_the_others():
    schedule = Schedule([ring("A"), ring("B")], now_s=0)
    order = []
    for now in range(6):  # A is due again at once; B is due every second
        visit = schedule.visit(now)
        order.append(visit.serial)
        schedule.put_off(visit.tasks[0], now + (0.5 if visit.serial == "A" else 1))
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
            schedule.put_off(visit.tasks[0], now + 10)
    assert visits["alive"] == 360
    assert 5 < visits["dead"] < 20


def test_a_meter_that_failed_is_only_probed_and_never_before_one_that_is_due():
    schedule = Schedule([ring("dead"), ring("alive")], now_s=0)
    assert not schedule.visit(0).probe
    schedule.failed("dead", Fate.RETRY_LATER, 0)
    schedule.put_off(ring("alive"), SILENCE_LEAST_S + 20)
    assert schedule.visit(SILENCE_LEAST_S + 1).probe
    assert schedule.visit(SILENCE_LEAST_S + 20).serial == "alive", "though the other waits longer"
    schedule.put_off(ring("alive"), SILENCE_LEAST_S + PROBE_PATIENCE_S + 1)
    assert schedule.visit(SILENCE_LEAST_S + PROBE_PATIENCE_S + 1).serial == "dead", "on a full line it has its turn too"
    schedule.answered("dead")
    assert not schedule.visit(100).probe


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
    holds = []
    for _ in range(40):
        schedule.failed("A", Fate.RETRY_LATER, 0)
        holds.append(schedule.idle_s(0, at_most_s=10_000))
    assert SILENCE_LEAST_S * (1 - JITTER) <= holds[0] <= SILENCE_LEAST_S
    assert all(SILENCE_MOST_S * (1 - JITTER) <= hold <= SILENCE_MOST_S for hold in holds[8:])
    assert not schedule.held("A", SILENCE_MOST_S)


def test_meters_that_fell_together_are_not_tried_together():
    serials = [f"M{n}" for n in range(8)]
    schedule = Schedule([ring(serial) for serial in serials], now_s=0)
    for serial in serials:
        for _ in range(10):
            schedule.failed(serial, Fate.RETRY_LATER, 0)
    free = {serial: next(s for s in range(601) if not schedule.held(serial, s)) for serial in serials}
    assert len(set(free.values())) >= 6


def test_a_paused_meter_waits_long():
    schedule = Schedule([ring("A")], now_s=0)
    schedule.failed("A", Fate.PAUSE_METER, 0)
    assert schedule.visit(1799) is None
    assert schedule.visit(1800) is not None


def test_first_visits_are_spread():
    schedule = Schedule([ring("A"), ring("B"), ring("C"), ring("D")], now_s=100, spread_s=8)
    first = {}
    for now in range(100, 110):
        while visit := schedule.visit(now):
            first[visit.serial] = now
            schedule.put_off(visit.tasks[0], 1000)
    assert first == {"A": 100, "B": 102, "C": 104, "D": 106}


# ---- a meter's place behind the end of an interval ------------------------------------------------------------------


def rounds(meters, period_s, tasks, hours=3, visit_s=0.5):
    """(when, serial, tasks) of the visits that an ideal line makes, each of `visit_s`; times since the start."""
    schedule = Schedule([task for n in range(meters) for task in tasks(f"M{n:04}")], now_s=0)
    now, visits = 0.0, []
    while now < hours * 3600:
        visit = schedule.visit(now)
        if visit is None:
            now += max(schedule.idle_s(now), 1e-3)
            continue
        visits.append((now, visit.serial, visit.tasks))
        now += visit_s
        for task in visit.tasks:
            wait_s = period_s - now % period_s if task.kind is TaskKind.RING else period_s
            schedule.done(task, now + wait_s, now)
        schedule.answered(visit.serial)
    return visits


def test_the_meters_of_a_line_do_not_come_all_at_once_and_each_comes_soon_after_its_capture():
    visits = [visit for visit in rounds(32, 900, lambda serial: [ring(serial)]) if visit[0] >= 900]
    assert len(visits) == 32 * 11
    places = [at % 900 for at, _, _ in visits[32:64]]
    assert max(places) <= 900 / 3
    assert max(b - a for a, b in zip(sorted(places), sorted(places)[1:], strict=False)) < 10
    in_half_a_minute = [place for place in places if place < 30]
    assert len(in_half_a_minute) <= 8, "a relay errand does not meet a queue of all meters"


def test_places_of_a_thousand_meters_fit_the_period_too():
    visits = [visit for visit in rounds(1000, 900, lambda serial: [ring(serial)], 2, visit_s=0.1) if visit[0] >= 900]
    assert max(at % 900 for at, _, _ in visits) <= 900 / 3


def test_all_work_of_a_meter_coincides_in_one_visit():
    visits = rounds(32, 900, lambda serial: [snapshot(serial), ring(serial), balance(serial)])
    steady = [visit for visit in visits if visit[0] >= 1800]
    assert {len(tasks) for _, _, tasks in steady} == {3}
    assert len(steady) == 32 * 10


# ---- spare time -----------------------------------------------------------------------------------------------------


def test_a_backlog_is_brought_when_nothing_is_due_and_by_turns():
    schedule = Schedule([ring("A"), ring("B"), ring("C")], now_s=0)
    for serial in "ABC":
        schedule.put_off(ring(serial), 100)
    schedule.backlog(ring("A"), remains=True)
    schedule.backlog(ring("B"), remains=True)
    assert schedule.idle_s(50) == 0
    given = [schedule.visit(50) for _ in range(4)]
    assert [visit.serial for visit in given] == ["A", "B", "A", "B"]
    assert all(visit.spare for visit in given)
    assert not schedule.is_due(50)
    assert schedule.is_due(100)
    assert not schedule.visit(100).spare
    for serial in "ABC":
        schedule.put_off(ring(serial), 200)
    schedule.backlog(ring("A"), remains=False)
    schedule.failed("B", Fate.RETRY_LATER, 100)
    assert schedule.visit(101) is None, "a meter that fails has no spare visits either"
    assert schedule.idle_s(101) > 0


def test_a_meter_that_is_spoken_to_is_passed_over():
    schedule = Schedule([ring("A"), ring("B")], now_s=0)
    assert schedule.visit(0, "A".__eq__).serial == "B"
    assert schedule.visit(0, lambda _serial: True) is None
    assert schedule.idle_s(0, busy=lambda _serial: True) > 0
    assert not schedule.is_due(0, lambda _serial: True)
    assert schedule.visit(0).serial == "A", "and is not forgotten"
    schedule.backlog(ring("A"), remains=True)
    for serial in "AB":
        schedule.put_off(ring(serial), 10)
    assert schedule.visit(0, "A".__eq__) is None
    assert schedule.visit(0).spare


# ---- whatever happens -----------------------------------------------------------------------------------------------

OUTCOMES = st.lists(
    st.tuples(st.sampled_from(["done", "put off", "at once", "failed", "backlog"]), st.floats(0.1, 20.0)),
    min_size=20,
    max_size=200,
)


@given(OUTCOMES, st.integers(2, 12))
def test_nobody_starves(outcomes, meters):
    """Whatever the visits bring, a meter that is due and not held waits for one turn of each other at most."""
    schedule = Schedule([ring(f"M{n}") for n in range(meters)], now_s=0)
    now, waiting = 0.0, {}
    for outcome, length_s in outcomes:
        visit = schedule.visit(now)
        if visit is None:
            now += max(schedule.idle_s(now), 0.01)
            continue
        for n in range(meters):
            serial = f"M{n}"
            if serial != visit.serial and not schedule.held(serial, now) and schedule.visit(now, visit.serial.__eq__):
                waiting[serial] = waiting.get(serial, 0) + (schedule.visit(now, lambda s, k=serial: s != k) is not None)
        waiting[visit.serial] = 0
        now += length_s
        [task] = visit.tasks
        match outcome:
            case "failed":
                schedule.failed(visit.serial, Fate.RETRY_LATER, now)
                continue
            case "done":
                schedule.done(task, now + 30, now)
            case "put off":
                schedule.put_off(task, now + 5)
            case "at once":
                schedule.put_off(task, now)
            case "backlog":
                schedule.backlog(task, remains=True)
                schedule.done(task, now + 30, now)
        schedule.answered(visit.serial)
        # A meter that failed may be passed by all others for as long as its patience lasts, and then has its turn.
        assert max(waiting.values()) <= 2 * meters + PROBE_PATIENCE_S / 0.1


@given(st.integers(1, 40), st.integers(0, 39), st.integers(0, 10_000))
def test_the_living_keep_their_cadence_within_one_time_out(meters, dead, seed):
    """Of a line on which some are dead: a visit comes later than its time by the queue and one probe, no more."""
    dead, probe_s, visit_s, period_s = min(dead, meters - 1), 3.0, 0.5, 900.0
    tasks = [ring(f"M{(n + seed) % meters}") for n in range(meters)]
    schedule = Schedule(tasks, now_s=0)
    fallen = {f"M{n}" for n in range(dead)}
    now, due, late = 0.0, {}, 0.0
    while now < 4 * period_s:
        visit = schedule.visit(now)
        if visit is None:
            now += max(schedule.idle_s(now), 1e-3)
            continue
        if visit.serial in fallen:
            now += probe_s if visit.probe else 3 * probe_s
            schedule.failed(visit.serial, Fate.RETRY_LATER, now)
            continue
        if now > period_s:
            late = max(late, now - due[visit.serial])
        now += visit_s
        schedule.done(visit.tasks[0], now + period_s - now % period_s, now)
        schedule.answered(visit.serial)
        due[visit.serial] = now + period_s - now % period_s
    assert late <= period_s / 3 + probe_s + 2 * visit_s
