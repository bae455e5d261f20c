"""A whole box on a virtual line: the real field process, started again when it falls, as systemd does.

What it read is compared with what the meters wrote down at the moment of capture: an interval that is neither missing
nor twice was held, whatever happened to the process in between.
"""

import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import cbor2

from dcu.demo.proof import Completeness, captured, compare
from dcu.errors import SocketFault
from dcu.sim import MeterConfig, running_line
from dcu.sim.running import PtyLine
from dcu.wire import connect
from tests.e2e.conftest import KEYS, SERIALS, write_configuration
from tests.faults.judge import announced
from tests.faults.nursery import Field

PERIOD_S = 5
AGAIN_S = 0.5
"""RestartSec: how long the one who starts it again waits."""

RINGS = {"1.0.99.1.0.255", "1.0.99.2.0.255"}
BLOCK_LOAD = "1.0.99.1.0.255"


class WholeBox:
    """Its directory, its line, and whoever keeps the field process running.

    Args:
        directory: of the configuration; the state is in `state` below it.
        program: what is run in place of `python -m dcu`.
        before: words in front of the command, e.g. prlimit's.
        forked: by the nursery, and `program`, `before` and `environment` mean nothing.

    Attributes:
        starts: how often the process was started.
        codes: how it ended each time.
        line: that its meters hang on.
    """

    line: PtyLine

    def __init__(
        self,
        directory: Path,
        *,
        program: Sequence[str] = ("-m", "dcu"),
        before: Sequence[str] = (),
        forked: bool = False,
    ) -> None:
        self.directory = directory
        self.program, self.before, self._forked = list(program), list(before), forked
        self.starts = 0
        self.codes: list[int] = []
        self.process: subprocess.Popen[bytes] | Field | None = None
        self.environment: dict[str, str] = {}
        self._wanted = threading.Event()
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        """Run it from now on."""
        self._wanted.set()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """End it in order."""
        self._wanted.clear()
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.terminate()
        if self._keeper is not None:
            self._keeper.join(60)

    def _keep(self) -> None:
        command = [*self.before, sys.executable, *self.program, "field", "--config", str(self.directory / "dcu.toml")]
        while self._wanted.is_set():
            if self._forked:
                self.process = Field(command[-3:], self.directory / "field.log")
            else:
                with (self.directory / "field.log").open("ab") as log:
                    self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | self.environment)
            self.starts += 1
            self.codes.append(self.process.wait())
            if self._wanted.is_set():
                time.sleep(AGAIN_S)

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self.process is not None:
            self.process.kill()

    def ask(self, what: str) -> list | dict | None:
        """What the process answers on field.sock; None where it does not."""
        try:
            wire = connect(self.directory / "run" / "field.sock", timeout_s=2.0)
        except SocketFault:
            return None
        try:
            wire.send({"ask": what} | ({"from": 0} if what == "meters" else {}))
            return wire.receive(20.0)["answer"]
        except (SocketFault, KeyError):
            return None
        finally:
            wire.close()

    def held(self) -> int:
        """Block load intervals that it says it holds, of the meter with the fewest; 0 where it does not answer."""
        meters = self.ask("meters") or []
        counts = [sum(p["held"] for p in m["profiles"] if p["profile"] == BLOCK_LOAD) for m in meters]
        return min(counts, default=0)

    def until_held(self, more: int, within_s: float = 120.0) -> float:
        """Seconds until it holds that many intervals more of each meter than at first. Raises AssertionError."""
        began, first = time.monotonic(), None
        while time.monotonic() - began < within_s:
            held = self.held()
            if held:
                first = held if first is None else first
                if held >= first + more:
                    return time.monotonic() - began
            time.sleep(0.2)
        raise AssertionError(f"no {more} intervals within {within_s:g} s:\n{self.log[-3000:]}")

    def until(self, there: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        """Wait for something that the box shows. Raises AssertionError."""
        deadline = time.monotonic() + within_s
        while not there():
            assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}\n{self.log[-3000:]}"
            time.sleep(0.1)

    @property
    def log(self) -> str:
        """What it said."""
        file = self.directory / "field.log"
        return file.read_text() if file.exists() else ""

    def announced(self) -> tuple[int, int]:
        """(records that were dropped and announced, ids that are gone unannounced), of the stopped box's store."""
        with closing(sqlite3.connect(self.directory / "state" / "dcu.db")) as raw:
            return announced(raw)

    def proof(self) -> Completeness:
        """Of the stopped box's store against the meters' ledgers."""
        with closing(sqlite3.connect(self.directory / "state" / "dcu.db")) as raw:
            bodies = [cbor2.loads(body) for (body,) in raw.execute("SELECT body FROM record_profile ORDER BY id")]
        got = [record for record in bodies if record["profile"] in RINGS]
        newest = [
            max((at for r in got if r["meter"] == s and r["profile"] == BLOCK_LOAD for at, *_ in r["rows"]), default=0)
            for s in SERIALS
        ]
        ledgers = self.directory / "ledger"
        lines = ((s, (ledgers / f"{s}.jsonl").read_text().splitlines()) for s in SERIALS)
        until_s = min(newest)
        return compare(captured(lines, until_s), got, until_s)


@contextmanager
def whole_box(directory: Path, **options) -> Iterator[WholeBox]:
    """A box with three meters on one line, not yet started; stopped at the end."""
    configs = [
        MeterConfig(s, address=17 + n, keys=KEYS, seed=n, capture_period_s=PERIOD_S, history_s=60)
        for n, s in enumerate(SERIALS)
    ]
    with running_line(configs, baud=57600, ledger=directory / "ledger", link=directory / "rs485") as line:
        write_configuration(directory, directory / "rs485", line.tcp)
        box = WholeBox(directory, **options)
        box.line = line
        try:
            yield box
        finally:
            box.stop()


@contextmanager
def mounted(place: Path, megabytes: float) -> Iterator[Path]:
    """A file system of its own in memory. Raises OSError where nothing may be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * 1024)}k", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def kills(
    directory: Path, count: int, seed: object, *, forked: bool = False
) -> tuple[WholeBox, Completeness, list[float]]:
    """kill -9 of the field process of a whole box, again and again; the seconds until it answered again."""
    dice, back = random.Random(f"whole/{seed}"), []
    with whole_box(directory, forked=forked) as box:
        box.start()
        box.until_held(1)
        for _ in range(count):
            time.sleep(dice.uniform(0.1, 2.5))
            box.kill()
            began = time.monotonic()
            box.until_held(0)
            back.append(time.monotonic() - began)
        box.until_held(2)
        box.stop()
        return box, box.proof(), back


class Watchdog:
    """systemd's side of sd_notify: what it was told, and a watchdog that kills.

    Args:
        path: of the socket that the process is given as NOTIFY_SOCKET.
    """

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        self._sock.settimeout(0.5)

    def wait_unfed(self, limit_s: float, within_s: float) -> float | None:
        """Seconds until nobody fed it for `limit_s`; None when it was fed all the time."""
        began = fed = time.monotonic()
        while time.monotonic() - began < within_s:
            try:
                if b"WATCHDOG=1" in self._sock.recv(4096):
                    fed = time.monotonic()
            except TimeoutError:
                pass
            if time.monotonic() - fed > limit_s:
                return time.monotonic() - began
        return None
