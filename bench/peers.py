"""A popular gateway's SQLite storage beside ours: what each accepted and lost at a kill -9, and how fast.

thingsboard-gateway comes from the package registry, without its dependencies, into an environment of its own below the
bench's temporary directory; nothing of it is imported here. Both sides get the same messages (JSON of a reading, about
265 octets) in a process of their own. *Accepted* is what the storage's own call said: `put` returned True there, and
`transact` returned here.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import closing
from pathlib import Path
from statistics import median

from bench.figure import Figure, at_least, at_most, stated
from dcu.record import Stream
from tests.store.running_store import running

PACKAGE = "thingsboard-gateway==3.8.5"
ACCEPTED = 20_000
COUNT = 100_000
BATCH = 100
PAIRS = 3

PEER = """
import glob, json, logging, sqlite3, sys, threading, time
from thingsboard_gateway.storage.sqlite.sqlite_event_storage import SQLiteEventStorage

def message(n):
    return json.dumps({"deviceName": f"GXT2093{n % 250:04}", "deviceType": "meter", "telemetry": [{"ts": 1790000000000 +
        n * 900000, "values": {"v": 2301 + n % 99, "i": n % 700, "kwh": n, "kvah": n + 1, "pf": 97, "f": 5001,
        "kwh_export": 0, "kvah_export": 0, "status": 0}}], "attributes": []})

class Log(logging.Logger):
    def trace(self, *words, **more):
        pass

what, directory, count = sys.argv[1], sys.argv[2] + "/", int(sys.argv[3])
storage = SQLiteEventStorage({"data_file_path": directory}, Log("peer", logging.CRITICAL), threading.Event())
began = time.perf_counter()
accepted = sum(bool(storage.put(message(n))) for n in range(count))
if what == "kill":
    print(json.dumps({"accepted": accepted, "seconds": time.perf_counter() - began}), flush=True)
    time.sleep(60)
while True:
    with sqlite3.connect(glob.glob(directory + "*.db")[0], timeout=30) as raw:
        if raw.execute("SELECT count(*) FROM messages").fetchone()[0] >= count:
            break
    time.sleep(0.02)
put_s, began, got = time.perf_counter() - began, time.perf_counter(), 0
while got < count and time.perf_counter() - began < 120:
    got += len(storage.get_event_pack() or [])
    storage.event_pack_processing_done()
print(json.dumps({"put_s": put_s, "get_s": time.perf_counter() - began, "got": got}), flush=True)
import os
os._exit(0)
"""


def message(n: int) -> bytes:
    """The same as the peer's."""
    values = {"v": 2301 + n % 99, "i": n % 700, "kwh": n, "kvah": n + 1, "pf": 97, "f": 5001}
    values |= {"kwh_export": 0, "kvah_export": 0, "status": 0}
    telemetry = [{"ts": 1790000000000 + n * 900000, "values": values}]
    name = f"GXT2093{n % 250:04}"
    return json.dumps({"deviceName": name, "deviceType": "meter", "telemetry": telemetry, "attributes": []}).encode()


def install(directory: Path) -> Path:
    """The python that has the peer. Raises CalledProcessError where the registry does not give it."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", PACKAGE]
    subprocess.run(command, check=True, timeout=600, stdout=subprocess.DEVNULL)
    return python


def _killed(command: list[str | Path]) -> dict:
    """Start it, kill it as soon as it says what was accepted, and give back what it said."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    return said


def peer(python: Path, scratch: Path) -> tuple[int, int, float, float]:
    """(accepted, of these lost at a kill, put/s until all is committed, get/s)."""
    killed, rated = scratch / "peer-killed", scratch / "peer-rated"
    for directory in (killed, rated):
        directory.mkdir()
    said = _killed([python, "-c", PEER, "kill", str(killed), str(ACCEPTED)])
    [path] = killed.glob("*.db")
    with closing(sqlite3.connect(path)) as raw:
        (held,) = raw.execute("SELECT count(*) FROM messages").fetchone()
    done = subprocess.run(
        [python, "-c", PEER, "rate", str(rated), str(COUNT)], check=True, stdout=subprocess.PIPE, timeout=600
    )
    rate = json.loads(done.stdout.splitlines()[-1])
    return said["accepted"], said["accepted"] - held, COUNT / rate["put_s"], rate["got"] / rate["get_s"]


