"""Associations that stay open between visits: when they are used again, kept open, given up, and never mixed up."""

import math

import pytest

from dcu import obis
from dcu.drivers import hdlc
from dcu.drivers.data_link import LineTiming
from dcu.drivers.hdlc import server_address
from dcu.drivers.lent import LentAssociation
from dcu.drivers.parked import BEATS_AT_MOST, INACTIVITY
from dcu.errors import BusFault, LinkLost, MeterSilent
from dcu.meter import AttributeRef, ClassId, Purpose

from .line import frame_of
from .virtual_bus import VirtualBus, Work

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)
RR = 0x11
"""Receive ready, with poll bit and N(R) masked away."""


def reading(bus, serial="A1", **how):
    return Work(bus.meters[serial], Purpose.READ, lambda association: association.get(CLOCK), **how)


def beats(bus):
    """RRs that were sent outside of an answer's segments: all, since every answer here is one frame."""
    return sum(control & 0x1F == RR for control in bus.frames)


def test_a_second_visit_needs_no_new_association():
    bus = VirtualBus()
    assert bus.do(reading(bus)).result is not None
    bus.frames.clear()
    bus.wait(60)
    assert bus.do(reading(bus)).result is not None
    assert bus.count(hdlc.SNRM) == 0
    assert len(bus.frames) == 1, "one exchange: the request itself"


def test_a_model_that_may_not_stay_open_is_released_every_time():
    bus = VirtualBus(keep_open=False)
    bus.do(reading(bus))
    assert bus.count(hdlc.DISC) >= 1
    bus.frames.clear()
    bus.do(reading(bus))
    assert bus.count(hdlc.SNRM) == 1


def test_rr_keeps_the_association_open_beyond_the_inactivity_time_out():
    bus = VirtualBus()
    bus.do(reading(bus))
    bus.frames.clear()
    bus.wait(899)
    assert beats(bus) == 7
    assert len(bus.frames) == 7
    bus.do(reading(bus))
    assert bus.count(hdlc.SNRM) == 0


def test_without_a_time_out_nothing_at_all_is_sent_between_visits():
    bus = VirtualBus(inactivity_s=0, settings={"inactivity_s": 1e9})
    bus.worker._lent.parking._own_limits["A1"] = math.inf
    bus.do(reading(bus))
    bus.frames.clear()
    bus.wait(3600)
    assert bus.frames == []
    assert bus.do(reading(bus)).faults == []
    assert len(bus.frames) == 1


def test_rr_are_given_up_when_no_visit_comes_and_the_association_is_ended():
    bus = VirtualBus()
    bus.do(reading(bus))
    bus.frames.clear()
    bus.wait(4000)
    assert beats(bus) == BEATS_AT_MOST
    assert bus.count(hdlc.DISC) == 1


def test_a_meter_that_is_visited_seldom_is_not_kept_open_in_vain():
    bus = VirtualBus()
    bus.do(reading(bus))
    bus.wait(4000)
    bus.do(reading(bus))
    bus.frames.clear()
    bus.wait(4000)
    assert bus.frames == []


@pytest.mark.parametrize(("by_model", "by_meter"), [(30, 120.0), (120, 30.0), (0, 30.0)])
def test_the_shorter_of_two_time_outs_holds(by_model, by_meter):
    bus = VirtualBus(inactivity_s=by_model, settings={"inactivity_s": by_meter})
    bus.do(reading(bus))
    bus.frames.clear()
    bus.wait(100)
    assert beats(bus) == 3


@pytest.mark.parametrize("purpose", [Purpose.SWITCH, Purpose.IDENTIFY])
def test_another_purpose_ends_the_parked_association_first(purpose):
    bus = VirtualBus()
    bus.do(reading(bus))
    bus.frames.clear()
    other = bus.do(Work(bus.meters["A1"], purpose, lambda association: association.get(CLOCK)), urgent=True)
    assert other.faults == []
    assert bus.frames.index(hdlc.DISC) < bus.frames.index(hdlc.SNRM)
    assert bus.frames[-1] == hdlc.DISC, "and is not left open itself"
    bus.frames.clear()
    assert bus.do(reading(bus)).faults == []
    assert bus.count(hdlc.SNRM) >= 1


