# ruff: noqa: INP001 - scripts beside their document, no package
"""Vectors of commands: checks 9 to 25 as they are made when a command comes, on the box that `parts` describes."""

from collections.abc import Iterator
from typing import Any

from parts import (
    COMMAND,
    CONNECT,
    CUT,
    DAY,
    DUES,
    DUES_METER,
    GOOD,
    LEASE,
    LIVE,
    METER,
    NOW,
    PREPAID_CUT,
    SAFE_METER,
    Claims,
    canonical,
    command,
    seal,
    without,
)

Given = dict[str, Any]
Case = tuple[str, bytes, str, Given]
"""(name, octets, "accepted" or a code, what of the box is otherwise)."""

STRICT, AUTOMATIC = ("app-1", "req-1"), ("bil-1", "wit-1")


def case(name: str, claims: Claims | bytes, kids: tuple[str, ...], code: str, **given: Any) -> Case:
    """One vector."""
    return name, seal(claims, COMMAND, *kids), code, given


def commands() -> Iterator[Case]:
    """All of them."""
    for op, (claims, kids) in GOOD.items():
        yield case(f"a good {op}", claims, kids, "accepted")
    yield case("a good disconnect under the profile prepaid", PREPAID_CUT, AUTOMATIC, "accepted")
    yield from _missing()
    yield from _members()
    yield from _target()
    yield from _quorum()
    yield from _time()
    yield from _fresh()
    yield from _meters()
    yield from _reasons()
    yield from _permits()
    yield from _by_another_name()


_REQUIRED = {
    "connect": "meter seq",
    "disconnect": "meter seq why pol",
    "cancel": "meter cancels",
    "freeze": "",
    "unfreeze": "",
    "read": "meter profile",
    "resend": "stream first last",
    "clock-set": "meter most_s",
    "balance": "meter recharge recharged_at balance",
    "message": "meter why text",
    "limit": "meter watts",
    "meter": "meter change",
    "mode": "meter seq why pol control_mode",
}


def _missing() -> Iterator[Case]:
    for name in ("v", "typ", "cmd_id", "op", "iss", "dcu", "jid", "iat", "exp"):
        yield case(f"a connect without {name}", without(CONNECT, name), ("req-1",), "E_SCHEMA")
    for op, names in _REQUIRED.items():
        claims, kids = GOOD[op]
        for name in names.split():
            yield case(f"a {op} without {name}", without(claims, name), kids, "E_SCHEMA")
        yield case(f"a {op} with a member that nobody knows", claims | {"force": True}, kids, "E_SCHEMA")


def _members() -> Iterator[Case]:
    wrong: list[tuple[Claims, str, Any]] = [
        *((CONNECT, "v", value) for value in (2, True, "1")),
        *((CONNECT, "typ", value) for value in ("policy", "")),
        *((CONNECT, "op", value) for value in ("reboot", "Connect", "*", 1, None)),
        *((CONNECT, "meter", value) for value in ("*", "", "a b", ["GXT20931188"], 7, "x" * 41)),
        *((CONNECT, "cmd_id", value) for value in ("", "c/1", 1)),
        *((CONNECT, "seq", value) for value in (0, -1, "41", True, None)),
        *((CONNECT, "iat", value) for value in (-1, "now", 1 << 41)),
        *((CONNECT, "expect", value) for value in ("open", None)),
        *((CUT, "why", value) for value in ("politics", None)),
        *((CUT, "permit", value) for value in ("", ["P-2026-11-23"])),
        (CUT, "text", "not in a disconnect"),
        (CUT, "cancels", "c-pending"),
        *((GOOD["message"][0], "text", value) for value in ("", "x" * 65, 7)),
        *((GOOD["read"][0], "profile", value) for value in ("1.0.99.1.0", "1.0.99.1.0.256", "profiles")),
        (GOOD["read"][0], "since", NOW + 1),
        *((GOOD["resend"][0], "last", value) for value in (0, 10_001)),
        (GOOD["clock-set"][0], "most_s", 0),
        (GOOD["balance"][0], "recharge", -1),
        (GOOD["limit"][0], "watts", -1),
        (GOOD["mode"][0], "payment_mode", 1),
        (GOOD["mode"][0], "control_mode", 7),
        (GOOD["meter"][0], "change", "remove"),
        (GOOD["meter"][0], "bus", "north"),
        (GOOD["meter"][0], "old", DUES_METER),
    ]
    for claims, name, value in wrong:
        yield case(f"a {claims['op']} whose {name} is {value!r:.40}", claims | {name: value}, STRICT, "E_SCHEMA")
    spaced = canonical(CONNECT).replace(b",", b", ", 1)
    yield case("a payload that is not canonical", spaced, ("req-1",), "E_SCHEMA")
    yield case("a payload with a name twice", canonical(CONNECT)[:-1] + b',"v":1}', ("req-1",), "E_SCHEMA")
    yield case("a payload that is a list of commands", canonical([CONNECT]), ("req-1",), "E_SCHEMA")
    yield case("a payload of nothing", b"{}", ("req-1",), "E_SCHEMA")
    yield case("a credit disconnect that names no area", without(PREPAID_CUT, "area"), AUTOMATIC, "E_SCHEMA")


