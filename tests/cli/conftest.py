"""A box's store in its file, with or without a process that lends it through `field.sock`."""

import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcu.field.field_socket import FieldSocket
from dcu.field.stored import Stored
from dcu.mailbox import Stop
from dcu.record import Stream
from tests.records import record
from tests.store.running_store import running

EXAMPLE = Path(__file__).parents[2] / "config" / "dcu.example.toml"
DCU = "JH-RNC-0042"


class Box:
    """Its configuration and store."""

    def __init__(self, directory):
        self.directory = directory
        self.config = directory / "dcu.toml"
        (directory / "tls").mkdir()
        for name in ("tls/ca.pem", "tls/dcu.pem", "tls/dcu.key", "trust.json", "receipt.key", "secrets.toml"):
            (directory / name).write_text("")
        text = EXAMPLE.read_text().replace("/etc/dcu/", "").replace("/var/lib/dcu", "state")
        self.config.write_text(text.replace('"/run/dcu"', f'"{directory}"'))
        (directory / "state").mkdir()

    @contextmanager
    def opened(self):
        """The store, its writer running."""
        with running(self.directory / "state" / "dcu.db", dcu=DCU) as it:
            yield it.store

    @contextmanager
    def serving(self):
        """The store, lent through `field.sock`."""
        stop = Stop()
        with self.opened() as store:
            server = FieldSocket(self.directory / "field.sock", Stored(store, DCU).asks(), stop, lambda: None)
            thread = threading.Thread(target=server.run)
            thread.start()
            try:
                yield store
            finally:
                stop.set()
                thread.join(10)


def fill(store, stream, count):
    """So many records more, numbered as their ids."""

    def work(tx):
        first = tx.cursors()[stream][1] + 1
        return [tx.append(stream, *record(stream, n)) for n in range(first, first + count)]

    return store.transact(work)


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


@pytest.fixture(params=["running", "stopped"])
def holder(request, box):
    """Every stream filled, held by the running process or by the file alone."""
    with box.opened() as store:
        for stream in Stream:
            fill(store, stream, 40)
        fill(store, Stream.PROFILE, 500)
        store.transact(lambda tx: tx.deliver(Stream.PROFILE, 100))
    if request.param == "stopped":
        yield request.param
        return
    with box.serving():
        yield request.param
