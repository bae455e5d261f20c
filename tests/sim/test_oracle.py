"""An unrelated client reads the virtual meter: dlms-cosem 21.3.2 (MIT), without security, over TCP and over the pty.

What is broken in that library against a meter that follows the standard, and gone round here, not in the meter:

- `DlmsClient.disconnect` over HDLC never returns: its `UnNumberedAcknowledgmentFrame.from_bytes` wants a header check
  sequence also in a UA without information field, where there is none (ISO/IEC 13239 6.3, HCS only with information).
  DISC is therefore sent and its UA checked by hand.
- It cannot read a visible-string at all, so the nameplate is left to the other tests.
- `DlmsClient.session` leaves the association open when the caller fails; connect and associate are called one by one.
"""

import time
import warnings
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest

from dcu.sim import MeterConfig, MeterKeys, read_ledger, running_line
from dcu.sim.hdlc import parse
from tests.sim.sim_client import frame

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dlms_cosem import cosem, enumerations, utils
    from dlms_cosem.clients.dlms_client import DlmsClient
    from dlms_cosem.cosem.capture_object import CaptureObject
    from dlms_cosem.cosem.selective_access import RangeDescriptor

pytestmark = pytest.mark.filterwarnings("ignore")

SERIAL, READER = "ORACLE1", 32
IST = timezone(timedelta(minutes=330))
CLASS = enumerations.CosemInterface
CLOCK = cosem.CosemAttribute(CLASS.CLOCK, cosem.Obis(0, 0, 1, 0, 0), 2)
ENERGY = cosem.CosemAttribute(CLASS.REGISTER, cosem.Obis(1, 0, 1, 8, 0), 2)
BLOCKS = cosem.CosemAttribute(CLASS.PROFILE_GENERIC, cosem.Obis(1, 0, 99, 1, 0), 2)


@contextmanager
def tcp_client(line):
    client = DlmsClient.with_tcp_transport("127.0.0.1", line.tcp[SERIAL], READER, 1)
    client.connect()
    client.associate()
    yield client
    client.release_association()
    client.disconnect()


@contextmanager
def hdlc_client(line):
    client = DlmsClient.with_serial_hdlc_transport(line.port, READER, 1, 17, baud_rate=115_200, timeout=5)
    port = client.io_interface._serial
    try:
        client.connect()
        client.associate()
        yield client
        client.release_association()
        port.write(frame(0x53))
        assert parse(port.read(10)[1:-1]).control == 0x73
    finally:
        port.close()


def moment(octets):
    """The face of 12 octets, on a clock in India."""
    year = int.from_bytes(octets[:2], "big")
    return datetime(year, octets[2], octets[3], octets[5], octets[6], octets[7], tzinfo=IST).timestamp()


@pytest.mark.parametrize("client_of", [tcp_client, hdlc_client], ids=["wrapper", "hdlc"])
def test_an_unrelated_client_reads_what_the_ledger_says(client_of, tmp_path):
    config = MeterConfig(
        serial=SERIAL,
        address=17,
        keys=MeterKeys(lls=b"unused", hls=bytes(16)),
        ciphered=False,
        reader_mechanism="none",
        history_s=12 * 3_600,
        port=0,
    )
    with running_line([config], baud=115_200, ledger=tmp_path) as line:
        rows = [e for e in read_ledger(tmp_path / f"{SERIAL}.jsonl") if e["profile"] == "1.0.99.1.0.255"]
        assert len(rows) == 48
        with client_of(line) as client:
            clock = utils.parse_as_dlms_data(client.get(CLOCK))
            assert abs(moment(clock) - time.time()) < 5
            first = utils.parse_as_dlms_data(client.get(ENERGY))
            assert utils.parse_as_dlms_data(client.get(ENERGY)) >= first > 100_000
            whole = utils.parse_as_dlms_data(client.get(BLOCKS))
            assert [(moment(row[0]), row[1:]) for row in whole] == [(e["captured_at"], e["values"]) for e in rows]
            wanted = rows[20:31]
            selected = client.get(BLOCKS, between(wanted[0]["captured_at"], wanted[-1]["captured_at"]))
            got = [(moment(row[0]), row[1:]) for row in utils.parse_as_dlms_data(selected)]
            assert got == [(e["captured_at"], e["values"]) for e in wanted]


# ---- all profiles of the three kinds --------------------------------------------------------------------------------

PROFILES = ["1.0.99.1.0", "1.0.99.2.0", "1.0.98.1.0", *(f"0.0.99.98.{log}" for log in range(7))]
SNAPSHOTS = ["1.0.94.91.0", *(f"1.0.94.91.{number}" for number in range(3, 8))]


def attribute(profile, number):
    return cosem.CosemAttribute(CLASS.PROFILE_GENERIC, cosem.Obis(*map(int, profile.split("."))), number)


def read(client, profile, number=2):
    return utils.parse_as_dlms_data(client.get(attribute(profile, number)))


def as_kept(value):
    """Times in seconds: 12 octets, or none of them specified."""
    if not isinstance(value, (bytes, bytearray)):
        return value
    return 0 if value[:2] == b"\xff\xff" else int(moment(value))


@pytest.mark.parametrize("changes", [{}, {"newest_first": True, "columns": "vendor", "weekday": True}], ids=str)
@pytest.mark.parametrize("kind", ["1ph", "3ph-wc", "3ph-ct"])
def test_an_unrelated_client_reads_all_profiles(kind, changes):
    config = MeterConfig(
        serial=SERIAL,
        keys=MeterKeys(lls=b"unused", hls=bytes(16)),
        ciphered=False,
        reader_mechanism="none",
        kind=kind,
        capture_period_s=3_600,
        history_s=35 * 86_400,
        max_pdu=0xFFFF,
        solar_w=2_500.0,
        port=0,
        **changes,
    )
    with running_line([config], baud=115_200) as line:
        virtual = line.meters[SERIAL]
        for code in (1, 51, 101, 151, 201, 251, 301, 2):
            virtual.happen(code)
        virtual.reset_demand()
        with tcp_client(line) as client:
            for profile in PROFILES:
                kept = virtual.rows(profile)
                got = [tuple(map(as_kept, row)) for row in read(client, profile)]
                got = got[::-1] if changes else got
                assert got[: len(kept)] == kept, profile
                assert len(got) - len(kept) == (profile == "1.0.98.1.0")
                assert kept
                assert len(read(client, profile, 3)) == len(kept[0])
            for profile in SNAPSHOTS:
                [row] = read(client, profile)
                assert len(row) == len(read(client, profile, 3)), profile


def between(start, end):
    """A range on the clock, in the meter's local time."""
    clock = CaptureObject(cosem_attribute=CLOCK, data_index=0)
    return RangeDescriptor(
        restricting_object=clock,
        from_value=datetime.fromtimestamp(start, IST),
        to_value=datetime.fromtimestamp(end, IST),
    )
