# ruff: noqa: INP001 - scripts beside their document, no package
"""Vectors of policies, permits and key documents."""

from collections.abc import Iterator
from typing import Any

from parts import (
    DAY,
    DUES,
    KEY_CLAIMS,
    KEYS,
    METER,
    NOW,
    OF_BOX,
    OF_CITY,
    PERMIT,
    POLICY,
    POLICY_CLAIMS,
    SHARE,
    Claims,
    entry,
    seal,
    without,
)

Case = tuple[str, bytes, str]

NEXT: Claims = POLICY_CLAIMS | {"version": 8, "iat": NOW - 60, "nbf": NOW - 60}
KEYS_NEXT: Claims = KEY_CLAIMS | {"version": 4, "iat": NOW - 60}
BOTH = ("pol-1", "pol-2")
ROOTS = ("root-a", "root-b")


def documents() -> Iterator[Case]:
    """All of them."""
    yield from _policies()
    yield from _permits()
    yield from _keys()


def _policies() -> Iterator[Case]:
    def case(name: str, claims: Claims, code: str, kids: tuple[str, ...] = BOTH) -> Case:
        return f"a policy {name}", seal(claims, POLICY, *kids), code

    wider = NEXT | {"hours": NEXT["hours"] | {"sat": "10:00-12:00"}}
    narrower = NEXT | {"hours": {"mon": "10:00-12:00"}}
    yield case("that permits more, signed by two", wider, "accepted")
    yield case("that permits more, signed by one", wider, "E_QUORUM", ("pol-1",))
    yield case("that permits less, signed by one", narrower, "accepted", ("pol-1",))
    yield case("that permits less, signed by two", narrower, "accepted")
    yield case("signed by a requester", narrower, "E_QUORUM", ("req-1",))
    yield case("signed by one who may and one who may not", narrower, "E_QUORUM", ("pol-1", "req-1"))
    yield case("of the version in force", narrower | {"version": 7}, "E_VERSION")
    yield case("of an older version", narrower | {"version": 6}, "E_VERSION")
    yield case("of a version that uses all others up", narrower | {"version": 2000}, "E_VERSION")
    yield case("for another box", narrower | {"dcu": "VEC-0002"}, "E_TARGET")
    yield case("of another head-end", narrower | {"iss": "hes.other"}, "E_TARGET")
    yield case("that is not in force yet", narrower | {"nbf": NOW + 61}, "E_EARLY")
    yield case("that is over", narrower | {"exp": NOW}, "E_EXPIRED")
    yield case("with a rule that this program does not know", NEXT | {"weather": "hot"}, "E_POLICY")
    areas = {DUES: NEXT["areas"][DUES] | {"feeder": "F-1"}}
    yield case("with such a rule of an area", NEXT | {"areas": NEXT["areas"] | areas}, "E_POLICY")
    for name in ("areas", "meters", "hours", "closed", "protected", "caps", "timezone", "emergency_h", "limit_floor_w"):
        yield case(f"without {name}", without(NEXT, name), "E_SCHEMA")
    for name, value in (
        ("timezone", "Mars/Olympus"),
        ("hours", {"mon": "14:00-10:00"}),
        ("hours", {"monday": "10:00-14:00"}),
        ("closed", ["24.11.2026"]),
        ("meters", {METER: "VEC-NOWHERE"}),
        ("protected", {"GXT20939999": "medical"}),
        ("protected", {METER: "rich"}),
        ("emergency_h", -1),
        ("caps", {"arrears": NEXT["caps"]["arrears"]}),
        ("version", 0),
    ):
        yield case(f"whose {name} is {value!r:.60}", NEXT | {name: value}, "E_SCHEMA")


def _permits() -> Iterator[Case]:
    def case(name: str, claims: Claims, code: str, *kids: str) -> Case:
        return f"a permit {name}", seal(claims, PERMIT, *kids), code

    new = {"id": "P-new"}
    yield case("of a box", OF_BOX | new, "accepted", "per-1")
    yield case("of the city", OF_CITY | new, "accepted", "per-1")
    yield case("that is a share of the city's", SHARE | new, "accepted", "pln-1")
    yield case("of a box, signed by a requester", OF_BOX | new, "E_QUORUM", "req-1")
    yield case("of a box, signed by the planner", OF_BOX | new, "E_QUORUM", "pln-1")
    yield case("that is a share, signed by the role permit", SHARE | new, "E_QUORUM", "per-1")
    yield case("of the city, signed by the planner", OF_CITY | new, "E_QUORUM", "pln-1")
    yield case("signed by two", OF_BOX | new, "E_QUORUM", "per-1", "per-binod")
    yield case("for another box", OF_BOX | new | {"dcu": "VEC-0002"}, "E_TARGET", "per-1")
    yield case("for another journal of the box", OF_BOX | new | {"jid": "fedcba9876543210"}, "E_JID", "per-1")
    yield case("that is a share for another journal", SHARE | new | {"jid": "fedcba9876543210"}, "E_JID", "pln-1")
    yield case("of another head-end", OF_BOX | new | {"iss": "hes.other"}, "E_TARGET", "per-1")
    yield case("of a box and of no journal", without(OF_BOX, "jid") | new, "E_SCHEMA", "per-1")
    yield case("of the city and of one journal", OF_CITY | new | {"jid": OF_BOX["jid"]}, "E_SCHEMA", "per-1")
    wrong: tuple[Claims, ...] = (
        OF_BOX | {"date": "23.11.2026"},
        OF_BOX | {"date": "2026-11-31"},
        OF_BOX | {"max_n": -1},
        OF_BOX | {"max_n": "2"},
        OF_BOX | {"profile": "any"},
        OF_BOX | {"of": "T-2026-11-23"},
        without(SHARE, "of"),
        OF_CITY | {"dcu": "VEC-0001"},
        OF_BOX | {"meters": [METER]},
    )
    for claims in wrong:
        changed = {name: value for name, value in claims.items() if (OF_CITY | OF_BOX).get(name) != value}
        yield case(f"with {changed or 'a member missing'}", claims | new, "E_SCHEMA", "per-1")


