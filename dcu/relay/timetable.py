"""Which accepted command goes to its bus when: waiting before a disconnect, spacing, lanes, tries of a connect. Pure.

Connects have a lane of their own, ahead: they go at once, and of all others one at a time waits before a bus, so that a
connect waits for that one at most. Times are seconds of a clock that never goes back.
Source: reference/command-authority.md 0 item 10, 8 (step 24), 10 (threat 14).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from dcu.command import Command, Operation
from dcu.relay.letters import Key

AGAIN_S: Final = 30.0
"""From one try of a connect to the next."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted command.

    Attributes:
        command: what is to be done.
        bus: name of its meter's bus.
        due_s: when it may go.
        until_s: when it is given up, whatever the box's clock says.
        cuts: it is judged as a disconnect; then
        spacing_s: is how long it waits behind the last one.
    """

    command: Command
    bus: str
    due_s: float
    until_s: float
    cuts: bool
    spacing_s: int

    @property
    def gives_light(self) -> bool:
        """Whether it has the lane ahead."""
        return self.command.op is Operation.CONNECT

    @property
    def reads(self) -> bool:
        """Whether it only reads: nothing waits for it, and it waits for nothing but another read."""
        return self.command.op is Operation.READ


class Timetable:
    """What waits, what stands before its bus, and what was sent and has not come back."""

    def __init__(self) -> None:
        self._later: dict[Key, Entry] = {}
        self._out: dict[Key, Entry] = {}
        self._sent: dict[Key, Entry] = {}
        self._last_cut_s = float("-inf")

    def add(self, key: Key, entry: Entry) -> None:
        """A command was accepted."""
        self._later[key] = entry

    def due(self, now_s: float, *, cuts: bool = True) -> list[tuple[Key, Entry]]:
        """Those that go to their bus now, connects first; they are out from here on. Without `cuts`: no disconnect."""
        found = []
        for key, entry in sorted(self._later.items(), key=lambda item: (not item[1].gives_light, item[1].due_s)):
            if entry.due_s <= now_s and (cuts or not entry.cuts) and (entry.gives_light or self._free(entry, now_s)):
                del self._later[key]
                self._out[key] = entry
                found.append((key, entry))
        return found

    def early(self, key: Key, now_s: float) -> bool:
        """Whether a disconnect stands before its meter too soon behind the last one: then it waits again."""
        entry = self._out.get(key)
        if entry is None or not entry.cuts or now_s >= self._last_cut_s + entry.spacing_s:
            return False
        self._later[key] = replace(self._out.pop(key), due_s=self._last_cut_s + entry.spacing_s)
        return True

    def send(self, key: Key, now_s: float) -> Command | None:
        """It is being sent; None where it is not known to be out."""
        entry = self._out.pop(key, None)
        if entry is None:
            return None
        self._sent[key] = entry
        if entry.cuts:
            self._last_cut_s = now_s
        return entry.command

    def again(self, key: Key, now_s: float) -> bool:
        """Try a connect again after a while; False for everything else, and when its time is over.

        An errand that waits no longer and a leave that came too late both say so: the second finds it waiting.
        """
        if key in self._later:
            return self._later[key].gives_light
        entry = self._out.get(key) or self._sent.get(key)
        if entry is None or not entry.gives_light or now_s + AGAIN_S >= entry.until_s:
            return False
        self.forget(key)
        self._later[key] = replace(entry, due_s=now_s + AGAIN_S)
        return True

    def knows(self, key: Key) -> bool:
        """Whether it waits, is out or was sent."""
        return any(key in part for part in (self._later, self._out, self._sent))

    def forget(self, key: Key) -> Command | None:
        """It is at an end. Returns it, where it was known."""
        found = [part.pop(key) for part in (self._later, self._out, self._sent) if key in part]
        return found[0].command if found else None

    def unsent(self) -> Iterator[tuple[Key, Entry]]:
        """All that were not sent yet."""
        yield from [*self._later.items(), *self._out.items()]

    def _free(self, entry: Entry, now_s: float) -> bool:
        """Whether the lane of all others is free before that bus, and a disconnect is not too close or in the way."""
        there = [other for other in (*self._out.values(), *self._sent.values()) if other.bus == entry.bus]
        if entry.reads:
            return not any(other.reads for other in there)
        there = [other for other in there if not other.reads]
        if entry.cuts:
            return now_s >= self._last_cut_s + entry.spacing_s and not there
        return all(other.gives_light for other in there)
