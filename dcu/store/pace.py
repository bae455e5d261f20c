"""Whether the writer goes on: a disk that does not answer holds it in the middle of a turn, and all who come after.

Who came first waits in vain. Those who come then are told at once, so that a stalled disk holds up nobody for long.
"""

from collections.abc import Callable
from typing import Final

from dcu.ports import Clock

STALLED_S: Final = 10.0
"""A turn in which a caller waited longer than this in vain is held up by the disk; a slow card is quicker."""


class Pace:
    """The turns of the writer's loop.

    Args:
        clock: of the box.
        beat: called at each turn.
    """

    def __init__(self, clock: Clock, beat: Callable[[], None]) -> None:
        self._clock = clock
        self._beat = beat
        self._since_s = clock.monotonic_s()
        self._stalled_in: int | None = None
        self._stalled_s: float | None = None
        self.turn = 0
        """The one that runs; another number says that the loop went on."""

    @property
    def is_stalled(self) -> bool:
        """Whether somebody waited in vain for the end of this very turn."""
        return self._stalled_in == self.turn

    def missed(self, turn: int, waited_s: float) -> None:
        """A caller who came in `turn`, and whose work would have been done in the one after it, waited in vain."""
        if waited_s >= STALLED_S and self.turn <= turn + 1:
            self._stalled_in = self.turn

    # ---- the writer's thread ----

    def beat(self) -> None:
        """The next turn begins."""
        now_s, stalled_in, self._stalled_in = self._clock.monotonic_s(), self._stalled_in, None
        if stalled_in == self.turn:
            self._stalled_s = now_s - self._since_s
        self.turn += 1
        self._since_s = now_s
        self._beat()

    def recovered(self) -> float | None:
        """Seconds that the last turn which stalled took, once; None where none did."""
        stalled_s, self._stalled_s = self._stalled_s, None
        return stalled_s
