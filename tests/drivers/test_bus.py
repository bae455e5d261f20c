"""The bus worker on a real pty with virtual meters, and on links that fail on demand."""

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from dcu import obis
from dcu.config.meter_models import shipped
from dcu.drivers.bus import BusWorker, Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.security import client_title
from dcu.drivers.serial_link import SerialLink
from dcu.drivers.tcp_link import TcpLink
from dcu.errors import BusFault, DcuError, LinkLost, MeterSilent, OperatorFault, StoreFault
from dcu.mailbox import Mailbox, Stop
from dcu.meter import AttributeRef, ClassId, Meter, MethodRef, Purpose
from dcu.reading import ClockState
from dcu.sim import MeterConfig, running_line

from .bench import KEYS, SECRETS, ZONE, TestWarrant, Vault

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)
OUTPUT = AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 2)
DISCONNECT = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 1)
BAUD = 115200
ROOMY = LineTiming(first_octet_s=10.0, octet_gap_s=0.3, reply_s=15.0, tries=4)
"""Where a meter answers: room for a loaded machine, which costs nothing on a quick one."""
QUICK = LineTiming(first_octet_s=1.0, octet_gap_s=0.2, reply_s=2.0, tries=2)
"""Where nobody is to answer: each try is waited out."""
SERIALS = ("GXT20931188", "00123")


class RealClock:
    def now(self):
        return datetime.now(UTC)

    def state(self):
        return ClockState.UNTRUSTED

    def monotonic_s(self):
        return time.monotonic()


class NoPlan:
    def due(self, monotonic_s):
        return None

    def idle_s(self, monotonic_s):
        return 60.0


class Job:
    """An errand that runs a function and keeps what came of it."""

    def __init__(self, meter, work):
        self.meter, self.work = meter, work
        self.runs, self.result, self.fault = 0, None, None
        self.faults = 0
        self.ended = threading.Event()

    def run(self, line):
        self.runs += 1
        self.result = self.work(line)
        self.ended.set()

    def failed(self, fault):
        self.faults += 1
        self.fault = fault
        self.ended.set()

    def wait(self, timeout_s=60):
        assert self.ended.wait(timeout_s), "the errand did not end"
        return self


@contextmanager
def running(link_factory, framing=Framing.HDLC, plan=None, timing=ROOMY, **how):
    stop = Stop()
    worker = BusWorker(
        "north",
        link_factory,
        framing,
        Vault(),
        plan or NoPlan(),
        RealClock(),
        stop,
        ZONE,
        system_title=client_title("JH-RNC-0042"),
        timing=timing,
        **how,
    )
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(15)
        assert not thread.is_alive()


def meters():
    return {
        serial: Meter(serial, "north", shipped()["is15959-1ph"], 17 + n, "JH-RNC", SECRETS)
        for n, serial in enumerate(SERIALS)
    }


@contextmanager
def pty_bus(**how):
    configs = [MeterConfig(serial, 17 + n, KEYS, history_s=7200) for n, serial in enumerate(SERIALS)]
    with running_line(configs, baud=BAUD, turnaround_ms=1) as line:
        with running(lambda _meter: SerialLink(str(line.port), BAUD), **how) as worker:
            yield line, worker


def read_clock(meter, purpose=Purpose.READ):
    def work(line):
        with line.associate(meter, purpose) as association:
            return association.serial, association.get(CLOCK)

    return Job(meter, work)


def test_two_meters_on_one_line():
    with pty_bus() as (_, worker):
        jobs = [read_clock(meter) for meter in meters().values()]
        for job in jobs:
            worker.post(job, urgent=False)
        for job, serial in zip(jobs, SERIALS, strict=True):
            assert job.wait().fault is None
            assert job.result[0] == serial


def test_a_silent_meter_fails_alone():
    with pty_bus(timing=QUICK) as (line, worker):
        line.meters[SERIALS[0]].faults.silent = True
        jobs = [read_clock(meter) for meter in meters().values()]
        for job in jobs:
            worker.post(job, urgent=False)
        assert isinstance(jobs[0].wait().fault, MeterSilent)
        assert jobs[1].wait().fault is None


