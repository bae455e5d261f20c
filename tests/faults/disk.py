"""A disk that loses its supply: what of the recorded writes is surely there, what may be, and images of the moment.

The model is a pessimist's: nothing is on the disk before a sync of that very file (of the directory, for a name) has
returned, and what a failed sync was to write never comes. Names of a directory come in their order, as a journal of
the file system keeps them. `own_names`: a file that is synced brings its own name with it, as on ext4, xfs and f2fs;
POSIX does not promise it. What the model does not show: a card that lies about its flush.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tests.faults.trace import ACKS, Closed, Event, Moved, Opened, Renamed, Resized, Synced, Unlinked, Written

SECTOR = 512


class Cut(Enum):
    """What happens to everything that was not synced."""

    NOTHING = "drop all unsynced"
    SUBSET = "random subset"
    TORN = "torn sectors of 512 B"


@dataclass(slots=True)
class _Inode:
    """Octets that are surely there, and (offset, octets) or (length, None) that are on their way."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    length: int = 0


@dataclass(slots=True)
class _Open:
    name: str
    inode: _Inode | None
    offset: int = 0
    append: bool = False


class Disk:
    """One directory, as a process sees it and as a power cut leaves it.

    Attributes:
        acks: lines that the process wrote of what it had been told.
    """

    def __init__(self, directory: Path, *, own_names: bool = False) -> None:
        self._directory = directory
        self._own_names = own_names
        self._names: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._pending: list[dict[str, _Inode | None]] = []
        self._open: dict[int, _Open] = {}
        self.acks: list[bytes] = []

    def take(self, event: Event) -> bool:
        """What happened next; whether it is a moment at which a cut makes a difference."""
        match event:
            case Opened():
                return self._opened(event)
            case Closed():
                self._open.pop(event.fd, None)
                return False
            case Renamed():
                return self._renamed(event)
            case Unlinked():
                name = self._own(event.name)
                if name is None or self._names.pop(name, None) is None:
                    return False
                self._pending.append({name: None})
                return True
            case _:
                known = self._open.get(event.fd)
                return known is not None and self._file(known, event)

    def image(self, cut: Cut, dice: random.Random) -> dict[str, bytes]:
        """Names and contents after a cut at this moment."""
        names = dict(self._durable)
        kept = 0 if cut is Cut.NOTHING else dice.randint(0, len(self._pending))
        for change in self._pending[:kept]:
            _rename(names, change)
        return {name: _after(inode, cut, dice) for name, inode in names.items()}

    def _own(self, name: str) -> str | None:
        path = Path(name)
        inside = path.is_relative_to(self._directory) and not name.endswith("-shm")
        return str(path.relative_to(self._directory)) if inside else None

    def _opened(self, event: Opened) -> bool:
        name = self._own(event.name)
        if name is None:
            return False
        if name == ".":
            self._open[event.fd] = _Open(name, None)
            return False
        inode = self._names.get(name)
        made = inode is None
        if inode is None:
            inode = self._names[name] = _Inode()
            if name != ACKS:
                self._pending.append({name: inode})
        self._open[event.fd] = _Open(name, inode, append=event.append)
        if event.truncate and inode.length:
            inode.length = 0
            inode.pending.append((0, None))
            return True
        return made

    def _renamed(self, event: Renamed) -> bool:
        old, new = self._own(event.name), self._own(event.to)
        if old is None or new is None or old not in self._names:
            return False
        inode = self._names.pop(old)
        self._names[new] = inode
        self._pending.append({new: inode, old: None})
        return True

    def _file(self, known: _Open, event: Written | Moved | Synced | Resized) -> bool:
        inode = known.inode
        match event:
            case Synced():
                if inode is None:
                    if event.good:
                        self._sync_names()
                    return True
                if event.good:
                    _apply(inode.durable, inode.pending)
                    if self._own_names and any(inode is each.get(known.name) for each in self._pending):
                        self._sync_names()
                inode.pending.clear()
                return True
            case Moved():
                known.offset = event.offset
                return False
            case Written() if known.name == ACKS:
                self.acks += event.octets.splitlines()
                return True
            case Written() if inode is not None:
                at = event.offset
                if at is None:
                    at = inode.length if known.append else known.offset
                    known.offset = at + len(event.octets)
                inode.pending.append((at, event.octets))
                inode.length = max(inode.length, at + len(event.octets))
                return True
            case Resized() if inode is not None:
                if event.grow and event.length <= inode.length:
                    return False
                inode.length = event.length
                inode.pending.append((event.length, None))
                return True
        return False

    def _sync_names(self) -> None:
        for change in self._pending:
            _rename(self._durable, change)
        self._pending.clear()


def moments(events: Iterable[Event], directory: Path, *, own_names: bool = False) -> Iterator[Disk]:
    """The disk at every boundary: after each write, sync, truncation, rename, unlink and acknowledgement."""
    disk = Disk(directory, own_names=own_names)
    for event in events:
        if disk.take(event):
            yield disk


def put(image: dict[str, bytes], directory: Path) -> None:
    """An image as files."""
    for name, octets in image.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)


def _rename(names: dict[str, _Inode], change: dict[str, _Inode | None]) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _after(inode: _Inode, cut: Cut, dice: random.Random) -> bytes:
    if cut is Cut.NOTHING or not inode.pending:
        return bytes(inode.durable)
    content = bytearray(inode.durable)
    for at, octets in inode.pending:
        if octets is None or cut is Cut.SUBSET:
            if dice.random() < 0.5:
                _apply(content, [(at, octets)])
            continue
        first = at - at % SECTOR
        for sector in range(first, at + len(octets), SECTOR):
            low, high = max(sector, at), min(sector + SECTOR, at + len(octets))
            if dice.random() < 0.5:
                _apply(content, [(low, octets[low - at : high - at])])
    return bytes(content)


def _apply(content: bytearray, pending: Iterable[tuple[int, bytes | None]]) -> None:
    for at, octets in pending:
        if octets is None:
            del content[at:]
            content.extend(bytes(max(0, at - len(content))))
            continue
        if at > len(content):
            content.extend(bytes(at - len(content)))
        content[at : at + len(octets)] = octets
