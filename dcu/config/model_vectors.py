"""Test vectors of a meter model: what a meter sent, octet for octet, and the readings that it means."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from dcu.config import fields as f
from dcu.config.fields import Field, Refused, Sheet

Cell = bool | int | str | bytes
"""An expected value: octets are written `0x07EA..`, floats as the text that readings carry."""


@dataclass(frozen=True, slots=True)
class Vector:
    """One profile as a meter sent it.

    Attributes:
        name: what it shows.
        source: where the octets are from; never from the decoder that they test.
        profile: name of the profile in the model.
        capture_objects: A-XDR of class 7 attribute 3.
        scaler_objects, scaler_buffer: A-XDR of attributes 3 and 2 of its scaler profile; empty where it has none.
        buffer: A-XDR of attribute 2.
        period_s: capture period, for times that are compressed away.
        columns: expected, each as `CLASS:LN/ATTRIBUTE`, with scaler and unit code behind it where it has them.
        rows: expected: local time without zone, then the values.
        meanings: expected meaning of each row's event code; empty for other profiles.
    """

    name: str
    source: str
    profile: str
    capture_objects: bytes
    scaler_objects: bytes
    scaler_buffer: bytes
    buffer: bytes
    period_s: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    meanings: tuple[str, ...]


def _octets(value: Any) -> bytes:
    try:
        return bytes.fromhex("".join(f.text(value).split()))
    except ValueError:
        raise Refused(
            "is not hexadecimal", "write pairs of hex digits; blanks and line ends may stand between"
        ) from None


def _row(value: Any) -> tuple[Cell, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(cell, bool | int | str) for cell in value):
        cure = 'write ["2026-11-18T00:15:00", 2301, ..]: time, then whole numbers, texts, or octets as "0x07EA"'
        raise Refused(f"{value!r} is no row", cure)
    return tuple(_cell(cell) for cell in value)


def _cell(cell: Cell) -> Cell:
    return _octets(cell[2:]) if isinstance(cell, str) and cell.startswith("0x") else cell


_VECTOR = {
    "name": Field(f.text),
    "source": Field(f.text),
    "profile": Field(f.text),
    "capture_objects": Field(_octets),
    "scaler_objects": Field(_octets, b""),
    "scaler_buffer": Field(_octets, b""),
    "buffer": Field(_octets),
    "period_s": Field(f.whole(0, 86400), 0),
    "columns": Field(f.many(f.text)),
    "rows": Field(f.many(_row)),
    "meanings": Field(f.many(f.text), ()),
}


def vectors(sheet: Sheet, tables: Any, known: Collection[str]) -> tuple[Vector, ...]:
    """The vectors of a file; mistakes are noted on the sheet. `known` are the names of its profiles."""
    if not isinstance(tables, list | tuple):
        sheet.wrong(("vector",), "is not a list of tables", "write each vector as [[vector]]")
        return ()
    found = []
    for n, table in enumerate(tables):
        values = sheet.read(table, ("vector", n), _VECTOR)
        if values is None:
            continue
        if values["profile"] not in known:
            cure = f.did_you_mean(values["profile"], known)
            sheet.wrong(("vector", n, "profile"), f"the model has no profile {values['profile']!r}", cure)
        found.append(Vector(**values))
    return tuple(found)