def _target() -> Iterator[Case]:
    for name, value, code in (
        ("dcu", "VEC-0002", "E_TARGET"),
        ("iss", "hes.other", "E_TARGET"),
        ("jid", "fedcba9876543210", "E_JID"),
        ("cmd_id", "c-used", "E_ID_REUSE"),
    ):
        yield case(f"a disconnect whose {name} is {value}", CUT | {name: value}, STRICT, code)
        yield case(f"a connect whose {name} is {value}", CONNECT | {name: value}, ("req-1",), code)


def _quorum() -> Iterator[Case]:
    for kids, why in (
        (("req-1",), "by one person"),
        (("app-1",), "by the approver alone"),
        (("app-asha", "req-1"), "twice by one person under two roles"),
        (("both-1",), "by one person who has both roles"),
        (("bil-1", "wit-1"), "by billing and witness, under the strict profile"),
        (("app-1", "pol-1"), "by approver and policy"),
        (("app-1", "pol-1", "req-1"), "by two who may and one who may not"),
        (("per-1",), "by the permit's key"),
        (("root-a", "root-b"), "by roots"),
    ):
        yield case(f"a disconnect signed {why}", CUT, kids, "E_QUORUM")
    yield case("a disconnect signed by one who has both roles and another", CUT, ("app-1", "both-1"), "accepted")
    for kids, why in (
        (("bil-1",), "by billing alone"),
        (("bil-1", "wit-kamal"), "by two systems under one administrator"),
        (STRICT, "by two people"),
    ):
        yield case(f"a prepaid disconnect signed {why}", PREPAID_CUT, kids, "E_QUORUM")
    for op, kids in (
        ("connect", ("wit-1",)),
        ("connect", ("root-a",)),
        ("cancel", ("pln-1",)),
        ("freeze", ("root-a",)),
        ("unfreeze", ("app-1",)),
        ("read", ("pol-1",)),
        ("resend", ("per-1",)),
        ("clock-set", ("wit-1",)),
        ("balance", ("req-1",)),
        ("message", ("pol-1",)),
        ("limit", ("pln-1",)),
        ("meter", ("req-1",)),
        ("mode", ("req-1",)),
    ):
        yield case(f"a {op} signed by {' and '.join(kids)} alone", GOOD[op][0], kids, "E_QUORUM")
    after = {"safety": {METER: 38}}
    yield case("a connect by one after a disconnect for safety", CONNECT, ("req-1",), "E_QUORUM", **after)
    yield case("a connect by two after a disconnect for safety", CONNECT, STRICT, "accepted", **after)


