"""A line in virtual time that counts octets and round trips between a client and one virtual meter."""

from dataclasses import dataclass

from dcu.sim import MeterConfig, VirtualMeter

BAUD = 9600
BITS = 10
TURNAROUND_S = 0.05
START_S = 1_795_000_005.0
"""Real time at the beginning: a few seconds behind the end of an interval."""


@dataclass(frozen=True, slots=True)
class Used:
    """What an exchange used of the line."""

    octets: int
    round_trips: int

    @property
    def seconds(self) -> float:
        """On the wire and in turnarounds."""
        return self.octets * BITS / BAUD + self.round_trips * TURNAROUND_S

    def __sub__(self, other: "Used") -> "Used":
        return Used(self.octets - other.octets, self.round_trips - other.round_trips)

    def __add__(self, other: "Used") -> "Used":
        return Used(self.octets + other.octets, self.round_trips + other.round_trips)


class CountedLine:
    """Satisfies `ports.ByteLink`; time passes with the octets and with whoever waits.

    Attributes:
        now_s: monotonic.
        used: so far, both ways.
        heard: the last answer.
    """

    def __init__(self, config: MeterConfig) -> None:
        self.now_s = 1000.0
        self.used = Used(0, 0)
        self.meter = VirtualMeter(config, now=self.wall_s)
        self.heard: list[bytes] = []
        self._coming: list[bytes] = []

    def wall_s(self) -> float:
        """Seconds since 1970."""
        return START_S + self.now_s - 1000.0

    def exchange(self, octets: bytes) -> list[bytes]:
        """What the meter answers."""
        self._pass(octets)
        self.meter.tick()
        answers = [bytes(answer) for answer in self.meter.receive(octets, self.now_s)]
        self.heard = answers
        if answers:
            self.now_s += TURNAROUND_S
            self.used += Used(0, 1)
        for answer in answers:
            self._pass(answer)
        return answers

    def _pass(self, octets: bytes) -> None:
        self.now_s += len(octets) * BITS / BAUD
        self.used += Used(len(octets), 0)

    # ---- ports.ByteLink ----

    def send(self, octets: bytes) -> None:
        self._coming += self.exchange(octets)

    def receive(self, deadline_s: float) -> bytes:
        if self._coming:
            return self._coming.pop(0)
        self.now_s = max(self.now_s, deadline_s)
        return b""

    def flush_input(self) -> None:
        self._coming.clear()

    def close(self) -> None:
        pass
