"""A virtual meter: what can happen to it, and the two kinds of link on which it can be spoken to."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from weakref import WeakSet

from dcu.sim import hdlc
from dcu.sim.association import Association
from dcu.sim.credentials import Credentials
from dcu.sim.faults import Faults
from dcu.sim.kinds import Order
from dcu.sim.ledger import Ledger
from dcu.sim.meter_clock import MeterClock
from dcu.sim.meter_config import MeterConfig
from dcu.sim.metrology import Metrology
from dcu.sim.payment import Account
from dcu.sim.profile import Row
from dcu.sim.relay import Relay
from dcu.sim.service import Service
from dcu.sim.station import HdlcPort, Station, StationLimits
from dcu.sim.wrapper import WrapperPort
from dcu.sim.xdlms import Reference


class VirtualMeter:
    """One meter; safe to use from several threads.

    Args:
        config: what it is.
        now: real time, seconds since 1970-01-01T00:00:00Z.
        ledger: directory of its ledger; None keeps the ledger in memory.

    Raises:
        ConfigMistake: such a meter cannot be.
    """

    def __init__(
        self, config: MeterConfig, *, now: Callable[[], float] = time.time, ledger: Path | None = None
    ) -> None:
        self.faults = Faults()
        self._now = now
        self._directory = ledger
        self._lock = threading.RLock()
        self._ports: WeakSet[WrapperPort | HdlcPort] = WeakSet()
        self._install(config)

    def _install(self, config: MeterConfig) -> None:
        config.validate()
        self.config = config
        self.credentials = Credentials(config, self._now, self.faults)
        self._acted = self._set = False
        self._inside = Metrology(
            config, self._now, self._directory, self.faults, self.credentials.last_counter, self._has_acted
        )
        self._station = self._new_station()

    @property
    def ledger(self) -> Ledger:
        """What it captured and did."""
        return self._inside.ledger

    @property
    def clock(self) -> MeterClock:
        """Its clock."""
        return self._inside.clock

    @property
    def relay(self) -> Relay:
        """Its switch; a transformer-operated meter shows none."""
        return self._inside.relay

    @property
    def account(self) -> Account:
        """What the utility has set."""
        return self._inside.account

    # ---- the line ---------------------------------------------------------------------------------------------------

    def receive(self, octets: bytes, at: float) -> list[bytes]:
        """Octets off the HDLC line at `at` (seconds of any steady clock); frames to send in answer."""
        with self._lock:
            if self.faults.silent or not self._inside.powered:
                return []
            self.tick()
            frames = self._station.receive(octets, at)
            if frames and self._answer_lost():
                return []
            return self._said(frames)

    @property
    def powered(self) -> bool:
        """Whether there is power."""
        return self._inside.powered

    def is_connected(self, at: float) -> bool:
        """Whether any client holds a link on the HDLC line."""
        return self._station.is_connected(at)

    def wrapper_port(self) -> WrapperPort:
        """What stands behind a new TCP connection to this meter."""
        port = WrapperPort(self.config.logical_device, self._open_session)
        self._ports.add(port)
        return port

    def hdlc_port(self) -> HdlcPort:
        """What stands behind a new TCP connection on which the meter speaks HDLC."""
        port = HdlcPort(self._new_station(), self._now, self._said)
        self._ports.add(port)
        return port

    def converse(self, port: WrapperPort | HdlcPort, octets: bytes) -> list[bytes] | None:
        """Octets off a TCP connection; messages to send in answer. None: close the connection."""
        with self._lock:
            if self.faults.silent or not self._inside.powered:
                return []
            if port not in self._ports:  # from before a power cut
                return None
            self.tick()
            answers = port.receive(octets)
            return [] if answers and self._answer_lost() else answers

    def _open_session(self, client: int) -> Association:
        return Association(self.credentials, client, self._open_service)

    def _open_service(self, client: int, room: int, conformance: int) -> Service:
        return Service(self._inside.cabinet, client, room, conformance, self._wrote)

    def _has_acted(self) -> None:
        self._acted = True

    def _wrote(self, reference: Reference, value: bytes) -> None:
        self._inside.wrote(reference, value)
        self._set = True

    def _answer_lost(self) -> bool:
        """Whether the answer being given is one to a relay ACTION or a SET that a fault swallows."""
        was_set, self._set = self._set, False
        if was_set and self.faults.lose_set_reply > 0:
            self.faults.lose_set_reply -= 1
            return True
        acted, self._acted = self._acted, False
        if acted and self.faults.silent_after_action:
            self.faults.silent = True
            return True
        if acted and self.faults.lose_action_reply > 0:
            self.faults.lose_action_reply -= 1
            return True
        return False

    def _new_station(self) -> Station:
        config = self.config
        return Station(
            hdlc.server_address(config.logical_device, config.address, config.address_octets),
            self._open_session,
            StationLimits(config.max_info, config.max_info, config.window, config.window, config.inactivity_s),
            self.faults.link,
        )

    def _said(self, frames: list[bytes]) -> list[bytes]:
        """Frames as the meter puts them on the line."""
        return self.faults.link.worn([self._as_another(frame) for frame in frames])

    def _as_another(self, frame: bytes) -> bytes:
        if self.faults.answer_as is None:
            return frame
        other = hdlc.server_address(self.config.logical_device, self.faults.answer_as, self.config.address_octets)
        return replace(hdlc.parse(frame[1:-1]), source=other).octets()

    # ---- what happens to it -----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Capture what is due. Called often by whoever runs the meter, and before each answer."""
        with self._lock:
            self._inside.tick()

    def rows(self, profile: str) -> list[Row]:
        """Rows that a block load, daily load, billing (closed bills) or event profile holds, in their order of capture.

        The first value of a row is its time, seconds since 1970 by the meter's clock; then raw integers and such times.
        """
        with self._lock:
            return list(self._inside.logs[profile if profile.count(".") == 5 else f"{profile}.255"].rows)

    def happen(self, code: int) -> None:
        """An event of reference/is15959.md 2.9: a row in the log of that code.

        Raises:
            ValueError: no log takes it.
        """
        with self._lock:
            self.tick()
            self._inside.happen(code)

    def power_off(self) -> None:
        """The mains fail: it falls silent and captures nothing (event 101)."""
        with self._lock:
            self._inside.power(on=False)
            self.power_cycle()

    def power_on(self) -> None:
        """The mains are back: links and associations are gone, captures go on (event 102)."""
        with self._lock:
            self._inside.power(on=True)

    def power_cycle(self) -> None:
        """As after a power cut too short to be noticed: links and associations are gone, what was captured is not."""
        with self._lock:
            self._station.disconnect_all()
            self._ports.clear()

    def set_clock(self, offset_s: float) -> None:
        """Somebody sets its clock, `offset_s` ahead of real time (event 151)."""
        with self._lock:
            self._inside.set_clock(offset_s)

    def set_period(self, period_s: int) -> None:
        """Somebody sets the block load's capture period, from its next boundary on (event 153)."""
        with self._lock:
            self._inside.set_period(self._inside.block, period_s)

    def reset_demand(self) -> None:
        """Somebody closes the bill (event 166)."""
        with self._lock:
            self._inside.reset_demand()

    def upgrade(self, firmware: str, columns: Order = "amended") -> None:
        """Another firmware, with other columns; what those clear is cleared, and the meter starts anew (event 157)."""
        with self._lock:
            self._inside.upgrade(firmware, columns)
            self.power_cycle()

    def replace(self, serial: str, seed: int | None = None) -> None:
        """Another meter takes its place: same address and keys, other serial and house, empty rings, ledger of its own.

        Raises:
            ConfigMistake: no such meter can be.
        """
        config = replace(self.config, serial=serial, seed=self.config.seed + 1 if seed is None else seed, history_s=0)
        config.validate()
        with self._lock:
            self._inside.tick()
            self.power_cycle()
            self.ledger.close()
            self._install(config)

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()
