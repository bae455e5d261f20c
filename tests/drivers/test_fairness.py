"""One meter that never comes to an end: the others of its line keep their turns."""

import pytest

from dcu import obis
from dcu.drivers.bus import VISIT_LEAST_S, longest_visit_s
from dcu.errors import VisitTooLong
from dcu.meter import AttributeRef, ClassId, Purpose

from .virtual_bus import VirtualBus, Work

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)


class TwoMeters:
    """A1 has a visit without end; B2 is due from the moment on that `b_due_s` says."""

    def __init__(self):
        self.bus = None
        self.b_due_s = float("inf")
        self.endless, self.other = [], []

    def due(self, now_s, busy=None):
        free = [] if busy is None else [name for name, meter in self.bus.meters.items() if busy(meter)]
        if "B2" not in free and now_s >= self.b_due_s and not self.other:
            return self._visit("B2", self.other, 1)
        if "A1" in free or self.endless:
            return None
        return self._visit("A1", self.endless, 10**9)

    def _visit(self, serial, book, times):
        def work(association):
            book.append(self.bus.time())
            for _ in range(times):
                association.get(CLOCK)
                self.bus.time.now_s += 2.0  # it answers, and slowly

        self.made = Work(self.bus.meters[serial], Purpose.READ, work)
        return self.made

    def is_due(self, now_s, busy=None):
        kept = self.made
        found = self.due(now_s, busy) is not None
        self.made = kept
        return found

    def idle_s(self, now_s, busy=None):
        return 60.0


def plan_of(b_due_s):
    plan = TwoMeters()
    plan.bus = VirtualBus(("A1", "B2"), plan=plan)
    plan.b_due_s = plan.bus.time() + b_due_s
    return plan


@pytest.mark.parametrize("b_due_s", [0.0, 500.0])
def test_a_visit_without_end_ends_where_another_meter_is_due(b_due_s):
    plan = plan_of(b_due_s)
    plan.b_due_s += 0.001  # A1 is first
    plan.bus.worker.turn()
    visit = plan.made
    assert [type(fault) for fault in visit.faults] == [VisitTooLong]
    lasted_s = plan.bus.time() - plan.endless[0]
    assert max(VISIT_LEAST_S, b_due_s) - 10 <= lasted_s <= max(VISIT_LEAST_S, b_due_s) + 10
    plan.bus.worker.turn()
    assert len(plan.other) == 1
    assert plan.made.faults == []


def test_a_technicians_question_is_waiting_too():
    bus = VirtualBus(("A1", "B2"))
    asked = Work(bus.meters["B2"], Purpose.READ, lambda association: association.get(CLOCK))

    def endless(association):
        for n in range(10**9):
            association.get(CLOCK)
            bus.time.now_s += 2.0
            if n == 20:
                bus.worker.post(asked, urgent=False)

    visit = bus.do(Work(bus.meters["A1"], Purpose.READ, endless))
    assert [type(fault) for fault in visit.faults] == [VisitTooLong]
    bus.worker.turn()
    assert asked.result is not None


@pytest.mark.parametrize(("octet_s", "least_s"), [(10 / 9600, 273), (10 / 1200, 2184), (0.0, 0)])
def test_a_whole_ring_that_comes_at_the_lines_pace_is_no_visit_without_end(octet_s, least_s):
    assert longest_visit_s(octet_s) >= max(VISIT_LEAST_S, least_s)
