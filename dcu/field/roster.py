"""The meters of this box: those of its configuration file, and over them what signed commands changed since.

The last word wins. A change is kept with the mark of what the file said of that meter when the command came; where the
file says something else at a later start, a technician has been there since, and the change is forgotten. Keys are in
the secrets file alone. See docs/decisions/0008.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from dcu.command import Change, Command
from dcu.config import Config
from dcu.config.commissioned import MEMBERS, read_meter
from dcu.errors import ConfigFault
from dcu.event import AlarmKind
from dcu.field.announce import Announcer
from dcu.meter import Meter
from dcu.ports import Store, Transaction

log = logging.getLogger(__name__)

DOCUMENT: Final = "meters"
"""Where the store keeps the changes."""

CHANGES_AT_MOST: Final = 2048

ABSENT: Final = ""

OnChange = Callable[[Meter | None, Meter | None], None]
"""Told of the meter that came and the one that went."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One change as it is kept.

    Attributes:
        change: what was done.
        meter: serial that it is about.
        old: of a replacement, the serial that went.
        table: bus, model, address, area, secrets, host, port of the one that came; empty where none did.
        was: mark of what the file said of the meter that went, or else of the one that came.
    """

    change: Change
    meter: str
    old: str
    table: Mapping[str, Any]
    was: str

    @classmethod
    def of(cls, command: Command, filed: Mapping[str, Meter]) -> Self:
        """What a signed command changes."""
        change = command.change or Change.RETIRE
        said = {name: getattr(command, name) for name in MEMBERS}
        table = {} if change is Change.RETIRE else {name: value for name, value in said.items() if value is not None}
        return cls(change, command.meter, command.old or "", table, mark(filed.get(command.old or command.meter)))

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Self:
        """As `plain` wrote it."""
        return cls(Change(kept["change"]), kept["meter"], kept["old"], dict(kept["table"]), kept["was"])

    @property
    def plain(self) -> dict[str, Any]:
        """To be kept."""
        return {
            "change": self.change.value,
            "meter": self.meter,
            "old": self.old,
            "table": dict(self.table),
            "was": self.was,
        }

    @property
    def gone(self) -> str:
        """Serial of the meter that went; empty: none."""
        return {Change.ADD: "", Change.REPLACE: self.old, Change.RETIRE: self.meter}[self.change]


def mark(meter: Meter | None) -> str:
    """Of what the file says of a meter, its keys excepted; ABSENT where it says nothing."""
    if meter is None:
        return ABSENT
    said = [meter.serial, meter.bus, meter.model.name, meter.address, meter.area, meter.host, meter.port]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def telling(announcer: Announcer) -> Callable[[str, str], None]:
    """Alarms a roster's troubles, with the serial or none."""

    def tell(serial: str, text: str) -> None:
        announcer.alarm(AlarmKind.METER_SET_ASIDE, text, meter=serial, commanded=True)

    return tell


class Roster:
    """Satisfies `dcu.relay.roster.Roster`.

    Args:
        config: as the file has it.
        trouble: told of a serial whose kept change cannot be carried out any more, and why; in the relay thread.

    Attributes:
        meters: here now, by serial. Changed by the relay thread only.
    """

    def __init__(self, config: Config, trouble: Callable[[str, str], None]) -> None:
        self._config = config
        self._filed = {meter.serial: meter for meter in config.meters}
        self._hears: list[OnChange] = []
        self._trouble = trouble
        self._made: tuple[Command, Meter | None] | None = None
        self._changes: tuple[Changed, ...] = ()
        self.meters: dict[str, Meter] = dict(self._filed)

    def hear(self, on_change: OnChange) -> None:
        """Tell of every change that takes effect, in the relay thread."""
        self._hears.append(on_change)

    # ---- `relay.roster.Roster` --------------------------------------------------------------------------------------

    def recall(self, store: Store) -> None:
        """Carry out what was kept before this start, once the store is open."""
        kept = store.transact(_kept)
        if kept is None:  # no reason never to start again
            self._trouble("", "what was commanded of meters is damaged: the file alone says which are here")
            kept = []
        self._changes = tuple(changed for changed in kept if self._stands(changed))
        if len(self._changes) != len(kept):
            store.transact(lambda tx: _keep(tx, self._changes))
        for changed in self._changes:
            try:
                made = self._meter(changed)
            except ConfigFault as fault:
                self._trouble(changed.meter, f"commissioned by command, and cannot be read: {fault.cause}")
                made = None
            self._apply(changed, made)

    def fault(self, command: Command) -> str:
        """Why it cannot be carried out here; empty: it can."""
        changed = Changed.of(command, self._filed)
        if len(self._changes) >= CHANGES_AT_MOST:
            return f"{CHANGES_AT_MOST} changes are kept already: write them into the configuration file"
        if changed.gone and changed.gone not in self.meters:
            return f"no meter {changed.gone} here"
        try:
            self._made = (command, self._meter(changed))
        except ConfigFault as fault:
            return fault.cause
        return ""

    def keep(self, tx: Transaction, command: Command) -> None:
        """Keep it in the transaction that accepts it."""
        _keep(tx, [*self._changes, Changed.of(command, self._filed)])

    def take_effect(self, command: Command) -> None:
        """It is committed."""
        changed = Changed.of(command, self._filed)
        made = self._made[1] if self._made is not None and self._made[0] == command else self._meter(changed)
        self._made = None
        self._changes = (*self._changes, changed)
        self._apply(changed, made)

    # ---- what was changed -------------------------------------------------------------------------------------------

    def _stands(self, changed: Changed) -> bool:
        """Whether the file says of that meter what it said when the command came."""
        edited = mark(self._filed.get(changed.gone or changed.meter)) != changed.was
        if edited or (changed.gone != changed.meter and changed.meter in self._filed):
            log.warning("%s: the file says otherwise since: what was commanded is forgotten", changed.meter)
            return False
        return True

    def _meter(self, changed: Changed) -> Meter | None:
        """The meter that comes, or None. Raises ConfigFault."""
        if changed.change is Change.RETIRE:
            return None
        others = [meter for meter in self.meters.values() if meter.serial != changed.gone]
        return read_meter(self._config, {"serial": changed.meter, **changed.table}, others)

    def _apply(self, changed: Changed, made: Meter | None) -> None:
        gone = self.meters.pop(changed.gone, None)
        if made is not None:
            self.meters[made.serial] = made
        for on_change in self._hears:
            on_change(made, gone)


def _kept(tx: Transaction) -> list[Changed] | None:
    """None: it is damaged."""
    found = tx.document(DOCUMENT)
    try:
        return [] if found is None else [Changed.read(each) for each in json.loads(found[1])]
    except (ValueError, KeyError, TypeError, AttributeError):  # no reason never to start again
        return None


def _keep(tx: Transaction, changes: Sequence[Changed]) -> None:
    octets = json.dumps([changed.plain for changed in changes], sort_keys=True).encode("ascii")
    found = tx.document(DOCUMENT)
    if found is None and not changes:
        return
    if found is None or found[1] != octets:
        tx.save_document(DOCUMENT, (found[0] if found is not None else 0) + 1, octets)