def test_sessions_of_different_meters_stay_open_side_by_side():
    bus = VirtualBus(("A1", "B2"))
    for serial in ("A1", "B2"):
        bus.do(reading(bus, serial))
    bus.frames.clear()
    for serial in ("A1", "B2"):
        work = bus.do(reading(bus, serial))
        assert work.faults == []
    assert bus.count(hdlc.SNRM) == 0


def test_a_meter_that_lost_power_is_asked_anew_in_the_same_visit():
    bus = VirtualBus()
    bus.do(reading(bus))
    bus.virtual["A1"].power_cycle()
    bus.frames.clear()
    work = bus.do(reading(bus))
    assert work.faults == []
    assert work.result is not None
    assert work.runs == 1
    assert bus.count(hdlc.SNRM) == 1


def test_a_meter_that_died_meanwhile_fails_once_and_a_second_reopening_is_not_tried():
    bus = VirtualBus()
    bus.do(reading(bus))
    bus.deaf.add("A1")
    bus.frames.clear()
    before, timing = bus.time(), LineTiming()
    work = bus.do(reading(bus))
    assert [type(fault) for fault in work.faults] == [MeterSilent]
    assert bus.count(hdlc.SNRM) == 1
    others_wait_s = bus.time() - before
    assert others_wait_s < (timing.tries + 1) * timing.first_octet_s + 2, "one time-out, one more try, and DISC"


def test_a_fault_of_the_visit_ends_the_association():
    bus = VirtualBus()

    def broken(association):
        association.get(CLOCK)
        raise MeterSilent("said the test")

    bus.do(Work(bus.meters["A1"], Purpose.READ, broken))
    assert len(bus.worker._lent.parking) == 0
    bus.frames.clear()
    bus.do(reading(bus))
    assert bus.count(hdlc.SNRM) >= 1


def test_a_line_that_is_lost_takes_its_associations_along():
    bus = VirtualBus()
    bus.do(reading(bus))

    def gone(_association):
        raise BusFault("unplugged", place="/dev/ttyX")

    bus.do(Work(bus.meters["A1"], Purpose.READ, gone))
    bus.wait(5)
    assert bus.opened == 2
    bus.frames.clear()
    assert bus.do(reading(bus)).faults == []
    assert bus.count(hdlc.SNRM) >= 1


def test_all_are_ended_when_the_worker_stops():
    bus = VirtualBus(("A1", "B2"))
    for serial in ("A1", "B2"):
        bus.do(reading(bus, serial))
    bus.frames.clear()
    bus.worker.close()
    assert bus.frames == [hdlc.DISC, hdlc.DISC]
    assert len(bus.worker._lent.parking) == 0


def test_stopping_does_not_wait_for_meters_that_are_silent():
    serials = tuple(f"M{n}" for n in range(20))
    bus = VirtualBus(serials)
    for serial in serials:
        bus.do(reading(bus, serial))
    bus.deaf.update(serials)
    before = bus.time()
    bus.worker.close()
    assert bus.time() - before < 6


def test_a_relay_errand_does_not_wait_until_a_survey_has_ended_all_that_is_parked():
    serials = tuple(f"M{n}" for n in range(20))
    bus = VirtualBus(serials)
    for serial in serials:
        bus.do(reading(bus, serial))
    bus.deaf.update(serials[1:])
    relay = Work(bus.meters["M0"], Purpose.SWITCH, lambda _association: bus.time())
    posted, surveyed = [], []

    class Survey:
        meter = bus.meters["M1"]

        def run(self, line):
            if not posted:
                posted.append(bus.time())
                bus.worker.post(relay, urgent=True)
            with line.survey():
                surveyed.append(bus.time())

        def failed(self, fault):
            raise AssertionError(fault)

    bus.worker.post(Survey(), urgent=False)
    while not surveyed:
        bus.worker.turn()
    assert relay.result is not None
    assert relay.result - posted[0] < 2, "one of them at most is ended before it"
    assert relay.result < surveyed[0]


