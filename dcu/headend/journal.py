"""JSON lines on disk: one record a line, synced before the broker is told that it was taken.

`{"dcu", "epoch", "stream", "id", "record", "columns"?}`; an octet-string is `{"hex": ..}`. A line that a crash cut off
is removed when the file is opened again: its record was not acknowledged, and comes again.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dcu.errors import OperatorFault
from dcu.headend.holdings import Holdings, Item, Series
from dcu.record import Stream


class LineFile:
    """A file of records that only grows. One writer.

    Args:
        path: made (0600) when it is missing.

    Raises:
        OperatorFault: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise OperatorFault(f"cannot be opened: {fault.strerror}", place=str(path)) from fault
        self._file = os.fdopen(descriptor, "r+b")

    def recall(self, holdings: Holdings) -> int:
        """Note in `holdings` what the file holds; how many were new.

        Raises:
            OperatorFault: a line that is not ours.
        """
        return sum(holdings.note(series, n) for series, n in self._whole_lines())

    def append(self, items: Iterable[Item]) -> None:
        """Write and sync. Raises OSError when the disk does not take it: nothing may be acknowledged then."""
        octets = b"".join(line(item) for item in items)
        if octets:
            self._file.write(octets)
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Idempotent."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _whole_lines(self) -> Iterator[tuple[Series, int]]:
        self._file.seek(0)
        whole = 0
        for number, octets in enumerate(self._file, start=1):
            if not octets.endswith(b"\n"):
                os.ftruncate(self._file.fileno(), whole)
                return
            whole += len(octets)
            try:
                entry = json.loads(octets)
                key = Series(entry["dcu"], entry["epoch"], Stream(entry["stream"])), int(entry["id"])
            except (ValueError, KeyError, TypeError) as fault:
                raise OperatorFault(
                    "not a record of ours", place=f"{self._path}:{number}", cure="name another file"
                ) from fault
            yield key


def line(item: Item) -> bytes:
    """One record as a line."""
    entry: dict[str, Any] = {
        "dcu": item.series.dcu,
        "epoch": item.series.epoch,
        "stream": item.series.stream.value,
        "id": item.id,
        "record": item.record,
    }
    if item.columns is not None:
        entry["columns"] = item.columns
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False, default=_hex).encode() + b"\n"


def _hex(value: object) -> object:
    return {"hex": value.hex()} if isinstance(value, bytes) else str(value)
