"""A process of loops: it ends when told, and when one falls; the watchdog is fed by real progress only."""

import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from dcu.mailbox import Stop
from dcu.supervisor import Pulse, notify

PROGRAM = textwrap.dedent(
    """
    import sys, threading, time
    from dcu.clock import SystemClock
    from dcu.mailbox import Stop
    from dcu.supervisor import Pulse, Supervisor, Unit

    clock, stop, last = SystemClock(), Stop(), Stop()
    pulses = {name: Pulse(clock, 0.5 if name == "stuck" else 60) for name in ("good", "other", "store")}
    order = []

    def good():
        while not stop.wait(0.05):
            pulses["good"].beat()
        order.append("good")

    def other():
        if sys.argv[1] == "falls":
            raise RuntimeError("fell")
        if sys.argv[1] == "returns":
            return
        while not stop.wait(0.05):
            pulses["other"].beat()
        order.append("other")

    def store():
        while not last.wait(0.05):
            pulses["store"].beat()
        order.append("store")

    if sys.argv[1] == "stuck":
        pulses["other"] = Pulse(clock, 0.2)
        def other():
            stop.wait(30)
    units = [
        Unit("store", store, pulses["store"], ends_last=True),
        Unit("good", good, pulses["good"]),
        Unit("other", other, pulses["other"]),
    ]
    def tick():
        if sys.argv[1] == "stumbles":
            raise RuntimeError("fell in the main thread")

    code = Supervisor(units, stop, last, clock, tick).run()
    print(order[-1:], flush=True)
    sys.exit(code)
    """
)


@pytest.fixture
def systemd(tmp_path):
    """A socket in systemd's place."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        yield listener


def start(how, systemd):
    environment = os.environ | {"NOTIFY_SOCKET": systemd.getsockname()}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_it_is_ready_is_fed_and_ends_when_told_with_the_store_last(systemd):
    child = start("lives", systemd)
    assert systemd.recv(64) == b"READY=1"
    assert systemd.recv(64) == b"WATCHDOG=1"
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=20)
    assert (child.returncode, out.strip()) == (0, b"['store']")


@pytest.mark.parametrize("how", ["falls", "returns"])
def test_a_loop_that_ends_ends_the_process(how, systemd):
    child = start(how, systemd)
    out, err = child.communicate(timeout=20)
    assert child.returncode == 1
    assert out.strip() == b"['store']", "the store still ends in order"
    assert (b"fell" in err) == (how == "falls")


def test_what_is_done_in_the_main_thread_ends_the_process_in_order_too(systemd):
    child = start("stumbles", systemd)
    out, err = child.communicate(timeout=20)
    assert child.returncode == 1
    assert out.strip() == b"['store']" and b"fell in the main thread" in err
    said = [systemd.recv(64) for _ in range(2)]
    assert said[0] == b"READY=1" and said[-1] in {b"WATCHDOG=1", b"STOPPING=1"}


def test_a_loop_without_progress_stops_the_watchdogs_food(systemd):
    child = start("stuck", systemd)
    assert systemd.recv(64) == b"READY=1"
    _, err = b"", child.stderr.readline()
    assert b"no progress in: other" in err
    systemd.settimeout(2.5)
    with pytest.raises(TimeoutError):
        while True:
            assert systemd.recv(64) != b"STOPPING=1"
    child.kill()
    child.communicate()


def test_without_systemd_nothing_is_told(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_pulse_is_late_after_its_limit():
    class Clock:
        at = 0.0

        def monotonic_s(self):
            return self.at

    clock = Clock()
    pulse = Pulse(clock, 5)
    clock.at = 6
    assert pulse.late_s() == 1
    pulse.beat()
    assert pulse.late_s() == -5


def test_stop_wakes_who_waits():
    stop = Stop()
    stop.set()
    assert stop
    assert stop.wait(60)
