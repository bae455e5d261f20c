"""The least octets that DLMS/COSEM over HDLC needs for a poll: counted from the standards, not from what we send.

What is counted (Green Book 8.4, 9.4, 9.5; ISO/IEC 13239), suite 0 with authentication and encryption, LLS:

- frames: flag, format, address of the client (1) and of the server (2), control, FCS, flag: 10; a frame with
  information has an HCS too, 12. LLC is 3 octets an APDU. One frame each way: information fields are negotiated above
  128 octets, which costs 05 and 06 in SNRM and UA, and saves two frames and two acknowledgements a poll;
- AARQ and AARE with only the fields that LLS and a ciphered context need; xDLMS Initiate with empty options;
- one GET with list: registers, clock, the row by entry (shorter than by range by 32 octets) and nothing else. No
  serial: we read it, the standard does not ask for it;
- ciphering: tag, length, security control, invocation counter, GCM tag on each APDU;
- the end of a session: DISC and UA. RLRQ may be left out on HDLC (9.4.5);
- kept open: RR and RR once every 120 s of 900 s, the last moment that keeps the link: 7 pairs. Held open: nothing.

Values have the lengths that the meter gives them: each is read by itself, in clear, and its answer's frame is weighed.
"""

from dataclasses import replace
from zoneinfo import ZoneInfo

from bench.counted_line import CountedLine, Used
from bench.vault import Vault
from dcu import obis
from dcu.config.meter_models import shipped
from dcu.drivers import hdlc
from dcu.drivers.association import Caller
from dcu.drivers.counters import CounterBook
from dcu.drivers.data_link import LineTiming
from dcu.drivers.hdlc_link import HdlcLink
from dcu.drivers.security import client_title
from dcu.meter import AttributeRef, ByEntry, ClassId, Meter, MeterSecrets, Protection, Purpose
from dcu.obis import LogicalName
from dcu.ports import RowsWanted
from dcu.sim import MeterConfig, MeterKeys

PERIOD_S = 900

FRAME = 10
FRAME_WITH_INFORMATION = 12
LLC = 3
CIPHERED = 1 + 1 + 4 + 12  # APDU tag, security control, invocation counter, GCM tag; and the length's own octets
TARGET = 2 + 6 + 1 + 1  # class, logical name, attribute, no access selector
BY_ENTRY = 1 + 2 + 5 + 5 + 3 + 3  # selector, structure of four: entries first and last, columns first and last
GET_HEAD = 4  # C0 03, invoke-id, count; the same of the answer
RESULT = 1  # "data" before each value of the answer

LIMITS = 3 + 4 + 4  # 81 80 length, and 05 and 06 with two octets each
INITIATE = 14  # request: 01 00 00 00 06, conformance 5F 1F 04 00 and three octets, PDU size; the response is as long
CONTEXT = 11  # A1 09 06 07 and the seven octets of the context's name
TITLE = 12  # calling or responding AP title: A6 0A 04 08 and eight octets
REQUIREMENTS = 4  # 8A 02 07 80
MECHANISM = 9  # 8B 07 and the seven octets of the mechanism's name
RESULTS = 5 + 7  # A2 03 02 01 00 and A3 05 A1 03 02 01 00


def frame(apdu: int) -> int:
    """A frame with an APDU of so many octets."""
    return FRAME_WITH_INFORMATION + LLC + apdu


def ciphered(apdu: int) -> int:
    """An APDU of so many octets, protected."""
    inner = apdu + 1 + 4 + 12
    return 1 + (1 if inner < 0x80 else 2 if inner < 0x100 else 3) + inner


def opening(password: int) -> Used:
    """SNRM, UA, AARQ, AARE."""
    user_information = 4 + ciphered(INITIATE)  # BE length 04 length
    aarq = 2 + CONTEXT + TITLE + REQUIREMENTS + MECHANISM + (4 + password) + user_information
    aare = 2 + CONTEXT + RESULTS + TITLE + user_information
    return Used(2 * (FRAME_WITH_INFORMATION + LIMITS) + frame(aarq) + frame(aare), 2)


def asking(values: list[int], row: int) -> Used:
    """One GET with list and its answer; `values` and `row` are the octets of the data."""
    request = GET_HEAD + (len(values) + 1) * TARGET + BY_ENTRY
    answer = GET_HEAD + sum(RESULT + length for length in [*values, row])
    return Used(frame(ciphered(request)) + frame(ciphered(answer)), 1)


CLOSING = Used(2 * FRAME, 1)
BEAT = Used(2 * FRAME, 1)


def least(config: MeterConfig, keys: MeterKeys, registers: tuple[LogicalName, ...], kept: str) -> Used:
    """For one poll and the 900 s until the next; `kept`: "session", "rr" or "held"."""
    values, row = weighed(config, keys, registers)
    poll = asking(values, row)
    if kept == "session":
        return opening(len(keys.lls)) + poll + CLOSING
    beats = (PERIOD_S - 1) // 120 if kept == "rr" else 0
    return poll + Used(beats * BEAT.octets, beats * BEAT.round_trips)


def weighed(config: MeterConfig, keys: MeterKeys, registers: tuple[LogicalName, ...]) -> tuple[list[int], int]:
    """Octets of the clock, of each register's value, and of a buffer of one row."""
    line = CountedLine(replace(config, ciphered=False))
    virtual = shipped()["virtual"]
    reader = replace(virtual.associations[Purpose.READ], protection=Protection.NONE, invocation_counter=None)
    model = replace(virtual, associations={Purpose.READ: reader})
    meter = Meter(config.serial, "bench", model, config.address, "X", MeterSecrets(lls_secret=keys.lls))

    def link(meter: Meter, client_sap: int) -> HdlcLink:
        client, server = hdlc.client_address(client_sap), hdlc.server_address(1, meter.address)
        timing = LineTiming()
        return HdlcLink(line, client, server, timing.hdlc_offer(2030, 1), timing, lambda: line.now_s, meter.serial)

    zone = ZoneInfo("Asia/Kolkata")
    caller = Caller(link, CounterBook(Vault()), client_title("BENCH"), zone, lambda: line.now_s, lambda: None)
    with caller.associate(meter, Purpose.READ) as association:
        association.identify()
        layout = association.layout(obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS)
        values = []
        for ref in [
            AttributeRef(ClassId.CLOCK, obis.CLOCK, 2),
            *(AttributeRef(ClassId.REGISTER, name, 2) for name in registers),
        ]:
            association.get(ref)
            values.append(_data_octets(line))
        [rows] = association.poll([], [RowsWanted(obis.BLOCK_LOAD, layout, ByEntry(1, 1), PERIOD_S)]).rows
        if len(rows) != 1:
            raise AssertionError("one row was asked for")
        return values, _data_octets(line)


def _data_octets(line: CountedLine) -> int:
    """Of the last answer, a GET response of one attribute: C4 01, invoke-id, "data", and the data."""
    [answer] = line.heard
    return len(answer) - frame(4)
