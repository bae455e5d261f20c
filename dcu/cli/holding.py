"""What a box's store holds: of the running field process through `field.sock`, of a stopped one from its file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cbor2

from dcu.cli.answers import EXIT_TRY_AGAIN, give_up
from dcu.cli.technician import answer_of
from dcu.config import Config, load
from dcu.errors import SocketFault, StoreFault
from dcu.field.stored import PAGE_BYTES, plain_page, plain_stock
from dcu.headend.holdings import Item, Series
from dcu.record import Stream
from dcu.wire import Wire, connect


class Holding(Protocol):
    """Somebody who knows what a store holds."""

    running: bool

    def stock(self) -> dict[str, Any]:
        """As `field.stored.plain_stock`, with `dcu` and `epoch`."""
        ...

    def page(self, stream: Stream, after: int) -> dict[str, Any]:
        """As `field.stored.plain_page`, with `dcu` and `epoch`."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class Running:
    """The field process on the other end of the socket. Raises OperatorFault; exits 75 where it ends meanwhile."""

    running = True

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def stock(self) -> dict[str, Any]:
        """As `Holding`."""
        answer: dict[str, Any] = answer_of(self._wire, {"ask": "stock"})
        return answer

    def page(self, stream: Stream, after: int) -> dict[str, Any]:
        """As `Holding`."""
        answer: dict[str, Any] = answer_of(self._wire, {"ask": "page", "stream": stream.value, "after": after})
        return answer

    def close(self) -> None:
        """As `Holding`."""
        self._wire.close()


class Stopped:
    """The file of a box that does not run. Raises StoreFault."""

    running = False

    def __init__(self, path: Path) -> None:
        from dcu.store import Archive

        self._archive = Archive(path)
        dcu, epoch = self._archive.identity
        self._head = {"dcu": dcu, "epoch": epoch}

    def stock(self) -> dict[str, Any]:
        """As `Holding`."""
        return self._head | plain_stock(self._archive.stock())

    def page(self, stream: Stream, after: int) -> dict[str, Any]:
        """As `Holding`."""
        return self._head | plain_page(self._archive.page(stream, after, PAGE_BYTES))

    def close(self) -> None:
        """As `Holding`."""


def holding_of(config_file: Path) -> tuple[Config, Holding]:
    """Whoever knows it for that configuration.

    Raises:
        StoreFault: nobody runs, and the file cannot be read.
    """
    config = load(config_file, with_keys=False)
    try:
        return config, Running(connect(config.dcu.run_dir / "field.sock"))
    except SocketFault as nobody:
        try:
            return config, Stopped(config.dcu.store_file)
        except StoreFault as fault:
            if "box runs" in fault.cause:  # between its start and its socket, or at its end
                give_up(nobody, EXIT_TRY_AGAIN)
            raise


@dataclass(frozen=True, slots=True)
class Stored:
    """One record, decoded.

    Attributes:
        item: with its key and columns.
        at_s: when it was stored, by the box's clock.
    """

    item: Item
    at_s: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A page, decoded.

    Attributes:
        records: that are whole.
        damaged: ids whose octets are not what was written.
    """

    records: Sequence[Stored]
    damaged: tuple[int, ...]


def pages(holding: Holding, stream: Stream, after: int = 0) -> Iterator[Taken]:
    """All that is held of a stream, page by page: as much memory as one page takes."""
    more = True
    while more:
        page = holding.page(stream, after)
        after, more = page["upto"], page["more"]
        series = Series(page["dcu"], page["epoch"], stream)
        columns = {bytes.fromhex(digest): cbor2.loads(encoded) for digest, encoded in page["layouts"].items()}
        yield Taken([_decoded(series, columns, *each) for each in page["records"]], tuple(page["damaged"]))


def _decoded(
    series: Series, columns: Mapping[bytes, list[dict[str, Any]]], n: int, at_s: int, digest: bytes | None, body: bytes
) -> Stored:
    return Stored(Item(series, n, cbor2.loads(body), columns.get(digest) if digest else None), at_s)
