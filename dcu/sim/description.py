"""A file that describes virtual meters and their line (TOML), and the file beside it that holds their keys (0600)."""

import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from dcu.sim.errors import ConfigMistake
from dcu.sim.line import Noise
from dcu.sim.meter_config import MeterConfig
from dcu.sim.security import MeterKeys

EXAMPLE: Final = """\
# Virtual meters on one RS-485 line, after IS 15959 single-phase. Start with: dcu sim THIS_FILE
ledger = "ledger"              # directory: what each meter truly captured, one <serial>.jsonl a meter
secrets = "sim-secrets.toml"   # keys, mode 0600; relative to this file. For each meter there:
#   [GXT20931188]
#   guek = "32 hex digits"     # encryption key
#   gak = "32 hex digits"      # authentication key
#   lls = "text"               # password of the meter reader
#   hls = "32 hex digits"      # HLS secret of the utility setting client

[line]
link = "rs485"                 # symlink to the pty, relative to this file: open it as serial port
baud = 9600                    # pace: 10 bits an octet
seed = 1                       # of the noise
turnaround_ms = 20             # from the end of a request to the start of its answer
bit_error_rate = 0.0           # chance that a bit flips
loss_rate = 0.0                # chance that an octet is lost
silence_rate = 0.0             # chance that a meter falls silent instead of answering
silence_s = 5.0                # for how long
echo = false                   # the adapter hears itself
round_trip_ms = 0              # what the network adds to each exchange over TCP
# trace = "line.trace"         # file that is told what passes, a line each: > a request's octets, < an answer's

[[meter]]
serial = "GXT20931188"         # 1 to 13 characters
address = 17                   # physical device, lower HDLC address
seed = 1                       # which house it stands in
capture_period_s = 900         # of the block load
utc_offset_min = 330           # its local time
payment_mode = 1               # 0 post-paid, 1 prepaid
balance_paise = 25000
history_s = 172800             # rows from before the first start
mechanism = "secret"           # utility setting client: "secret" (HLS mechanism 2) or "gmac" (5)
ciphered = true                # suite 0 on all but the public client
protection = "both"            # of their APDUs: "authenticated", "encrypted" or "both"
general = false                # takes general-glo-ciphering too, and answers in kind
encrypted_only_replies = false # answers without a tag, as some real meters do
counter = "above"              # invocation counters must be above the last; "any": it does not look
reader_mechanism = "lls"       # meter reader: "lls" or "none"
control_mode = 4               # relay: 2 and 4 close on remote reconnect; 1, 3, 5, 6 only arm
# kind = "3ph-wc"              # "1ph", "3ph-wc" (whole current) or "3ph-ct" (transformers; no relay)
# solar_w = 3000               # cells on the roof: its export
# clock_drift_ppm = 20         # what its clock gains in a million seconds
# firmware = "SIM 1.0"
# event_entries = 50           # rows of each event log
# ring_days = 35               # of the block load
# columns = "standard"         # of profiles; "vendor": in another order, "amended": more of them
# scaler_profiles = "right"    # or "missing", "wrong-order"
# deviation = "unspecified"    # of its times, or "right", "wrong-sign"
# compact, null_compressed, newest_first, float32, weekday, clock_tag25 = false: how it shows rows, values and times
# repeats = false              # its clock set back, it captures the same moments again
# port = 0                     # serve the TCP wrapper too, on this port (0: any)
# hdlc_port = 0                # and HDLC over TCP on this one
# mode_e_baud = 9600           # behind an optical head, alone on its line: IEC 62056-21 mode E, naming this speed
# turnaround_ms = 35           # its own
# logical_device = 1, address_octets = 2, max_info = 128, window = 1, max_pdu = 1024, inactivity_s = 120
# [meter.link_faults]          # of the meter above; all off by default
# leading_zeros = 1, double_llc = true, repeat = true, half_frame = true, bare_ua = true, exclusive = true
# hold = 126                   # octet with which it holds the line without end
# babble_s = 10                # talks unasked, so often
"""


