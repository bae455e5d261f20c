"""What a document would do, in words: what a person reads before they sign it. Pure.

Everything that decides what it does is told; nothing of its signatures is verified here.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from dcu.command import Change, Command, CommandRefused, Operation, Refusal
from dcu.relay.canonical import Json
from dcu.relay.envelope import claims_of, payload_of
from dcu.relay.key_document import TrustStore, read_key_document
from dcu.relay.permit import Permit, read_permit
from dcu.relay.policy import Policy, read_policy
from dcu.relay.policy.hours import DAYS
from dcu.relay.public_key import PublicKey, Role
from dcu.relay.schema import read_command

MAY: Final[Mapping[Role, str]] = {
    Role.ROOT: "sign the key document, with other roots",
    Role.REQUEST: "request operations, and connect, freeze or cancel alone",
    Role.APPROVE: "approve another's request, and connect, freeze or cancel alone",
    Role.POLICY: "sign policies, and freeze or cancel",
    Role.PERMIT: "permit a number of disconnects for a day, and freeze or cancel",
    Role.PLANNER: "share the city's permitted number out to boxes",
    Role.BILLING: "write payments, connect, and ask for prepaid disconnects along with the witness",
    Role.WITNESS: "witness the wallets' ledger for prepaid disconnects, and freeze or cancel",
    Role.RECEIPT: "sign a box's receipts",
}
"""What each role may do."""


def told(envelope: bytes) -> str:
    """In one sentence what someone is about to sign.

    Raises:
        CommandRefused: not an envelope, or the box would refuse its payload by its form.
    """
    claims = claims_of(payload_of(envelope))
    kind = claims.get("typ")
    telling = _KINDS.get(kind) if isinstance(kind, str) else None
    if telling is None:
        raise CommandRefused(Refusal.E_SCHEMA, f"a {kind!r} is no document that is signed")
    return telling(claims)


def told_command(command: Command) -> str:
    """In one clause what a command asks."""
    words = " ".join(_ACTS[command.op](command))
    words += f" at {command.dcu}"
    words += "".join(f", {told}" for told in _circumstances(command))
    return words


def rights(trust: TrustStore, now_s: int) -> list[str]:
    """Who may do what, one line a key, valid ones first. `now_s` is UTC seconds."""
    keys = sorted(trust.keys.values(), key=lambda key: (state_of(key, now_s) != "valid", key.person, key.kid))
    return [told_key(key, now_s) for key in keys]


def told_key(key: PublicKey, now_s: int) -> str:
    """Who holds a key and what it may do."""
    state = state_of(key, now_s)
    who = f"{key.person} ({key.kid}{f', administered by {key.admin}' if key.admin else ''})"
    roles = "; ".join(MAY[role] for role in Role if role in key.roles)
    if state == "revoked":
        return f"{who} may nothing any more: revoked"
    if state == "expired":
        return f"{who} may nothing any more: expired {moment(key.exp)}"
    if state == "not yet":
        return f"{who} may from {moment(key.nbf)}: {roles}"
    return f"{who} may until {moment(key.exp)}: {roles}"


_NEEDED: Final[tuple[tuple[str, tuple[tuple[Role, Role], ...]], ...]] = (
    ("request and approve an operation", ((Role.REQUEST, Role.APPROVE),)),
    ("make a policy that permits more", ((Role.POLICY, Role.POLICY),)),
    ("ask for a prepaid disconnect", ((Role.BILLING, Role.WITNESS),)),
)
_ALONE: Final = (
    (Role.PERMIT, "permit a disconnect"),
    (Role.PLANNER, "share the city's permit out, and so no prepaid disconnect is permitted"),
)


def missing(trust: TrustStore, now_s: int) -> list[str]:
    """What nobody can do with the keys that are valid now, one line each."""
    valid = [key for key in trust.keys.values() if state_of(key, now_s) == "valid"]
    found = []
    roots = {key.person for key in valid if Role.ROOT in key.roles}
    if len(roots) < trust.threshold:
        found.append(f"nobody can change keys: {len(roots)} people hold valid root keys, and {trust.threshold} sign")
    for words, pairs in _NEEDED:
        if not any(
            one is not other and first in one.roles and second in other.roles and one.independent_of(other)
            for first, second in pairs
            for one in valid
            for other in valid
        ):
            found.append(f"no two independent people can {words}")
    found += [f"nobody can {words}" for role, words in _ALONE if not any(role in key.roles for key in valid)]
    return found


def state_of(key: PublicKey, now_s: int) -> str:
    """Whether a key counts now: valid, revoked, expired, not yet."""
    if key.revoked:
        return "revoked"
    return "expired" if now_s >= key.exp else "not yet" if now_s < key.nbf else "valid"


def moment(seconds: int) -> str:
    """UTC to the minute; a time that no calendar has, in seconds."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"


def _command(claims: Mapping[str, Json]) -> str:
    command = read_command(claims)
    return f"{told_command(command)}, until {moment(command.exp)}"