def _time() -> Iterator[Case]:
    for clock in ("untrusted",):
        for op in ("disconnect", "unfreeze", "mode"):
            yield case(f"a {op} while the clock is {clock}", *GOOD[op], "E_CLOCK", clock=clock)
        for op in ("connect", "cancel", "freeze", "read"):
            yield case(f"a {op} while the clock is {clock}", *GOOD[op], "accepted", clock=clock)
    yield case("a clock-set while the clock is in hold-over", *GOOD["clock-set"], "E_CLOCK", clock="holdover")
    yield case("a disconnect while the clock is in hold-over", CUT, STRICT, "accepted", clock="holdover")
    for changes, code in (
        ({"exp": NOW}, "E_EXPIRED"),
        ({"iat": NOW - 3600, "exp": NOW - 1}, "E_EXPIRED"),
        ({"nbf": NOW + 61}, "E_EARLY"),
        ({"iat": NOW + 61}, "E_EARLY"),
        ({"iat": NOW - 1, "exp": NOW + 14400}, "E_TTL"),
        ({"iat": NOW + 60, "exp": NOW + 60}, "E_TTL"),
        ({"iat": NOW + 1800, "exp": NOW + 1740}, "E_TTL"),
        ({"nbf": NOW + 60}, "accepted"),
        ({"exp": NOW + 1}, "accepted"),
        ({"iat": NOW, "exp": NOW + 14400}, "accepted"),
    ):
        told = ", ".join(f"{name} now{value - NOW:+}" for name, value in changes.items())
        yield case(f"a disconnect with {told}", CUT | changes, STRICT, code)
    old = CONNECT | {"iat": NOW - 9 * 3600, "exp": NOW - 6 * 3600}
    yield case("a connect that was over before any time that the box can be in", old, ("req-1",), "E_EXPIRED")
    yield case("the same while the clock is untrusted", old, ("req-1",), "E_EXPIRED", clock="untrusted")
    late = CONNECT | {"iat": NOW - 3600, "exp": NOW - 60}
    yield case("a connect that is over", late, ("req-1",), "E_EXPIRED")
    yield case("the same, where nobody knows what time it is", late, ("req-1",), "accepted", clock="untrusted")
    for op, (claims, kids) in GOOD.items():
        if op in {"balance", "limit"}:
            known = claims | {"iat": NOW - 3600, "exp": NOW - 60}
            yield case(f"a {op} that is over", known, kids, "E_EXPIRED")
            yield case(f"a {op} where nobody knows what time it is", known, kids, "accepted", clock="untrusted")
    yield case("a change of the meters, there", *GOOD["meter"], "E_CLOCK", clock="untrusted")
    yield case("a disconnect after the key document has run out", CUT, STRICT, "E_KEY", keys_exp=NOW)
    yield case("a connect after the key document has run out", CONNECT, ("req-1",), "accepted", keys_exp=NOW)


def _fresh() -> Iterator[Case]:
    yield case("a disconnect that names no lease", without(CUT, "lease"), STRICT, "E_LEASE")
    yield case("a disconnect for another lease", CUT | {"lease": "L-" + "0" * 24}, STRICT, "E_LEASE")
    yield case("a disconnect before the box has given a lease out", CUT, STRICT, "E_LEASE", leases=[])
    for seq in (1, 38, 40):
        yield case(f"a disconnect with seq {seq}, where 40 was used", CUT | {"seq": seq}, STRICT, "E_SEQ")
    yield case("a disconnect whose seq leaves a gap", CUT | {"seq": 1000}, STRICT, "accepted")
    yield case("a disconnect whose seq counts milliseconds", CUT | {"seq": NOW * 1000}, STRICT, "accepted")
    for name, claims, kids in (("disconnect", CUT, STRICT), ("connect", CONNECT, ("req-1",))):
        yield case(f"a {name} whose seq is too far ahead", claims | {"seq": (1 << 42) + 1}, kids, "E_SEQ")
    yield case("a connect with the seq of the last disconnect", CONNECT | {"seq": 38}, ("req-1",), "E_SEQ")
    yield case("a connect with a seq above the last disconnect only", CONNECT | {"seq": 39}, ("req-1",), "accepted")


