"""A plan that was not looked at for a while, on a hung line or a machine that slept: no burst, and none forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from dcu.obis import LogicalName
from dcu.schedule import Schedule, Task, TaskKind

PERIOD_S = 900.0
RING = LogicalName.of("1.0.99.1.0")
pauses = st.lists(st.floats(0, 30 * 86_400), min_size=1, max_size=40)


def tasks(meters):
    return [
        task for n in range(meters) for task in (Task(f"M{n}", TaskKind.RING, RING), Task(f"M{n}", TaskKind.BALANCE))
    ]


@given(pauses, st.integers(1, 12))
def test_a_pause_costs_one_visit_a_meter_however_long_it_was(slept, meters):
    now_s = 1000.0
    schedule = Schedule(tasks(meters), now_s)
    for pause_s in slept:
        idle_s = schedule.idle_s(now_s)
        assert 0.0 <= idle_s <= 60.0
        now_s += pause_s
        visited = []
        while (visit := schedule.visit(now_s)) is not None:
            visited.append(visit.serial)
            for task in visit.tasks:
                schedule.done(task, now_s - now_s % PERIOD_S + PERIOD_S, now_s)
            schedule.answered(visit.serial)
        assert len(visited) == len(set(visited)), "no meter twice: nothing is made up for"
        if pause_s > 2 * PERIOD_S:
            assert set(visited) == {f"M{n}" for n in range(meters)}, "and none forgotten"
    assert schedule.idle_s(now_s, at_most_s=10 * PERIOD_S) <= 2 * PERIOD_S
