"""The box's own bus on real ptys and sockets that echo, garble, hold, babble, carry HDLC, or end in an optical head."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from dcu import obis
from dcu.config.meter_models import shipped
from dcu.drivers.bus import Framing
from dcu.drivers.data_link import LineTiming
from dcu.drivers.serial_link import SerialLink
from dcu.drivers.tcp_link import TcpLink
from dcu.errors import AddressClash, DcuError, EchoHeard, MeterSilent
from dcu.meter import AttributeRef, ClassId, Meter, Purpose, Quirk
from dcu.sim import MeterConfig, Noise, running_line

from .bench import KEYS, SECRETS
from .test_bus import BAUD, QUICK, ROOMY, SERIALS, Job, running

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)
SERIAL = AttributeRef(ClassId.DATA, obis.SERIAL_NUMBER, 2)
MODEL = shipped()["is15959-1ph"]
LOSSY = LineTiming(first_octet_s=1.0, octet_gap_s=0.25, reply_s=4.0, tries=8)
"""Where requests are lost: the gap is longer than a meter waits for the rest of what seems to be a frame."""


def reads(meter, count=1):
    """Read serial and clock `count` times in one association."""

    def work(line):
        with line.associate(meter, Purpose.READ) as association:
            return [association.get_list([SERIAL, CLOCK])[0] for _ in range(count)]

    return Job(meter, work)


def done(worker, job):
    worker.post(job, urgent=False)
    return job.wait()


@contextmanager
def bus(*configs, timing=ROOMY, baud=BAUD, **line):
    with running_line(configs, baud=baud, turnaround_ms=1, **line) as virtual, on(virtual, timing, baud) as worker:
        yield virtual, worker


def on(line, timing, baud=BAUD):
    return running(lambda _meter: SerialLink(str(line.port), baud), timing=timing)


def meter(number=0, address=17, **model):
    return Meter(SERIALS[number], "north", replace(MODEL, **model), address, "JH-RNC", SECRETS)


def config(number=0, address=17, **what):
    return MeterConfig(SERIALS[number], address, KEYS, **what)


def test_an_echoing_adapter_is_no_hindrance_and_told_once_and_a_dead_meter_on_it_is_named(caplog):
    caplog.set_level("INFO")
    with running_line([config()], baud=BAUD, turnaround_ms=1, echo=True) as line:
        with on(line, ROOMY) as worker:
            for _ in range(2):
                assert done(worker, reads(meter(), 3)).fault is None
            assert caplog.text.count("its adapter hears what it sends") == 1
        with on(line, QUICK) as worker:
            assert isinstance(done(worker, reads(meter(1, 99))).fault, EchoHeard)


def test_two_meters_at_one_address_are_named():
    with bus(config(), config(1), seed=3) as (_, worker):
        assert isinstance(done(worker, reads(meter())).fault, AddressClash)


@pytest.mark.parametrize(
    ("name", "value"),
    [("leading_zeros", 2), ("double_llc", True), ("repeat", True), ("bare_ua", True), ("exclusive", True)],
)
def test_quirks_of_a_meter_are_no_hindrance(name, value):
    with bus(config(max_info=500, window=3), timing=LOSSY) as (line, worker):
        setattr(line.meters[SERIALS[0]].faults.link, name, value)
        for _ in range(2):
            job = done(worker, reads(meter(max_info_bytes=500, window=3), 2))
            assert job.fault is None
            assert job.result == [SERIALS[0].encode()] * 2


@pytest.mark.parametrize(("name", "value"), [("hold", 0x7E), ("half_frame", True)])
def test_a_meter_that_ruins_the_line_is_one_fault_and_it_works_again_behind_it(name, value):
    with running_line([config(), config(1, 18)], baud=BAUD, turnaround_ms=1) as line:
        faults = line.meters[SERIALS[1]].faults.link
        setattr(faults, name, value)
        with on(line, QUICK) as worker:
            assert isinstance(done(worker, reads(meter(1, 18))).fault, DcuError)
        setattr(faults, name, type(value)() if isinstance(value, bool) else None)
        with on(line, ROOMY) as worker:
            assert done(worker, reads(meter(0))).fault is None


def test_a_babbling_meter_costs_tries_and_no_wrong_value():
    with bus(config(), config(1, 18), timing=LOSSY) as (line, worker):
        line.meters[SERIALS[1]].faults.link.babble_s = 0.7
        jobs = [done(worker, reads(meter())) for _ in range(5)]
        assert all(job.result in (None, [SERIALS[0].encode()]) for job in jobs)
        assert sum(job.fault is None for job in jobs) >= 3


def test_noise_brings_no_wrong_value():
    """One bit in ten thousand, as on a bad wire: every value is right, and nearly every read ends well."""
    with bus(config(), config(1, 18), noise=Noise(bit_error_rate=1e-4), seed=5, timing=LOSSY) as (_, worker):
        jobs = [done(worker, reads(meter(n % 2, 17 + n % 2), 4)) for n in range(12)]
        for number, job in enumerate(jobs):
            assert job.result in (None, [SERIALS[number % 2].encode()] * 4)
        assert sum(job.fault is None for job in jobs) >= 10


def test_hdlc_over_tcp():
    """A gateway that carries HDLC frames, with the round trip of a radio mesh; windows as on a line without pace."""
    meters = config(hdlc_port=0, max_info=2030, window=7)
    with running_line([meters], round_trip_ms=50) as line:
        behind = replace(meter(max_info_bytes=2030, window=7), host="127.0.0.1", port=line.hdlc_tcp[SERIALS[0]])
        with over_tcp(10.0) as worker:
            for purpose in Purpose:
                job = Job(behind, lambda lent, purpose=purpose: _serial(lent, behind, purpose))
                assert done(worker, job).fault is None
                assert job.result == SERIALS[0]
        with over_tcp(1.0) as worker:
            assert isinstance(done(worker, reads(replace(behind, address=18))).fault, MeterSilent)
            assert done(worker, reads(behind)).fault is None


def over_tcp(first_octet_s):
    timing = LineTiming.over_tcp(first_octet_s=first_octet_s, tries=2)
    return running(lambda m: TcpLink(m.host, m.port, 5.0), Framing.HDLC_TCP, timing=timing)


def _serial(line, behind, purpose):
    with line.associate(behind, purpose) as association:
        association.get(CLOCK)
        return association.serial


def test_a_meter_behind_an_optical_head():
    with bus(config(mode_e_baud=9600), timing=LineTiming.at_baud(19200), baud=19200) as (_, worker):
        behind = meter(quirks=frozenset({Quirk.MODE_E}))
        job = done(worker, reads(behind, 2))  # two associations: the public client's is for the counter
        assert job.fault is None
        assert job.result == [SERIALS[0].encode()] * 2