def _meters() -> Iterator[Case]:
    strange = {"meter": "GXT20939999"}
    for op in ("connect", "disconnect", "read", "message", "freeze"):
        yield case(f"a {op} of a meter that is not here", GOOD[op][0] | strange, GOOD[op][1], "E_METER")
    yield case("a disconnect of a meter that is set aside", CUT, STRICT, "E_METER", set_aside=[DUES_METER])
    for kind, meter, code in (
        ("freeze", "", "E_FROZEN"),
        ("freeze", DUES_METER, "E_FROZEN"),
        ("lock", "", "E_LOCKED"),
        ("lock", DUES_METER, "E_LOCKED"),
    ):
        held = {"restraints": [[kind, meter]]}
        whom = "its meter" if meter else "the box"
        yield case(f"a disconnect while a {kind} holds {whom}", CUT, STRICT, code, **held)
    yield case("a connect under a freeze", CONNECT, ("req-1",), "accepted", restraints=[["freeze", ""]])
    yield case("a connect under a lock", CONNECT, ("req-1",), "E_LOCKED", restraints=[["lock", METER]])
    other = CUT | {"meter": SAFE_METER}
    yield case("a disconnect of a consumer who needs it for health", other, STRICT, "E_PROTECTED")


def _reasons() -> Iterator[Case]:
    yield case("a disconnect signed under another policy", CUT | {"pol": 6}, STRICT, "E_POLICY")
    yield case("a disconnect where no policy is in force", CUT, STRICT, "E_POLICY", policy=None)
    yield case("a connect where no policy is in force", CONNECT, ("req-1",), "accepted", policy=None)
    yield case("a credit message where no policy is in force", *GOOD["message"], "E_POLICY", policy=None)
    yield case("a disconnect that names another area", CUT | {"area": LIVE}, STRICT, "E_AREA")
    moved = {"areas": {DUES_METER: LIVE}}
    yield case("a disconnect where the box's own file names another area", CUT, STRICT, "E_AREA", **moved)
    dues = CUT | {"why": "credit"}
    yield case("a credit disconnect where prepaid is not live", dues, STRICT, "E_NOT_LIVE")
    message = GOOD["message"][0] | {"meter": DUES_METER, "area": DUES}
    yield case("a credit message where prepaid is not live", message, ("req-1",), "E_NOT_LIVE")
    notice = without(message, "area") | {"why": "request", "text": "Work on the line"}
    yield case("a message that is not about credit, there", notice, ("req-1",), "accepted")
    for changes, drop, name in (
        ({}, "notice", "without notice"),
        ({"notice": NOW - 15 * DAY + 1}, "", "with a notice of not quite 15 days"),
        ({"notice": NOW - 731 * DAY - 1}, "", "with a notice of more than two years"),
        ({}, "case", "without case"),
    ):
        yield case(f"a disconnect {name}", without(CUT, drop) | changes, STRICT, "E_NOTICE")
    yield case("a disconnect with a notice of 15 days", CUT | {"notice": NOW - 15 * DAY}, STRICT, "accepted")
    for changes, drop, name in (
        ({}, "low_credit_at", "without a message of low credit"),
        ({"low_credit_at": NOW - 60 * DAY - 1}, "", "whose consumer was told of low credit 61 days ago"),
        ({}, "ledger", "without an entry of the ledger"),
        ({"ledger_at": NOW - 3601}, "", "whose witness read the ledger too long ago"),
        ({"ledger_at": NOW + 61}, "", "whose witness will read the ledger"),
    ):
        yield case(f"a prepaid disconnect {name}", without(PREPAID_CUT, drop) | changes, AUTOMATIC, "E_NOTICE")
    soon = PREPAID_CUT | {"low_credit_at": NOW - 2 * DAY}
    yield case("a prepaid disconnect while there is emergency credit", soon, AUTOMATIC, "E_GRACE")
    safety = without(CUT, "notice", "case") | {"why": "safety"}
    yield case("a disconnect for safety without case or notice", safety, STRICT, "accepted")


