# ruff: noqa: INP001 - scripts beside their document, no package
"""What the vectors are made of: fixed keys that nobody may ever trust, one box, and documents signed by hand.

It needs the `cryptography` package and nothing of dcu: what dcu reads was made by somebody else. Signatures are
deterministic (RFC 6979), so that the same file comes out everywhere.
"""

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
COMMAND, POLICY, PERMIT, KEYS = "dcu-cmd+jws", "dcu-policy+jws", "dcu-permit+jws", "dcu-keys+jws"

NOW = 1795419000
"""Monday 23 November 2026, 13:00 in India."""

DAY = 86400
ISS, DCU, JID, LEASE = "hes.vectors", "VEC-0001", "0123456789abcdef", "L-000102030405060708090a0b"
METER, DUES_METER, SAFE_METER = "GXT20931188", "GXT20931189", "GXT20931190"
LIVE, DUES = "VEC-LIVE", "VEC-DUES"
"""An area where prepaid is live, and one where it is not."""

Claims = dict[str, Any]

PEOPLE: dict[str, tuple[tuple[str, ...], str, str]] = {
    "root-a": (("root",), "esha", ""),
    "root-b": (("root",), "farid", ""),
    "root-c": (("root",), "gita", ""),
    "req-1": (("request",), "asha", ""),
    "app-1": (("approve",), "binod", ""),
    "app-asha": (("approve",), "asha", ""),
    "both-1": (("request", "approve"), "indu", ""),
    "pol-1": (("policy",), "chitra", ""),
    "pol-2": (("policy",), "devi", ""),
    "per-1": (("permit",), "hari", ""),
    "per-binod": (("permit",), "binod", ""),
    "pln-1": (("planner",), "planning", "jaya"),
    "bil-1": (("billing",), "billing", "kamal"),
    "wit-1": (("witness",), "wallets", "lata"),
    "wit-kamal": (("witness",), "wallets-2", "kamal"),
    "exp-1": (("request",), "mohan", ""),
    "fut-1": (("request",), "nila", ""),
    "rev-1": (("request",), "omar", ""),
}
"""Kid: roles, person or system, who administers it."""


