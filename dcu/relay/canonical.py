"""Canonical JSON and unpadded base64url, read strictly: one document has exactly one spelling. Pure.

Canonical: keys sorted, no spaces, printable ASCII, integers only, at most 2^53 in size, at most four levels deep.
Source: reference/command-authority.md 8 (checks 3 to 5) and 11; RFC 7515 2 (base64url), RFC 8259.
"""

import base64
import binascii
import json
import re
from typing import Any, Final, NoReturn

from dcu.command import CommandRefused, Refusal

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]
"""What a signed document can hold: no floats."""

MAX_DEPTH: Final = 4
MAX_INTEGER: Final = 2**53

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")
_INTEGER_DIGITS: Final = len(str(MAX_INTEGER)) + 1  # and a sign


def canonical(value: Json | dict[str, Any]) -> bytes:
    """The one spelling of `value`.

    Raises:
        ValueError: a float, an integer beyond 2^53, or text that is not printable ASCII: our own bug.
    """
    fault = _unfit(value)
    if fault:
        raise ValueError(fault)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def parse(octets: bytes, code: Refusal, *, depth: int = MAX_DEPTH) -> Json:
    """The JSON value that `octets` spell, canonical or not.

    Args:
        octets: at most a few KiB; the caller bounds them.
        code: what a fault is refused with.
        depth: levels of nesting, at most.

    Raises:
        CommandRefused: with `code`: not UTF-8, not JSON, a name twice, a float, NaN, a huge integer, too deep.
    """
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandRefused(code, "not UTF-8") from None
    if _depth(text) > depth:
        raise CommandRefused(code, f"more than {depth} levels deep")
    try:
        value: Json = json.loads(
            text,
            object_pairs_hook=_distinct,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except ValueError as fault:
        raise CommandRefused(code, f"not strict JSON: {fault}") from None
    return value


def parse_canonical(octets: bytes, code: Refusal, spelling: Refusal) -> Json:
    """As `parse`, and `octets` must be the canonical spelling, else refused with `spelling`."""
    value = parse(octets, code)
    fault = _unfit(value)
    if fault:
        raise CommandRefused(spelling, fault)
    if canonical(value) != octets:
        raise CommandRefused(spelling, "not the canonical spelling: sorted keys, no spaces, plain ASCII")
    return value


def to_base64url(octets: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def from_base64url(text: str, code: Refusal = Refusal.E_B64) -> bytes:
    """The octets that `text` spells.

    Raises:
        CommandRefused: with `code`: padding, a foreign character, a length that cannot be, non-zero trailing bits.
    """
    if not _BASE64URL.fullmatch(text):
        raise CommandRefused(code, "not unpadded base64url")
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise CommandRefused(code, f"no octets have a base64url of {len(text)} characters") from None
    if to_base64url(octets) != text:
        raise CommandRefused(code, "bits behind the last octet")
    return octets


def _depth(text: str) -> int:
    """Deepest nesting, counted before the recursive parser may be asked."""
    depth = deepest = 0
    quoted = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif not quoted and character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif not quoted and character in "]}":
            depth -= 1
    return deepest


def _distinct(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice in one object")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _INTEGER_DIGITS or abs(int(digits)) > MAX_INTEGER:
        raise ValueError("an integer beyond 2^53")
    return int(digits)


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not an integer")


def _unfit(value: object) -> str:
    """Why `value` has no canonical spelling; empty when it has one."""
    if isinstance(value, str):
        return "" if _PRINTABLE.fullmatch(value) else "text that is not printable ASCII"
    if isinstance(value, int):  # and bool
        return "" if abs(value) <= MAX_INTEGER else "an integer beyond 2^53"
    if isinstance(value, dict):
        return next(filter(None, (_unfit(name) or _unfit(member) for name, member in value.items())), "")
    if isinstance(value, list):
        return next(filter(None, map(_unfit, value)), "")
    return "" if value is None else f"a {type(value).__name__} in a signed document"
