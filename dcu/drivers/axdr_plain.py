"""A-XDR types that hold no others, and lengths: from octets to values (IEC 61334-6, Blue Book 4.1.5). Pure."""

import math
import struct
from collections.abc import Callable
from typing import Final

from dcu.errors import ReplyMalformed
from dcu.reading import Data

DEEPEST: Final = 16
"""Levels of arrays and structures in one another."""

NULL: Final = 0
ARRAY: Final = 1
STRUCTURE: Final = 2
BOOLEAN: Final = 3
BIT_STRING: Final = 4
OCTET_STRING: Final = 9
VISIBLE_STRING: Final = 10
UTF8_STRING: Final = 12
COMPACT_ARRAY: Final = 19
FLOAT32: Final = 23
FLOAT64: Final = 24
DATE_TIME: Final = 25
DONT_CARE: Final = 255

INTEGERS: Final = {
    5: "i",
    6: "I",
    13: "B",  # BCD: one octet as it stands
    15: "b",
    16: "h",
    17: "B",
    18: "H",
    20: "q",
    21: "Q",
    22: "B",  # enum
}
"""Form of each integer type, as `struct` names it."""

_DELTAS: Final = {28: "b", 29: "h", 30: "i", 31: "B", 32: "H", 33: "I"}
_MOMENTS: Final = {DATE_TIME: 12, 26: 5, 27: 4}  # date-time, date, time


class Delta(int):
    """A difference to the value before it in the same column (types 28 to 33); by itself only a number."""

    __slots__ = ()


class DontCare(str):
    """What says that it is no value (type 255): empty text, and never the value before it."""

    __slots__ = ()


Plain = Callable[[bytes, int], tuple[Data, int]]
"""Decodes the contents of one type that begin at a position: (value, position behind it)."""


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


def _within(octets: bytes, at: int, size: int) -> int:
    """Position behind `size` octets from `at`. Raises ReplyMalformed when there are fewer."""
    if size > len(octets) - at:
        raise ReplyMalformed(f"A-XDR ends {size - (len(octets) - at)} octets early")
    return at + size


def _integer(form: str) -> Plain:
    layout = struct.Struct(">" + form)
    size, unpack_from = layout.size, layout.unpack_from

    def decode_integer(octets: bytes, at: int) -> tuple[Data, int]:
        try:
            return unpack_from(octets, at)[0], at + size
        except struct.error:
            raise ReplyMalformed(f"A-XDR ends {size - (len(octets) - at)} octets early") from None

    return decode_integer


def _delta(form: str) -> Plain:
    layout = struct.Struct(">" + form)

    def decode_delta(octets: bytes, at: int) -> tuple[Data, int]:
        end = _within(octets, at, layout.size)
        return Delta(layout.unpack_from(octets, at)[0]), end

    return decode_delta


def _raw(size: int) -> Plain:
    def decode_raw(octets: bytes, at: int) -> tuple[Data, int]:
        end = _within(octets, at, size)
        return octets[at:end], end

    return decode_raw


def _null(_octets: bytes, at: int) -> tuple[Data, int]:
    return None, at


def _dont_care(_octets: bytes, at: int) -> tuple[Data, int]:
    return DontCare(), at


def _boolean(octets: bytes, at: int) -> tuple[Data, int]:
    end = _within(octets, at, 1)
    return octets[at] != 0, end


def _octet_string(octets: bytes, at: int) -> tuple[Data, int]:
    length, at = decode_length(octets, at)
    end = _within(octets, at, length)
    return octets[at:end], end


def _visible_string(octets: bytes, at: int) -> tuple[Data, int]:
    length, at = decode_length(octets, at)
    end = _within(octets, at, length)
    return visible(octets[at:end]), end


def _utf8_string(octets: bytes, at: int) -> tuple[Data, int]:
    length, at = decode_length(octets, at)
    end = _within(octets, at, length)
    try:
        return octets[at:end].decode(), end
    except UnicodeDecodeError as fault:
        raise ReplyMalformed("a UTF-8 string that is not UTF-8") from fault


def _bit_string(octets: bytes, at: int) -> tuple[Data, int]:
    length, at = decode_length(octets, at)
    end = _within(octets, at, (length + 7) // 8)
    return bits(octets[at:end], length), end


def _float32(octets: bytes, at: int) -> tuple[Data, int]:
    end = _within(octets, at, 4)
    return float32_text(octets[at:end]), end


def _float64(octets: bytes, at: int) -> tuple[Data, int]:
    end = _within(octets, at, 8)
    return float64_text(octets[at:end]), end


def visible(raw: bytes) -> str:
    """A visible-string: ASCII by the standard; this loses nothing of what is not."""
    return raw.decode("latin-1")


def bits(raw: bytes, length: int) -> str:
    """The first `length` bits as ones and zeros."""
    return format(int.from_bytes(b"\x01" + raw, "big"), "b")[1 : 1 + length]


def float64_text(raw: bytes) -> str:
    """The shortest decimal text that names the double exactly: readings carry no floats."""
    return repr(struct.unpack(">d", raw)[0])


def float32_text(raw: bytes) -> str:
    """The shortest decimal text that names the float exactly."""
    value = struct.unpack(">f", raw)[0]
    if not math.isfinite(value):
        return repr(value)
    for digits in range(6, 10):
        text = f"{value:.{digits}g}"
        if _packed(text) == raw:
            return text
    return repr(value)


def _packed(text: str) -> bytes:
    try:
        return struct.pack(">f", float(text))
    except OverflowError:
        return b""


PLAIN: Final[dict[int, Plain]] = {
    NULL: _null,
    BOOLEAN: _boolean,
    BIT_STRING: _bit_string,
    OCTET_STRING: _octet_string,
    VISIBLE_STRING: _visible_string,
    UTF8_STRING: _utf8_string,
    FLOAT32: _float32,
    FLOAT64: _float64,
    DONT_CARE: _dont_care,
    **{tag: _integer(form) for tag, form in INTEGERS.items()},
    **{tag: _delta(form) for tag, form in _DELTAS.items()},
    **{tag: _raw(size) for tag, size in _MOMENTS.items()},
}
"""Decoders of all types that hold no others, by tag."""

LEAST: Final[dict[int, int]] = {
    **dict.fromkeys(PLAIN, 1),
    NULL: 0,
    DONT_CARE: 0,
    **{tag: struct.calcsize(">" + form) for tag, form in (INTEGERS | _DELTAS).items()},
    **_MOMENTS,
    FLOAT32: 4,
    FLOAT64: 8,
}
"""Fewest octets that a value of each of them has, without its tag."""
