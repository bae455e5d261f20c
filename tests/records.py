"""True records of every stream, numbered and long enough to be deflated: what the contract's schemas let pass."""

import json
from datetime import timedelta

from dcu import obis
from dcu.event import Alarm, AlarmKind, Health
from dcu.meter import Amount
from dcu.obis import LogicalName
from dcu.reading import ClockState, Column, MeterTime, ProfileReading, Row, from_epoch
from dcu.record import Stream, encode_alarm, encode_credit, encode_health, encode_profile, encode_receipt
from dcu.relay.canonical import to_base64url

METER = "GXT20931188"
PAD = "x" * 200
LAYOUT = (
    Column(8, obis.CLOCK, 2),
    Column(3, LogicalName.of("1.0.1.29.0"), 2, 1, 30),
    Column(1, LogicalName.of("0.0.96.1.0"), 2),
    Column(1, LogicalName.of("0.0.96.11.0"), 2),
)
BALANCE = (Column(3, obis.CURRENT_BALANCE, 2), Column(1, obis.PAYMENT_MODE, 2))


def profile(n, *, name=obis.BLOCK_LOAD):
    """A reading of one row that holds `n` and the octet n mod 256, captured at second `n`."""
    at = MeterTime(from_epoch(n), 0, b"")
    row = Row(at, (n, PAD, bytes([n % 256])))
    return ProfileReading(METER, name, LAYOUT, (row,), from_epoch(n) + timedelta(minutes=1), ClockState.TRUSTED)


def receipt(n):
    """An envelope in form; nobody signed it."""
    claims = {
        "v": 1, "typ": "receipt", "dcu": "JH-RNC-0042", "jid": "0011", "iss": "hes", "cmd_id": f"c{n}", "op": "connect",
        "meter": METER, "digest": to_base64url(bytes(32)), "kind": "command", "state": "done", "at": n,
        "clock": "trusted", "n": n + 1, "chain": to_base64url(bytes(32)),
    }  # fmt: skip
    header = {"alg": "ES256", "kid": "box", "typ": "dcu-rcpt+jws"}
    protected, payload = (to_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    signature = {"protected": protected, "signature": to_base64url(bytes(64))}
    return json.dumps({"payload": payload, "signatures": [signature]}, separators=(",", ":")).encode()


def record(stream, n):
    """(body, layout or None) of a record of that stream that holds the number `n`."""
    at, trusted = from_epoch(n), ClockState.TRUSTED
    match stream:
        case Stream.PROFILE:
            return encode_profile(profile(n)), LAYOUT
        case Stream.BILLING:
            return encode_profile(profile(n, name=LogicalName.of("1.0.98.1.0"))), LAYOUT
        case Stream.CREDIT:
            return encode_credit(METER, BALANCE, (n, 1), n, trusted, "JH-RNC", Amount.PAISE), BALANCE
        case Stream.ALARM:
            return encode_alarm(
                Alarm(AlarmKind.STARTED, at, trusted, f"version {n} {PAD}", "", {"version": f"{n}"})
            ), None
        case Stream.HEALTH:
            return encode_health(Health(at, trusted, {"meters": n, "meters_not_ok": 0, "pad": PAD})), None
        case Stream.RECEIPT:
            return encode_receipt(receipt(n)), None
