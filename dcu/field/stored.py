"""What the store holds, asked through `field.sock`: for `dcu backlog` and, page by page, for `dcu export`.

Each page is one short reading between two commits of the writer; between pages nothing is held, however slowly whoever
asks goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from dcu.errors import OperatorFault
from dcu.ports import Page, Stock, Store
from dcu.record import Stream

PAGE_BYTES: Final = 96 * 1024
"""Octets of bodies in a page: with its layouts it fits a frame of 256 KiB."""

_HIGHEST: Final = 2**63 - 1


class Stored:
    """Answers.

    Args:
        store: the box's.
        dcu: id of the box.
    """

    def __init__(self, store: Store, dcu: str) -> None:
        self._store = store
        self._dcu = dcu

    def asks(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        """What `field.sock` answers."""
        return {"stock": self._stock, "page": self._page}

    def _stock(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return self._head() | plain_stock(self._store.transact(lambda tx: tx.stock()))

    def _page(self, request: Mapping[str, Any]) -> dict[str, Any]:
        stream, after = request.get("stream"), request.get("after")
        if type(after) is not int or not 0 <= after <= _HIGHEST or stream not in [each.value for each in Stream]:
            raise OperatorFault("no page of a stream", place="field", cure="use the dcu of this version")
        found = self._store.transact(lambda tx: tx.page(Stream(stream), after, PAGE_BYTES))
        return self._head() | plain_page(found)

    def _head(self) -> dict[str, Any]:
        return {"dcu": self._dcu, "epoch": self._store.epoch}


def plain_stock(stock: Stock) -> dict[str, Any]:
    """As plain data: `{streams: [{stream, last, delivered, ..}..], used_bytes, ..}`."""
    return asdict(stock) | {"streams": [asdict(each) | {"stream": each.stream.value} for each in stock.streams]}


def plain_page(page: Page) -> dict[str, Any]:
    """As plain data: `{stream, records: [[id, at_s, digest or None, body]..], layouts, damaged, upto, more}`."""
    return {
        "stream": page.stream.value,
        "records": [[each.id, each.at_s, each.layout, each.body] for each in page.records],
        "layouts": {digest.hex(): encoded for digest, encoded in page.layouts.items()},
        "damaged": list(page.damaged),
        "upto": page.upto,
        "more": page.more,
    }
