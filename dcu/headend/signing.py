"""Commands and policies, built and signed: building, each signature, and sending are separate acts of separate people.

    claims = command_claims(op=Operation.DISCONNECT, ...)      the planner
    draft = unsigned(claims)
    draft = sign(draft, asha)                                  one person
    draft = sign(draft, binod)                                 another one, elsewhere, later

What is built is checked against the very schema that the box checks it against. Source: command-authority.md 11.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from dcu.command import Operation, OutputState, Refusal, Why
from dcu.errors import OperatorFault
from dcu.relay.canonical import Json
from dcu.relay.envelope import COMMAND, POLICY, Signer, add_signature, claims_of, payload_of, unsigned
from dcu.relay.policy import read_policy
from dcu.relay.schema import read_command

TYPS: Final[Mapping[str, str]] = {"relay": COMMAND, "policy": POLICY}
"""Protected typ by the payload's own."""


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
    meter: str,
    iat: int,
    exp: int,
    seq: int | None = None,
    cmd_id: str = "",
    nbf: int | None = None,
    why: Why | None = None,
    area: str | None = None,
    expect: OutputState | None = None,
    pol: int | None = None,
    text: str | None = None,
) -> dict[str, Any]:
    """Claims of a command, checked against the box's schema. Times are UTC seconds.

    Raises:
        CommandRefused: E_SCHEMA: a member is missing, too much, or not what it should be.
    """
    optional = {
        "seq": seq,
        "nbf": nbf,
        "why": why.value if why else None,
        "area": area,
        "expect": expect.value if expect else None,
        "pol": pol,
        "text": text,
    }
    claims: dict[str, Any] = {
        "v": 1,
        "typ": "relay",
        "cmd_id": cmd_id or new_command_id(),
        "op": op.value,
        "iss": iss,
        "dcu": dcu,
        "jid": jid,
        "meter": meter,
        "iat": iat,
        "exp": exp,
        **{name: value for name, value in optional.items() if value is not None},
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
    no_payment_mode_register: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Claims of a policy, checked against the box's schema. Times are UTC seconds.

    Raises:
        CommandRefused: E_SCHEMA or E_POLICY.
    """
    claims: dict[str, Any] = {
        "v": 1,
        "typ": "policy",
        "iss": iss,
        "dcu": dcu,
        "version": version,
        "iat": iat,
        "nbf": nbf,
        "exp": exp,
        "areas": {name: dict(area) for name, area in areas.items()},
        "meters": dict(meters),
        "no_payment_mode_register": list(no_payment_mode_register),
    }
    read_policy(claims)
    return claims


def draft(claims: Mapping[str, Any]) -> bytes:
    """The document, signed by nobody yet."""
    return unsigned(claims)


def sign(envelope: bytes, signer: Signer) -> bytes:
    """The same document with one more signature, kids ascending.

    Raises:
        OperatorFault: its payload is no kind of document that is signed here.
        CommandRefused: not an envelope, or signed by that key already.
    """
    claims = claims_of(payload_of(envelope))
    kind = claims.get("typ")
    if not isinstance(kind, str) or kind not in TYPS:
        raise OperatorFault(f"a {kind!r} is not signed here", cure="relay or policy", place=Refusal.E_SCHEMA.value)
    return add_signature(envelope, TYPS[kind], signer)


def told(envelope: bytes) -> str:
    """In one sentence what someone is about to sign: all that decides what it does."""
    claims = claims_of(payload_of(envelope))
    if claims.get("typ") == "policy":
        policy = read_policy(claims)
        live = sorted(name for name, area in policy.areas.items() if area.prepaid_live)
        unable = ", ".join(sorted(policy.no_payment_mode_register))
        return (
            f"policy {policy.version} for {policy.dcu}: prepaid live in {', '.join(live) or 'no area'}, "
            f"{len(policy.meters)} meters, "
            + (f"models without a payment mode: {unable}, " if unable else "")
            + f"until {_moment(policy.exp)}"
        )
    command = read_command(claims)
    words = f"{command.op.value} meter {command.meter} at {command.dcu}"
    words += f" because of {command.why.value}" if command.why else ""
    words += f" in {command.area}" if command.area else ""
    words += f": {command.text!r}" if command.text else ""
    words += f", seq {command.seq}" if command.seq is not None else ""
    words += f", policy {command.pol}" if command.pol is not None else ""
    return f"{words}, until {_moment(command.exp)}"


def _moment(seconds: int) -> str:
    """UTC to the minute; a time that no calendar has, in seconds."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"
