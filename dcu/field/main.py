"""The field process: builds the rooms, joins them, and runs until it is told to stop or a loop falls."""

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass

from dcu import __version__
from dcu.clock import SystemClock
from dcu.config import Config
from dcu.errors import ConfigFault
from dcu.event import AlarmKind
from dcu.field.announce import Announcer
from dcu.field.authority import LockAsks, TrustWatch, giving_leases
from dcu.field.buses import BusBuilder
from dcu.field.clock_keeping import ClockKeeping
from dcu.field.field_socket import FieldSocket
from dcu.field.quarantine import Quarantine
from dcu.field.roster import Roster, telling
from dcu.field.sealing import Sealing
from dcu.field.status import Status
from dcu.field.throttle import Throttle
from dcu.field.uplink_socket import UplinkSocket
from dcu.mailbox import Bell, Stop
from dcu.ports import Clock
from dcu.relay.desk import RelayDesk
from dcu.relay.key import FileSigner
from dcu.relay.trust import Commissioning
from dcu.store import Counters, SealedFile, SqliteStore
from dcu.supervisor import Pulse, Supervisor, Unit

STORE_PULSE_S = 300.0
"""A card or a disk may take minutes to answer with an error, since the kernel asks it again and again. To end the
process would mend nothing and lose what waits in memory; meanwhile all who ask are told (`dcu/store/pace.py`). Only the
relay ends it, when nobody knows whether a work of its own is committed."""

PULSE_S = 60.0


@dataclass(slots=True)
class Box:
    """All that the field process is made of, before it runs."""

    store: SqliteStore
    units: list[Unit]
    status: Status
    announcer: Announcer
    stop: Stop
    last_stop: Stop
    trust: TrustWatch


def run_field(config: Config) -> int:
    """Run the field process. Exit code 0 when told to stop, 1 when a loop fell.

    Raises:
        DcuError: it cannot start; place, cause and cure are told.
    """
    clock = SystemClock(assumed=config.dcu.clock_assumed)
    box = build(config, clock)
    try:
        health = _Health(box, clock, config.poll.health_s)
        return Supervisor(box.units, box.stop, box.last_stop, clock, health.tick).run()
    finally:
        box.store.close()


def build(config: Config, clock: SystemClock) -> Box:
    """Open everything and start nothing."""
    stop, last_stop = Stop(), Stop()
    bell = Bell(stop)
    pulses: dict[str, Pulse] = {}

    def pulse(name: str, limit_s: float = PULSE_S) -> Pulse:
        return pulses.setdefault(name, Pulse(clock, limit_s))

    store = _open_store(config, clock, last_stop, pulse("store", STORE_PULSE_S).beat, bell.ring)
    kept = store.kept_time()
    clock.remember(kept)
    announcer = Announcer(store, clock)
    status = Status(config, store, clock, announcer)
    units = [Unit("store", store.run, pulse("store"), ends_last=True)]
    builder = BusBuilder(config, store, Counters(store), clock, announcer, stop, status.note_bus)
    for bus in config.buses:
        room = builder.build(bus)
        status.add_bus(room.bus, room.plan, {m.serial: m for m in config.meters_on(bus.name)})
        units += room.units
    keeping = ClockKeeping(clock, store, status.looks, status.all_asked, kept, stop, pulse("clock").beat)
    status.add_clock(keeping.report)
    desk = _desk(config, store, clock, status, announcer, stop, pulse("relay").beat)
    seals = SealedFile.beside(config.dcu.store_file, config.store.max_mb)
    uplink = UplinkSocket(
        config.dcu.run_dir / "uplink.sock",
        store=store,
        put=status.link.noting(desk.put),
        set_aside=Quarantine(store, clock).set_aside,
        note_link=giving_leases(desk, status.note_link),
        cursor_refused=_cursor_refused(announcer, clock),
        bell=bell,
        dcu=config.dcu.id,
        version=__version__,
        stop=stop,
        beat=pulse("uplink").beat,
        allowed_uids=uplink_uids(),
        seals=seals,
        floor=clock.floor,
    )
    locks = LockAsks(desk, lambda: desk.meters)
    asks = {**status.asks(), **keeping.asks(), **locks.asks()}
    barred = uplink_uids() - {os.getuid(), 0}  # one user on a bench: nothing to tell them apart by
    field_socket = FieldSocket(config.dcu.run_dir / "field.sock", asks, stop, pulse("cli").beat, barred)
    units += [
        Unit("clock", keeping.run, pulse("clock")),
        Unit("relay", desk.run, pulse("relay")),
        Unit("uplink", uplink.run, pulse("uplink")),
        Unit("cli", field_socket.run, pulse("cli")),
    ]
    if config.uplink.encoding == "cbor":
        beat = pulse("sealing", STORE_PULSE_S).beat  # it writes to the same disk
        units.append(Unit("sealing", Sealing(store, seals, config.dcu.id, clock, stop, beat).run, pulse("sealing")))
    else:
        seals.discard()
    return Box(store, units, status, announcer, stop, last_stop, TrustWatch(config.trust.keys, desk))


