"""A layout as the store keeps it: with the class ids that the head-end's form leaves out."""

from functools import lru_cache
from typing import Any

import cbor2

from dcu.obis import LogicalName
from dcu.reading import Column, Layout


def encode_columns(layout: Layout) -> bytes:
    """CBOR of a layout with the class ids that the head-end's form leaves out: [[class, ln, attr, scaler, unit]..]."""
    return cbor2.dumps([[c.class_id, c.logical_name.octets, c.attribute, c.scaler, c.unit] for c in layout])


@lru_cache(maxsize=1024)
def decode_columns(columns: bytes) -> Layout:
    """The inverse of `encode_columns`. Equal layouts are one object: a thousand meters have a few."""
    rows: list[list[Any]] = cbor2.loads(columns)
    return tuple(Column(number, LogicalName(ln), attr, scaler, unit) for number, ln, attr, scaler, unit in rows)
