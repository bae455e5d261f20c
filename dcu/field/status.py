"""What the field process knows of itself, for `dcu status`, `dcu meters` and the health record."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dcu import __version__
from dcu.config import Config
from dcu.errors import BusFault, OperatorFault, StoreFault
from dcu.event import AlarmKind
from dcu.field.announce import Announcer
from dcu.field.clock_watch import Look
from dcu.field.evidence import Evidence
from dcu.field.link_watch import LinkWatch
from dcu.field.plan import BusPlan
from dcu.field.readout import Question, Readout
from dcu.field.scan_errand import Scans
from dcu.field.stored import Stored
from dcu.field.tally import Tally, tally, unheld
from dcu.field.throttle import Throttle
from dcu.meter import Meter
from dcu.obis import LogicalName
from dcu.ports import Bus, Clock, ProfileState, Store, Transaction
from dcu.reading import from_epoch
from dcu.record import Stream
from dcu.wire.verbs import Link, Noted

CONDITIONS_A_PAGE = 200
METERS_A_PAGE = 50
"""An answer of field.sock is one frame of 256 KiB: who asks says `from` which meter on, until a page is empty."""

LONGEST_CONDITION = 400

ASKED_WITHIN_S = 30.0
STORE_WAIT_S = 2.0
"""How long an answer waits for the store; and how long a health record or a word on the store does, for counts and for
intervals each, with which the process's heartbeat waits."""

SPANS_A_PROFILE = 200
"""Of one meter, the newest ones of what is not held."""


