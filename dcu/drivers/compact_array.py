"""Compact arrays (A-XDR type 19): one description of the type, then values without tags. Pure.

Source: Blue Book 4.1.5, Green Book 9.5 (TypeDescription). An array of structures decodes as if it had been sent
plainly, so that a compact buffer is rows like any other.
"""

from dataclasses import dataclass

from dcu.drivers.axdr_plain import ARRAY, DEEPEST, LEAST, PLAIN, STRUCTURE, decode_length
from dcu.errors import ReplyMalformed
from dcu.reading import Data

_VALUES_AN_OCTET = 16


@dataclass(frozen=True, slots=True)
class _Type:
    """A type that was described.

    Attributes:
        tag: of it.
        parts: of a structure, one each; of an array, that of its elements.
        count: elements of an array.
        least: fewest octets of a value.
        values: values in a value, itself among them.
    """

    tag: int
    parts: tuple["_Type", ...]
    count: int
    least: int
    values: int


def decode_at(octets: bytes, at: int, depth: int) -> tuple[Data, int]:
    """(elements of the compact array whose description begins at `at`, position behind it).

    Raises:
        ReplyMalformed: a description that is none or describes nothing, contents that end within an element, or more
            values than that many octets can honestly be.
    """
    if depth >= DEEPEST:
        raise ReplyMalformed(f"A-XDR nested deeper than {DEEPEST}")
    first = at
    kind, at = _described(octets, at, depth + 1)
    length, at = decode_length(octets, at)
    end = at + length
    if end > len(octets):
        raise ReplyMalformed(f"A-XDR ends {end - len(octets)} octets early")
    if not length:
        return [], end
    if not kind.least:
        raise ReplyMalformed("a compact array of elements without octets")
    if length < kind.least:
        raise ReplyMalformed(f"a compact array that ends {kind.least - length} octets early")
    if length // kind.least * kind.values > _VALUES_AN_OCTET * (end - first):
        raise ReplyMalformed(f"a compact array of {length // kind.least * kind.values} values in {length} octets")
    return _elements(kind, octets[at:end]), end


def _elements(kind: _Type, contents: bytes) -> list[Data]:
    values: list[Data] = []
    at = 0
    while at < len(contents):
        value, at = _contents(kind, contents, at)
        values.append(value)
    return values


def _described(octets: bytes, at: int, depth: int) -> tuple[_Type, int]:
    """(type whose description begins at `at`, position behind it)."""
    if at >= len(octets):
        raise ReplyMalformed("A-XDR ends before a type description")
    tag = octets[at]
    at += 1
    if tag in PLAIN:
        return _Type(tag, (), 0, LEAST[tag], 1), at
    if tag not in {ARRAY, STRUCTURE}:
        raise ReplyMalformed(f"A-XDR type {tag} is not known here")
    if depth >= DEEPEST:
        raise ReplyMalformed(f"A-XDR nested deeper than {DEEPEST}")
    if tag == ARRAY:
        if at + 2 > len(octets):
            raise ReplyMalformed("A-XDR ends before a count of elements")
        count = int.from_bytes(octets[at : at + 2], "big")
        part, at = _described(octets, at + 2, depth + 1)
        return _Type(tag, (part,), count, count * part.least, 1 + count * part.values), at
    count, at = decode_length(octets, at)
    if count > len(octets) - at:
        raise ReplyMalformed(f"{count} types in {len(octets) - at} octets")
    parts = []
    for _ in range(count):
        part, at = _described(octets, at, depth + 1)
        parts.append(part)
    least, values = sum(part.least for part in parts), 1 + sum(part.values for part in parts)
    return _Type(tag, tuple(parts), 0, least, values), at


def _contents(kind: _Type, octets: bytes, at: int) -> tuple[Data, int]:
    """(value of `kind` that begins at `at`, position behind it)."""
    plain = PLAIN.get(kind.tag)
    if plain is not None:
        return plain(octets, at)
    values: list[Data] = []
    for part in kind.parts * kind.count if kind.tag == ARRAY else kind.parts:
        value, at = _contents(part, octets, at)
        values.append(value)
    return values, at
