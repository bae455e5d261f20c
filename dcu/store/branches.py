"""Inner pages of a damaged file, made anew from those below them: what stands on leaves is not to be lost with them.

With auto_vacuum a pointer map says of each page which one is above it. Only tables with row numbers are mended: the
inner pages of others hold rows of their own. The map may be wrong as any page may: nothing is replaced that can be read
as what it is. Format: https://www.sqlite.org/fileformat2.html, sections 1.6 and 1.8.
"""

import logging
import os
import struct
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final

log = logging.getLogger(__name__)

PAGE: Final = 4096
MAP_EVERY: Final = PAGE // 5 + 1
"""A pointer map stands on page 2, and again behind as many pages as it has entries."""

INNER: Final = 0x05
LEAF: Final = 0x0D

_NUMBERED: Final = frozenset({INNER, LEAF})
_HEADS: Final = {0x02: 12, 0x0A: 8, LEAF: 8}
"""Octets before the places of the cells, on pages that nothing may take the place of."""

_ROOT: Final = 1
_BELOW: Final = 5  # a tree's page that is not its root; the map names the one above it
_PASSES: Final = 3  # trees are that deep at most


def mend_branches(path: Path) -> dict[int, bytes]:
    """Mend the closed file at `path`, which has no log.

    Returns:
        Pages that were made anew, as they were found: for `put_back`.

    Raises:
        OSError: the disk does not let it be done now.
    """
    found: dict[int, bytes] = {}
    with path.open("r+b") as file:
        pages = os.fstat(file.fileno()).st_size // PAGE
        above = _above(file, pages)
        for _ in range(_PASSES):
            bad = [page for page, below in above.items() if _is_unfit(file, page, below, pages)]
            bad.sort(key=lambda page: INNER in _kinds(file, above[page]))  # a page that is led to is made before it
            found_now = {page: _read(file, page) for page in bad}
            made = [page for page in bad if _make_anew(file, page, above[page])]
            found = {page: found_now[page] for page in made} | found
            if not made:
                break
    if found:
        log.warning("%s: %d inner pages are made anew from those below them", path, len(found))
    return found


def put_back(path: Path, found: dict[int, bytes]) -> None:
    """Have the closed file as it was before it was mended: it is set aside as what was found."""
    if found:
        with path.open("r+b") as file:
            for page, octets in found.items():
                file.seek((page - 1) * PAGE)
                file.write(octets)
            file.flush()
            os.fsync(file.fileno())