class Status:
    """Answers questions; each room tells it its own news."""

    def __init__(self, config: Config, store: Store, clock: Clock, announcer: Announcer) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._plans: list[BusPlan] = []
        self._plan_on: dict[str, BusPlan] = {}
        self._clock_report: Callable[[], dict[str, Any]] = dict
        self._meters: dict[str, Meter] = {}
        self.buses: dict[str, Bus] = {}
        self.bus_condition: dict[str, str] = {}
        self._announcer = announcer
        self._uplink = "not heard of yet"
        self._noted: tuple[Noted, str] | None = None
        self._troubles = Throttle(clock)
        self.link = LinkWatch(store, clock)

    def add_bus(self, bus: Bus, plan: BusPlan, meters: Mapping[str, Meter]) -> None:
        """One more bus with its meters."""
        self.buses[bus.name] = bus
        self.bus_condition[bus.name] = "ok"
        self._plans.append(plan)
        self._plan_on[bus.name] = plan
        self._meters.update(meters)

    def note_change(self, came: Meter | None, went: Meter | None) -> None:
        """A meter was commissioned, or is not read any more."""
        if went is not None:
            self._meters.pop(went.serial, None)
            self._plan_on[went.bus].dismiss(went.serial)
        if came is not None:
            self._meters[came.serial] = came
            self._plan_on[came.bus].admit(came)

    def add_clock(self, report: Callable[[], dict[str, Any]]) -> None:
        """What is to be told of the box's clock."""
        self._clock_report = report

    def looks(self) -> list[Look]:
        """The last look at each meter's clock, of the meters that were asked since the start."""
        return [look for plan in self._plans for look in plan.looks()]

    def all_asked(self) -> bool:
        """Whether each meter was asked since the start, whatever came of it."""
        return all(plan.all_asked() for plan in self._plans)

    def note_bus(self, name: str, fault: BusFault | None) -> None:
        """A bus is down, or well again with None."""
        self.bus_condition[name] = str(fault) if fault else "ok"
        if fault:
            self._announcer.alarm(AlarmKind.BUS_DOWN, str(fault), bus=name)
        else:
            self._announcer.alarm(AlarmKind.BUS_RETURNED, "the line is open again", bus=name)

    def note_link(self, link: Link) -> None:
        """What uplink says of its connection; a trouble is alarmed when it is new."""
        self.link.heard(link.certificate_until)
        if (link.noted, link.text) == self._noted:
            return
        self._noted = (link.noted, link.text)
        self._uplink = f"{link.noted.value}: {link.text}" if link.text else link.noted.value
        if link.noted is not Noted.CONNECTED and self._troubles.admits():
            self._announcer.alarm(AlarmKind.UPLINK_TROUBLE, self._uplink, code=link.code)

    def is_set_aside(self, serial: str) -> bool:
        """Whether another serial than the configured one answered there."""
        return any(serial in plan.set_aside for plan in self._plans)

    def condition(self) -> dict[str, str]:
        """How each meter is, by serial; "ok" or the last error in words."""
        return {serial: text for plan in self._plans for serial, text in plan.condition.items()}

    def facts(self) -> dict[str, bool | int | str | None]:
        """For the health record: counts of records, of refusals, of meters that are not well."""
        ill = sum(text != "ok" for text in self.condition().values())
        facts: dict[str, bool | int | str | None] = {"meters": len(self._meters), "meters_not_ok": ill}
        try:
            cursors, counts = self._counted()
        except StoreFault as fault:
            return facts | {"store": str(fault)[:LONGEST_CONDITION]} | self._ledger_facts()
        facts |= {f"waiting.{stream.value}": last - delivered for stream, (delivered, last) in cursors.items()}
        return facts | dict(counts) | self._ledger_facts()

    def _ledger_facts(self) -> dict[str, int]:
        """Intervals of all meters by profile: held, missing, and absent by reason; none where the store has no time.

        The visits know what the store has of their meters: only those that never answered are looked up in it,
        after a start all of them: their pages have one time together.
        """
        until_s = self._clock.monotonic_s() + STORE_WAIT_S
        sums: dict[LogicalName, Tally] = {}
        meters = list(self._meters.values())
        known = {meter.serial: self._plan_on[meter.bus].states(meter.serial) for meter in meters}
        try:
            unheard = [meter for meter in meters if not known[meter.serial]]
            for first in range(0, len(unheard), METERS_A_PAGE):
                left_s = until_s - self._clock.monotonic_s()
                if left_s <= 0:
                    return {}
                known |= self._stored(unheard[first : first + METERS_A_PAGE], left_s)
        except StoreFault:
            return {}
        for meter in meters:
            face_s = self._plan_on[meter.bus].face_s(meter.serial)
            for name, state in known[meter.serial].items():
                if state is not None and state.period_s > 0:
                    sums[name] = sums.get(name, Tally()) + tally(state, face_s)
        facts: dict[str, int] = {}
        for name, counts in sums.items():
            facts |= {f"held.{name}": counts.held, f"missing.{name}": counts.missing}
            facts |= {f"absent.{name}.{reason}": n for reason, n in counts.absent.items()}
        return facts

    def _counted(self) -> tuple[Mapping[Stream, tuple[int, int]], Mapping[str, int]]:
        """Cursors of the streams, and counts. Raises StoreFault."""
        return self._store.transact(lambda tx: (tx.cursors(), tx.counts()), wait_s=STORE_WAIT_S)

    def asks(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        """What `field.sock` answers."""
        asks = {"status": self._status, "conditions": self._conditions, "meters": self._profiles, "read": self._read}
        asks |= Stored(self._store, self._config.dcu.id).asks()
        asks |= Evidence(self._store, self._config.dcu.id, self._config.trust.keys, self._now_s).asks()
        return asks | Scans(self._config, self.buses, self._clock).asks()

    def _now_s(self) -> int:
        return int(self._clock.now().timestamp())

    def _status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            (cursors, counts), epoch, store = self._counted(), self._store.epoch, "ok"
        except StoreFault as fault:
            cursors, counts, epoch, store = {}, {}, "", str(fault)
        return {
            "dcu": self._config.dcu.id,
            "version": __version__,
            "epoch": epoch,
            "store": store[:LONGEST_CONDITION],
            "clock": self._clock.state().value,
            "time": self._clock_report(),
            "uplink": self._uplink,
            "link": self.link.report(),
            "streams": {s.value: {"delivered": done, "last": last} for s, (done, last) in cursors.items()},
            "buses": [{"name": name, "condition": text} for name, text in self.bus_condition.items()],
            "meters": self._conditions(request),
            "counts": dict(counts),
        }

    def _conditions(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A page of meters with their conditions."""
        condition = self.condition()
        return [
            {
                "serial": meter.serial,
                "condition": condition.get(meter.serial, "")[:LONGEST_CONDITION],
                "ahead_s": self._ahead_s(meter.serial),
            }
            for meter in self._page(request, CONDITIONS_A_PAGE)
        ]

    def _ahead_s(self, serial: str) -> int | None:
        """The meter's clock minus the box's; None where that is not known."""
        return next((s for plan in self._plans if (s := plan.ahead_s(serial)) is not None), None)

    def _page(self, request: Mapping[str, Any], at_most: int) -> list[Meter]:
        """Meters in the order of the configuration, from the number `from` on: as many as one frame holds.

        Of the one that is asked for, where one is. Raises OperatorFault.
        """
        first = request.get("from", 0)
        if not isinstance(first, int) or first < 0:
            raise OperatorFault("`from` is no number of a meter", place="field", cure="use the dcu of this version")
        meters = [self._meter(request)] if "meter" in request else list(self._meters.values())
        return meters[first : first + at_most]

    def _profiles(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A page of meters with what is held of each profile; of one meter also what is not held, span by span."""
        one, meters = "meter" in request, self._page(request, METERS_A_PAGE)
        known = self._stored(meters, ASKED_WITHIN_S)
        return [
            {
                "serial": meter.serial,
                "bus": meter.bus,
                "address": meter.address,
                "area": meter.area,
                "profiles": [
                    self._profile(name, state, self._plan_on[meter.bus].face_s(meter.serial), spans=one)
                    for name, state in known[meter.serial].items()
                    if state is not None
                ],
            }
            for meter in meters
        ]

    def _stored(self, meters: Sequence[Meter], wait_s: float) -> dict[str, dict[LogicalName, ProfileState | None]]:
        """What the store has of the profiles of each meter. Raises StoreFault."""

        def look(tx: Transaction) -> dict[str, dict[LogicalName, ProfileState | None]]:
            return {
                meter.serial: {
                    spec.logical_name: tx.profile(meter.serial, spec.logical_name) for spec in meter.model.profiles
                }
                for meter in meters
            }

        return self._store.transact(look, wait_s=wait_s)

    def _profile(self, name: LogicalName, state: ProfileState, face_s: int | None, *, spans: bool) -> dict[str, Any]:
        counts = tally(state, face_s)
        told = {
            "profile": str(name),
            "period_s": state.period_s,
            "held": counts.held,
            "missing": counts.missing,
            "absent": dict(counts.absent),
            "until": self._moment(state.held[-1][1]) if state.held else None,
        }
        if spans:
            newest = unheld(state, face_s)[-SPANS_A_PROFILE:]
            told["not_held"] = [[self._moment(first), self._moment(last), why] for first, last, why in newest]
        return told

    def _moment(self, epoch_s: int) -> str:
        return from_epoch(epoch_s).astimezone(self._config.dcu.timezone).isoformat()

    def _meter(self, request: Mapping[str, Any]) -> Meter:
        """The one that is asked for. Raises OperatorFault."""
        serial = str(request.get("meter"))
        meter = self._meters.get(serial)
        if meter is None:
            near = difflib.get_close_matches(serial, self._meters, n=5, cutoff=0.0)
            cure = f"known here, among {len(self._meters)}: {', '.join(sorted(near)) or 'none'}"
            raise OperatorFault(f"no meter {serial[:32]!r} is configured", place="field", cure=cure)
        return meter

    def _read(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        meter = self._meter(request)
        what = str(request.get("what", "instant"))
        question = Question(meter, what, self._config.dcu.timezone, self._clock.now)
        return Readout(question).wait(self.buses[meter.bus])
