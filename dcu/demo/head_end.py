"""The head-end of the story: listens, keeps what arrived, signs, sends, and waits for verified receipts."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from dcu.command import OPEN, CommandRefused, State
from dcu.demo.stage import Stage
from dcu.errors import OperatorFault
from dcu.headend.contract import check_where_known
from dcu.headend.holdings import Item
from dcu.headend.link import HeadEndLink
from dcu.headend.listen import Listener
from dcu.headend.receipts import Receipt, verify_receipt
from dcu.mailbox import Stop
from dcu.record import Stream
from dcu.uplink.diagnosis import Endpoint

RETRY_S: Final = 0.5
ENDS: Final = frozenset(state.value for state in State if state not in OPEN)


class HeadEnd:
    """One listener in a thread, and a second connection that only sends."""

    def __init__(self, stage: Stage) -> None:
        self._stop = Stop()
        identity = stage.head_end_identity
        endpoint = Endpoint(
            stage.broker.host,
            stage.broker.port,
            stage.authority.certificate_file,
            identity.certificate,
            identity.key,
        )
        self._link = HeadEndLink(endpoint, self._stop, backoff_max_s=1.0)
        self._sender = HeadEndLink(endpoint, self._stop, filters=(), client_id="hes-sender", backoff_max_s=1.0)
        self.messages = 0
        self._contract = check_where_known()
        self.listener = Listener(self._link, on_item=self._took, on_state=self._heard, check=self._check)
        self._boxes = {stage.receipt_key.kid: stage.receipt_key}
        self._news = threading.Condition()
        self._items: list[Item] = []
        self._states: dict[str, Mapping[str, Any]] = {}
        self.receipts: list[tuple[Receipt, Item]] = []
        self.unverified = 0
        self._thread = threading.Thread(target=self.listener.run, args=(self._stop,), name="head-end", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(10)
        self._link.close()
        self._sender.close()

    def send(self, dcu: str, document: bytes) -> None:
        """Hand a document to a box. Raises SessionLost or PublishRefused."""
        self._sender.send(dcu, document)

    def state(self, dcu: str) -> Mapping[str, Any]:
        """The box's presence, as last heard; empty before."""
        with self._news:
            return self._states.get(dcu, {})

    def records(self, stream: Stream) -> list[Mapping[str, Any]]:
        """Records of a stream, each once, in the order of their arrival."""
        with self._news:
            return [item.record for item in self._items if item.series.stream is stream]

    def wait(self, what: str, there: Callable[[], Any], within_s: float) -> Any:
        """The first true answer of `there`, which is asked whenever something arrives.

        Raises:
            OperatorFault: `what` did not happen in time.
        """
        deadline_s = time.monotonic() + within_s
        while True:
            if answer := there():
                return answer
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise OperatorFault(f"{what}: not within {within_s:g} s")
            with self._news:
                self._news.wait(min(left_s, RETRY_S))

    def receipt(self, document: bytes, within_s: float = 60.0, *, end: bool = True) -> Receipt:
        """The verified receipt of exactly that document; with `end` the one that says how it ended."""

        def there() -> Receipt | None:
            with self._news:
                mine = [r for r, _ in self.receipts if r.answers(document) and (not end or r.state in ENDS)]
            return mine[-1] if mine else None

        found = self.wait("a receipt", there, within_s)
        assert isinstance(found, Receipt)  # noqa: S101 - `there` says so
        return found

    def lease(self) -> str:
        """The lease that the box gave out last; empty before the first."""
        with self._news:
            found = [receipt for receipt, _ in self.receipts if receipt.kind == "lease"]
        return str(found[-1].claims["lease"]) if found else ""

    def receipts_of(self, document: bytes) -> int:
        """How many receipt records came for that document."""
        with self._news:
            return sum(receipt.answers(document) for receipt, _ in self.receipts)

    @property
    def knows_the_contract(self) -> bool:
        """Whether messages are held against `docs/schemas`: in a checkout with the tools of `make`."""
        return self._contract is not None

    def _check(self, topic: str, octets: bytes, content_type: str) -> None:
        self.messages += 1
        if self._contract is not None:
            self._contract(topic, octets, content_type)

    def _took(self, item: Item) -> None:
        with self._news:
            self._items.append(item)
            if item.series.stream is Stream.RECEIPT:
                try:
                    self.receipts.append((verify_receipt(item.record["jws"].encode("ascii"), self._boxes), item))
                except CommandRefused:
                    self.unverified += 1
            self._news.notify_all()

    def _heard(self, dcu: str, state: Mapping[str, Any]) -> None:
        with self._news:
            self._states[dcu] = state
            self._news.notify_all()
