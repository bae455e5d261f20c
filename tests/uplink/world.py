"""The real parts around a test: field's store and socket, the uplink in threads or as a process, the head-end."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from dcu.clock import SystemClock
from dcu.command import Refusal
from dcu.errors import SocketFault
from dcu.field.quarantine import Quarantine
from dcu.field.sealing import Sealing
from dcu.field.uplink_socket import UplinkSocket
from dcu.headend.contract import Contract
from dcu.headend.link import ALL_BATCHES, ALL_STATES, HeadEndLink
from dcu.headend.listen import Listener
from dcu.mailbox import Bell, Stop
from dcu.store import SealedFile, SqliteStore
from dcu.uplink.backoff import to_broker
from dcu.uplink.dials import Dials
from dcu.uplink.inbox import Inbox
from dcu.uplink.publisher import Publisher
from dcu.uplink.rivals import Rivals
from dcu.wire import connect
from tests.records import record

DCU = "JH-RNC-0042"
ROOT = Path(__file__).resolve().parent.parent.parent
CONTRACT = Contract()


def until(predicate, timeout_s=30.0):
    """The first true answer; for what another process or thread does without telling us."""
    deadline = time.monotonic() + timeout_s
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen in {timeout_s:g} s")
        time.sleep(0.01)
    return answer


class Field:
    """Field's side: a real store on disk and the socket's server, each in its thread."""

    def __init__(self, directory, put=None, *, allowed_uids=None, frame_s=2.0):
        self.path = directory / "uplink.sock"
        self.puts, self.links, self.refused_cursors = [], [], []
        self.stop, self._last = Stop(), Stop()
        self.bell = Bell(self.stop)
        self.store = SqliteStore.open(
            directory / "dcu.db",
            stop=self._last,
            clock=SystemClock(),
            beat=lambda: None,
            dcu=DCU,
            on_append=self.bell.ring,
        )
        self.seals = SealedFile.beside(directory / "dcu.db")
        self.seals.begin(self.store.epoch)
        self.socket = UplinkSocket(
            self.path,
            store=self.store,
            put=put or self._put,
            set_aside=Quarantine(self.store, SystemClock()).set_aside,
            note_link=self.links.append,
            cursor_refused=self.refused_cursors.append,
            bell=self.bell,
            dcu=DCU,
            version="1.2.3",
            stop=self.stop,
            beat=lambda: None,
            allowed_uids={os.getuid()} if allowed_uids is None else allowed_uids,
            seals=self.seals,
            frame_s=frame_s,
        )
        self.fallen = []
        self._threads = [threading.Thread(target=self._run, args=(r,)) for r in (self.store.run, self.socket.run)]
        for thread in self._threads:
            thread.start()

    def _run(self, loop):
        try:
            loop()
        except Exception as fault:
            self.fallen.append(fault)

    def _put(self, octets, topic, qos, retained):
        self.puts.append((octets, topic, qos, retained))
        return SimpleNamespace(status="refused", code=Refusal.E_JSON)

    def append(self, stream, count):
        """So many records, in one commit; the last id."""
        return self.store.transact(lambda tx: [tx.append(stream, *record(stream, n)) for n in range(count)])[-1]

    def seal(self):
        """Make the payloads of what waits, as field does while the network is away."""
        Sealing(self.store, self.seals, DCU, SystemClock(), self.stop, lambda: None, away_s=0.0, pause_s=0.0).look()

    def delivered(self, stream):
        return self.store.transact(lambda tx: tx.cursors())[stream][0]

    def close(self):
        self.stop.set()
        with suppress(SocketFault):
            connect(self.path).close()  # wakes the accepting loop
        self._threads[1].join(10)
        self._last.set()
        self._threads[0].join(10)
        self.seals.close()
        self.store.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Uplink:
    """The uplink's two loops in threads of this process; `beat` is called at each turn of the publisher."""

    def __init__(self, directory, endpoint, *, dcu=DCU, beat=lambda: None, **dials):
        self.stop = Stop()
        dials = {"backoff_max_s": 0.2, "idle_ms": 50, "busy_ms": 20} | dials
        path = directory / "uplink.sock"
        self.inbox = Inbox(path, dcu, self.stop, lambda: None)
        self.publisher = Publisher(path, dcu, endpoint, Dials(**dials), self.inbox.post, self.stop, beat)
        self._threads = [threading.Thread(target=loop) for loop in (self.publisher.run, self.inbox.run)]
        for thread in self._threads:
            thread.start()

    def close(self):
        self.stop.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a loop of the uplink did not end"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


PROCESS = """
import json, logging, sys
from pathlib import Path
from types import SimpleNamespace
from dcu.uplink_main import run_uplink
logging.basicConfig(level=logging.INFO)
given = json.loads(sys.argv[1])
uplink = {k: Path(v) if k in ("ca", "certificate", "key") else v for k, v in given["uplink"].items()}
dcu = SimpleNamespace(id=given["dcu"], run_dir=Path(given["run_dir"]))
sys.exit(run_uplink(SimpleNamespace(dcu=dcu, uplink=SimpleNamespace(**uplink))))
"""


def uplink_process(directory, endpoint, log, **more):
    """A real uplink process, by the composition root that `dcu uplink` runs."""
    uplink = {
        "host": endpoint.host,
        "port": endpoint.port,
        "ca": str(endpoint.ca),
        "certificate": str(endpoint.certificate),
        "key": str(endpoint.key),
        "encoding": "cbor",
        "backoff_max_s": 0.2,
    }
    config = json.dumps({"dcu": DCU, "run_dir": str(directory), "uplink": uplink | more})
    with log.open("ab") as file:
        return subprocess.Popen([sys.executable, "-c", PROCESS, config], cwd=ROOT, stdout=file, stderr=file)


class HeadEnd:
    """The head-end: link and listener in a thread; each message, or one of so many, is held against the contract."""

    def __init__(self, endpoint, *, filters=(ALL_BATCHES, ALL_STATES), client_id="hes", keeping=None, check_each=1):
        self.items, self.states, self.messages, self._check_each = [], [], [], check_each
        self.stop = Stop()
        self.link = HeadEndLink(endpoint, self.stop, filters=filters, client_id=client_id, backoff_max_s=0.2)
        self.listener = Listener(
            self.link,
            keeping,
            on_item=self.items.append,
            on_state=lambda dcu, state: self.states.append((dcu, state)),
            check=lambda *message: self.messages.append(message),
        )
        self.link.open()
        self._thread = threading.Thread(target=self.listener.run, args=(self.stop,))
        self._thread.start()

    def ids(self, stream):
        return sorted(i.id for i in self.items if i.series.stream is stream)

    def close(self):
        self.stop.set()
        self._thread.join(10)
        self.link.close()
        for message in self.messages[:: self._check_each]:
            CONTRACT.check(*message)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


MOST_CONNECTS_AN_HOUR = 40


def connects_of_two(rng, seconds):
    """When two boxes with one identity connect: each takes the session from the other, and the broker says nothing."""
    boxes = [(to_broker(draw=rng.uniform), Rivals()) for _ in range(2)]
    due, since, connects = [0.0, 0.5], [None, None], []
    while (now := min(due)) < seconds:
        n = due.index(now)
        connects.append(now)
        boxes[n][0].connected(now)
        since[n], due[n] = now, float("inf")
        other = 1 - n
        if since[other] is not None:
            backoff, rivals = boxes[other]
            backoff.lost(now)
            rival = rivals.ended(now - since[other], closed=True, told=False)
            since[other] = None
            due[other] = now + (backoff.rest_s() if rival else backoff.next_s())
    return connects
