"""What an engineer may turn at the publisher."""

from dataclasses import dataclass

from dcu.batching import BATCH_BYTES
from dcu.uplink.backoff import LONGEST_S
from dcu.uplink.encoding import Encoding
from dcu.uplink.renewal import LOOK_S


@dataclass(frozen=True, slots=True)
class Dials:
    """How the publisher goes about it.

    Attributes:
        encoding: of batches.
        backoff_max_s: longest wait before the next attempt.
        max_bytes: octets of records in a batch.
        in_flight: most batches unacknowledged, whatever the broker and the link would take: paho slows down above.
        answer_s: a broker that leaves the oldest batch unanswered for longer is left.
        keepalive_s: a link without a word for 1.5 times that is left.
        idle_ms: how long field holds a question when nothing is in flight.
        busy_ms: while something is: how long its answer is waited for at most before field is asked again.
        look_s: seconds between two looks at the files of TLS.
    """

    encoding: Encoding = "cbor"
    backoff_max_s: float = LONGEST_S
    max_bytes: int = BATCH_BYTES
    in_flight: int = 100
    answer_s: float = 60.0
    keepalive_s: int = 30
    idle_ms: int = 1000
    busy_ms: int = 200
    look_s: float = LOOK_S
