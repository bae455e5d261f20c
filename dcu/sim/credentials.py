"""How clients get into a meter: mechanism, keys, and the invocation counters of both directions."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dcu.sim.faults import Faults
from dcu.sim.meter_config import MeterConfig
from dcu.sim.objects import Client

_COUNTER_BASE: Final = 1_700_000_000
_COUNTER_RATE: Final = 16
"""The meter's own counter starts at 16 a second since then: above all that it used before, also after a restart."""

_CONTROL: Final = {"none": 0x00, "authenticated": 0x10, "encrypted": 0x20, "both": 0x30}


class Mechanism(Enum):
    """Authentication of a client, by mechanism id."""

    NONE = 0
    LLS = 1
    HLS_SECRET = 2
    HLS_GMAC = 5


@dataclass(frozen=True, slots=True)
class Access:
    """How one client gets in: its mechanism, and the security control that its APDUs have at least; 0: clear."""

    mechanism: Mechanism
    control: int

    @property
    def ciphered(self) -> bool:
        """Whether its APDUs are protected at all."""
        return self.control != 0


class Credentials:
    """Of one meter.

    Args:
        config: its keys and rules.
        now: seconds since 1970.
        faults: of this meter.
    """

    def __init__(self, config: MeterConfig, now: Callable[[], float], faults: Faults) -> None:
        self.keys = config.keys
        self.max_pdu = config.max_pdu
        self.general = config.general
        self.encrypted_only_replies = config.encrypted_only_replies
        self.counts = config.counter == "above"
        self.faults = faults
        self.system_title = b"SIM" + hashlib.sha256(config.serial.encode()).digest()[:5]
        self._accepted: dict[int, int] = {}
        self._counter = max(0, int(now()) - _COUNTER_BASE) * _COUNTER_RATE
        reader = Mechanism.LLS if config.reader_mechanism == "lls" else Mechanism.NONE
        setting = Mechanism.HLS_GMAC if config.mechanism == "gmac" else Mechanism.HLS_SECRET
        control = _CONTROL[config.protection] if config.ciphered else 0
        self._access = {
            Client.PUBLIC: Access(Mechanism.NONE, 0),
            Client.METER_READER: Access(reader, control),
            Client.UTILITY_SETTING: Access(setting, control),
        }

    def access(self, client: int) -> Access | None:
        """Rules for a client address; None for one that the meter does not know."""
        return next((access for known, access in self._access.items() if known == client), None)

    def last_counter(self, client: int) -> int:
        """The invocation counter last accepted of a client."""
        return self._accepted.get(client, 0)

    def accept_counter(self, client: int, counter: int) -> None:
        """Remember it; only ever upwards."""
        self._accepted[client] = max(counter, self.last_counter(client))

    def next_counter(self) -> int:
        """A counter of the meter's own that was never used."""
        self._counter += 1
        return self._counter
