"""A virtual meter: what it remembers, what it captures, and the two kinds of link on which it can be spoken to."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dcu.sim import hdlc
from dcu.sim.association import Association
from dcu.sim.axdr import decode
from dcu.sim.credentials import Credentials
from dcu.sim.faults import Faults
from dcu.sim.ledger import Entry, Ledger
from dcu.sim.measure import Demands, Measurement
from dcu.sim.meter_clock import CLOCK_NAME, MeterClock
from dcu.sim.meter_config import MeterConfig
from dcu.sim.model import BLOCK_LOAD, DAILY_LOAD, Account, Sources, build
from dcu.sim.objects import Cabinet, Client, dotted, logical_name
from dcu.sim.profile import Ring, Row
from dcu.sim.relay import Relay
from dcu.sim.service import Service
from dcu.sim.station import HdlcPort, Station, StationLimits
from dcu.sim.wrapper import WrapperPort
from dcu.sim.xdlms import Reference

log = logging.getLogger(__name__)

_RING_DAYS: Final = 35
_RING_LIMIT: Final = 100_000
_DAILY_ENTRIES: Final = 70
_DAY_S: Final = 86_400


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
        config.validate()
        self.config = config
        self.faults = Faults()
        self.ledger = Ledger(ledger, config.serial)
        self.clock = MeterClock(now, config.utc_offset_min)
        self.relay = Relay(config.control_mode, now, self.faults, self._actuated)
        self.account = Account(config.payment_mode, config.balance_paise)
        self.credentials = Credentials(config, now, self.faults)
        self._now = now
        self._lock = threading.RLock()
        self._sets = 0
        self._acted = False
        self._demands = Demands()
        self._measurement = Measurement(config.seed, self.clock.utc_offset_s, self.relay.open_spans)
        entries = min(_RING_DAYS * _DAY_S // config.capture_period_s, _RING_LIMIT)
        self._rings = {
            BLOCK_LOAD: self._ring(BLOCK_LOAD, config.capture_period_s, entries, self._measurement.block),
            DAILY_LOAD: self._ring(DAILY_LOAD, _DAY_S, _DAILY_ENTRIES, self._measurement.daily),
        }
        self._cabinet = Cabinet(build(self._sources()))
        self._begin()
        self._station = self._new_station()

    # ---- the line ---------------------------------------------------------------------------------------------------

    def receive(self, octets: bytes, at: float) -> list[bytes]:
        """Octets off the HDLC line at `at` (seconds of any steady clock); frames to send in answer."""
        with self._lock:
            if self.faults.silent:
                return []
            self.tick()
            frames = self._station.receive(octets, at)
            if frames and self._answer_lost():
                return []
            return self._said(frames)

    def is_connected(self, at: float) -> bool:
        """Whether any client holds a link on the HDLC line."""
        return self._station.is_connected(at)

    def wrapper_port(self) -> WrapperPort:
        """What stands behind a new TCP connection to this meter."""
        return WrapperPort(self.config.logical_device, self._open_session)

    def hdlc_port(self) -> HdlcPort:
        """What stands behind a new TCP connection on which the meter speaks HDLC."""
        return HdlcPort(self._new_station(), self._now, self._said)

    def converse(self, port: WrapperPort | HdlcPort, octets: bytes) -> list[bytes] | None:
        """Octets off a TCP connection; messages to send in answer. None: close the connection."""
        with self._lock:
            if self.faults.silent:
                return []
            self.tick()
            answers = port.receive(octets)
            return [] if answers and self._answer_lost() else answers

    def power_cycle(self) -> None:
        """As after a short power cut: all links and associations are gone, what was captured is not."""
        with self._lock:
            self._station.disconnect_all()

    def _open_session(self, client: int) -> Association:
        return Association(self.credentials, client, self._open_service)

    def _open_service(self, client: int, room: int, conformance: int) -> Service:
        return Service(self._cabinet, client, room, conformance, self._wrote)

    def _answer_lost(self) -> bool:
        """Whether the answer being given is one to a relay ACTION that a fault swallows."""
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

    # ---- time -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Capture what is due. Called often by whoever runs the meter, and before each answer."""
        with self._lock:
            at = self.clock.now()
            for ring in self._rings.values():
                ring.advance(self.clock.grid(at, ring.period_s))

    def rows(self, profile: str) -> list[Row]:
        """Rows that a ring holds, oldest first: `1.0.99.1.0.255` or `1.0.99.2.0.255`."""
        with self._lock:
            return list(self._rings[profile].rows)

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

    def _ring(
        self, profile: str, period_s: int, entries: int, measure: Callable[[float, float], tuple[int, ...]]
    ) -> Ring:
        def interval(start: int, end: int) -> tuple[int, ...]:
            return measure(self.clock.real(start), self.clock.real(end))

        def captured(row: Row) -> None:
            self.ledger.append({"kind": "row", "profile": profile, "captured_at": row[0], "values": list(row[1:])})
            self._demand(profile, row)

        return Ring(period_s, entries, interval, captured)

    def _demand(self, profile: str, row: Row) -> None:
        if profile != BLOCK_LOAD:
            return
        face = datetime.fromtimestamp(row[0] + self.clock.utc_offset_s - 1, UTC)
        watts, volt_amperes = (tenths * 360 // self.config.capture_period_s for tenths in row[2:4])
        self._demands.offer((face.year, face.month), row[0], watts, volt_amperes)

    # ---- memory -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Remember an earlier life, or make up a history; then capture from now on."""
        entries = self.ledger.entries()
        for entry in entries:
            self._remember(entry)
        fresh = not any(entry.get("kind") == "row" for entry in entries)
        at = self.clock.now()
        for ring in self._rings.values():
            ring.reached = self.clock.grid(at, ring.period_s)
            if fresh and self.config.history_s:
                ring.capture(self.clock.grid(at - self.config.history_s, ring.period_s), ring.reached)

    def _remember(self, entry: Entry) -> None:
        match entry:
            case {"kind": "row", "profile": str(profile), "captured_at": int(at), "values": list(values)}:
                row = (at, *values)
                self._rings[profile].restore(row)
                self._demand(profile, row)
            case {"kind": "relay", "method": int(method), "at": at}:
                self.relay.invoke(method, float(at))
            case {"kind": "set", "class": int(class_id), "ln": str(name), "attr": int(number), "value_hex": str(value)}:
                self._sets += 1
                reference = Reference(class_id, logical_name(name), number)
                if reference.name != CLOCK_NAME:  # real time needs no memory
                    self._cabinet.write(Client.UTILITY_SETTING, reference, decode(bytes.fromhex(value)))
            case _:
                log.warning("%s: ledger entry of no known kind left out", self.config.serial)

    def _actuated(self, method: int, at: float) -> None:
        self._acted = True
        self.ledger.append({"kind": "relay", "method": method, "at": at})
        log.info("%s: relay method %d, output %s", self.config.serial, method, self.relay.output_state)

    def _wrote(self, reference: Reference, value: bytes) -> None:
        self._sets += 1
        self.ledger.append(
            {
                "kind": "set",
                "class": reference.class_id,
                "ln": dotted(reference.name),
                "attr": reference.member,
                "value_hex": value.hex(),
                "at": self._now(),
            }
        )
        if reference.name == CLOCK_NAME:  # moments that the clock jumped over are not captured
            for ring in self._rings.values():
                ring.reached = self.clock.grid(self.clock.now(), ring.period_s)

    def _sources(self) -> Sources:
        return Sources(
            serial=lambda: self.config.serial if self.faults.serial is None else self.faults.serial,
            clock=self.clock,
            relay=self.relay,
            block=self._rings[BLOCK_LOAD],
            daily=self._rings[DAILY_LOAD],
            demands=self._demands,
            account=self.account,
            instant=lambda: self._measurement.instant(self._now()),
            counter=self.credentials.last_counter,
            programmed=lambda: self._sets,
        )