def _permits() -> Iterator[Case]:
    for at, name in (
        (NOW + 3600, "at 14:00, when the day closes"),
        (NOW - 3 * 3600 - 1, "a second before it opens"),
        (NOW + DAY, "on a holiday"),
        (NOW + 6 * DAY, "on a Sunday"),
        (NOW + 6 * 3600 + 1800, "at 19:30"),
    ):
        claims = CUT | {"iat": at - 60, "exp": at + 1740}
        yield case(f"a disconnect {name}", claims, STRICT, "E_WINDOW", now=at)
    for permit, name in (
        ("P-yesterday", "with yesterday's permit"),
        ("P-own", "with a permit that one of its signers signed"),
        ("P-none", "with a permit of none"),
        ("P-unknown", "with a permit that the box has not got"),
        ("S-2026-11-23", "with a permit of the other profile"),
        ("T-2026-11-23", "with the city's total"),
    ):
        yield case(f"a disconnect {name}", CUT | {"permit": permit}, STRICT, "E_PERMIT")
    yield case("a disconnect without permit", without(CUT, "permit"), STRICT, "E_PERMIT")
    mine = [["P-2026-11-23", "arrears", NOW - 4000], ["P-2026-11-23", "arrears", NOW - 5000]]
    yield case("a disconnect with a permit that is used up", CUT, STRICT, "E_PERMIT", debits=mine)
    hour = [["P-old", "arrears", NOW - 600], ["P-old", "arrears", NOW - 1200]]
    yield case("the third disconnect of an hour", CUT, STRICT, "E_CAP", debits=hour)
    day = [["P-old", "prepaid", NOW - hours * 3600] for hours in (2, 3, 4)]
    yield case("the fourth disconnect of a day, under either profile", CUT, STRICT, "E_CAP", debits=day)


def _by_another_name() -> Iterator[Case]:
    """What cuts a consumer as surely as a disconnect passes its checks."""
    cut = without(CUT, "op", "cmd_id", "meter", "expect", *("v", "typ", "iss", "dcu", "jid", "iat", "exp"))
    low = command("limit", meter=DUES_METER, watts=999)
    yield case("a limit below the policy's floor, signed by one", low, ("req-1",), "E_QUORUM")
    yield case("a limit of nothing, signed by one", low | {"watts": 0}, ("req-1",), "E_QUORUM")
    yield case("a limit below the floor, signed by two, without lease", low, STRICT, "E_LEASE")
    yield case("a limit below the floor with all that a disconnect needs", low | cut, STRICT, "accepted")
    yield case("a limit of the floor", low | {"watts": 1000}, ("req-1",), "accepted")
    yield case("a limit where no policy is in force", low | {"watts": 5000}, ("req-1",), "E_QUORUM", policy=None)
    mode = without(GOOD["mode"][0], "control_mode")
    yield case("a payment mode, signed by one", mode | {"payment_mode": 1}, ("req-1",), "E_QUORUM")
    yield case("a payment mode without permit", without(mode, "permit") | {"payment_mode": 1}, STRICT, "E_PERMIT")
    yield case(
        "a balance that names a lease, signed by billing", GOOD["balance"][0] | {"lease": LEASE}, ("bil-1",), "E_QUORUM"
    )
    beyond = GOOD["resend"][0] | {"first": 4990, "last": 5001}
    yield case("a resend of records that have no ids yet", beyond, ("req-1",), "E_STATE")
    strange = GOOD["resend"][0] | {"stream": "gossip"}
    yield case("a resend of a stream that nobody knows", strange, ("req-1",), "E_SCHEMA")
    taken = GOOD["cancel"][0]
    yield case("a cancel of a command that has not come yet", taken | {"cancels": "c-none"}, ("wit-1",), "accepted")
    yield case("a cancel of another meter's command", taken | {"meter": METER}, ("wit-1",), "E_STATE")
