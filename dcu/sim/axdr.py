"""A-XDR encoding of COSEM `Data` (IEC 62056-5-3; Green Book 9.5, tags of Blue Book 4.1.5). Bytes and values only.

A `Datum` keeps its tag, since meters are particular about types: a value of the right number and the wrong tag is
`type unmatched`.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from dcu.sim.errors import Malformed


class Tag(IntEnum):
    """Tags of the `Data` choice that occur here."""

    NULL = 0
    ARRAY = 1
    STRUCTURE = 2
    BOOLEAN = 3
    BIT_STRING = 4
    DOUBLE_LONG = 5
    DOUBLE_LONG_UNSIGNED = 6
    OCTET_STRING = 9
    VISIBLE_STRING = 10
    UTF8_STRING = 12
    INTEGER = 15
    LONG = 16
    UNSIGNED = 17
    LONG_UNSIGNED = 18
    LONG64 = 20
    LONG64_UNSIGNED = 21
    ENUM = 22
    FLOAT32 = 23
    FLOAT64 = 24
    DATE_TIME = 25
    DATE = 26
    TIME = 27


@dataclass(frozen=True, slots=True)
class Datum:
    """One tagged value: int, bool, bytes, str, None, or a tuple of `Datum` for arrays and structures."""

    tag: Tag
    value: Any = None


class Encoded(Datum):
    """A value that is encoded already: `value` is its octets, tag first."""

    __slots__ = ()


_FIXED: Final[dict[Tag, str]] = {
    Tag.DOUBLE_LONG: ">i",
    Tag.DOUBLE_LONG_UNSIGNED: ">I",
    Tag.INTEGER: ">b",
    Tag.LONG: ">h",
    Tag.UNSIGNED: ">B",
    Tag.LONG_UNSIGNED: ">H",
    Tag.LONG64: ">q",
    Tag.LONG64_UNSIGNED: ">Q",
    Tag.ENUM: ">B",
    Tag.FLOAT32: ">f",
    Tag.FLOAT64: ">d",
}
_DATED: Final = {Tag.DATE_TIME: 12, Tag.DATE: 5, Tag.TIME: 4}
_DEPTH: Final = 12
_TEXT: Final = {Tag.VISIBLE_STRING: "latin-1", Tag.UTF8_STRING: "utf-8"}

NULL: Final = Datum(Tag.NULL)


def _of(tag: Tag) -> Callable[[int], Datum]:
    return lambda value: Datum(tag, value)


i8, i16, i32 = _of(Tag.INTEGER), _of(Tag.LONG), _of(Tag.DOUBLE_LONG)
u8, u16, u32 = _of(Tag.UNSIGNED), _of(Tag.LONG_UNSIGNED), _of(Tag.DOUBLE_LONG_UNSIGNED)
enum = _of(Tag.ENUM)


def boolean(value: bool) -> Datum:
    """A boolean."""
    return Datum(Tag.BOOLEAN, value)


def octets(value: bytes) -> Datum:
    """An octet-string."""
    return Datum(Tag.OCTET_STRING, value)


def text(value: str) -> Datum:
    """A visible-string."""
    return Datum(Tag.VISIBLE_STRING, value)


def array(items: Sequence[Datum]) -> Datum:
    """An array of alike items."""
    return Datum(Tag.ARRAY, tuple(items))


def structure(*items: Datum) -> Datum:
    """A structure."""
    return Datum(Tag.STRUCTURE, items)


def length(count: int) -> bytes:
    """A length field: one octet below 128, else 0x80 + number of octets, then the octets."""
    if count < 0x80:
        return bytes([count])
    size = (count.bit_length() + 7) // 8
    return bytes([0x80 | size]) + count.to_bytes(size, "big")


def encode(datum: Datum) -> bytes:
    """The octets of a value, tag first."""
    tag, value = datum.tag, datum.value
    if type(datum) is Encoded:
        return value  # type: ignore[no-any-return]
    head = bytes([tag])
    if tag in _FIXED:
        return head + struct.pack(_FIXED[tag], value)
    if tag in {Tag.ARRAY, Tag.STRUCTURE}:
        return head + length(len(value)) + b"".join(map(encode, value))
    return head + _encode_simple(tag, value)


def packer(tag: Tag) -> Callable[[Any], bytes]:
    """What encodes values of one tag of fixed size, fast."""
    pack, code = struct.Struct(">B" + _FIXED[tag][1:]).pack, int(tag)
    return lambda value: pack(code, value)


def _encode_simple(tag: Tag, value: Any) -> bytes:
    if tag is Tag.NULL:
        return b""
    if tag is Tag.BOOLEAN:
        return b"\xff" if value else b"\x00"
    if tag in _DATED:
        return bytes(value)
    if tag is Tag.BIT_STRING:
        return length(len(value)) + _pack_bits(value)
    body = value.encode(_TEXT[tag]) if tag in _TEXT else bytes(value)
    return length(len(body)) + body


def _pack_bits(bits: str) -> bytes:
    padded = bits + "0" * (-len(bits) % 8)
    return bytes(int(padded[i : i + 8], 2) for i in range(0, len(padded), 8))


class Reader:
    """Takes values off octets; every shortage is `Malformed`."""

    def __init__(self, octets: bytes) -> None:
        self._octets = bytes(octets)
        self._at = 0

    @property
    def left(self) -> int:
        """Octets not yet taken."""
        return len(self._octets) - self._at

    def take(self, count: int) -> bytes:
        """The next `count` octets."""
        if count < 0 or count > self.left:
            raise Malformed(f"{count} octets wanted, {self.left} left")
        self._at += count
        return self._octets[self._at - count : self._at]

    def octet(self) -> int:
        """The next octet."""
        return self.take(1)[0]

    def number(self, size: int) -> int:
        """The next `size` octets as an unsigned number."""
        return int.from_bytes(self.take(size), "big")

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def length(self) -> int:
        """A length field (at most four octets of length)."""
        first = self.octet()
        if first < 0x80:
            return first
        size = first & 0x7F
        if not 1 <= size <= 4:
            raise Malformed(f"length of {size} octets")
        return self.number(size)

    def counted(self) -> bytes:
        """Octets after their length field."""
        return self.take(self.length())

    def datum(self, depth: int = 0) -> Datum:
        """The next tagged value."""
        if depth > _DEPTH:
            raise Malformed("nested too deep")
        code = self.octet()
        try:
            tag = Tag(code)
        except ValueError as fault:
            raise Malformed(f"no data tag {code}") from fault
        if tag in _FIXED:
            form = _FIXED[tag]
            return Datum(tag, struct.unpack(form, self.take(struct.calcsize(form)))[0])
        if tag in {Tag.ARRAY, Tag.STRUCTURE}:
            count = self.length()
            if count > self.left:
                raise Malformed(f"{count} items in {self.left} octets")
            return Datum(tag, tuple(self.datum(depth + 1) for _ in range(count)))
        return Datum(tag, self._simple(tag))

    def _simple(self, tag: Tag) -> Any:
        if tag is Tag.NULL:
            return None
        if tag is Tag.BOOLEAN:
            return self.octet() != 0
        if tag in _DATED:
            return self.take(_DATED[tag])
        if tag is Tag.BIT_STRING:
            count = self.length()
            packed = self.take((count + 7) // 8)
            return "".join(f"{octet:08b}" for octet in packed)[:count]
        body = self.counted()
        if tag not in _TEXT:
            return body
        try:
            return body.decode(_TEXT[tag])
        except UnicodeDecodeError as fault:
            raise Malformed("text is not in its own encoding") from fault


def decode(octets: bytes) -> Datum:
    """The one value that `octets` are.

    Raises:
        Malformed: not a value, or more than one.
    """
    reader = Reader(octets)
    datum = reader.datum()
    if reader.left:
        raise Malformed(f"{reader.left} octets after the value")
    return datum