@dataclass(frozen=True, slots=True)
class LineDescription:
    """All that `dcu sim` is told. Paths are absolute."""

    meters: tuple[MeterConfig, ...]
    ledger: Path | None
    link: Path | None
    baud: int
    seed: int
    turnaround_ms: float
    noise: Noise
    trace: Path | None = None
    echo: bool = False
    round_trip_ms: float = 0.0
    link_faults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By serial: attributes of `LinkFaults`."""


_LINE_KEYS: Final[dict[str, Any]] = {
    "link": str,
    "baud": int,
    "seed": int,
    "turnaround_ms": float,
    "bit_error_rate": float,
    "loss_rate": float,
    "silence_rate": float,
    "silence_s": float,
    "trace": str,
    "echo": bool,
    "round_trip_ms": float,
}
_LINK_FAULT_KEYS: Final[dict[str, Any]] = {
    "leading_zeros": int,
    "double_llc": bool,
    "repeat": bool,
    "half_frame": bool,
    "bare_ua": bool,
    "exclusive": bool,
    "hold": int,
    "babble_s": float,
}
_NUMBERS: Final = {"turnaround_ms", "inactivity_s", "clock_drift_ppm", "solar_w"}
_WORDS: Final = {"serial", "mechanism", "reader_mechanism", "protection", "counter"} | {
    *("kind", "firmware", "columns", "scaler_profiles", "deviation")
}
_SWITCHES: Final = {"ciphered", "general", "encrypted_only_replies"} | {
    *("compact", "null_compressed", "newest_first", "float32", "weekday", "clock_tag25", "repeats")
}
_METER_KEYS: Final[dict[str, Any]] = {
    field.name: float
    if field.name in _NUMBERS
    else str
    if field.name in _WORDS
    else bool
    if field.name in _SWITCHES
    else int
    for field in fields(MeterConfig)
    if field.name != "keys"
}


def load(path: Path) -> LineDescription:
    """Read a description and its secrets.

    Raises:
        ConfigMistake: with file, key, cause and cure.
    """
    document = _toml(path)
    _check(document, {"ledger": str, "secrets": str, "line": dict, "meter": list}, str(path))
    line = document.get("line", {})
    _check(line, _LINE_KEYS, f"{path}: [line]")
    base = path.parent.resolve()
    secrets = _secrets(base / document["secrets"]) if "secrets" in document else {}
    meters = tuple(_meter(entry, secrets, path, at) for at, entry in enumerate(document.get("meter", []), 1))
    if not meters:
        raise ConfigMistake(f"{path}: no [[meter]]; `dcu sim --example` prints a description")
    _distinct(meters, path)
    baud = line.get("baud", 9600)
    if not 300 <= baud <= 1_000_000:
        raise ConfigMistake(f"{path}: [line] baud: {baud} is not within 300 to 1000000")
    noise = Noise(**{field.name: float(line[field.name]) for field in fields(Noise) if field.name in line})
    for rate in ("bit_error_rate", "loss_rate", "silence_rate"):
        if not 0 <= getattr(noise, rate) <= 1:
            raise ConfigMistake(f"{path}: [line] {rate}: a chance is 0 to 1")
    return LineDescription(
        meters=meters,
        ledger=base / document["ledger"] if "ledger" in document else None,
        link=base / line["link"] if "link" in line else None,
        baud=baud,
        seed=line.get("seed", 0),
        turnaround_ms=float(line.get("turnaround_ms", 20)),
        noise=noise,
        trace=base / line["trace"] if "trace" in line else None,
        echo=line.get("echo", False),
        round_trip_ms=float(line.get("round_trip_ms", 0)),
        link_faults={entry["serial"]: entry.get("link_faults", {}) for entry in document["meter"]},
    )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ConfigMistake(f"{path}: cannot be read: {fault.strerror}") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigMistake(f"{path}: not TOML: {fault}") from fault


def _check(table: Mapping[str, Any], known: Mapping[str, Any], place: str) -> None:
    for key, value in table.items():
        if key not in known:
            raise ConfigMistake(f"{place} {key}: no such key; known: {', '.join(known)}")
        kind = known[key]
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise ConfigMistake(f"{place} {key}: {kind.__name__} expected, not {type(value).__name__}")


def _meter(entry: Any, secrets: Mapping[str, MeterKeys], path: Path, at: int) -> MeterConfig:
    place = f"{path}: [[meter]] {at}"
    if not isinstance(entry, dict) or "serial" not in entry:
        raise ConfigMistake(f"{place} serial: missing")
    entry = dict(entry)
    faults = entry.pop("link_faults", {})
    _check(entry, _METER_KEYS, place)
    _check({"link_faults": faults}, {"link_faults": dict}, place)
    _check(faults, _LINK_FAULT_KEYS, f"{place} link_faults:")
    if not 0 <= faults.get("hold", 0) <= 0xFF:
        raise ConfigMistake(f"{place} link_faults: hold: an octet is 0 to 255")
    config = MeterConfig(**entry, keys=secrets.get(entry["serial"], MeterKeys()))
    try:
        config.validate()
    except ConfigMistake as mistake:
        raise ConfigMistake(f"{place}: {mistake}") from mistake
    return config


def _distinct(meters: tuple[MeterConfig, ...], path: Path) -> None:
    serials = [meter.serial for meter in meters]
    for serial in serials:
        if serials.count(serial) > 1:
            raise ConfigMistake(f"{path}: serial {serial!r} twice: a ledger has one meter")


def _secrets(path: Path) -> dict[str, MeterKeys]:
    document = _toml(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigMistake(f"{path}: others may read it; chmod 600 {path}")
    keys = {}
    for serial, entry in document.items():
        if not isinstance(entry, dict):
            raise ConfigMistake(f"{path}: {serial}: a table [{serial}] is expected")
        _check(entry, dict.fromkeys(("guek", "gak", "lls", "hls"), str), f"{path}: [{serial}]")
        try:
            binary = {name: bytes.fromhex(entry[name]) for name in ("guek", "gak", "hls") if name in entry}
        except ValueError:
            raise ConfigMistake(f"{path}: [{serial}]: guek, gak and hls are hex digits") from None
        keys[serial] = MeterKeys(**binary, lls=entry.get("lls", "").encode())
    return keys