def test_a_meter_that_hangs_over_its_time_out_is_not_asked_for_it_in_every_visit(monkeypatch):
    bus = VirtualBus()
    asked, get = [], LentAssociation.get

    def hanging(association, ref):
        if ref == INACTIVITY:
            asked.append(ref)
            raise MeterSilent("no answer to this one")
        return get(association, ref)

    monkeypatch.setattr(LentAssociation, "get", hanging)
    assert bus.do(reading(bus)).faults == []
    assert len(bus.worker._lent.parking) == 0, "nobody knows what became of it"
    assert bus.frames[-1] == hdlc.DISC
    for _ in range(2):
        assert bus.do(reading(bus)).faults == []
    assert len(asked) == 1
    assert len(bus.worker._lent.parking) == 1, "the model's time-out holds"


def test_a_visit_that_gave_way_goes_on_in_its_association():
    bus = VirtualBus(("A1", "B2"))
    relay = Work(bus.meters["B2"], Purpose.SWITCH, lambda association: association.get(CLOCK))
    bus.do(reading(bus, "A1"))

    def interrupted(association):
        if relay.runs == 0:
            bus.worker.post(relay, urgent=True)
        return association.get(CLOCK)

    visit = Work(bus.meters["A1"], Purpose.READ, interrupted)
    bus.do(visit)
    bus.frames.clear()
    while visit.runs < 2:
        bus.worker.turn()
    assert relay.result is not None
    assert visit.result is not None
    assert visit.faults == []
    assert bus.frames.count(hdlc.SNRM) <= 2, "of the relay errand and its counter; the poll needs none"


class SparePlan:
    """One spare errand, and whether anything is due."""

    def __init__(self):
        self.spare, self.due_now = None, False

    def due(self, monotonic_s, busy=None):
        return self.spare

    def is_due(self, monotonic_s, busy=None):
        return self.due_now

    def idle_s(self, monotonic_s, busy=None):
        return 0.0


@pytest.mark.parametrize("what", ["a visit", "a letter"])
def test_spare_work_ends_between_two_exchanges_when_anything_else_wants_the_line(what):
    plan = SparePlan()
    bus = VirtualBus(plan=plan)
    asked = []

    def backlog(association):
        for _ in range(10):
            association.get(CLOCK)
            asked.append(1)
            if len(asked) == 3:
                if what == "a visit":
                    plan.due_now = True
                else:
                    bus.worker.post(reading(bus), urgent=False)

    plan.spare = Work(bus.meters["A1"], Purpose.READ, backlog, spare=True)
    bus.worker.turn()
    assert len(asked) == 3
    assert plan.spare.faults == [], "that is no failure of the meter"
    plan.spare = None
    bus.worker.turn()
    assert len(asked) == 3, "the plan has it still; the bus does not take it up again"


def test_who_posts_one_errand_behind_the_other_keeps_no_visit_and_no_keep_alive_away():
    """Two technicians that scan: while one's slice runs, the other's waits already."""
    plan = SparePlan()
    bus = VirtualBus(plan=plan)
    bus.do(reading(bus))
    order = []

    class Slice:
        meter = bus.meters["A1"]

        def run(self, _line):
            order.append("slice")
            bus.time.now_s += 2
            bus.worker.post(Slice(), urgent=False)

        def failed(self, fault):
            raise AssertionError(fault)

    bus.frames.clear()
    bus.worker.post(Slice(), urgent=False)
    bus.worker.post(Slice(), urgent=False)
    for _ in range(150):
        bus.worker.turn()
    assert beats(bus) > 1
    assert bus.count(hdlc.DISC) == 0
    plan.spare = Work(bus.meters["A1"], Purpose.READ, lambda _association: order.append("visit"))
    order.clear()
    for _ in range(6):
        bus.worker.turn()
    assert order.count("visit") == order.count("slice") == 3
    plan.spare = Work(bus.meters["A1"], Purpose.READ, lambda _association: order.append("spare"), spare=True)
    order.clear()
    for _ in range(6):
        bus.worker.turn()
    assert order == ["slice"] * 6