def _keys() -> Iterator[Case]:
    def case(name: str, claims: Claims, code: str, kids: tuple[str, ...] = ROOTS) -> Case:
        return f"a key document {name}", seal(claims, KEYS, *kids), code

    def entries(*changed: dict[str, Any], drop: str = "") -> Claims:
        held = {each["kid"]: each for each in KEY_CLAIMS["keys"] if each["kid"] != drop}
        held |= {each["kid"]: each for each in changed}
        return KEYS_NEXT | {"keys": [held[kid] for kid in sorted(held)]}

    yield case("signed by two roots", KEYS_NEXT, "accepted")
    yield case("signed by three roots", KEYS_NEXT, "accepted", ("root-a", "root-b", "root-c"))
    yield case("that revokes a key", entries(entry("app-1", revoked=True)), "accepted")
    yield case("with a new key", entries(entry("app-2", person="petra", roles=["approve"])), "accepted")
    rotated = entries(entry("root-d", roles=["root"], person="qadir"), drop="root-c")
    yield case("with a new root, signed by two old ones that stay", rotated, "accepted")
    all_new = entries(
        entry("root-d", roles=["root"], person="qadir"), entry("root-e", roles=["root"], person="rani"), drop="root-a"
    )
    gone = all_new | {"keys": [each for each in all_new["keys"] if each["kid"] not in {"root-b", "root-c"}]}
    yield case("with new roots, signed by old and new", gone, "accepted", ("root-a", "root-b", "root-d", "root-e"))
    yield case("with new roots, signed by the old ones alone", gone, "E_QUORUM")
    yield case("with new roots, signed by the new ones alone", gone, "E_KID", ("root-d", "root-e"))
    yield case("signed by one root", KEYS_NEXT, "E_QUORUM", ("root-a",))
    yield case("signed by two who are no roots", KEYS_NEXT, "E_KID", ("req-1", "app-1"))
    yield case("signed by a root and a requester", KEYS_NEXT, "E_KID", ("req-1", "root-a"))
    yield case("of an older version", KEYS_NEXT | {"version": 2}, "E_VERSION")
    yield case("of the version in force with other keys", entries(drop="pol-2") | {"version": 3}, "E_VERSION")
    yield case("of another head-end", KEYS_NEXT | {"iss": "hes.other"}, "E_TARGET")
    yield case("that has expired", KEYS_NEXT | {"exp": NOW}, "E_EXPIRED")
    point = entry("app-2")
    for name, changed in (
        ("with a point beside the curve", [entry("app-2", y=point["x"])]),
        ("with one key under two names", [entry("app-2", x=entry("app-1")["x"], y=entry("app-1")["y"])]),
        ("with one person spelled in two ways", [entry("app-2", person="Asha")]),
        ("with a root that has another role", [entry("root-c", roles=["root", "request"])]),
        ("with a role that nobody knows", [entry("app-2", roles=["king"])]),
        ("with a key without role", [entry("app-2", roles=[])]),
        ("with a system that nobody administers", [entry("bil-1", admin="")]),
        ("with a key that ends before it begins", [entry("app-2", nbf=NOW + DAY, exp=NOW)]),
        ("with a box's receipt key", [entry("app-2", roles=["receipt"])]),
        ("that names a root's kid for another key", [entry("root-c", x=point["x"], y=point["y"])]),
    ):
        yield case(name, entries(*changed), "E_SCHEMA")
    yield case("with a threshold of one", KEYS_NEXT | {"threshold": 1}, "E_SCHEMA")
    yield case("with a threshold above its roots", KEYS_NEXT | {"threshold": 4}, "E_SCHEMA")
    yield case("without roots", KEYS_NEXT | {"keys": [entry("req-1")]}, "E_SCHEMA")
