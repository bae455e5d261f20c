"""How one virtual meter misbehaves on its line; switched while it runs by plain assignment."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_FLAG: Final = 0x7E
_CHUNK: Final = 32
"""Octets said at a time by a meter that does not stop: 33 ms of 9600 baud."""
_BABBLE: Final = bytes(range(0x20, 0x60)) + b"\x7e\xa0\x64"
"""What a babbling meter says: text, and the beginning of a frame that never comes."""


@dataclass(slots=True)
class LinkFaults:
    """All off by default.

    Attributes:
        leading_zeros: so many 00 before each answer, as a transceiver gives that turns round.
        double_llc: each answer bears its LLC header twice (seen on a real meter).
        repeat: each answer is sent twice.
        half_frame: each answer stops half way.
        bare_ua: UA without parameters, so that the standard's defaults hold.
        exclusive: SNRM is refused (DM) while any client holds a link; DISC of that client or idleness ends it.
        hold: octet with which the meter holds the line for ever: 0x7E, 0x00, 0xFF or any other; None: it does not.
        babble_s: it talks unasked, every so many seconds; 0: it does not.
    """

    leading_zeros: int = 0
    double_llc: bool = False
    repeat: bool = False
    half_frame: bool = False
    bare_ua: bool = False
    exclusive: bool = False
    hold: int | None = None
    babble_s: float = 0.0
    _babbled_at: float = field(default=-1e9, repr=False)

    def worn(self, frames: Sequence[bytes]) -> list[bytes]:
        """An answer as the meter puts it on the line."""
        said = list(frames)
        if said and self.half_frame:
            said = [frame[: len(frame) // 2] for frame in said[:1]]
        if said and self.leading_zeros:
            said.insert(0, bytes(self.leading_zeros))
        return said * 2 if self.repeat else said

    def unasked(self, at: float) -> bytes:
        """What the meter says at `at` without having been asked; called when it has nothing else to say."""
        if self.hold is not None:
            return bytes([self.hold]) * _CHUNK
        if self.babble_s > 0 and at - self._babbled_at >= self.babble_s:
            self._babbled_at = at
            return _BABBLE
        return b""
