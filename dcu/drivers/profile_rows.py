"""Rows of a plain buffer whose rows all have one shape, straight from octets: the common case, many times faster. Pure.

The shape (types and lengths of the columns) is the first row's. Every row's types and lengths are compared with it, a
column at a time, before anything is taken: then the strict decoder would find the same values at the same places. At
any deviation (compressed or compact rows, text of another length, damage) there is no answer here and the strict
decoder has the word. It is asked for the same octets by a property test.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any, Final

from dcu.drivers import axdr_plain
from dcu.drivers.axdr_plain import (
    ARRAY,
    BOOLEAN,
    DATE_TIME,
    FLOAT32,
    FLOAT64,
    INTEGERS,
    NULL,
    OCTET_STRING,
    STRUCTURE,
    VISIBLE_STRING,
    decode_length,
)
from dcu.errors import ReplyMalformed
from dcu.reading import UNTIMED, Layout, MeterTime, Row

_WORTH: Final = 3  # rows; fewer are read sooner than a shape is found
_LONGEST: Final = 0x7F  # of a string whose length is one octet
_TIME_OCTETS: Final = 12

Convert = Callable[[bytes], Any]

_FIXED: Final[dict[int, tuple[str, Convert | None]]] = {
    NULL: ("", None),
    BOOLEAN: ("?", None),
    FLOAT32: ("4s", axdr_plain.float32_text),
    FLOAT64: ("8s", axdr_plain.float64_text),
    DATE_TIME: ("12s", None),
    26: ("5s", None),
    27: ("4s", None),
    **{tag: (form, None) for tag, form in INTEGERS.items()},
}
"""Form, as `struct` names it, and what is still to be done, by type."""

_STRINGS: Final[dict[int, Convert | None]] = {OCTET_STRING: None, VISIBLE_STRING: axdr_plain.visible}

Shape = tuple[int, ...]
"""Of each column its type, and behind that of a string its length."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A shape, ready to be read.

    Attributes:
        row: unpacks one row; a column without octets is left out.
        marks: (offset in a row, octet that stands there), of types and lengths.
        convert: (index of a column, what turns its octets into a value).
        nulls: indexes of columns without octets.
    """

    row: struct.Struct
    marks: tuple[tuple[int, int], ...]
    convert: tuple[tuple[int, Convert], ...]
    nulls: tuple[int, ...]


def read(octets: bytes, at: int, layout: Layout, zone: tzinfo) -> tuple[list[Row], int, int] | None:
    """(rows with a valid time, rows without one, position behind the buffer that begins at `at`).

    None where the rows are not all of one shape, few, or anything else than rows of `layout` with a time of their own.
    """
    if at >= len(octets) or octets[at] != ARRAY or layout[:1] == (UNTIMED,):
        return None
    try:
        count, first = decode_length(octets, at + 1)
    except ReplyMalformed:
        return None
    shape = _shape(octets, first, len(layout)) if count >= _WORTH else None
    if shape is None:
        return None
    compiled = _compiled(shape)
    size = compiled.row.size
    end = first + count * size
    if end > len(octets):
        return None
    body = octets[first:end]
    for offset, octet in compiled.marks:
        if body[offset::size].count(octet) != count:
            return None
    rows = _rows(compiled, body, zone)
    return rows, count - len(rows), end


def _rows(compiled: _Compiled, body: bytes, zone: tzinfo) -> list[Row]:
    """As `dcu.reading.meter_time` and `profile.rows` have it; a row whose time is no moment is left out."""
    rows = []
    plain = not compiled.convert and not compiled.nulls
    for cells in compiled.row.iter_unpack(body):
        raw: bytes = cells[0]
        try:
            at = datetime(raw[0] << 8 | raw[1], raw[2], raw[3], raw[5], raw[6], raw[7], tzinfo=zone)
        except ValueError:
            continue
        status = raw[11]
        moment = MeterTime(at, status if status != 0xFF else 0, raw)
        rows.append(Row(moment, cells[1:] if plain else _converted(compiled, cells)))
    return rows


def _converted(compiled: _Compiled, cells: tuple[Any, ...]) -> tuple[Any, ...]:
    values = list(cells)
    for index in compiled.nulls:
        values.insert(index, None)
    for index, convert in compiled.convert:
        values[index] = convert(values[index])
    return tuple(values[1:])


def _shape(octets: bytes, at: int, columns: int) -> Shape | None:
    """Of the row that begins at `at`, or None where it has not so many columns, not a time first, or no fixed shape."""
    if octets[at : at + 2] != bytes((STRUCTURE, columns & _LONGEST)) or columns > _LONGEST:
        return None
    at += 2
    shape: list[int] = []
    for _ in range(columns):
        if at + 1 >= len(octets):
            return None
        tag = octets[at]
        shape.append(tag)
        fixed = _FIXED.get(tag)
        if fixed is not None:
            at += 1 + _SIZES[tag]
        elif tag in _STRINGS and octets[at + 1] <= _LONGEST:
            shape.append(octets[at + 1])
            at += 2 + octets[at + 1]
        else:
            return None
    if shape[0] != DATE_TIME and shape[:2] != [OCTET_STRING, _TIME_OCTETS]:
        return None
    return columns, *shape


_SIZES: Final = {tag: struct.calcsize(">" + form) for tag, (form, _) in _FIXED.items()}


@lru_cache(maxsize=64)
def _compiled(shape: Shape) -> _Compiled:
    """What reads rows of `shape`."""
    columns, *rest = shape
    form, offset = ">2x", 2
    marks = [(0, STRUCTURE), (1, columns)]
    convert: list[tuple[int, Convert]] = []
    nulls: list[int] = []
    following = iter(rest)
    for index, tag in enumerate(following):
        marks.append((offset, tag))
        if tag in _STRINGS:
            length = next(following)
            marks.append((offset + 1, length))
            form, offset, turn = f"{form}2x{length}s", offset + 2 + length, _STRINGS[tag]
        else:
            piece, turn = _FIXED[tag]
            form, offset = f"{form}x{piece}", offset + 1 + _SIZES[tag]
        if tag == NULL:
            nulls.append(index)
        if turn is not None:
            convert.append((index, turn))
    return _Compiled(struct.Struct(form), tuple(marks), tuple(convert), tuple(nulls))
