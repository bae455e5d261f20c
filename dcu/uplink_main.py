"""The uplink process: two loops, the publisher and the inbox, and paho's own thread. It remembers nothing.

It has no device, no meter key and no authority. When field is killed it waits for it; when the broker is away it
comes back with jitter; when one of its loops falls it ends and is started again.
"""

from pathlib import Path
from typing import Protocol

from dcu.clock import SystemClock
from dcu.mailbox import Stop
from dcu.supervisor import Pulse, Supervisor, Unit
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.dials import Dials
from dcu.uplink.encoding import Encoding
from dcu.uplink.inbox import Inbox
from dcu.uplink.publisher import Publisher

PULSE_S = 120.0
"""A connection that fails slowly (name, TCP, TLS, CONNACK) is still life."""


class _Dcu(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def run_dir(self) -> Path: ...


class _Uplink(Protocol):
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def ca(self) -> Path: ...
    @property
    def certificate(self) -> Path: ...
    @property
    def key(self) -> Path: ...
    @property
    def encoding(self) -> Encoding: ...
    @property
    def backoff_max_s(self) -> float: ...


class UplinkConfiguration(Protocol):
    """What the uplink process needs of the configuration."""

    @property
    def dcu(self) -> _Dcu:
        """The box: id, and where the socket is."""
        ...

    @property
    def uplink(self) -> _Uplink:
        """The broker and our identity."""
        ...


def run_uplink(config: UplinkConfiguration) -> int:
    """Run the uplink process. Exit code 0 when told to stop, 1 when a loop fell."""
    clock, stop, last_stop = SystemClock(), Stop(), Stop()
    return Supervisor(build(config, stop, clock), stop, last_stop, clock).run()


def build(config: UplinkConfiguration, stop: Stop, clock: SystemClock) -> list[Unit]:
    """The two loops, not yet started."""
    uplink = config.uplink
    endpoint = Endpoint(uplink.host, uplink.port, uplink.ca, uplink.certificate, uplink.key)
    dials = Dials(encoding=uplink.encoding, backoff_max_s=uplink.backoff_max_s)
    path = config.dcu.run_dir / "uplink.sock"
    pulses = {name: Pulse(clock, PULSE_S) for name in ("publisher", "inbox")}
    inbox = Inbox(path, config.dcu.id, stop, pulses["inbox"].beat)
    publisher = Publisher(path, config.dcu.id, endpoint, dials, inbox.post, stop, pulses["publisher"].beat)
    return [Unit("publisher", publisher.run, pulses["publisher"]), Unit("inbox", inbox.run, pulses["inbox"])]
