"""What is signed, built and signed: building, each signature, and sending are separate acts of separate people.

    claims = command_claims(op=Operation.DISCONNECT, ...)      the planner
    draft = unsigned(claims)
    draft = sign(draft, asha)                                  one person
    draft = sign(draft, binod)                                 another one, elsewhere, later

What is built is checked against the very schema that the box checks it against. Source: command-authority.md 11;
docs/signing.md is the same for other languages.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from dcu.command import Operation, Profile, Refusal
from dcu.errors import OperatorFault
from dcu.relay.canonical import Json, canonical, to_base64url
from dcu.relay.envelope import (
    COMMAND,
    KEYS,
    PERMIT,
    POLICY,
    Signer,
    add_signature,
    claims_of,
    payload_of,
    unsigned,
)
from dcu.relay.key_document import read_key_document
from dcu.relay.permit import read_permit
from dcu.relay.policy import read_policy, usual_caps
from dcu.relay.schema import read_command

TYPS: Final[Mapping[str, str]] = {"relay": COMMAND, "policy": POLICY, "permit": PERMIT, "keys": KEYS}
"""Protected typ by the payload's own."""

READERS: Final[Mapping[str, Callable[[Mapping[str, Json]], object]]] = {
    "relay": read_command,
    "policy": read_policy,
    "permit": read_permit,
    "keys": read_key_document,
}
"""What the box reads each kind with. Each raises CommandRefused."""

EMERGENCY_H: Final = 72
LIMIT_FLOOR_W: Final = 1000
ZONE: Final = "Asia/Kolkata"
"""Of a policy that does not say otherwise."""


def new_command_id() -> str:
    """Unique and unguessable: 130 random bits in base 32."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return "".join(secrets.choice(alphabet) for _ in range(26))


def command_claims(
    *,
    op: Operation,
    iss: str,
    dcu: str,
    jid: str,
    iat: int,
    exp: int,
    cmd_id: str = "",
    **members: str | int | Enum | None,
) -> dict[str, Any]:
    """Claims of a command, checked against the box's schema. Times are UTC seconds.

    Args:
        op: what is asked.
        iss: the head-end.
        dcu: the box.
        jid: its journal.
        iat: issued.
        exp: expires, at most four hours later.
        cmd_id: empty: a new one.
        members: of the operation, as `dcu.command.Command` names them; None: not there.

    Raises:
        CommandRefused: E_SCHEMA: a member is missing, too much, or not what it should be.
    """
    claims: dict[str, Any] = {
        "v": 1,
        "typ": "relay",
        "cmd_id": cmd_id or new_command_id(),
        "op": op.value,
        "iss": iss,
        "dcu": dcu,
        "jid": jid,
        "iat": iat,
        "exp": exp,
        **{name: _plain(value) for name, value in members.items() if value is not None},
    }
    read_command(claims)
    return claims


def policy_claims(
    *,
    iss: str,
    dcu: str,
    version: int,
    iat: int,
    nbf: int,
    exp: int,
    areas: Mapping[str, Mapping[str, Json]],
    meters: Mapping[str, str],
    timezone: str = ZONE,
    hours: Mapping[str, str] | None = None,
    closed: Sequence[str] = (),
    protected: Mapping[str, str] | None = None,
    grace: Mapping[str, int] | None = None,
    emergency_h: int = EMERGENCY_H,
    caps: Mapping[str, Mapping[str, int]] | None = None,
    limit_floor_w: int = LIMIT_FLOOR_W,
    no_payment_mode_register: Sequence[str] = (),
) -> dict[str, Any]:
    """Claims of a policy, checked against the box's schema; what is not given is strict. Times are UTC seconds.

    Without `hours` every day is closed; `caps` are the usual ones for so many meters; an area that does not say so is
    under the profile `arrears`, reconnects at the button, and has a month of grace.

    Raises:
        CommandRefused: E_SCHEMA or E_POLICY.
    """
    described = {"profile": "arrears", "reconnect": "arm", "grace_days": 30}
    claims: dict[str, Any] = {
        "v": 1,
        "typ": "policy",
        "iss": iss,
        "dcu": dcu,
        "version": version,
        "iat": iat,
        "nbf": nbf,
        "exp": exp,
        "timezone": timezone,
        "areas": {name: described | dict(area) for name, area in areas.items()},
        "meters": dict(meters),
        "hours": dict(hours or {}),
        "closed": list(closed),
        "protected": dict(protected or {}),
        "grace": dict(grace or {}),
        "emergency_h": emergency_h,
        "caps": {profile.value: usual_caps(profile, len(meters)) for profile in Profile} if caps is None else caps,
        "limit_floor_w": limit_floor_w,
        "no_payment_mode_register": list(no_payment_mode_register),
    }
    read_policy(claims)
    return claims


def permit_claims(
    *,
    permit_id: str,
    iss: str,
    date: str,
    max_n: int,
    dcu: str = "",
    jid: str = "",
    profile: Profile | None = None,
    of: str = "",
) -> dict[str, Any]:
    """Claims of a permit, checked against the box's schema.

    Args:
        permit_id: its name, never used again.
        iss: the head-end.
        date: calendar day of the policy's timezone, as 2026-11-23.
        max_n: disconnects; for the whole city its total.
        dcu: the box; empty: a permit for the whole city, of which boxes get shares.
        jid: its journal; with another one, of another card, the permit counts for nothing.
        profile: of authority, where it is for a box.
        of: the city's permit that it is a share of, where the profile is `prepaid`.

    Raises:
        CommandRefused: E_SCHEMA.
    """
    claims: dict[str, Any] = {"v": 1, "typ": "permit", "id": permit_id, "iss": iss, "date": date}
    if dcu or profile is not None:
        claims |= {"dcu": dcu, "jid": jid, "profile": profile.value if profile else "", "max_n": max_n}
    else:
        claims["total"] = max_n
    if of:
        claims["of"] = of
    read_permit(claims)
    return claims


def draft(claims: Mapping[str, Any]) -> bytes:
    """The document, signed by nobody yet."""
    return unsigned(claims)


def sign(envelope: bytes, signer: Signer) -> bytes:
    """The same document with one more signature, kids ascending.

    Raises:
        OperatorFault: its payload is no kind of document that is signed here.
        CommandRefused: not an envelope, signed by that key already, or the box would refuse its payload by its form.
    """
    return add_signature(envelope, _typ(envelope), signer)


def signing_input(envelope: bytes, kid: str) -> bytes:
    """The octets that `kid` signs (RFC 7515 5.1): protected header, a dot, payload. Raises as `sign`."""
    header = canonical({"alg": "ES256", "kid": kid, "typ": _typ(envelope)})
    return f"{to_base64url(header)}.{to_base64url(payload_of(envelope))}".encode("ascii")


def _typ(envelope: bytes) -> str:
    claims = claims_of(payload_of(envelope))
    kind = claims.get("typ")
    if not isinstance(kind, str) or kind not in TYPS:
        raise OperatorFault(f"a {kind!r} is not signed here", cure=", ".join(TYPS), place=Refusal.E_SCHEMA.value)
    READERS[kind](claims)
    return TYPS[kind]


def _plain(value: str | int | Enum | None) -> Any:
    return value.value if isinstance(value, Enum) else value