@pytest.mark.parametrize(("probe", "tries"), [(True, 1), (False, 3)])
def test_a_meter_that_was_silent_before_is_tried_once(probe, tries):
    bus = VirtualBus(keep_open=False)
    bus.deaf.add("A1")
    before = bus.time()
    work = bus.do(reading(bus, probe=probe))
    assert [type(fault) for fault in work.faults] == [MeterSilent]
    assert bus.count(hdlc.SNRM) == tries
    assert (bus.time() - before <= 3.1) == probe
    bus.deaf.clear()
    assert bus.do(reading(bus, probe=probe)).faults == []


def test_no_more_are_parked_than_the_bus_may_hold():
    serials = tuple(f"M{n}" for n in range(5))
    bus = VirtualBus(serials)
    bus.worker._lent.parking._at_most = 3
    for serial in serials:
        bus.do(reading(bus, serial))
    assert len(bus.worker._lent.parking) == 3


@pytest.mark.parametrize(("release", "frames"), [(True, 2), (False, 1)])
def test_a_model_may_be_left_by_disc_alone(release, frames):
    bus = VirtualBus(keep_open=False, release=release)
    bus.do(reading(bus))
    bus.frames.clear()
    bus.do(reading(bus))
    opened = 3  # SNRM, AARQ, the request
    assert len(bus.frames) == opened + frames
    assert bus.do(reading(bus)).faults == [], "the meter is free again"


def test_one_object_stands_for_one_association():
    bus = VirtualBus()
    lent = []

    def look(association):
        lent.append(association)
        return association.get(CLOCK)

    for n in range(4):
        if n == 2:
            bus.virtual["A1"].power_cycle()
        assert bus.do(Work(bus.meters["A1"], Purpose.READ, look)).faults == []
    assert lent[0] is lent[1]
    assert lent[3] is not lent[1], "another association was opened in the third visit"


@pytest.mark.parametrize("what", ["a poll", "an opening", "a keep-alive"])
def test_a_relay_errand_waits_for_one_try_of_a_meter_that_is_silent_and_not_for_all(what):
    bus = VirtualBus(("A1", "B2"))
    relay = Work(bus.meters["B2"], Purpose.SWITCH, lambda association: bus.time())
    for serial in ("A1", "B2") if what != "an opening" else ("B2",):
        bus.do(reading(bus, serial))
    bus.deaf.add("A1")
    if what == "a keep-alive":
        bus.wait(113)
    visit, hear = reading(bus), bus._hear
    called = []

    def heard(octets):
        if not called and frame_of(octets).destination == server_address(1, bus.meters["A1"].address):
            called.append(bus.time())
            bus.worker.post(relay, urgent=True)
        return hear(octets)

    bus.line.meter = heard
    if what != "a keep-alive":
        bus.worker.post(visit, urgent=False)
    while relay.result is None:
        bus.worker.turn()
    assert relay.result - called[0] < 2 * LineTiming().first_octet_s, "one time-out, and the opening of its own"
    while what != "a keep-alive" and not visit.faults:
        bus.worker.turn()


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_box_that_was_killed_reads_on_though_the_meter_still_holds_its_link(exclusive):
    """Nothing of the first box ends its link; a meter that lets one client in at a time ends it by its own time-out."""
    killed = VirtualBus()
    killed.do(reading(killed))
    killed.virtual["A1"].faults.link.exclusive = exclusive
    bus = VirtualBus()
    bus.virtual, bus.time.now_s = killed.virtual, killed.time()
    began_s, faults = bus.time(), []
    while (work := bus.do(reading(bus))).faults:
        faults += work.faults
        bus.wait(20)
    assert {type(fault) for fault in faults} == ({LinkLost} if exclusive else set())
    assert bus.time() - began_s < (180 if exclusive else 5)