def b64(octets: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def canonical(value: Any) -> bytes:
    """The one spelling."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def private(kid: str) -> ec.EllipticCurvePrivateKey:
    """The key of that name: a digest of its name, so never to be trusted."""
    scalar = int.from_bytes(hashlib.sha256(f"dcu vectors {kid}".encode()).digest(), "big") % (ORDER - 1) + 1
    return ec.derive_private_key(scalar, ec.SECP256R1())


def entry(kid: str, **changes: Any) -> Claims:
    """The key as a key document names it."""
    roles, person, admin = PEOPLE.get(kid, (("request",), kid, ""))
    point = private(kid).public_key().public_numbers()
    dates = {"exp-1": (NOW - 90 * DAY, NOW - DAY), "fut-1": (NOW + DAY, NOW + 90 * DAY)}
    nbf, exp = dates.get(kid, (NOW - 90 * DAY, NOW + 275 * DAY))
    members = {"kid": kid, "x": b64(point.x.to_bytes(32, "big")), "y": b64(point.y.to_bytes(32, "big"))}
    members |= {"roles": list(roles), "person": person, "admin": admin, "nbf": nbf, "exp": exp}
    return members | {"revoked": kid == "rev-1"} | changes


def header(kid: str, typ: str, /, **changes: Any) -> bytes:
    """A protected header."""
    return canonical({"alg": "ES256", "kid": kid, "typ": typ} | changes)


def member(kid: str, protected: bytes, payload: str, *, high: bool = False, signer: str = "") -> dict[str, str]:
    """One signature over a header and a payload that is base64url already; `high`: the twin with the high s."""
    text = b64(protected)
    der = private(signer or kid).sign(f"{text}.{payload}".encode(), ec.ECDSA(SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    s = max(s, ORDER - s) if high else min(s, ORDER - s)
    return {"protected": text, "signature": b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}


def seal(claims: Claims | bytes, typ: str, *kids: str) -> bytes:
    """The envelope of claims, signed by those, kids ascending."""
    payload = b64(claims if isinstance(claims, bytes) else canonical(claims))
    members = [member(kid, header(kid, typ), payload) for kid in sorted(kids)]
    return canonical({"payload": payload, "signatures": members})


def without(claims: Claims, *names: str) -> Claims:
    """The same without some members."""
    return {name: value for name, value in claims.items() if name not in names}


# ---- the box ---------------------------------------------------------------------------------------------------------

KEY_CLAIMS: Claims = {
    "v": 1, "typ": "keys", "iss": ISS, "version": 3, "iat": NOW - 30 * DAY, "exp": NOW + 335 * DAY, "threshold": 2,
    "keys": [entry(kid) for kid in sorted(PEOPLE)],
}  # fmt: skip

POLICY_CLAIMS: Claims = {
    "v": 1, "typ": "policy", "iss": ISS, "dcu": DCU, "version": 7, "iat": NOW - 20 * DAY, "nbf": NOW - 20 * DAY,
    "exp": NOW + 345 * DAY, "timezone": "Asia/Kolkata",
    "areas": {
        LIVE: {"prepaid_live": True, "since": NOW - 200 * DAY, "profile": "prepaid", "reconnect": "close",
               "grace_days": 30},
        DUES: {"prepaid_live": False, "since": 0, "profile": "arrears", "reconnect": "arm", "grace_days": 30},
    },
    "meters": {METER: LIVE, DUES_METER: DUES, SAFE_METER: DUES},
    "hours": dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "10:00-14:00"),
    "closed": ["2026-11-24", "2026-11-26T12:00/2026-11-27T09:00"], "protected": {SAFE_METER: "medical"}, "grace": {},
    "emergency_h": 72,
    "caps": {
        "arrears": {"hour": 2, "day": 3, "week": 9, "spacing_s": 120, "wait_s": 900},
        "prepaid": {"hour": 2, "day": 3, "week": 9, "spacing_s": 60, "wait_s": 60},
    },
    "limit_floor_w": 1000, "no_payment_mode_register": [],
}  # fmt: skip

OF_BOX: Claims = {
    "v": 1, "typ": "permit", "id": "P-2026-11-23", "iss": ISS, "dcu": DCU, "jid": JID, "date": "2026-11-23",
    "profile": "arrears", "max_n": 2,
}  # fmt: skip
OF_CITY: Claims = {"v": 1, "typ": "permit", "id": "T-2026-11-23", "iss": ISS, "date": "2026-11-23", "total": 6000}
SHARE: Claims = OF_BOX | {"id": "S-2026-11-23", "profile": "prepaid", "of": "T-2026-11-23"}

BOX: Claims = {
    "dcu": DCU,
    "jid": JID,
    "leases": [LEASE],
    "now": NOW,
    "clock": "trusted",
    "floor": NOW - 6 * 3600,
    "keys": KEY_CLAIMS,
    "policy": POLICY_CLAIMS,
    "permits": [
        seal(OF_BOX, PERMIT, "per-1").decode(),
        seal(OF_BOX | {"id": "P-own"}, PERMIT, "per-binod").decode(),
        seal(OF_BOX | {"id": "P-yesterday", "date": "2026-11-22"}, PERMIT, "per-1").decode(),
        seal(OF_BOX | {"id": "P-none", "max_n": 0}, PERMIT, "per-1").decode(),
        seal(OF_CITY, PERMIT, "per-1").decode(),
        seal(SHARE, PERMIT, "pln-1").decode(),
    ],
    "meters": {METER: LIVE, DUES_METER: DUES, SAFE_METER: DUES},
    "sequence": {METER: [40, 38], DUES_METER: [40, 38], SAFE_METER: [40, 38]},
    "streams": {"profile": 5000},
    "pending": {"c-pending": DUES_METER},
    "used": {"c-used": "another command"},
}
"""What the box of the vectors is and knows. `sequence`: highest of any relay operation, and of a disconnect."""

# ---- good payloads ---------------------------------------------------------------------------------------------------

COMMON: Claims = {"v": 1, "typ": "relay", "iss": ISS, "dcu": DCU, "jid": JID, "iat": NOW - 60, "exp": NOW + 1740}


def command(op: str, cmd_id: str = "c-1", **members: Any) -> Claims:
    """Claims of a command."""
    return COMMON | {"op": op, "cmd_id": cmd_id} | members


CUT = command(
    "disconnect", meter=DUES_METER, seq=41, why="arrears", area=DUES, pol=7, lease=LEASE, permit="P-2026-11-23",
    case="VEC-2026-88121", notice=NOW - 20 * DAY, expect="connected",
)  # fmt: skip
PREPAID_CUT = command(
    "disconnect", meter=METER, seq=41, why="credit", area=LIVE, pol=7, lease=LEASE, permit="S-2026-11-23",
    low_credit_at=NOW - 4 * DAY, ledger="W-771", ledger_at=NOW - 600,
)  # fmt: skip
CONNECT = command("connect", meter=METER, seq=41)

GOOD: dict[str, tuple[Claims, tuple[str, ...]]] = {
    "connect": (CONNECT, ("req-1",)),
    "disconnect": (CUT, ("req-1", "app-1")),
    "cancel": (command("cancel", meter=DUES_METER, cancels="c-pending"), ("wit-1",)),
    "freeze": (command("freeze"), ("pol-1",)),
    "unfreeze": (command("unfreeze"), ("req-1", "app-1")),
    "read": (command("read", meter=METER, profile="1.0.99.1.0.255", since=NOW - DAY, until=NOW), ("req-1",)),
    "resend": (command("resend", stream="profile", first=1, last=100), ("req-1",)),
    "clock-set": (command("clock-set", meter=METER, most_s=600), ("req-1",)),
    "balance": (command("balance", meter=METER, recharge=50000, recharged_at=NOW - 60, balance=61000), ("bil-1",)),
    "message": (command("message", meter=METER, why="credit", area=LIVE, text="Balance low"), ("req-1",)),
    "limit": (command("limit", meter=METER, watts=5000), ("req-1",)),
    "meter": (command("meter", meter=METER, change="retire"), ("req-1", "app-1")),
    "mode": (without(CUT, "op") | {"op": "mode", "control_mode": 4}, ("req-1", "app-1")),
}
"""One good command of every operation, and who signs it."""
GOOD["mode"] = (without(GOOD["mode"][0], "expect"), GOOD["mode"][1])