def _above(file: BinaryIO, pages: int) -> dict[int, list[int]]:
    """Pages by the one above them, as the maps tell, unless a page that can be read denies it; page 1 is not ours."""
    kinds: dict[int, int] = {}
    told: dict[int, list[int]] = {}
    for number in range(2, pages + 1, MAP_EVERY):
        entries = _read(file, number)
        for n in range(min(PAGE // 5, pages - number)):
            page = number + 1 + n
            kinds[page], parent = struct.unpack_from(">BI", entries, 5 * n)
            if kinds[page] == _BELOW and 2 < parent <= pages:
                told.setdefault(parent, []).append(page)
    trees = {page: below for page, below in told.items() if kinds.get(page) in {_ROOT, _BELOW}}
    led_by = {each: page for page in trees for each in _led_to(file, page, pages)}
    return {page: [each for each in below if led_by.get(each, page) == page] for page, below in trees.items()}


def _is_unfit(file: BinaryIO, page: int, below: list[int], pages: int) -> bool:
    """Whether it is above pages of a numbered table, does not lead to such pages, and is no other page either."""
    return (
        not _kinds(file, below).isdisjoint(_NUMBERED)
        and not _led_to(file, page, pages)
        and not _is_other(_read(file, page))
    )


def _is_other(octets: bytes) -> bool:
    """Whether it can be read as a page that leads to none of a numbered table: a leaf, or one of an index."""
    head = _HEADS.get(octets[0])
    return head is not None and _places(octets, head) is not None


def _led_to(file: BinaryIO, page: int, pages: int) -> list[int]:
    """Pages that it leads to; none where one of them is not of a numbered table."""
    led_to = _children(_read(file, page))
    fit = all(0 < each <= pages for each in led_to) and _kinds(file, led_to) <= _NUMBERED
    return led_to if fit else []


def _kinds(file: BinaryIO, pages: list[int]) -> set[int]:
    return {_read(file, page)[0] for page in pages}


def _make_anew(file: BinaryIO, page: int, below: list[int]) -> bool:
    """Point to all pages below it that can be read, in the order of their rows; False where that cannot be."""
    spans = sorted((*span, each) for each in below if (span := _span(file, each)) is not None)
    if not spans or any(before[1] >= behind[0] for before, behind in pairwise(spans)):
        return False
    cells = [struct.pack(">I", each) + _varint(last) for _, last, each in spans[:-1]]
    places, at = [], PAGE
    for cell in cells:
        at -= len(cell)
        places.append(at)
    if at < 12 + 2 * len(cells):
        return False
    octets = bytearray(PAGE)
    struct.pack_into(">BHHHBI", octets, 0, INNER, 0, len(cells), at, 0, spans[-1][2])
    struct.pack_into(f">{len(cells)}H", octets, 12, *places)
    for place, cell in zip(places, cells, strict=True):
        octets[place : place + len(cell)] = cell
    file.seek((page - 1) * PAGE)
    file.write(octets)
    return True


def _children(octets: bytes) -> list[int]:
    """Pages that an inner page leads to; none where it is none."""
    places = _places(octets, 12)
    if octets[0] != INNER or places is None:
        return []
    return [*(struct.unpack_from(">I", octets, place)[0] for place in places), *struct.unpack_from(">I", octets, 8)]


def _span(file: BinaryIO, page: int, depth: int = 0) -> tuple[int, int] | None:
    """(First, last) row number below a page of a numbered table; None where it cannot be told."""
    octets = _read(file, page)
    if octets[0] == LEAF:
        places = _places(octets, 8)
        if not places:
            return None
        numbers = [_row_number(octets, place) for place in (places[0], places[-1])]
        return (numbers[0], numbers[1]) if 0 < numbers[0] <= numbers[1] else None
    led_to = _children(octets)
    if not led_to or depth == _PASSES or not all(led_to):
        return None
    ends = [_span(file, each, depth + 1) for each in (led_to[0], led_to[-1])]
    return None if ends[0] is None or ends[1] is None else (ends[0][0], ends[1][1])


def _places(octets: bytes, head: int) -> tuple[int, ...] | None:
    """Where the cells of a page stand; None where they cannot stand there."""
    (count,) = struct.unpack_from(">H", octets, 3)
    if head + 2 * count > PAGE:
        return None
    places: tuple[int, ...] = struct.unpack_from(f">{count}H", octets, head)
    return places if all(head + 2 * count <= place <= PAGE - 4 for place in places) else None


def _row_number(octets: bytes, place: int) -> int:
    """Of a leaf's cell: it stands behind the size of the row."""
    _, place = _from_varint(octets, place)
    return _from_varint(octets, place)[0]


def _from_varint(octets: bytes, place: int) -> tuple[int, int]:
    """(Number, where it ended)."""
    value = 0
    for n, octet in enumerate(octets[place : place + 9]):
        if n == 8:
            return (value << 8) | octet, place + 9
        value = (value << 7) | (octet & 0x7F)
        if octet < 0x80:
            return value, place + n + 1
    return -1, PAGE


def _varint(value: int) -> bytes:
    """Row numbers of a store are far below 2**56."""
    octets = [value & 0x7F]
    while value := value >> 7:
        octets.append(0x80 | (value & 0x7F))
    return bytes(reversed(octets))


def _read(file: BinaryIO, page: int) -> bytes:
    file.seek((page - 1) * PAGE)
    return file.read(PAGE).ljust(PAGE, b"\0")
