"""What one virtual meter is: values, and the rules between them."""

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from dcu.sim import hdlc
from dcu.sim.buffer import Form
from dcu.sim.errors import ConfigMistake, Malformed
from dcu.sim.face import Deviation
from dcu.sim.kinds import KINDS, KindName, Order
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
        kind: single-phase, three-phase whole-current, three-phase transformer-operated (no relay).
        firmware: version that it tells.
        columns: of its profiles: as the standard has them, in another order, or with those of an amendment.
        compact: buffers of rings are compact arrays.
        null_compressed: in buffers of rings null stands for what repeats, and for a time one period later.
        newest_first: buffers of rings begin with the newest row.
        float32: registers are float32, power and energy in thousands. Ledger and `rows` keep the integers.
        scaler_profiles: in the columns' order, in another one, or not there.
        deviation, weekday, clock_tag25: how it shows times (`face.Face`).
        clock_drift_ppm: what its clock gains in a million seconds.
        repeats: set back, it captures the same moments again; else none is captured twice.
        solar_w: peak of the cells on the roof, which are its export.
        event_entries: rows of each event log.
        ring_days: of the block load at its first capture period.
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
    kind: KindName = "1ph"
    firmware: str = "SIM 1.0"
    columns: Order = "standard"
    compact: bool = False
    null_compressed: bool = False
    newest_first: bool = False
    float32: bool = False
    scaler_profiles: Literal["right", "missing", "wrong-order"] = "right"
    deviation: Deviation = "unspecified"
    weekday: bool = False
    clock_tag25: bool = False
    clock_drift_ppm: float = 0.0
    repeats: bool = False
    solar_w: float = 0.0
    event_entries: int = 50
    ring_days: int = 35

    @property
    def form(self) -> Form:
        """Of buffers on the wire."""
        if self.compact:
            return Form.COMPACT
        return Form.NULLS if self.null_compressed else Form.PLAIN

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
            f"kind: {', '.join(KINDS)}": self.kind in KINDS,
            "firmware: printable ASCII": self.firmware.isascii() and self.firmware.isprintable(),
            f"columns: {', '.join(get_args(Order))}": self.columns in get_args(Order),
            "compact, null_compressed: not both": not (self.compact and self.null_compressed),
            "scaler_profiles: right, missing, wrong-order": self.scaler_profiles in {"right", "missing", "wrong-order"},
            f"deviation: {', '.join(get_args(Deviation))}": self.deviation in get_args(Deviation),
            "clock_drift_ppm: -100000 to 100000": abs(self.clock_drift_ppm) <= 100_000,
            "solar_w: not negative": self.solar_w >= 0,
            "event_entries: 1 to 1000": 1 <= self.event_entries <= 1_000,
            "ring_days: 1 to 1000": 1 <= self.ring_days <= 1_000,
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
