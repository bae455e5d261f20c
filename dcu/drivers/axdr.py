"""A-XDR data (IEC 61334-6, Blue Book 4.1.5): strict decoding into `dcu.reading.Data`. Pure.

Ours and not gurux's: that one takes truncated octets for a value (an octet-string cut short decodes as None, an array
that claims 4e9 entries as one of one) and recurses without bound (reference/gurux-dlms.md, pitfall 15).
"""

import math
import struct
from typing import Final

from dcu.errors import ReplyMalformed
from dcu.reading import Data

_DEEPEST: Final = 16

NULL: Final = 0
ARRAY: Final = 1
STRUCTURE: Final = 2
BOOLEAN: Final = 3
BIT_STRING: Final = 4
OCTET_STRING: Final = 9
VISIBLE_STRING: Final = 10
UTF8_STRING: Final = 12
FLOAT32: Final = 23
FLOAT64: Final = 24

_INTEGERS: Final = {
    5: struct.Struct(">i"),
    6: struct.Struct(">I"),
    13: struct.Struct(">b"),  # BCD: one octet as it stands
    15: struct.Struct(">b"),
    16: struct.Struct(">h"),
    17: struct.Struct(">B"),
    18: struct.Struct(">H"),
    20: struct.Struct(">q"),
    21: struct.Struct(">Q"),
    22: struct.Struct(">B"),  # enum
}
_MOMENTS: Final = {25: 12, 26: 5, 27: 4}  # date-time, date, time


def encode_length(length: int) -> bytes:
    """A length as A-XDR and BER have it: one octet below 128, else their number and they."""
    if length < 0x80:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def decode_length(octets: bytes, at: int) -> tuple[int, int]:
    """(length, position behind it). Raises ReplyMalformed when it ends early or has more than four octets."""
    if at >= len(octets):
        raise ReplyMalformed("A-XDR ends before a length")
    first = octets[at]
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    end = at + 1 + count
    if not 0 < count <= 4 or end > len(octets):
        raise ReplyMalformed("A-XDR with an impossible length")
    return int.from_bytes(octets[at + 1 : end], "big"), end


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
    at += 1
    integer = _INTEGERS.get(tag)
    if integer is not None:
        end = _within(octets, at, integer.size)
        return int(integer.unpack_from(octets, at)[0]), end
    if tag == NULL:
        return None, at
    if tag in {ARRAY, STRUCTURE}:
        return _sequence(octets, at, depth)
    return _float(octets, at, tag) if tag in {FLOAT32, FLOAT64} else _string(octets, at, tag)


def _sequence(octets: bytes, at: int, depth: int) -> tuple[Data, int]:
    count, at = decode_length(octets, at)
    if depth >= _DEEPEST:
        raise ReplyMalformed(f"A-XDR nested deeper than {_DEEPEST}")
    if count > len(octets) - at:
        raise ReplyMalformed(f"{count} elements in {len(octets) - at} octets")
    values: list[Data] = []
    for _ in range(count):
        value, at = decode_at(octets, at, depth + 1)
        values.append(value)
    return values, at


def _string(octets: bytes, at: int, tag: int) -> tuple[Data, int]:
    if tag == BOOLEAN:
        end = _within(octets, at, 1)
        return octets[at] != 0, end
    if tag in _MOMENTS:
        end = _within(octets, at, _MOMENTS[tag])
        return bytes(octets[at:end]), end
    if tag not in {BIT_STRING, OCTET_STRING, VISIBLE_STRING, UTF8_STRING}:
        raise ReplyMalformed(f"A-XDR type {tag} is not known here")
    length, at = decode_length(octets, at)
    if tag == BIT_STRING:
        end = _within(octets, at, (length + 7) // 8)
        return "".join(f"{octet:08b}" for octet in octets[at:end])[:length], end
    end = _within(octets, at, length)
    piece = bytes(octets[at:end])
    if tag == OCTET_STRING:
        return piece, end
    if tag == VISIBLE_STRING:
        return piece.decode("latin-1"), end  # ASCII by the standard; this loses nothing of what is not
    try:
        return piece.decode(), end
    except UnicodeDecodeError as fault:
        raise ReplyMalformed("a UTF-8 string that is not UTF-8") from fault


def _float(octets: bytes, at: int, tag: int) -> tuple[Data, int]:
    """A float as the shortest decimal text that names it exactly: readings carry no floats."""
    form = ">f" if tag == FLOAT32 else ">d"
    end = _within(octets, at, struct.calcsize(form))
    raw = bytes(octets[at:end])
    value = struct.unpack(form, raw)[0]
    if tag == FLOAT64 or not math.isfinite(value):
        return repr(value), end
    for digits in range(6, 10):
        text = f"{value:.{digits}g}"
        if _packed(text) == raw:
            break
    else:
        text = repr(value)
    return text, end


def _packed(text: str) -> bytes:
    try:
        return struct.pack(">f", float(text))
    except OverflowError:
        return b""


def _within(octets: bytes, at: int, size: int) -> int:
    """Position behind `size` octets from `at`. Raises ReplyMalformed when there are fewer."""
    if size > len(octets) - at:
        raise ReplyMalformed(f"A-XDR ends {size - (len(octets) - at)} octets early")
    return at + size
