"""How a meter's clock shows its time."""

from dataclasses import dataclass
from typing import Literal

Deviation = Literal["unspecified", "right", "wrong-sign"]


@dataclass(frozen=True, slots=True)
class Face:
    """How a clock shows its time.

    Attributes:
        deviation: of local time to UTC: left open, as the standard has it (-330 in India), or with the other sign.
        weekday: shown, or FF.
        tagged: as date-time (tag 25) where others send an octet-string.
    """

    deviation: Deviation = "unspecified"
    weekday: bool = False
    tagged: bool = False
