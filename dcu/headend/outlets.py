"""CSV and JSON lines out of a collection, each record exactly once, whatever is killed when.

A file is appended to and synced, and only then its length is noted in the collection, in one commit with how far the
outlet has come. What stands behind the noted length is of a run that was killed in between: it is cut off and written
again. A file that was taken away is begun anew, with what comes from then on.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Final

from dcu.errors import OperatorFault
from dcu.headend import tables
from dcu.headend.collection import Collection, line
from dcu.headend.holdings import Item

PAGE: Final = 500
"""Records that are written between two notes."""

Rendering = Callable[[Iterable[Item]], Mapping[str, tuple[bytes, bytes]]]
"""Records to (header, octets) by name of file."""


class Outlet:
    """One of the forms that are wanted.

    Args:
        collection: where the records are.
        name: of this outlet in the collection.
        directory: where its files are.
        rendering: records to octets.
    """

    def __init__(self, collection: Collection, name: str, directory: Path, rendering: Rendering) -> None:
        self._collection = collection
        self._name = name
        self._directory = directory
        self._rendering = rendering
        self._n, self._octets = collection.outlet(name)

    def flush(self) -> int:
        """Write what is new; how many records.

        Raises:
            OperatorFault: a file cannot be written, or is shorter than what was written to it.
        """
        written = 0
        while page := self._collection.after(self._n, PAGE):
            files = self._rendering(item for _, item in page)
            fresh = {file: 0 for file in files if self._is_fresh(self._directory / file)}
            if fresh:  # noted before they are made, so that what a kill leaves in them is known to be ours
                self._collection.note_outlet(self._name, self._n, fresh)
                self._octets |= fresh
            lengths = {file: self._append(file, *parts) for file, parts in files.items()}
            self._n = page[-1][0]
            self._collection.note_outlet(self._name, self._n, lengths)
            self._octets |= lengths
            written += len(page)
        return written

    def _is_fresh(self, path: Path) -> bool:
        if not path.exists():
            return True
        if path.name not in self._octets and path.stat().st_size:
            raise OperatorFault(
                "holds something that is not of this collection", place=str(path), cure="name another place"
            )
        return path.name not in self._octets

    def _append(self, file: str, header: bytes, octets: bytes) -> int:
        """Cut `file` to its noted length, add to it, sync; its length then."""
        path, known = self._directory / file, self._octets[file]
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b") as out:
                if os.fstat(descriptor).st_size < known:
                    raise OperatorFault(
                        f"shorter than the {known} octets that were written to it", place=str(path), cure="move it away"
                    )
                out.truncate(known)
                out.seek(known)
                out.write(octets if known else header + octets)
                out.flush()
                os.fsync(descriptor)
                return out.tell()
        except OSError as fault:
            raise OperatorFault(f"cannot be written: {fault.strerror}", place=str(path)) from fault


def csv_outlet(collection: Collection, directory: Path, zone: tzinfo) -> Outlet:
    """CSV files below `directory`, which is made. Raises OperatorFault."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OperatorFault(f"cannot be made: {fault.strerror}", place=str(directory)) from fault

    return Outlet(
        collection,
        f"csv {directory.resolve()}",
        directory,
        lambda items: tables.csv_files(items, zone, collection.dating()),
    )


def line_outlet(collection: Collection, path: Path) -> Outlet:
    """JSON lines in `path`."""

    def rendering(items: Iterable[Item]) -> Mapping[str, tuple[bytes, bytes]]:
        return {path.name: (b"", b"".join(map(line, items)))}

    return Outlet(collection, f"jsonl {path.resolve()}", path.parent, rendering)
