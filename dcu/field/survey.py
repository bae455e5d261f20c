"""Looking for meters on one line, a step at a time: knock, and where somebody answers ask who it is.

Who lends the line decides how many steps it lends it for: a command of its own all of them, the running field process
a few seconds' worth between its polls.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any, Final

from dcu.config.meter_models import shipped
from dcu.drivers.data_link import LineTiming
from dcu.drivers.lending import Framing
from dcu.drivers.mode_e import SpeedLink
from dcu.drivers.scan import Door, Knocked, Knocker, Sweep
from dcu.errors import BusFault, DcuError, EchoHeard, MeterSilent, Preempted
from dcu.field.direct import DirectLine
from dcu.field.identity import Identity, identity
from dcu.meter import Meter, MeterSecrets, Purpose, Quirk
from dcu.ports import ByteLink, Clock

_KNOCKS: Final = 3
"""At a door behind which something garbled was heard."""

_PATIENCE: Final = 5
"""How many times as long as a knock an answer of the application may take."""

Found = dict[str, Any]
"""Plain data of one address: `address`, `baud`, `serials`, `condition` (meter, nameless, silent, refuses, two meters,
garbled), and of a meter `make`, `model`, `why`, `guess` (it does not say its kind), `said`; `note` for people."""

TWO: Final = "two meters at one address: take one off the line, or give it another address"
ECHO: Final = "the adapter hears itself: harmless here, yet switch its echo off where it can be"


@dataclass(slots=True)
class Survey:
    """What is looked for, and what was found so far.

    Attributes:
        sweep: which addresses, at which speeds.
        zone: of the meters' clocks.
        server_sap: logical device.
        answer_s: until an answer to a knock begins.
        mode_e: an optical head, with the one meter that it hangs on: sign on first, and do not knock.
        found: addresses where somebody is.
        notes: what was noticed of the line itself.
        clock: time.
    """

    sweep: Sweep
    zone: tzinfo
    clock: Clock
    server_sap: int = 1
    answer_s: float = 0.3
    mode_e: bool = False
    found: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def step(self, link: ByteLink, give_way: Callable[[], None] = lambda: None) -> bool:
        """One address; False when all were tried. Stopped in its middle by `give_way`, it is begun again.

        Raises:
            Preempted: a relay errand waits.
            BusFault, LinkLost: the line is gone.
        """
        place = self.sweep.next()
        if place is None:
            return False
        baud, address = place
        give_way()
        if baud and isinstance(link, SpeedLink):
            link.set_speed(link.baud if self.mode_e else baud)
        octet_s = 10 / baud if baud else 0.0
        door = Door(address, self.server_sap, octet_s, self.answer_s)
        found = (self._sign_on if self.mode_e else self._look)(link, door, baud, give_way)
        if found is not None:
            self.found.append(found)
        self.sweep.tell(address, found=found is not None)
        return True

    def pass_over(self, cause: str) -> None:
        """Leave out the address that is next: whoever is there ends the connection."""
        place = self.sweep.next()
        if place is not None:
            self.notes.append(f"address {place[1]}: the connection ended twice: {cause}")
            self.sweep.tell(place[1], found=False)

    def progress(self) -> dict[str, Any]:
        """How far it is, as plain data."""
        baud, address = self.sweep.next() or (0, 0)
        return {"done": self.sweep.done, "total": self.sweep.total, "baud": baud, "address": address}

    def _look(self, link: ByteLink, door: Door, baud: int, give_way: Callable[[], None]) -> Found | None:
        knocker = Knocker(link, self.clock.monotonic_s)
        knocked = self._knock(knocker, door, give_way)
        at: Found = {"address": door.address, "baud": baud, "serials": []}
        if knocked.accepted > 1:
            give_way()
            return at | {"condition": "two meters", "serials": sorted(knocker.serials(door)), "note": TWO}
        if knocked.accepted:
            return at | self._who(link, knocker, door, baud, give_way)
        if knocked.garbled:
            note = f"{_KNOCKS} garbled answers to {_KNOCKS} knocks: {TWO}; or much noise"
            return at | {"condition": "garbled", "note": note}
        if knocked.refused:
            return at | {"condition": "refuses", "note": "somebody is there and refuses the public client's link"}
        return None

    def _knock(self, knocker: Knocker, door: Door, give_way: Callable[[], None]) -> Knocked:
        """Again while the answer is garbled: noise does not stay, a second meter does."""
        knocked = Knocked()
        for _ in range(_KNOCKS):
            give_way()
            knocked = knocker.knock(door)
            if knocked.echo and ECHO not in self.notes:
                self.notes.append(ECHO)
            if knocked.accepted or not knocked.garbled:
                break
        return knocked

    def _sign_on(self, link: ByteLink, door: Door, baud: int, give_way: Callable[[], None]) -> Found | None:
        found = ask_who(self._line(link, baud, give_way), door.address, self.server_sap, mode_e=True)
        at: Found = {"address": door.address, "baud": baud, "serials": [], "mode_e": True}
        return None if found["condition"] == "silent" else at | found

    def _who(self, link: ByteLink, knocker: Knocker, door: Door, baud: int, give_way: Callable[[], None]) -> Found:
        found = ask_who(self._line(link, baud, give_way), door.address, self.server_sap)
        if found["condition"] not in {"nameless", "silent"}:
            return found
        serials = knocker.serials(door)
        if len(serials) > 1:
            return {"condition": "two meters", "serials": sorted(serials), "note": TWO}
        if knocker.garbled:  # both took the link with the same octets, and then said different things at once
            return {"condition": "garbled", "note": f"takes the link, and its answers are garbled: {TWO}"}
        return found

    def _line(self, link: ByteLink, baud: int, give_way: Callable[[], None]) -> DirectLine:
        first_s = max(1.0, _PATIENCE * self.answer_s)
        timing = LineTiming.at_baud(baud, first_octet_s=first_s) if baud else LineTiming.over_tcp(first_octet_s=first_s)
        return DirectLine(
            lambda: link, Framing.HDLC, timing=timing, zone=self.zone, clock=self.clock, give_way=give_way
        )


def ask_who(line: DirectLine, address: int, server_sap: int, *, mode_e: bool = False) -> Found:
    """Identity of one meter through the public client; `silent` where nobody answered at all.

    Raises:
        Preempted, BusFault: as `Survey.step`.
    """
    model = replace(
        shipped()["dlms-generic"],
        server_sap=server_sap,
        address_octets=1 if address == 0 else 0,
        quirks=frozenset({Quirk.MODE_E} if mode_e else ()),
    )
    try:
        with line.associate(Meter("", "scan", model, address, "", MeterSecrets()), Purpose.IDENTIFY) as association:
            who = identity(association)
    except (Preempted, BusFault):
        raise
    except (MeterSilent, EchoHeard) as fault:
        return {"condition": "silent", "note": f"says nothing: {fault.cause}"}
    except DcuError as fault:
        return {"condition": "nameless", "note": f"answers, but does not say who it is: {fault.cause}"}
    return described(who)


def described(who: Identity) -> Found:
    """A meter that said who it is, as plain data."""
    model, why = who.model
    found: Found = {"condition": "meter" if who.serial else "nameless", "serials": [who.serial] if who.serial else []}
    said = {name: value for name, value in who.said.items() if name != "reader_counter"}
    found |= {"make": who.make, "model": model, "why": why, "guess": who.is_guess, "said": said}
    return found if who.serial else found | {"note": "answers, but keeps its serial from the public client"}
