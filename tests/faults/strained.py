"""Rows in which a whole box loses its adapter, or most of its processor."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import cbor2

from tests.e2e.conftest import SERIALS
from tests.faults.boxes import line_of
from tests.faults.report import Line
from tests.faults.run import Run
from tests.faults.whole import BLOCK_LOAD, PERIOD_S, Watchdog, WholeBox, whole_box

REOPENED_S = 5.0
FEW_FDS = 2
WATCHDOG_S = 60.0
"""WatchdogSec of dcu-field.service."""


def unplugged(run: Run) -> Line:
    """The adapter is pulled and plugged in as another tty, whose by-path link is the same."""
    times, back, names, descriptors = run.of(2, 30), [], set(), []
    directory = run.scratch / "adapter"
    directory.mkdir()
    with whole_box(directory) as box:
        box.start()
        box.until_held(1)
        for _ in range(times):
            name = os.path.realpath(box.line.port)
            names.add(name)
            box.line.unplug()
            box.until(lambda: _bus(box) not in {"ok", None}, "the bus is down")
            spares = _until_taken(name)
            box.line.replug()
            began = time.monotonic()
            box.until(lambda: _bus(box) == "ok", "the bus is open again")
            back.append(time.monotonic() - began)
            descriptors.append(len(list(Path(f"/proc/{box.process.pid}/fd").iterdir())))
            for fd in spares:
                os.close(fd)
        box.until_held(2)
        box.stop()
        proof = box.proof()
    recovery = (
        f"line open again {max(back):.1f} s after it is there, at most; {box.starts - 1} restarts; "
        f"descriptors {descriptors[0]} and then {descriptors[-1]}"
    )
    injection = "a pty is closed, another one takes its link"
    good = max(back) <= REOPENED_S and descriptors[-1] <= descriptors[0] + FEW_FDS and len(names) > 1
    fault = "adapter pulled, plugged in as another tty"
    return line_of(17, fault, injection, f"{times} times", proof, recovery, good=good)


def _until_taken(name: str, most: int = 64) -> list[int]:
    """Open ptys until one has that name: the line is to come back under another."""
    opened: list[int] = []
    for _ in range(most):
        opened += os.openpty()
        if os.ttyname(opened[-1]) == name:
            break
    return opened


def _bus(box: WholeBox) -> str | None:
    """What the box says of its line; None where it does not answer."""
    answer = box.ask("status")
    return answer["buses"][0]["condition"] if answer and answer["buses"] else None


def little_cpu(run: Run) -> Line:
    """A quarter of a processor: the process is stopped for 75 ms of each 100."""
    seconds = run.of(10, 120)
    directory = run.scratch / "cpu"
    directory.mkdir()
    with whole_box(directory) as box:
        watchdog = Watchdog(directory / "notify")
        box.environment = {"NOTIFY_SOCKET": str(directory / "notify")}
        box.start()
        box.until_held(1)
        with _throttled(box, 0.025, 0.1):
            unfed_s = watchdog.wait_unfed(WATCHDOG_S, within_s=seconds)
        box.until_held(1)
        box.stop()
        proof, late_s = box.proof(), _latest_s(box.directory / "state" / "dcu.db")
    recovery = (
        f"{box.starts - 1} restarts, watchdog {'fed' if unfed_s is None else 'NOT fed'}; an interval of {PERIOD_S} s "
        f"is read {late_s} s after its end, at the latest"
    )
    injection = "SIGSTOP for 75 ms of each 100 ms"
    good = box.starts == 1 and unfed_s is None
    return line_of(41, "a quarter of a processor", injection, f"{seconds} s", proof, recovery, good=good)


@contextmanager
def _throttled(box: WholeBox, runs_s: float, of_s: float) -> Iterator[None]:
    ended, pid = threading.Event(), box.process.pid

    def throttle() -> None:
        while not ended.wait(runs_s):
            os.kill(pid, signal.SIGSTOP)
            ended.wait(of_s - runs_s)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _latest_s(path: Path) -> int:
    """Longest time from the end of an interval to its reading; the first poll of each meter reads history."""
    late = []
    with closing(sqlite3.connect(path)) as raw:
        bodies = [cbor2.loads(body) for (body,) in raw.execute("SELECT body FROM record_profile ORDER BY id")]
    for serial in SERIALS:
        own = [each for each in bodies if each["meter"] == serial and each["profile"] == BLOCK_LOAD]
        late += [each["read_at"] - min(at for at, *_ in each["rows"]) for each in own[1:]]
    return max(late, default=0)