def _circumstances(command: Command) -> Iterator[str]:
    told: tuple[tuple[str, Any], ...] = (
        ("because of {}", command.why.value if command.why else None),
        ("in {}", command.area),
        ("if it is {}", command.expect.value if command.expect else None),
        ("case {}", command.case),
        ("notice of {}", moment(command.notice) if command.notice is not None else None),
        ("told of low credit {}", moment(command.low_credit_at) if command.low_credit_at is not None else None),
        ("ledger {}", command.ledger),
        ("read by the witness {}", moment(command.ledger_at) if command.ledger_at is not None else None),
        ("permit {}", command.permit),
        ("lease {}", command.lease),
        ("seq {}", command.seq),
        ("policy {}", command.pol),
        ("not before {}", moment(command.nbf) if command.nbf is not None else None),
    )
    return (words.format(value) for words, value in told if value is not None)


def _plainly(command: Command) -> tuple[str, ...]:
    return (command.op.value, "meter", command.meter)


def _all_or_one(command: Command) -> tuple[str, ...]:
    whole = (command.op.value, "all disconnects")
    return whole if not command.meter else (command.op.value, "disconnects of meter", command.meter)


def _change(command: Command) -> tuple[str, ...]:
    place = f"on bus {command.bus}, address {command.address}, model {command.model}, area {command.area}"
    place += f", host {command.host}" if command.host is not None else ""
    if command.change is Change.RETIRE:
        return ("retire meter", command.meter)
    if command.change is Change.REPLACE:
        return ("put meter", command.meter, f"in the place of {command.old},", place)
    return ("add meter", command.meter, place)


def _span(command: Command) -> tuple[str, ...]:
    since = f"from {moment(command.since)}" if command.since is not None else "from its beginning"
    until = f"to {moment(command.until)}" if command.until is not None else "to its end"
    return ("read", str(command.profile), "of meter", command.meter, since, until)


def _mode(command: Command) -> tuple[str, ...]:
    which = "control" if command.payment_mode is None else "payment"
    value = command.control_mode if command.payment_mode is None else command.payment_mode
    return (f"set the {which} mode of meter", command.meter, f"to {value} (judged as a disconnect)")


_ACTS: Final[Mapping[Operation, Callable[[Command], tuple[str, ...]]]] = {
    Operation.CONNECT: _plainly,
    Operation.DISCONNECT: _plainly,
    Operation.CANCEL: lambda c: ("take back command", str(c.cancels), "of meter", c.meter),
    Operation.FREEZE: _all_or_one,
    Operation.UNFREEZE: _all_or_one,
    Operation.READ: _span,
    Operation.RESEND: lambda c: ("send records", f"{c.first} to {c.last}", "of", str(c.stream), "again"),
    Operation.CLOCK_SET: lambda c: ("set the clock of meter", c.meter, f"where it is at most {c.most_s} s away"),
    Operation.BALANCE: lambda c: (
        *("write to meter", c.meter, f"a recharge of {c.recharge} of"),
        *(moment(c.recharged_at or 0), f"and a balance of {c.balance}, in its money registers' unit"),
    ),
    Operation.MESSAGE: lambda c: ("show on meter", c.meter, repr(c.text)),
    Operation.LIMIT: lambda c: ("limit meter", c.meter, f"to {c.watts} W"),
    Operation.METER: _change,
    Operation.MODE: _mode,
}


def _policy(claims: Mapping[str, Json]) -> str:
    return told_policy(read_policy(claims))


def told_policy(policy: Policy) -> str:
    """In one sentence what a policy is."""
    live = sorted(name for name, area in policy.areas.items() if area.prepaid_live)
    days = ", ".join(day for day in DAYS if day in policy.hours) or "no day"
    unable = ", ".join(sorted(policy.no_payment_mode_register))
    parts = (
        f"prepaid live in {', '.join(live) or 'no area'}",
        f"{len(policy.meters)} meters, {len(policy.protected)} protected",
        f"disconnects on {days} by the time of {policy.timezone}",
        *([f"models without a payment mode: {unable}"] if unable else []),
        f"from {moment(policy.nbf)} until {moment(policy.exp)}",
    )
    return f"policy {policy.version} for {policy.dcu}: {', '.join(parts)}"


def _permit(claims: Mapping[str, Json]) -> str:
    return told_permit(read_permit(claims))


def told_permit(permit: Permit) -> str:
    """In one sentence what a permit allows."""
    if permit.profile is None:
        return f"permit {permit.id}: at most {permit.max_n} prepaid disconnects in the whole city on {permit.date}"
    share = f", a share of {permit.of}" if permit.of else ""
    return (
        f"permit {permit.id} for {permit.dcu}: at most {permit.max_n} disconnects on {permit.date} "
        f"under the profile {permit.profile.value}{share}"
    )


def _keys(claims: Mapping[str, Json]) -> str:
    store = read_key_document(claims)
    roots = sorted({key.person for key in store.roots.values() if not key.revoked})
    others = sorted(
        f"{key.person} {'+'.join(sorted(role.value for role in key.roles))}"
        for key in store.keys.values()
        if Role.ROOT not in key.roles and not key.revoked
    )
    gone = sorted(kid for kid, key in store.keys.items() if key.revoked)
    words = f"key document {store.version} of {store.issuer}: any {store.threshold} of the roots {', '.join(roots)}; "
    words += ", ".join(others) or "nobody else"
    words += f"; revoked {', '.join(gone)}" if gone else ""
    return f"{words}, until {moment(store.exp)}"


_KINDS: Final[Mapping[str, Callable[[Mapping[str, Json]], str]]] = {
    "relay": _command,
    "policy": _policy,
    "permit": _permit,
    "keys": _keys,
}
