"""A thousand meters behind TCP with round trips of two seconds: how long until all are read, and what memory it takes.

A real `dcu field` process with its store on disk reads virtual meters that another process serves on loopback. It knows
nothing of them at the start: counters, capture objects, scalers and the first rows are all part of the time. A meter is
read when a visit to it went through to its end and its block load is held up to the newest interval.
"""

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.figure import Figure
from dcu.headend.keys import make_key
from dcu.headend.pki import Authority
from dcu.sim import MeterConfig, MeterKeys, PtyLine
from dcu.wire import Wire, connect

METERS = 1000
ROUND_TRIP_S = 2.0
WITHIN_S = 900.0
MEMORY_MB = 96.0
LOOK_EVERY_S = 10.0
BLOCK_LOAD = "1.0.99.1.0.255"
KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"password", hls=bytes(range(32, 48)))


@dataclass(frozen=True, slots=True)
class Read:
    """What came of it.

    Attributes:
        meters: how many.
        read: how many were read in time.
        seconds: until the last one was.
        resident_mb, peak_mb: of the field process at the end, and at most.
        rows: intervals of the block load that it held then.
    """

    meters: int
    read: int
    seconds: float
    resident_mb: float
    peak_mb: float
    rows: int


def serial_of(number: int) -> str:
    """Of one meter."""
    return f"TCP{number:08}"


def serve(count: int, round_trip_s: float) -> None:
    """The process of the meters: says its ports in a line, then serves until its input ends."""
    _allow_files()
    configs = [MeterConfig(serial_of(n), 17, KEYS, seed=n, history_s=6 * 3600, port=0) for n in range(count)]
    line = PtyLine(configs, round_trip_ms=round_trip_s * 1000)
    print(json.dumps(line.tcp), flush=True)
    line.run()


def _allow_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


def read_all(count: int = METERS, round_trip_s: float = ROUND_TRIP_S, within_s: float = WITHIN_S) -> Read:
    """Start both, wait until all meters are read or the time is over."""
    with tempfile.TemporaryDirectory() as name, _meters(count, round_trip_s) as ports:
        directory = Path(name)
        _configure(directory, ports, round_trip_s)
        with _field(directory) as process:
            began_s = time.monotonic()
            wire = _wire(directory / "run" / "field.sock", process)
            read, seconds = 0, within_s
            while time.monotonic() - began_s < within_s:
                time.sleep(LOOK_EVERY_S if count > 100 else 1.0)
                found = _pages(wire, "conditions")
                read = sum(meter["condition"] == "ok" for meter in found)
                seconds = time.monotonic() - began_s
                ill = {m["condition"] for m in found} - {"ok", "not read yet"}
                _say(f"{seconds:5.0f} s: {read} of {count} read, {_memory_mb(process.pid)[0]:.1f} MB {sorted(ill)[:2]}")
                if read == count:
                    break
            states = [state for meter in _pages(wire, "meters") for state in meter["profiles"]]
            blocks = [state for state in states if state["profile"] == BLOCK_LOAD]
            fresh = sum(_is_fresh(state) for state in blocks)
            wire.close()
            resident_mb, peak_mb = _memory_mb(process.pid)
            return Read(count, min(read, fresh), seconds, resident_mb, peak_mb, sum(s["held"] for s in blocks))


def _is_fresh(state: dict[str, Any]) -> bool:
    """Whether the newest row is of this interval or, since reading all takes a while, of the one before."""
    if state["until"] is None:
        return False
    return time.time() - datetime.fromisoformat(state["until"]).timestamp() < 2 * state["period_s"] + 60


def _say(text: str) -> None:
    print(f"tcp_meters: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _meters(count: int, round_trip_s: float) -> Iterator[dict[str, int]]:
    command = [sys.executable, "-m", "bench.tcp_meters", "serve", str(count), str(round_trip_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


@contextlib.contextmanager
def _field(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "dcu", "field", "--config", str(directory / "dcu.toml")]
    with (directory / "field.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wire(path: Path, process: subprocess.Popen[bytes]) -> Wire:
    deadline_s = time.monotonic() + 60
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise AssertionError("the field process did not start:\n" + (path.parents[1] / "field.log").read_text())
        time.sleep(0.1)
    return connect(path)


def _pages(wire: Wire, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        wire.send({"ask": what, "from": len(found)})
        page = wire.receive(60.0)["answer"]
        if not page:
            return found
        found += page


def _memory_mb(pid: int) -> tuple[float, float]:
    """(resident, at most so far) of a process, MB of 10^6 octets."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith(("VmRSS", "VmHWM"))}
    return kib["VmRSS"] * 1024 / 1e6, kib["VmHWM"] * 1024 / 1e6


def _configure(directory: Path, ports: dict[str, int], round_trip_s: float) -> None:
    Authority(directory).client("box")
    make_key(directory / "receipt.key")
    trust = directory / "trust.json"
    trust.write_text('{"v":1,"issuer":"hes.test","threshold":2,"root":[],"documents":[]}')
    trust.chmod(0o644)
    secrets = directory / "secrets.toml"
    entry = f'guek = "{KEYS.guek.hex()}"\ngak = "{KEYS.gak.hex()}"\nlls = "password"\nhls = "{KEYS.hls.hex()}"\n'
    secrets.write_text("".join(f"[{serial}]\n{entry}" for serial in ports))
    secrets.chmod(0o600)
    meters = "".join(
        f'[[meter]]\nserial = "{serial}"\nbus = "mesh"\nmodel = "is15959-1ph"\narea = "X"\nsecrets = "{serial}"\n'
        f'host = "127.0.0.1"\nport = {port}\n'
        for serial, port in ports.items()
    )
    (directory / "dcu.toml").write_text(
        f"""version = 1
[dcu]
id = "BENCH-BOX"
state_dir = "state"
run_dir = "run"
timezone = "Asia/Kolkata"
secrets = "secrets.toml"
[uplink]
broker = "mqtts://localhost:8883"
ca = "ca.pem"
certificate = "box.pem"
key = "box.key"
[trust]
keys = "trust.json"
signing_key = "receipt.key"
[bus.mesh]
kind = "wrapper"
reply_s = {max(3, round(2 * round_trip_s))}
{meters}"""
    )


def figures() -> list[Figure]:
    """How many, how soon, in what memory."""
    read = read_all()
    name = f"{read.meters} TCP meters, round trip {ROUND_TRIP_S:g} s"
    all_read = read.read == read.meters
    return [
        Figure(f"{name}: read within 15 minutes of a cold start", read.read, "meters", str(read.meters), all_read),
        Figure(f"{name}: until the last is read", round(read.seconds), "s", "<= 900", all_read and read.seconds <= 900),
        Figure(f"{name}: resident memory, at most", round(read.peak_mb, 1), "MB", "aim < 96", read.peak_mb < 96),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), float(sys.argv[3]))
