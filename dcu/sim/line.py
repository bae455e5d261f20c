"""One RS-485 pair in model time: 10 bits an octet, who talks when, what collides, what noise does. No clock of its own.

Everybody on the pair hands in what is to be said and from when; `due` gives the octets that have passed. An octet has
passed when its stop bit has: 10 / baud seconds after its start bit (8N1). Two talkers at once garble one another.
"""

import random
from dataclasses import dataclass, field
from typing import Final

BITS_PER_OCTET: Final = 10
MASTER: Final = -1
"""The talker that is not a meter."""


@dataclass(slots=True)
class Noise:
    """What the wire does to what is said; plain assignment while the line runs.

    Attributes:
        bit_error_rate: chance that a bit flips.
        loss_rate: chance that an octet is lost.
        silence_rate: chance that a meter that was to answer falls silent instead.
        silence_s: for how long.
    """

    bit_error_rate: float = 0.0
    loss_rate: float = 0.0
    silence_rate: float = 0.0
    silence_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """Octets of one talker that have passed, and when the last of them did."""

    talker: int
    octets: bytes
    at: float


@dataclass(slots=True)
class _Speech:
    talker: int
    start: float
    octets: bytes
    passed: int = 0
    garbled: set[int] = field(default_factory=set)


class LineModel:
    """The pair.

    Args:
        baud: bits a second.
        noise: what it does to octets; changed by the owner at will.
        seed: of the noise.
    """

    def __init__(self, baud: int, noise: Noise | None = None, seed: int = 0) -> None:
        self.octet_s = BITS_PER_OCTET / baud
        self.noise = noise or Noise()
        self.rng = random.Random(f"line/{seed}")  # noqa: S311  noise, not a secret
        self._speeches: list[_Speech] = []
        self._free: dict[int, float] = {}

    def say(self, talker: int, at: float, octets: bytes) -> float:
        """Octets from `at`, or from when the same talker has said what came before; the moment that the last passes."""
        start = max(at, self._free.get(talker, at))
        end = start + len(octets) * self.octet_s
        if not octets:
            return end
        speech = _Speech(talker, start, octets)
        for other in self._speeches:
            if other.talker != talker:
                self._collide(speech, other)
        self._speeches.append(speech)
        self._free[talker] = end
        return end

    def _collide(self, one: _Speech, other: _Speech) -> None:
        start = max(one.start, other.start)
        end = min(one.start + len(one.octets) * self.octet_s, other.start + len(other.octets) * self.octet_s)
        if end <= start:
            return
        for speech in (one, other):
            first = int((start - speech.start) / self.octet_s)
            last = int((end - speech.start) / self.octet_s + 0.999)
            speech.garbled.update(range(first, min(last, len(speech.octets))))

    def due(self, now: float) -> list[Heard]:
        """What has passed by `now`, in the order in which it ended."""
        heard = []
        for speech in self._speeches:
            count = min(int((now - speech.start) / self.octet_s + 1e-6), len(speech.octets))
            if count <= speech.passed:
                continue
            octets = self._worn(speech, speech.passed, count)
            speech.passed = count
            heard.append(Heard(speech.talker, octets, speech.start + count * self.octet_s))
        self._speeches = [speech for speech in self._speeches if speech.passed < len(speech.octets)]
        return sorted(heard, key=lambda part: part.at)

    def next_end(self) -> float | None:
        """When the first of the present speeches ends; None on a quiet line."""
        return min((speech.start + len(speech.octets) * self.octet_s for speech in self._speeches), default=None)

    def queued(self, talker: int) -> int:
        """Octets of a talker that have not passed."""
        return sum(len(speech.octets) - speech.passed for speech in self._speeches if speech.talker == talker)

    def _worn(self, speech: _Speech, first: int, last: int) -> bytes:
        """Octets as they arrive."""
        noise = self.noise
        if not speech.garbled and noise.bit_error_rate <= 0 and noise.loss_rate <= 0:
            return speech.octets[first:last]
        worn = bytearray()
        for at in range(first, last):
            octet = speech.octets[at]
            if at in speech.garbled:
                octet ^= self.rng.randrange(1, 256)
            for bit in range(8):
                if noise.bit_error_rate > 0 and self.rng.random() < noise.bit_error_rate:
                    octet ^= 1 << bit
            if noise.loss_rate <= 0 or self.rng.random() >= noise.loss_rate:
                worn.append(octet)
        return bytes(worn)
