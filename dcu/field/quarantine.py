"""Records that the broker refuses: the cursor may pass them, told to the head-end, counted, and not too many.

They stay in the store for as long as their class does. Uplink, who asks for it, is not trusted: it could make field
skip what it likes, so that each skip is an alarm of the same transaction, only the next record of a stream can be
skipped, and no more of them than a true fault of some records would need.
"""

import logging
from typing import Final

from dcu.clock import alarm_now
from dcu.errors import OperatorFault, StoreBusy
from dcu.event import AlarmKind
from dcu.field.throttle import Throttle
from dcu.ports import Clock, Store, Transaction
from dcu.record import Stream, encode_alarm
from dcu.wire.fields import MAX_ID

log = logging.getLogger(__name__)

BURST: Final = 32
EVERY_S: Final = 900.0


class Quarantine:
    """Decides about them. Usable from any thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._throttle = Throttle(clock, BURST, EVERY_S)

    def set_aside(self, stream: Stream, n: int, code: int) -> None:
        """Let the cursor of `stream` pass record `n`, which the broker refuses with that reason code.

        Raises:
            OperatorFault: it is not the next record of that stream.
            StoreBusy: too many were set aside lately; ask again later.
        """
        text = (
            f"record {n} of {stream.value}: the broker refuses it again and again (0x{code:02X}); kept, not delivered"
        )
        facts = {"epoch": self._store.epoch, "stream": stream.value, "first": n, "last": n, "code": code}
        alarm = alarm_now(self._clock, AlarmKind.RECORD_QUARANTINED, text, "", facts)

        def work(tx: Transaction) -> None:
            only = {other: MAX_ID for other in Stream if other is not stream}
            following = tx.next_batch(only, 1)
            if following is None or following.first != n:
                raise OperatorFault(f"record {n} is not the next one", place=f"stream {stream.value}")
            if not self._throttle.admits():
                raise StoreBusy("too many records were set aside lately", place=f"stream {stream.value}")
            tx.deliver(stream, n)
            tx.append(Stream.ALARM, encode_alarm(alarm))
            tx.count(f"quarantined.{stream.value}")

        self._store.transact(work)
        log.warning("%s: %s", alarm.kind.value, text)
