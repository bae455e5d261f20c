"""Use of the wire by a backfill: 30 days of 15-minute rows at 9600 baud, in the line's own time.

The real driver (association, ciphering, HDLC) and a virtual meter on `LineModel`; no wall time, so that 2,880 rows are
read in seconds. Line use is the time of all octets, both ways, over the time from the first of them to the last.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from bench.figure import Figure, at_most
from bench.vault import Vault
from dcu import obis
from dcu.config.meter_models import shipped
from dcu.drivers.association import Caller
from dcu.drivers.counters import CounterBook
from dcu.drivers.data_link import LineTiming
from dcu.drivers.hdlc import client_address, server_address
from dcu.drivers.hdlc_link import HdlcLink
from dcu.drivers.security import client_title
from dcu.meter import Meter, MeterSecrets, Purpose
from dcu.sim import MeterConfig, MeterKeys, VirtualMeter
from tests.soak.virtual_clock import VirtualClock, VirtualTime
from tests.soak.virtual_line import VirtualLine

BAUD = 9600
DAYS = 30
PERIOD_S = 900
KEYS = MeterKeys(guek=bytes(range(16)), gak=bytes(range(16, 32)), lls=b"bench-pw", hls=bytes(16))
SERIAL = "BENCH0000001"
START_S = 1_795_000_000.0


@dataclass(frozen=True, slots=True)
class Use:
    """What a backfill took.

    Attributes:
        rows: how many came.
        octets: on the line, both ways.
        seconds: from the request to the last octet.
        ratio: time of the octets over `seconds`.
        wait_s: longest time between two moments at which the line could have been given to a relay errand.
    """

    rows: int
    octets: int
    seconds: float
    ratio: float
    wait_s: float


def backfill(
    info: int, window: int, *, turnaround_ms: float, baud: int = BAUD, max_pdu: int = 2000, days: int = DAYS
) -> Use:
    """Read all rows of the block load by range, over one association that is open already.

    Args:
        info, window: what model and meter allow; the line's speed may allow less.
        turnaround_ms: of the meter.
        baud: of the line.
        max_pdu: of both sides.
        days: how many of rows.
    """
    time = VirtualTime(START_S)
    virtual = VirtualMeter(
        MeterConfig(
            SERIAL,
            address=17,
            keys=KEYS,
            capture_period_s=PERIOD_S,
            history_s=days * 86_400,
            max_info=info,
            window=window,
            max_pdu=max_pdu,
        ),
        now=time.now,
    )
    line, clock = VirtualLine(time, [virtual], baud=baud, turnaround_ms=turnaround_ms), VirtualClock(time)
    port, timing = line.open(clock), LineTiming.at_baud(baud)
    model = replace(shipped()["is15959-1ph"], max_info_bytes=info, window=window, max_pdu_bytes=max_pdu)
    secrets = MeterSecrets(KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls)
    meter = Meter(SERIAL, "bench", model, 17, "X", secrets)

    moments: list[float] = []

    def give_way() -> None:
        moments.append(time.elapsed_s)

    def data_link(meter: Meter, client_sap: int) -> HdlcLink:
        server = server_address(model.server_sap, meter.address, model.address_octets)
        offer = timing.hdlc_offer(info, window)
        client, now = client_address(client_sap), clock.monotonic_s
        return HdlcLink(port, client, server, offer, timing, now, SERIAL, give_way=give_way)

    caller = Caller(
        data_link,
        CounterBook(Vault()),
        client_title("BENCH"),
        ZoneInfo("Asia/Kolkata"),
        clock.monotonic_s,
        give_way,
    )
    now = datetime.fromtimestamp(START_S, UTC)
    with caller.associate(meter, Purpose.READ) as association:
        layout = association.layout(obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS)
        octets, began_s = line.octets, time.elapsed_s
        rows = association.rows(obis.BLOCK_LOAD, layout, now - timedelta(days=days), now)
        octets, seconds = line.octets - octets, time.elapsed_s - began_s
    wait_s = max(after - before for before, after in pairwise([*moments, time.elapsed_s]))
    return Use(len(rows), octets, seconds, octets * 10 / baud / seconds, wait_s)


def figures() -> list[Figure]:
    """Use of the wire by a backfill of 30 days at 9600 baud and 50 ms turnaround, in the line's own time."""
    found = []
    for info, window, least in ((2030, 1, 0.90), (342, 7, 0.90), (128, 7, 0.90), (128, 1, 0.0)):
        use = backfill(info, window, turnaround_ms=50.0)
        name = f"backfill of {use.rows} rows, info {info}, window {window}"
        target = f">= {least:.2f}" if least else "stated"
        ok = use.rows == DAYS * 86_400 // PERIOD_S and use.ratio >= least
        found.append(Figure(f"{name}: use of the wire", round(use.ratio, 3), "octet time/line time", target, ok))
        found.append(at_most(f"{name}: longest wait of a relay errand for the line", use.wait_s, 3, "s"))
    return found
