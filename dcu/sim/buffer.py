"""Rows of a profile on the wire: plain, with null for what repeats, or as a compact array (Blue Book 4.3.6, 4.1.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any, Final

from dcu.sim.axdr import Datum, Encoded, Tag, i8, length, octets, structure, u16

_COMPACT_ARRAY: Final = 19
_NULL: Final = b"\x00"


class Form(Enum):
    """How rows are sent."""

    PLAIN = "plain"
    NULLS = "nulls"  # a value as in the row before, or a time one period after it, is null-data
    COMPACT = "compact"  # the types once, then values without tags


@dataclass(frozen=True, slots=True)
class Column:
    """One capture object, and how a row's value of it is encoded: tag and contents."""

    class_id: int
    name: bytes
    attribute: int
    encode: Callable[[Any], bytes]

    def capture_object(self) -> Datum:
        """As attribute 3 lists it."""
        return structure(u16(self.class_id), octets(self.name), i8(self.attribute), u16(0))


def buffer(
    columns: Sequence[Column],
    rows: Sequence[tuple[Any, ...]],
    wanted: Sequence[int] | None = None,
    form: Form = Form.PLAIN,
    period_s: int = 0,
) -> Datum:
    """Attribute 2, encoded.

    Args:
        columns: all that a row has.
        rows: in the order in which they are sent.
        wanted: columns that are sent, all of them where None.
        form: on the wire; types of a compact array are those of its first row.
        period_s: by which the first column of one row follows that of the row before, where it is null.
    """
    picked = [(at, columns[at].encode) for at in (range(len(columns)) if wanted is None else wanted)]
    lines = [[write(row[at]) for at, write in picked] for row in rows]
    if form is Form.COMPACT and lines:
        return Encoded(Tag.ARRAY, _compact(lines))
    if form is Form.NULLS:
        lines = _thinned(lines, rows, picked[0][0] == 0 if picked else False, period_s)
    head = bytes([Tag.STRUCTURE]) + length(len(picked))
    body = b"".join([head + b"".join(line) for line in lines])
    return Encoded(Tag.ARRAY, bytes([Tag.ARRAY]) + length(len(lines)) + body)


def _thinned(
    lines: list[list[bytes]], rows: Sequence[tuple[Any, ...]], timed: bool, period_s: int
) -> list[list[bytes]]:
    thin = lines[:1]
    for (before, row), (old, new) in zip(pairwise(rows), pairwise(lines), strict=True):
        line = [_NULL if value == same else value for value, same in zip(new, old, strict=True)]
        if timed:
            follows = period_s and row[0] - before[0] == period_s
            line[0] = _NULL if follows else new[0]
        thin.append(line)
    return thin


def _compact(lines: list[list[bytes]]) -> bytes:
    """contents-description, then array-contents as one octet-string: each value without its tag."""
    types = bytes([_COMPACT_ARRAY, Tag.STRUCTURE]) + length(len(lines[0])) + b"".join(v[:1] for v in lines[0])
    contents = b"".join([b"".join([value[1:] for value in line]) for line in lines])
    return types + length(len(contents)) + contents
