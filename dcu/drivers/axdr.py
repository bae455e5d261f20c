"""A-XDR data (IEC 61334-6, Blue Book 4.1.5): strict decoding into `dcu.reading.Data`. Pure.

Ours and not gurux's: that one takes truncated octets for a value (an octet-string cut short decodes as None, an array
that claims 4e9 entries as one of one) and recurses without bound (reference/gurux-dlms.md, pitfall 15).
Each octet is looked at once and makes a bounded number of values; nothing grows by what octets claim of themselves.
"""

from dcu.drivers import compact_array
from dcu.drivers.axdr_plain import ARRAY, COMPACT_ARRAY, DEEPEST, PLAIN, STRUCTURE, decode_length, encode_length
from dcu.errors import ReplyMalformed
from dcu.reading import Data

__all__ = ["decode", "decode_at", "decode_length", "encode_length"]


def decode(octets: bytes) -> Data:
    """The one value that `octets` are, all of them.

    Raises:
        ReplyMalformed: cut short, too long, nested too deep, or a type that is not known here.
    """
    value, end = decode_at(octets, 0)
    if end != len(octets):
        raise ReplyMalformed(f"{len(octets) - end} octets behind the value")
    return value


def decode_at(octets: bytes, at: int, depth: int = 0) -> tuple[Data, int]:
    """(value that begins at `at`, position behind it). Raises as `decode`."""
    if at >= len(octets):
        raise ReplyMalformed("A-XDR ends before a value")
    tag = octets[at]
    plain = PLAIN.get(tag)
    if plain is not None:
        return plain(octets, at + 1)
    if tag in {ARRAY, STRUCTURE}:
        return _sequence(octets, at + 1, depth)
    if tag == COMPACT_ARRAY:
        return compact_array.decode_at(octets, at + 1, depth)
    raise ReplyMalformed(f"A-XDR type {tag} is not known here")


def _sequence(octets: bytes, at: int, depth: int) -> tuple[Data, int]:
    count, at = decode_length(octets, at)
    if depth >= DEEPEST:
        raise ReplyMalformed(f"A-XDR nested deeper than {DEEPEST}")
    if count > len(octets) - at:
        raise ReplyMalformed(f"{count} elements in {len(octets) - at} octets")
    values: list[Data] = []
    for _ in range(count):
        value, at = decode_at(octets, at, depth + 1)
        values.append(value)
    return values, at