def test_a_relay_errand_waits_for_one_exchange_only():
    with pty_bus() as (_, worker):
        polled, moved = meters().values()
        began, order = threading.Event(), []

        def poll(line):
            with line.associate(polled, Purpose.READ) as association:
                for _ in range(40):
                    association.get(CLOCK)
                    began.set()
            order.append("poll")

        def switch(line):
            order.append("relay")
            with line.associate(moved, Purpose.SWITCH) as association:
                association.act(DISCONNECT, b"\x0f\x00", TestWarrant(moved.serial, DISCONNECT, b"\x0f\x00"))
                return association.get(OUTPUT)

        slow, urgent = Job(polled, poll), Job(moved, switch)
        worker.post(slow, urgent=False)
        assert began.wait(30)
        worker.post(urgent, urgent=True)
        assert urgent.wait().result is False
        slow.wait()
        assert order == ["relay", "poll"]
        assert slow.fault is None
        assert slow.runs == 2  # interrupted, then taken up again


def test_an_urgent_errand_is_not_interrupted_by_another():
    with pty_bus() as (_, worker):
        meter = meters()[SERIALS[0]]
        began, go_on = threading.Event(), threading.Event()

        def first(line):
            with line.associate(meter, Purpose.READ) as association:
                began.set()
                assert go_on.wait(10)
                return association.get(CLOCK)

        one, two = Job(meter, first), read_clock(meter)
        worker.post(one, urgent=True)
        assert began.wait(30)
        worker.post(two, urgent=True)
        go_on.set()
        assert one.wait().runs == 1
        assert one.fault is None
        assert two.wait().fault is None


def test_unplugged_and_plugged_in_again(tmp_path):
    states, changed = [], threading.Event()

    def on_state(fault):
        states.append(fault)
        changed.set()

    port = tmp_path / "ttyMETERS"
    with running_line([MeterConfig(SERIALS[0], 17, KEYS)], baud=BAUD, link=port, turnaround_ms=1) as line:
        with running(lambda _meter: SerialLink(str(port), BAUD), on_state=on_state) as worker:
            meter = meters()[SERIALS[0]]
            job = read_clock(meter)
            worker.post(job, urgent=False)
            assert job.wait().fault is None
            line.unplug()
            lost = read_clock(meter)
            worker.post(lost, urgent=True)
            assert isinstance(lost.wait().fault, BusFault)
            assert changed.wait(30)
            assert isinstance(states[0], BusFault)
            assert str(port) in str(states[0])
            refused = read_clock(meter)
            worker.post(refused, urgent=True)
            assert isinstance(refused.wait().fault, BusFault)
            changed.clear()
            line.replug()
            assert changed.wait(30)
            assert states[-1] is None
            assert len(states) == 2
            again = read_clock(meter)
            worker.post(again, urgent=False)
            assert again.wait().fault is None


def test_meters_behind_tcp():
    with running_line([MeterConfig(SERIALS[0], 17, KEYS, port=0)], baud=BAUD) as line:
        meter = replace(meters()[SERIALS[0]], host="127.0.0.1", port=line.tcp[SERIALS[0]], address=0)
        with running(lambda m: TcpLink(m.host, m.port, 2.0), Framing.WRAPPER) as worker:
            for purpose in Purpose:
                job = read_clock(meter, purpose)
                worker.post(job, urgent=False)
                assert job.wait().fault is None
                assert job.result[0] == SERIALS[0]
            nobody = read_clock(replace(meter, port=1))
            worker.post(nobody, urgent=False)
            assert isinstance(nobody.wait().fault, LinkLost)
        with running(lambda m: TcpLink(m.host, m.port, 2.0), Framing.WRAPPER, timing=QUICK) as worker:
            line.meters[SERIALS[0]].faults.silent = True
            silent = read_clock(meter)
            worker.post(silent, urgent=False)
            assert isinstance(silent.wait().fault, MeterSilent)


class OnePlan:
    """Gives its errands one after the other, when no other waits."""

    def __init__(self, *errands):
        self.errands = list(errands)

    def due(self, monotonic_s):
        return self.errands.pop(0) if self.errands else None

    def idle_s(self, monotonic_s):
        return 60.0


class DeadLink:
    """A port that opens and then is gone."""

    def __init__(self):
        self.closed = 0

    def send(self, octets):
        raise BusFault("gone", place="/dev/ttyX")

    def receive(self, deadline_s):
        raise BusFault("gone", place="/dev/ttyX")

    def flush_input(self):
        pass

    def close(self):
        self.closed += 1


