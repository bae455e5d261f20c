"""What one virtual meter is: values, and the rules between them."""

from dataclasses import dataclass, field
from typing import Final, Literal

from dcu.sim import hdlc
from dcu.sim.errors import ConfigMistake, Malformed
from dcu.sim.optical import BAUDS
from dcu.sim.security import MeterKeys

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """One virtual meter.

    Attributes:
        serial: its identity, 1..13 printable ASCII characters.
        address: physical device (lower HDLC address).
        keys: its keys and secrets.
        seed: which house it stands in.
        capture_period_s: of the block load; divides a day.
        utc_offset_min: its local time.
        payment_mode: 0 post-paid, 1 prepaid.
        balance_paise: credit balance.
        history_s: block load rows (and midnights) from before its start, unless its ledger has some already.
        mechanism: of the utility setting client: "secret" is HLS mechanism 2, "gmac" mechanism 5.
        ciphered: suite 0 on the meter reader's and the utility setting client's APDUs.
        protection: of those APDUs, at least: "authenticated", "encrypted", "both"; "none" is not ciphered.
        general: takes general-glo- and general-ded-ciphering too, and answers in kind.
        encrypted_only_replies: its answers are encrypted and bear no tag, whatever the requests have.
        counter: "above": an invocation counter must be above the last; "any": it does not look.
        reader_mechanism: of the meter reader: "lls" or "none".
        control_mode: of the relay (class 70 attribute 4).
        logical_device: upper HDLC address, wrapper destination.
        address_octets: size of its HDLC address field: 1 (logical device alone), 2 or 4.
        max_info, window: HDLC information field and window that it offers.
        max_pdu: largest APDU that it takes.
        inactivity_s: an idle data link falls after so long.
        turnaround_ms: own turnaround time; None: the line's.
        port: TCP port of its wrapper, 0 for any free one, None for no TCP.
        hdlc_port: TCP port on which it speaks HDLC, likewise.
        mode_e_baud: it hangs on an optical head, alone on its line, and names this baud in IEC 62056-21 mode E; 0: no.
    """

    serial: str
    address: int = 17
    keys: MeterKeys = field(default_factory=MeterKeys, repr=False)
    seed: int = 1
    capture_period_s: int = 900
    utc_offset_min: int = 330
    payment_mode: int = 1
    balance_paise: int = 0
    history_s: int = 0
    mechanism: Literal["secret", "gmac"] = "secret"
    ciphered: bool = True
    protection: Literal["none", "authenticated", "encrypted", "both"] = "both"
    general: bool = False
    encrypted_only_replies: bool = False
    counter: Literal["above", "any"] = "above"
    reader_mechanism: Literal["lls", "none"] = "lls"
    control_mode: int = 4
    logical_device: int = 1
    address_octets: int = 2
    max_info: int = 128
    window: int = 1
    max_pdu: int = 1024
    inactivity_s: float = 120.0
    turnaround_ms: float | None = None
    port: int | None = None
    hdlc_port: int | None = None
    mode_e_baud: int = 0

    def validate(self) -> None:
        """Raises `ConfigMistake` with the first thing that cannot be."""
        keys = self.keys
        rules = {
            "serial: 1 to 13 printable ASCII characters": 1 <= len(self.serial) <= 13
            and self.serial.isascii()
            and self.serial.isprintable(),
            "capture_period_s: 1 to 86400 and a divisor of 86400": 1 <= self.capture_period_s <= _DAY_S
            and _DAY_S % self.capture_period_s == 0,
            "utc_offset_min: -720 to 840": -720 <= self.utc_offset_min <= 840,
            "payment_mode: 0 (post-paid) or 1 (prepaid)": self.payment_mode in {0, 1},
            "balance_paise: 32 bits, signed": -(1 << 31) <= self.balance_paise < 1 << 31,
            "history_s: not negative": self.history_s >= 0,
            'mechanism: "secret" or "gmac"': self.mechanism in {"secret", "gmac"},
            'protection: "none", "authenticated", "encrypted" or "both"': self.protection
            in {"none", "authenticated", "encrypted", "both"},
            'counter: "above" or "any"': self.counter in {"above", "any"},
            'reader_mechanism: "lls" or "none"': self.reader_mechanism in {"lls", "none"},
            "control_mode: 0 to 6": self.control_mode in range(7),
            "max_info: 32 to 2030": 32 <= self.max_info <= 2030,
            "window: 1 to 7": 1 <= self.window <= 7,
            "max_pdu: 64 to 65535": 64 <= self.max_pdu <= 0xFFFF,
            "port: 0 to 65535": self.port is None or 0 <= self.port <= 0xFFFF,
            "hdlc_port: 0 to 65535": self.hdlc_port is None or 0 <= self.hdlc_port <= 0xFFFF,
            "mode_e_baud: 300, 600, 1200, 2400, 4800, 9600 or 19200": self.mode_e_baud in {0, *BAUDS},
            "guek: 16 octets": not (self.ciphered or self.mechanism == "gmac") or len(keys.guek) == 16,
            "gak: 16 octets": not (self.ciphered or self.mechanism == "gmac") or len(keys.gak) == 16,
            "lls: a password": self.reader_mechanism == "none" or bool(keys.lls),
            "hls: 16 octets for mechanism 2": self.mechanism == "gmac" or len(keys.hls) == 16,
        }
        for rule, kept in rules.items():
            if not kept:
                raise ConfigMistake(f"meter {self.serial!r}: {rule}")
        try:
            hdlc.server_address(self.logical_device, self.address, self.address_octets)
        except Malformed as fault:
            raise ConfigMistake(f"meter {self.serial!r}: {fault}") from fault
