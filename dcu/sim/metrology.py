"""The inside of a virtual meter: what it captures, what happens to it, and what it remembers on its ledger."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dcu.sim import events
from dcu.sim.axdr import decode
from dcu.sim.billing import Billing
from dcu.sim.events import EVENT_LOGS, Events
from dcu.sim.face import Face
from dcu.sim.faults import Faults
from dcu.sim.kinds import KINDS, Order, arranged
from dcu.sim.ledger import Entry, Ledger
from dcu.sim.measure import Measurement
from dcu.sim.meter_clock import CLOCK_NAME, MeterClock
from dcu.sim.meter_config import MeterConfig
from dcu.sim.model import BILLING, BLOCK_LOAD, DAILY_LOAD, Sources, build
from dcu.sim.objects import Cabinet, Client, dotted, logical_name
from dcu.sim.payment import Account
from dcu.sim.profile import Log, Ring, Row
from dcu.sim.registers import Shown
from dcu.sim.relay import Relay
from dcu.sim.utility import BLOCK_PERIOD, DAILY_PERIOD, Arranged, divides_a_day
from dcu.sim.values import Present
from dcu.sim.xdlms import Reference, Refused, Result

log = logging.getLogger(__name__)

_RING_LIMIT: Final = 100_000
_DAILY_ENTRIES: Final = 70
_DAY_S: Final = 86_400
_LONGEST_DEMAND_S: Final = 3_600
_TOLD_OTHERWISE: Final = {CLOCK_NAME, logical_name(BLOCK_PERIOD), logical_name(DAILY_PERIOD)}
"""What a SET of is remembered by an entry of its own kind."""


class Metrology:
    """Of one meter; its caller sees to threads.

    Args:
        config: what it is.
        now: real time, seconds since 1970-01-01T00:00:00Z.
        directory: of its ledger; None keeps the ledger in memory.
        faults: of the meter.
        counter: last accepted invocation counter of a client.
        acted: told when a relay ACTION was accepted.
    """

    def __init__(
        self,
        config: MeterConfig,
        now: Callable[[], float],
        directory: Path | None,
        faults: Faults,
        counter: Callable[[int], int],
        acted: Callable[[], None],
    ) -> None:
        self.config = config
        self.ledger = Ledger(directory, config.serial)
        face = Face(config.deviation, config.weekday, config.clock_tag25)
        self.clock = MeterClock(now, config.utc_offset_min, config.clock_drift_ppm, face)
        self.relay = Relay(config.control_mode, now, faults, self._actuated, self._switched)
        self.account = Account(config.payment_mode, config.balance_paise)
        self.firmware = config.firmware
        self.programmed = 0
        self._now = now
        self._faults = faults
        self._counter = counter
        self._acted = acted
        self._remembering = False
        self._order: Order = config.columns
        self._measurement = Measurement(KINDS[config.kind], config.seed, self.clock.utc_offset_s, config.solar_w)
        self._assemble()
        self._begin()

    def _assemble(self) -> None:
        """Empty rings, and what reads them."""
        config = self.config
        self.kind = arranged(KINDS[config.kind], self._order)
        demand_s = min(config.capture_period_s, _LONGEST_DEMAND_S)
        entries = min(config.ring_days * _DAY_S // config.capture_period_s, _RING_LIMIT)
        self.block = self._ring(BLOCK_LOAD, config.capture_period_s, entries, self._block_row)
        self.daily = self._ring(DAILY_LOAD, _DAY_S, _DAILY_ENTRIES, self._daily_row)
        self.billing = Billing(self.kind, self.clock, self._measurement, demand_s)
        self.events = Events(self.kind, config.event_entries)
        self._connect()

    def _connect(self) -> None:
        """Objects over the present kind's columns."""
        self.billing.kind = self.events.kind = self.kind
        self._present = Present(
            self.kind, self._measurement, self.billing, self.events, self.block, lambda: self.programmed, self._now
        )
        self.logs: dict[str, Log] = {BLOCK_LOAD: self.block, DAILY_LOAD: self.daily, BILLING: self.billing.log}
        self.logs |= dict(zip(EVENT_LOGS, self.events.logs, strict=True))
        self.cabinet = Cabinet(build(self._sources()))

    def _sources(self) -> Sources:
        return Sources(
            config=self.config,
            kind=self.kind,
            shown=Shown(self.clock, self.config.float32),
            faults=self._faults,
            serial=lambda: self.config.serial if self._faults.serial is None else self._faults.serial,
            firmware=lambda: self.firmware,
            relay=self.relay,
            account=self.account,
            arranged=Arranged(
                self.clock,
                self.billing,
                self.events,
                self.block,
                self.daily,
                self.set_period,
                self.reset_demand,
                self.happen,
            ),
            values=self._present,
            present_bill=lambda: self.billing.row(int(self.clock.now()), self._present()),
            set_time=self._set_time,
            counter=self._counter,
        )

    # ---- captures ---------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Capture what is due, bills in their place among the intervals."""
        if not self._measurement.supply.on:
            return
        at = self.clock.now()
        while self.billing.due <= at:
            due = self.billing.due
            self._advance(due)
            if self.config.repeats or due > (self.billing.log.last or 0):
                self._bill(due)
            self.billing.begin(due)
        self._advance(at)

    def _advance(self, at: float) -> None:
        while (midnight := self.daily.due) <= at:  # a daily row holds demands as they were then
            self.block.advance(midnight)
            self.daily.advance(midnight)
        self.block.advance(at)

    def _ring(self, profile: str, period_s: int, entries: int, measure: Callable[[int, int], tuple[int, ...]]) -> Ring:
        def captured(row: Row, start: int) -> None:
            self._write_row(profile, row)
            if profile == BLOCK_LOAD:
                self.billing.feed(start, row[0])

        return Ring(period_s, entries, measure, captured, self.clock.grid, repeats=self.config.repeats)

    def _block_row(self, start: int, end: int) -> tuple[int, ...]:
        found = self._measurement.interval(self.clock.real(start), self.clock.real(end))
        return tuple([found[place.name] for place in self.kind.block])

    def _daily_row(self, _start: int, end: int) -> tuple[int, ...]:
        found = self._present.at(self.clock.real(end))
        return tuple([found[place.key] for place in self.kind.daily])

    def _bill(self, at: int) -> None:
        row = self.billing.row(at, self._present.at(self.clock.real(at)))
        self._write_row(BILLING, row)
        self.billing.close(row, self.events.tampers)
        self.events.bill_closed()

    def _write_row(self, profile: str, row: Row) -> None:
        self._present.changed()
        self.ledger.append_row(profile, row[0], row[1:])

    def _write(self, kind: str, **facts: object) -> None:
        self._present.changed()
        self.ledger.append({"kind": kind, **facts, "at": self._now()})

    # ---- what happens -----------------------------------------------------------------------------------------------

    def happen(self, code: int) -> None:
        """An event: a row in its log, by the clock of this moment. ValueError: no log takes such a code."""
        if self._remembering:
            return
        number = self.events.count(code)
        self._present.changed()
        row = self.events.row(number, int(self.clock.now()), self._present())
        if self.events.logs[number].append(row):
            self._write_row(EVENT_LOGS[number], row)

    @property
    def powered(self) -> bool:
        """Whether there is power."""
        return self._measurement.supply.on

    def power(self, on: bool) -> None:
        """The mains fail or come back; nothing where they have already."""
        if on == self.powered:
            return
        self.tick()
        self._measurement.supply.power(on, self._now())
        self._write("power", on=on)
        if on:
            self._rebase()
        self.happen(events.POWER_CAME_BACK if on else events.POWER_FAILED)
        self.tick()

    def set_clock(self, ahead_s: float) -> None:
        """Somebody sets the clock, that far ahead of real time."""
        self.tick()
        self.clock.put(ahead_s)
        self._clock_was_set()

    def _set_time(self, moment: int) -> None:
        self.clock.set(moment)
        self._clock_was_set()

    def _clock_was_set(self) -> None:
        if self._remembering:
            return
        self._write("clock", ahead_s=self.clock.ahead_s)
        self._rebase()
        self.billing.reschedule(self.clock.now())
        self.happen(events.CLOCK_SET)

    def _rebase(self) -> None:
        """Moments that the clock jumped over, or that passed without power, are not captured."""
        at = self.clock.now()
        self.block.rebase(at)
        self.daily.rebase(at)

    def set_period(self, ring: Ring, period_s: int) -> None:
        """Another capture period from the next boundary on."""
        if not divides_a_day(period_s):
            raise Refused(Result.OTHER_REASON)
        in_force = ring.next_period[0] if ring.next_period else ring.period_s
        if period_s == in_force:
            return
        self.tick()
        since = ring.change_period(period_s, self.clock.now())
        profile = BLOCK_LOAD if ring is self.block else DAILY_LOAD
        self._write("period", profile=profile, period_s=period_s, since=since)
        self.happen(events.CAPTURE_PERIOD_SET)

    def reset_demand(self) -> None:
        """Close the bill at this moment."""
        if self._remembering:
            return
        self.tick()
        self._bill(int(self.clock.now()))
        self.happen(events.DEMAND_RESET)

    def upgrade(self, firmware: str, order: Order) -> None:
        """Another firmware; profiles that now capture other columns begin empty (Blue Book 4.3.6)."""
        self.tick()
        cleared = self._take_firmware(firmware, order)
        self._write("upgrade", firmware=firmware, columns=order, cleared=cleared)
        self.happen(events.FIRMWARE_CHANGED)

    def _take_firmware(self, firmware: str, order: Order) -> list[str]:
        before = self._columns()
        self.firmware, self._order = firmware, order
        self.kind = arranged(KINDS[self.config.kind], order)
        self._connect()
        after = self._columns()
        cleared = [profile for profile in self.logs if before[profile] != after[profile]]
        for profile in cleared:
            self.logs[profile].clear()
        return cleared

    def _columns(self) -> dict[str, object]:
        found: dict[str, object] = {BLOCK_LOAD: self.kind.block, DAILY_LOAD: self.kind.daily}
        found[BILLING] = self.kind.billing
        return found | {name: self.events.places(number) for number, name in enumerate(EVENT_LOGS)}

    def _actuated(self, method: int, at: float) -> None:
        self._acted()
        self._present.changed()
        self.ledger.append({"kind": "relay", "method": method, "at": at})
        log.info("%s: relay method %d, output %s", self.config.serial, method, self.relay.output_state)

    def _switched(self, closed: bool, at: float) -> None:
        self._measurement.supply.relay(closed, at)
        self.happen(events.LOAD_CONNECTED if closed else events.LOAD_CUT)

    def wrote(self, reference: Reference, value: bytes) -> None:
        """A SET was accepted."""
        self.programmed += 1
        self._write(
            "set",
            **{"class": reference.class_id, "ln": dotted(reference.name), "attr": reference.member},
            value_hex=value.hex(),
        )

    # ---- memory -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Remember an earlier life, or make up a history; then capture from now on."""
        entries = self.ledger.entries()
        self._remembering = True
        for entry in entries:
            self._remember(entry)
        self._remembering = False
        at = self.clock.now()
        fresh = not any(entry.get("kind") == "row" for entry in entries)
        since = at - self.config.history_s if fresh else at
        if fresh and self.config.clock_drift_ppm:
            self._write("clock", ahead_s=self.clock.ahead_s)
        for ring in (self.block, self.daily):
            ring.rebase(since)
        self.billing.begin(min(since, self.block.last or since))  # a bill that fell due in between is closed now
        self.tick()

    def _remember(self, entry: Entry) -> None:
        match entry:
            case {"kind": "row", "profile": str(profile), "captured_at": int(at), "values": list(values)}:
                self._remember_row(profile, (at, *values))
            case {"kind": "relay", "method": int(method), "at": at}:
                self.relay.invoke(method, float(at))
            case {"kind": "power", "on": bool(on), "at": at}:
                self._measurement.supply.power(on, float(at))
            case {"kind": "clock", "ahead_s": ahead_s, "at": at}:
                self.clock.put(float(ahead_s), float(at))
            case {"kind": "period", "profile": str(profile), "period_s": int(period_s), "since": int(since)}:
                (self.block if profile == BLOCK_LOAD else self.daily).next_period = (period_s, since)
            case {"kind": "upgrade", "firmware": str(firmware), "columns": order}:
                self._take_firmware(firmware, order)
            case {"kind": "set", "class": int(class_id), "ln": str(name), "attr": int(number), "value_hex": str(value)}:
                self.programmed += 1
                reference = Reference(class_id, logical_name(name), number)
                if reference.name not in _TOLD_OTHERWISE and class_id != 7:
                    self.cabinet.write(Client.UTILITY_SETTING, reference, decode(bytes.fromhex(value)))
            case _:
                log.warning("%s: ledger entry of no known kind left out", self.config.serial)

    def _remember_row(self, profile: str, row: Row) -> None:
        if profile == BLOCK_LOAD:
            self.billing.feed(self.block.restore(row), row[0])
        elif profile == DAILY_LOAD:
            self.daily.restore(row)
        elif profile == BILLING:
            self.billing.close(row, self.events.tampers)
        elif profile in EVENT_LOGS:
            number = self.events.count(row[1])
            self.events.logs[number].append(row)