def _desk(
    config: Config,
    store: SqliteStore,
    clock: SystemClock,
    status: Status,
    announcer: Announcer,
    stop: Stop,
    beat: Callable[[], None],
) -> RelayDesk:
    """All relay authority, over the meters that are here. Raises ConfigFault: trust or receipt key cannot be read."""
    root, signer = Commissioning.load(config.trust.keys), FileSigner.load(config.trust.signing_key)
    roster = Roster(config, telling(announcer))
    roster.hear(status.note_change)
    return RelayDesk(
        dcu=config.dcu.id,
        store=store,
        clock=clock,
        commissioning=root,
        meters=roster.meters,
        roster=roster,
        buses=status.buses,
        signer=signer,
        stop=stop,
        alarm=announcer.announce,
        set_aside=status.is_set_aside,
        meters_heard=clock.meters_heard,
        beat=beat,
        zone=config.dcu.timezone,
    )


def _open_store(
    config: Config, clock: Clock, stop: Stop, beat: Callable[[], None], on_append: Callable[[], None]
) -> SqliteStore:
    """The store of this box, its directory made where there is none, and that of the sockets."""
    config.dcu.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.dcu.run_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    return SqliteStore.open(
        config.dcu.store_file,
        stop=stop,
        clock=clock,
        beat=beat,
        dcu=config.dcu.id,
        max_mb=config.store.max_mb,
        on_append=on_append,
    )


def _cursor_refused(announcer: Announcer, clock: Clock) -> Callable[[str], None]:
    """Alarms a delivery that was never offered; whoever repeats the lie does not fill the disk with alarms."""
    throttle = Throttle(clock)

    def alarm(text: str) -> None:
        if throttle.admits():
            announcer.alarm(AlarmKind.CURSOR_REFUSED, text)

    return alarm


def uplink_uids() -> set[int]:
    """Users whose processes may be uplink: our own, and the one that the environment names (the unit, on a box).

    Raises:
        ConfigFault: there is no such user.
    """
    named = os.environ.get("DCU_UPLINK_USER", "")
    try:
        uids = {int(named) if named.isdecimal() else pwd.getpwnam(named).pw_uid} if named else set()
    except KeyError:
        cure = f"useradd --system {named}, or correct the unit"
        raise ConfigFault(f"there is no user {named!r}", place="DCU_UPLINK_USER", cure=cure) from None
    return {os.getuid(), *uids}


class _Health:
    """Stores a health record at the configured cadence; called about once a second."""

    def __init__(self, box: Box, clock: Clock, every_s: float) -> None:
        self._box = box
        self._clock = clock
        self._every_s = every_s
        self._due_s = 0.0

    def tick(self) -> None:
        """Make one when it is due; look at the trust store."""
        self._box.trust.tick()
        if self._clock.monotonic_s() < self._due_s:
            return
        first, self._due_s = self._due_s == 0.0, self._clock.monotonic_s() + self._every_s
        if first:
            self._box.announcer.started(__version__)
        self._box.announcer.health(**self._box.status.facts())
        self._box.status.link.look()
