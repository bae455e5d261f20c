"""A box with a real store, one meter and one disconnect, in a process of its own, for the crash tests to kill.

    python -m tests.relay.crashing_box DIR WHERE

The meter is two files that survive: `acts` (one octet an ACTION, fsynced before the meter answers) and `state`.
Prints the name of each step as it comes by; at WHERE it prints it and waits to be killed. Ends by itself when the
command is at its end.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dcu.clock import SystemClock
from dcu.command import OPEN
from dcu.config.meter_models import shipped
from dcu.mailbox import Stop
from dcu.meter import Meter
from dcu.relay.desk import RelayDesk
from dcu.relay.key import FileSigner
from dcu.relay.trust import Commissioning
from dcu.store import SqliteStore
from tests.relay.pole import noon_zone
from tests.relay.world import DCU, METER, RANCHI, TOPIC, FakeBus, FakeMeter


def step(name, where):
    print(name, flush=True)
    if name == where:
        time.sleep(60)
        os._exit(3)


class WallMeter(FakeMeter):
    """A meter whose relay is a file."""

    def attach(self, directory, where):
        self.directory, self.where = directory, where
        if (directory / "state").exists():
            self.connected, self.control = json.loads((directory / "state").read_text())
        self.on_sending = lambda: step("sending", where)
        self.on_acted = lambda: step("acted", where)

    def act(self, method):
        descriptor = os.open(self.directory / "acts", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, b"%d" % method)
        os.fsync(descriptor)
        os.close(descriptor)
        super().act(method)
        (self.directory / "state.new").write_text(json.dumps([self.connected, self.control]))
        (self.directory / "state.new").replace(self.directory / "state")


class Seen:
    """A transaction that notes what it was about: the state that a command was moved to, or recovery."""

    def __init__(self, tx):
        self._tx, self.about = tx, ""

    def __getattr__(self, name):
        return getattr(self._tx, name)

    def save_command(self, command):
        self.about = self.about if self.about == "recovery" else command.state.value
        self._tx.save_command(command)

    def open_commands(self):
        found = self._tx.open_commands()
        self.about = self.about or ("recovery" if found else "")
        return found


class Steps:
    """The store, with a word before and behind each commit that moves a command, or recovers one."""

    def __init__(self, store, where):
        self._store, self._where = store, where
        self.epoch = store.epoch

    def transact(self, work, *, wait_s=30.0):
        abouts = []

        def stepped(tx):
            seen = Seen(tx)
            result = work(seen)
            abouts.append(seen.about)
            if seen.about:
                step(f"in {seen.about}", self._where)
            return result

        result = self._store.transact(stepped, wait_s=wait_s)
        if abouts[-1]:
            step(f"behind {abouts[-1]}", self._where)
        return result


def main(directory, where):
    clock, stop, last = SystemClock(assumed=True), Stop(), Stop()
    store = SqliteStore.open(directory / "dcu.db", stop=last, clock=clock, beat=lambda: None, dcu=DCU)
    writer = threading.Thread(target=store.run, daemon=True)
    writer.start()
    wall = WallMeter(METER)
    wall.attach(directory, where)
    bus = FakeBus(clock, {METER: wall})
    desk = RelayDesk(
        dcu=DCU,
        store=Steps(store, where),
        clock=clock,
        commissioning=Commissioning.load(directory / "trust.json"),
        meters={METER: Meter(METER, "north", shipped()["is15959-1ph"], 17, RANCHI)},
        buses={"north": bus},
        signer=FileSigner(load_pem_private_key((directory / "box.pem").read_bytes(), None)),
        zone=ZoneInfo(noon_zone()),
        stop=stop,
        alarm=lambda alarm: None,
        set_aside=lambda serial: False,
        meters_heard=lambda: True,
        beat=lambda: None,
        settle_s=0.0,
    )
    relay = threading.Thread(target=desk.run, daemon=True)
    relay.start()
    while not desk.lease:
        time.sleep(0.005)
    (directory / "lease.new").write_text(json.dumps([store.epoch, desk.lease]))
    (directory / "lease.new").replace(directory / "lease")
    while not (directory / "documents").exists():
        time.sleep(0.005)
    bus.work()  # what recovery has posted
    for line in (directory / "documents").read_bytes().splitlines():
        verdict = desk.put(line, TOPIC, 1, False)
        print(verdict.status, verdict.code, flush=True)
        bus.work()
    while store.transact(lambda tx: [c for c in tx.open_commands() if c.state in OPEN]):
        bus.work()
        time.sleep(0.005)
    stop.set()
    relay.join(5)
    last.set()
    writer.join(5)
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
