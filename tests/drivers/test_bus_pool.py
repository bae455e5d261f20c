"""The pool of TCP meters: who runs when, and on real connections that nobody waits for a meter that is silent."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from dcu import obis
from dcu.config.meter_models import shipped
from dcu.drivers.bus import Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.dispatch import Dispatch
from dcu.drivers.pool import TcpPool
from dcu.drivers.security import client_title
from dcu.drivers.tcp_link import TcpLink
from dcu.errors import LinkLost, MeterSilent, OperatorFault, StoreFault
from dcu.mailbox import Stop
from dcu.meter import AttributeRef, ClassId, Meter, Purpose
from dcu.sim import MeterConfig, running_line

from .bench import KEYS, SECRETS, ZONE, Vault
from .test_bus import DISCONNECT, OUTPUT, Job, RealClock, TestWarrant
from .virtual_bus import NoPlan, Work

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)
MODEL = shipped()["is15959-1ph"]


def at(name, host="", port=0):
    return Meter(name, "mesh", MODEL, 17, "JH-RNC", SECRETS, host=host or name, port=port or 4059)


# ---- the dispatch, without threads ----------------------------------------------------------------------------------


class ListPlan:
    """Errands that are due, passed over while their meters are busy."""

    def __init__(self, *errands):
        self.errands = list(errands)

    def due(self, _now, busy=None):
        free = [errand for errand in self.errands if not busy(errand.meter)]
        return next((errand for errand in free if not errand.spare), free[0] if free else None)

    def is_due(self, _now, busy=None):
        return any(not errand.spare and not busy(errand.meter) for errand in self.errands)

    def idle_s(self, _now, busy=None):
        return 5.0


def dispatch(plan=None, capacity=10):
    return Dispatch(Framing.WRAPPER.place, plan or ListPlan(), lambda _now, _busy: None, capacity)


def errand(name, *, spare=False, **place):
    return Work(at(name, **place), Purpose.READ, lambda _association: None, spare=spare)


def test_an_endpoint_is_never_spoken_to_by_two_at_once():
    behind_one_gateway = [errand("A", host="gateway"), errand("B", host="gateway")]
    other = errand("C")
    queue = dispatch()
    for each in (*behind_one_gateway, other):
        queue.post(each, urgent=False)
    first, second = queue.take(0), queue.take(0)
    assert (first.errand, second.errand) == (behind_one_gateway[0], other)
    assert queue.take(0) is None
    queue.end(first, resume=False)
    assert queue.take(0).errand is behind_one_gateway[1]


def test_urgent_errands_go_first_and_nothing_begins_where_one_waits():
    visit, relay = errand("A"), errand("A")
    queue = dispatch(ListPlan(errand("A"), errand("B")))
    queue.post(visit, urgent=False)
    running = queue.take(0)
    queue.post(relay, urgent=True)
    assert queue.waits_for(running)
    assert queue.take_urgent() is None
    assert queue.take(0).errand.meter.serial == "B"
    queue.end(running, resume=True)
    job = queue.take(0)
    assert (job.errand, job.urgent) == (relay, True)
    assert queue.take(0) is None, "the visit waits for it, and is not given a second time by the plan"
    queue.end(job, resume=False)
    assert queue.take(0).errand is visit


def test_a_poll_yields_its_thread_only_where_no_thread_is_free_and_only_one_does():
    queue = dispatch()
    for name in "AB":
        queue.post(errand(name), urgent=False)
    polls = [queue.take(0), queue.take(0)]
    assert not queue.wants_thread(idle=0)
    queue.post(errand("C"), urgent=True)
    assert not queue.wants_thread(idle=1)
    assert queue.wants_thread(idle=0)
    polls[0].asked_to_yield = True
    assert not queue.wants_thread(idle=0)
    assert not queue.waits_for(polls[1])


def test_spare_work_goes_last_and_is_not_taken_up_again():
    spare, due = errand("A", spare=True), errand("B")
    plan = ListPlan(spare, due)
    queue = dispatch(plan)
    assert queue.take(0).errand is due
    plan.errands.remove(due)
    job = queue.take(0)
    assert (job.errand, job.spare) == (spare, True)
    assert not queue.wants_line(0)
    plan.errands.append(errand("D"))
    assert queue.wants_line(0)
    queue.end(job, resume=True)
    plan.errands.clear()
    assert queue.take(0) is None


def test_what_waits_is_bounded_and_urgent_errands_always_fit():
    queue = dispatch(capacity=2)
    assert [queue.post(errand(name), urgent=False) for name in "ABC"] == [True, True, False]
    assert queue.post(errand("D"), urgent=True)


# ---- threads and connections ----------------------------------------------------------------------------------------


@contextmanager
def running(framing=Framing.WRAPPER, *, plan=None, workers=4, first_octet_s=10.0):
    stop, opened = Stop(), []

    def connect(meter):
        opened.append(TcpLink(meter.host, meter.port, 2.0))
        return opened[-1]

    pool = TcpPool(
        "mesh",
        connect,
        framing,
        Vault(),
        plan or NoPlan(),
        RealClock(),
        stop,
        ZONE,
        system_title=client_title("JH-RNC-0042"),
        workers=workers,
        timing=LineTiming(first_octet_s=first_octet_s, reply_s=2 * first_octet_s, tries=2),
    )
    pool.opened = opened
    threads = [threading.Thread(target=pool.run, args=(n, lambda: None), daemon=True) for n in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield pool
    finally:
        stop.set()
        for thread in threads:
            thread.join(15)
        assert not any(thread.is_alive() for thread in threads)


@contextmanager
def meters(count, **model):
    serials = [f"TCP{n}" for n in range(count)]
    configs = [MeterConfig(serial, 17 + n, KEYS, port=0) for n, serial in enumerate(serials)]
    with running_line(configs, baud=115200) as line:
        yield (
            line,
            [
                replace(at(serial), model=replace(MODEL, **model), host="127.0.0.1", port=line.tcp[serial])
                for serial in serials
            ],
        )


def read_clock(meter, began=None):
    def work(line):
        with line.associate(meter, Purpose.READ) as association:
            if began:
                began.set()
            return association.serial, association.get(CLOCK)

    return Job(meter, work)


def test_a_silent_meter_holds_up_nobody():
    with meters(6) as (line, found), running(workers=3, first_octet_s=20.0) as pool:
        line.meters["TCP0"].faults.silent = True
        silent = read_clock(found[0])
        pool.post(silent, urgent=False)
        others = [read_clock(meter) for meter in found[1:]]
        for job in others:
            pool.post(job, urgent=False)
        for job, meter in zip(others, found[1:], strict=True):
            assert job.wait().fault is None
            assert job.result[0] == meter.serial
        assert not silent.ended.is_set()
        # The pool ends while that meter is still waited for: the poll is interrupted, not waited out.
    assert isinstance(silent.fault, LinkLost)


def test_a_relay_errand_finds_a_thread_while_all_others_wait_for_silent_meters():
    with meters(4) as (line, found), running(workers=3, first_octet_s=20.0) as pool:
        for n in (0, 1, 2):
            line.meters[f"TCP{n}"].faults.silent = True
            pool.post(read_clock(found[n]), urgent=False)

        def switch(line):
            with line.associate(found[3], Purpose.SWITCH) as association:
                association.act(DISCONNECT, b"\x0f\x00", TestWarrant("TCP3", DISCONNECT, b"\x0f\x00"))
                return association.get(OUTPUT)

        relay = Job(found[3], switch)
        pool.post(relay, urgent=True)
        assert relay.wait().result is False


@pytest.mark.parametrize("same_meter", [True, False])
def test_polls_give_way_between_two_exchanges(same_meter):
    with meters(2) as (_, found), running(workers=2) as pool:
        began, order = threading.Event(), []
        relay_began, go_on = threading.Event(), threading.Event()

        def poll(line):
            with line.associate(found[0], Purpose.READ) as association:
                for _ in range(400):
                    association.get(CLOCK)
                    began.set()
                    if go_on.is_set():
                        break
            order.append("poll")

        def hold(line):
            relay_began.set()
            assert go_on.wait(30)
            order.append("relay elsewhere")

        def relay(line):
            with line.associate(found[0 if same_meter else 1], Purpose.READ) as association:
                association.get(CLOCK)
            order.append("relay")
            go_on.set()

        slow = Job(found[0], poll)
        pool.post(slow, urgent=False)
        assert began.wait(30)
        held = Job(found[1], hold)
        if not same_meter:  # the reserved thread is taken, so the poll must give its own
            held = Job(at("elsewhere"), hold)
            pool.post(held, urgent=True)
            assert relay_began.wait(30)
        job = Job(found[0 if same_meter else 1], relay)
        pool.post(job, urgent=True)
        assert job.wait().fault is None
        slow.wait()
        assert order[0] == "relay"
        assert slow.runs == 2


def test_a_connection_stays_open_between_visits_within_the_limit():
    with meters(1, keep_open=True) as (_, found), running() as pool:
        assert read_and_wait(pool, found[0]).fault is None
        opened = len(pool.opened)
        for _ in range(3):
            assert read_and_wait(pool, found[0]).fault is None
        assert len(pool.opened) == opened


def test_a_connection_that_is_lost_meanwhile_is_opened_anew_in_the_same_visit():
    with meters(1, keep_open=True) as (_, found), running() as pool:
        assert read_and_wait(pool, found[0]).fault is None
        opened = len(pool.opened)
        pool.opened[-1].interrupt()
        job = read_and_wait(pool, found[0])
        assert job.fault is None
        assert job.runs == 1
        assert len(pool.opened) == opened + 1


def test_hdlc_through_a_connection():
    configs = [MeterConfig(f"TCP{n}", 17 + n, KEYS, hdlc_port=0) for n in range(2)]
    with running_line(configs, baud=115200) as line, running(Framing.HDLC_TCP) as pool:
        found = [
            replace(at(serial), host="127.0.0.1", port=port, address=17 + n)
            for n, (serial, port) in enumerate(line.hdlc_tcp.items())
        ]
        for meter in (*found, replace(found[0], model=replace(MODEL, keep_open=True))):
            job = read_and_wait(pool, meter)
            assert job.fault is None
            assert job.result[0] == meter.serial


def read_and_wait(pool, meter):
    job = read_clock(meter)
    pool.post(job, urgent=False)
    return job.wait()


def test_a_meter_that_fails_fails_alone_and_a_bug_ends_nobody(caplog):
    with meters(2) as (line, found), running(first_octet_s=2.0) as pool:
        line.meters["TCP0"].faults.silent = True

        def bug(_line):
            raise ZeroDivisionError("our own")

        jobs = [read_clock(found[0]), Job(found[1], bug), read_clock(replace(found[1], port=1))]
        for job in jobs:
            pool.post(job, urgent=False)
        assert [type(job.wait().fault) for job in jobs] == [MeterSilent, ZeroDivisionError, LinkLost]
        assert read_and_wait(pool, found[1]).fault is None
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


def test_a_fault_of_the_store_ends_the_thread_and_with_it_the_process():
    def work(_line):
        raise StoreFault("disk")

    job, stop = Job(at("A"), work), Stop()
    pool = TcpPool(
        "mesh",
        lambda m: TcpLink(m.host, m.port, 2.0),
        Framing.WRAPPER,
        Vault(),
        NoPlan(),
        RealClock(),
        stop,
        ZONE,
        system_title=client_title("x"),
        workers=2,
    )
    pool.post(job, urgent=False)
    with pytest.raises(StoreFault):
        pool.run(1, lambda: None)
    assert job.faults == 1


def test_too_many_errands_are_refused():
    with running() as pool, pytest.raises(OperatorFault, match="too many"):
        blocker = threading.Event()
        pool.post(Job(at("A"), lambda _line: blocker.wait(10)), urgent=False)
        try:
            for _ in range(5000):
                pool.post(read_clock(at("A")), urgent=False)
        finally:
            blocker.set()
            pool._stop.set()


class EveryMeter:
    """A plan that visits each of its meters so many times, from any thread."""

    def __init__(self, found, rounds):
        self.lock = threading.Lock()
        self.left = {meter.serial: rounds for meter in found}
        self.meters = found
        self.busy_twice, self.at_work, self.faults = [], set(), []
        self.done = threading.Event()

    def due(self, _now, busy=None):
        with self.lock:
            meter = next((m for m in self.meters if self.left[m.serial] and not busy(m)), None)
            return Work(meter, Purpose.READ, self._visit(meter)) if meter else None

    def _visit(self, meter):
        def visit(association):
            with self.lock:
                if meter.serial in self.at_work:
                    self.busy_twice.append(meter.serial)
                self.at_work.add(meter.serial)
            association.get(CLOCK)
            with self.lock:
                self.at_work.discard(meter.serial)
                self.left[meter.serial] -= 1
                if not any(self.left.values()):
                    self.done.set()

        return visit

    def is_due(self, _now, busy=None):
        return any(self.left.values())

    def idle_s(self, _now, busy=None):
        return 0.01


def test_all_threads_share_one_plan():
    with meters(8) as (_, found):
        plan = EveryMeter(found, 4)
        with running(plan=plan, workers=5):
            assert plan.done.wait(60)
        assert plan.busy_twice == []