def ours(scratch: Path) -> tuple[int, int, float, float]:
    """The same of our store, a hundred messages to a commit, as a poll cycle has them."""
    directory = scratch / "ours-killed"
    directory.mkdir()
    rated = scratch / "ours-rated"
    rated.mkdir()
    said = _killed([sys.executable, "-m", "bench.peers", "kill", str(directory)])
    with closing(sqlite3.connect(directory / "dcu.db")) as raw:
        (held,) = raw.execute("SELECT count(*) FROM record_profile").fetchone()
    command = [sys.executable, "-m", "bench.peers", "rate", str(rated)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600)
    told = json.loads(done.stdout)
    return said["accepted"], said["accepted"] - held, COUNT / told["put_s"], told["got"] / told["get_s"]


def _put(store, count: int) -> None:
    for first in range(0, count, BATCH):
        bodies = [message(n) for n in range(first, first + BATCH)]
        store.transact(lambda tx, bodies=bodies: [tx.append(Stream.PROFILE, body) for body in bodies])


def live(directory: Path) -> None:
    """Accept, say so, wait for the end."""
    with running(directory / "dcu.db") as it:
        _put(it.store, ACCEPTED)
        print(json.dumps({"accepted": ACCEPTED}), flush=True)
        time.sleep(60)


def rate(directory: Path) -> None:
    """Accept, hand out and let the cursor pass; say how long each took."""
    with running(directory / "dcu.db") as it:
        began = time.perf_counter()
        _put(it.store, COUNT)
        put_s, began, got = time.perf_counter() - began, time.perf_counter(), 0
        while batch := it.store.transact(lambda tx: tx.next_batch({}, 200 * 1024)):
            got = batch.first + len(batch.bodies) - 1
            it.store.transact(lambda tx, last=got: tx.deliver(Stream.PROFILE, last))
        print(json.dumps({"put_s": put_s, "get_s": time.perf_counter() - began, "got": got}), flush=True)


def figures() -> list[Figure]:
    """Both, one behind the other and turn about, three times: the median of the ratios."""
    found = []
    with tempfile.TemporaryDirectory(prefix="dcu-peers-") as name:
        scratch = Path(name)
        try:
            python = install(scratch / "venv")
        except (subprocess.SubprocessError, OSError):
            return [Figure(f"{PACKAGE}: could not be installed, not measured", 0, "-", "stated", ok=False)]
        for number in range(PAIRS):
            directory = scratch / str(number)
            directory.mkdir()
            steps = [lambda d=directory: ours(d), lambda d=directory: peer(python, d)]
            taken = [step() for step in (steps if number % 2 else steps[::-1])]
            found.append(taken if number % 2 else taken[::-1])
    accepted, lost = (sum(pair[0][n] for pair in found) for n in (0, 1))
    their_accepted, their_lost = (sum(pair[1][n] for pair in found) for n in (0, 1))
    put, get = (median(pair[0][n] / pair[1][n] for pair in found) for n in (2, 3))
    share = 100 * their_lost / their_accepted
    return [
        at_most(f"accepted and lost at kill -9, of {accepted}: ours", lost, 0, "messages", 0),
        stated(f"the same, of {their_accepted}: {PACKAGE}", their_lost, f"messages, {share:.0f} %", 0),
        stated(f"durable put, {BATCH} to a commit and synced, over {PACKAGE} without sync", put, "ours/its"),
        stated("durable put: ours", median(pair[0][2] for pair in found), "messages/s", 0),
        stated(f"put until committed: {PACKAGE}", median(pair[1][2] for pair in found), "messages/s", 0),
        at_least(f"get and acknowledge durably, over {PACKAGE}", get, 1, "ours/its"),
        stated("get and acknowledge: ours", median(pair[0][3] for pair in found), "messages/s", 0),
        stated(f"get and acknowledge: {PACKAGE}", median(pair[1][3] for pair in found), "messages/s", 0),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["kill"]:
        live(Path(sys.argv[2]))
        os._exit(0)
    if sys.argv[1:2] == ["rate"]:
        rate(Path(sys.argv[2]))
    else:
        for figure in figures():
            print(figure)