def test_plan_is_polled_and_errors_of_errands_stay_theirs(caplog):
    meter, beats = meters()[SERIALS[0]], []

    def bug(_line):
        raise ZeroDivisionError("our own")

    def fault(_line):
        raise OperatorFault("no")

    jobs = [Job(meter, bug), Job(meter, fault), Job(meter, lambda _line: 7)]
    with running(lambda _meter: DeadLink(), plan=OnePlan(*jobs), beat=lambda: beats.append(1)):
        assert isinstance(jobs[0].wait().fault, ZeroDivisionError)
        assert isinstance(jobs[1].wait().fault, OperatorFault)
        assert jobs[2].wait().result == 7
    assert [job.faults for job in jobs] == [1, 1, 0]
    assert len(beats) >= 3
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


def test_a_dead_port_is_closed_and_every_link_is_given_back():
    opened, meter = [], meters()[SERIALS[0]]

    def factory(_meter):
        opened.append(DeadLink())
        return opened[-1]

    with running(factory) as worker:
        job = read_clock(meter)
        worker.post(job, urgent=False)
        assert isinstance(job.wait().fault, BusFault)
        assert job.faults == 1
        assert opened[0].closed == 1
    assert all(link.closed == 1 for link in opened)


def test_a_port_that_never_opens_refuses_errands_and_stops_at_once():
    states = []

    def factory(_meter):
        raise BusFault("no such port", place="/dev/ttyNONE")

    with running(factory, on_state=states.append) as worker:
        job = read_clock(meters()[SERIALS[0]])
        worker.post(job, urgent=False)
        assert isinstance(job.wait().fault, BusFault)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert len(states) == 1


def test_a_fault_of_the_store_ends_the_loop():
    def work(_line):
        raise StoreFault("disk")

    stop = Stop()
    job = Job(meters()[SERIALS[0]], work)
    title = client_title("x")
    plan = OnePlan(job)
    worker = BusWorker(
        "north", lambda _m: DeadLink(), Framing.HDLC, Vault(), plan, RealClock(), stop, ZONE, system_title=title
    )
    with pytest.raises(StoreFault):
        worker.run()
    assert job.faults == 1


def test_too_many_errands_are_refused():
    stop, title = Stop(), client_title("x")
    worker = BusWorker(
        "north", lambda _m: DeadLink(), Framing.HDLC, Vault(), NoPlan(), RealClock(), stop, ZONE, system_title=title
    )
    with pytest.raises(DcuError, match="too many"):
        for _ in range(5000):
            worker.post(read_clock(meters()[SERIALS[0]]), urgent=False)


class EagerPlan:
    """A meter that is always due."""

    def __init__(self):
        self.given = []

    def due(self, monotonic_s):
        self.given.append(read_clock(meters()[SERIALS[0]]))
        return self.given[-1]

    def idle_s(self, monotonic_s):
        return 0.0


def test_a_port_that_opens_and_fails_at_its_first_octet_is_no_busy_loop():
    plan, states = EagerPlan(), []
    with running(lambda _meter: DeadLink(), plan=plan, on_state=states.append):
        time.sleep(2.2)
    assert 2 <= len(plan.given) <= 4
    assert [type(state) for state in states] == [BusFault], "down once, and never called well"


class VirtualClock(RealClock):
    """Time that passes only in the mailbox."""

    def __init__(self):
        self.uptime_s = 1000.0

    def monotonic_s(self):
        return self.uptime_s


class VirtualMailbox(Mailbox):
    """Waiting is moving the clock on."""

    def __init__(self, stop, clock):
        super().__init__(stop)
        self.clock = clock

    def take(self, timeout_s):
        letter = super().take(0.0)
        if letter is None:
            self.clock.uptime_s += timeout_s
        return letter


def test_a_worker_runs_in_virtual_time_turn_by_turn():
    stop, clock, opened = Stop(), VirtualClock(), []

    def factory(_meter):
        opened.append(clock.uptime_s)
        if len(opened) < 8:
            raise BusFault("no such port", place="/dev/ttyNONE")
        return DeadLink()

    job = Job(meters()[SERIALS[0]], lambda _line: 7)
    worker = BusWorker(
        "north",
        factory,
        Framing.HDLC,
        Vault(),
        NoPlan(),
        clock,
        stop,
        ZONE,
        system_title=client_title("x"),
        mailbox=VirtualMailbox(stop, clock),
    )
    for _ in range(7):
        worker.turn()
    worker.post(job, urgent=False)
    worker.turn()
    assert job.result == 7
    waited = [later - earlier for earlier, later in pairwise(opened)]
    assert waited == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0], "a back-off of a line waits in the mailbox too"
    worker.turn()
    assert clock.uptime_s - opened[-1] == 1.0
    worker.close()
