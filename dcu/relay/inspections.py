"""Commands that a crash left in DISPATCHED: their meters are read until they answer, for so many times; never sent to.

Source: reference/command-authority.md 0 item 4.
"""

from collections.abc import Mapping
from typing import Final

from dcu.command import Command, Event
from dcu.meter import Meter
from dcu.ports import Bus
from dcu.relay.executor import Inspection, Place
from dcu.relay.letters import Key, Outcome

TRIES: Final = 20
"""To read a meter after a crash, before the command is in doubt for good."""


class Inspections:
    """Called by the relay thread only.

    Args:
        meters: commissioned here.
        buses: by name.
        place: of all errands.
        again_s: between two tries.
    """

    def __init__(self, meters: Mapping[str, Meter], buses: Mapping[str, Bus], place: Place, again_s: float) -> None:
        self._meters = meters
        self._buses = buses
        self._place = place
        self._letters = place.letters
        self._again_s = again_s
        self._open: dict[Key, tuple[Command, int]] = {}
        self._due_s: dict[Key, float] = {}

    def begin(self, command: Command) -> None:
        """Read its meter."""
        self._open[command.iss, command.cmd_id] = (command, 0)
        self._post(command)

    def unseen(self, key: Key, reason: str, now_s: float) -> None:
        """It could not be read this time (monotonic)."""
        found = self._open.get(key)
        if found is None or found[1] + 1 >= TRIES:
            self._letters.post(Outcome(key, Event.RECOVERED_OTHER, reason=reason), urgent=True)
            return
        self._open[key] = (found[0], found[1] + 1)
        self._due_s[key] = now_s + self._again_s

    def ended(self, key: Key) -> Command | None:
        """It is at its end. Returns it, where it was inspected."""
        self._due_s.pop(key, None)
        found = self._open.pop(key, None)
        return found[0] if found else None

    def pass_time(self, now_s: float) -> None:
        """Read those again whose time has come (monotonic)."""
        for key in [key for key, due_s in self._due_s.items() if now_s >= due_s]:
            del self._due_s[key]
            self._post(self._open[key][0])

    def _post(self, command: Command) -> None:
        try:
            meter = self._meters[command.meter]
            bus = self._buses[meter.bus]
        except KeyError:
            key = (command.iss, command.cmd_id)
            outcome = Outcome(key, Event.RECOVERED_OTHER, reason="its meter is not here any more")
            self._letters.post(outcome, urgent=True)
            return
        bus.post(Inspection(command, meter, self._place), urgent=True)
