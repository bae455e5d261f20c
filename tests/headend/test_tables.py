"""Lines for people: every digit of a value, times with their offset, nothing that cannot be read is lost."""

import csv
import io
import json
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.headend.holdings import Holdings, Item, Series
from dcu.headend.tables import csv_files, encoded, exact, lines
from dcu.obis import LogicalName
from dcu.reading import date_time, from_epoch
from dcu.record import Stream
from tests.headend.batches import DCU, batch
from tests.records import METER, PAD

IST = ZoneInfo("Asia/Kolkata")
COLUMNS = [
    {"ln": "0.0.1.0.0.255", "attr": 2, "unit": None, "scaler": None},
    {"ln": "1.0.1.8.0.255", "attr": 2, "unit": 30, "scaler": 1},
    {"ln": "1.0.12.7.0.255", "attr": 2, "unit": 35, "scaler": -2},
    {"ln": "9.9.9.9.9.9", "attr": 3, "unit": 77, "scaler": 0},
]


def of_profile(rows, columns=COLUMNS, **members):
    record = {
        "meter": METER, "profile": "1.0.99.1.0.255", "read_at": 60, "clock": "trusted", "layout": b"\x01" * 8,
        "rows": rows, **members,
    }  # fmt: skip
    return Item(Series(DCU, "e", Stream.PROFILE), 7, record, columns)


def test_a_profile_has_a_column_for_each_register():
    rows = [[1_795_000_000, 12_345, -5, 0], [1_795_000_900, 12_346, 23_001, None]]
    found = lines(of_profile(rows, status=[[1, 128]], again=[[1, 1]]), IST)
    assert [each.file for each in found] == ["profile-block-load-1.0.99.1.0.255-0101010101010101.csv"] * 2
    assert found[0].header == (
        "meter", "captured_at", "again", "status", "read_at", "clock", "boot", "uptime_s", "dcu", "epoch", "id",
        "active import energy [Wh] 1.0.1.8.0.255/2", "voltage [V] 1.0.12.7.0.255/2", "[unit 77] 9.9.9.9.9.9/3",
    )  # fmt: skip
    head = (METER, "2026-11-18T16:36:40+05:30", "0", "0", "1970-01-01T05:31:00+05:30", "trusted", "", "", DCU, "e", "7")
    assert found[0].cells == (*head, "123450", "-0.05", "0")
    assert found[1].cells[1:4] == ("2026-11-18T16:51:40+05:30", "1", "128")
    assert found[1].cells[-3:] == ("123460", "230.01", "")


@pytest.mark.parametrize(
    ("value", "scaler", "cell"),
    [
        (2**64 - 1, -3, "18446744073709551.615"),
        (2**64 - 1, 3, "18446744073709551615000"),
        (-1, -6, "-0.000001"),
        (0, -2, "0.00"),
        ("12.5", -1, "1.25"),
        ("3.4028235e38", 0, "340282350000000000000000000000000000000"),
        (True, None, "true"),
        ("text, with a comma", None, "text, with a comma"),
        ("=cmd|' /C calc'!A0", None, "'=cmd|' /C calc'!A0"),
        (b"ABC", None, "ABC"),
        (b"@ABC", None, "'@ABC"),
        (b"\x00\xff", None, "00ff"),
        (date_time(from_epoch(1_795_000_000), IST), None, "2026-11-18T16:36:40+05:30"),
    ],
)
def test_cells_say_exactly_what_the_meter_said(value, scaler, cell):
    columns = [COLUMNS[0], {"ln": "1.0.1.8.0.255", "attr": 2, "unit": None, "scaler": scaler}]
    assert lines(of_profile([[0, value]], columns), IST)[0].cells[-1] == cell


@given(st.integers(-(2**63), 2**64 - 1), st.integers(-128, 127))
def test_a_value_is_multiplied_exactly(raw, scaler):
    whole, _, part = exact(raw, scaler).partition(".")
    assert len(part) == max(0, -scaler)
    assert int(whole + part) == raw * 10 ** max(scaler, 0)


def test_every_stream_has_its_file_and_csv_readers_read_it():
    items = [item for stream in Stream for item in Holdings().take(batch(stream, 1, 2))]
    files = csv_files(items, ZoneInfo("UTC"))
    kinds = ["alarm.csv", "billing", "credit", "health.csv", "profile", "receipt.csv"]
    assert sorted(name.split("-")[0] for name in files) == kinds
    for header, octets in files.values():
        rows = list(csv.DictReader(io.StringIO((header + octets).decode())))
        assert len(rows) == 2
        assert [row["id"] for row in rows] == ["1", "2"]
        assert all(None not in row for row in rows)
    receipt = next(csv.DictReader(io.StringIO(b"".join(files["receipt.csv"]).decode())))
    assert (receipt["op"], receipt["state"], receipt["meter"], receipt["at"]) == (
        "connect", "done", METER, "1970-01-01T00:00:01+00:00",
    )  # fmt: skip
    assert json.loads(receipt["jws"])["signatures"]
    alarm = next(csv.DictReader(io.StringIO(b"".join(files["alarm.csv"]).decode())))
    assert (alarm["kind"], alarm["text"], alarm["facts"]) == ("started", f"version 1 {PAD}", '{"version":"1"}')


@pytest.mark.parametrize(
    "item",
    [
        of_profile([[0, 1]]),  # narrower than its layout
        of_profile([["soon", 1, 2, 3]]),
        of_profile([[10**30, 1, 2, 3]], clock=7),
        of_profile([], columns=None),
        of_profile([[0, "many", 2, 3]]),
        of_profile([[0, "NaN", 2, 3]]),
        of_profile(7),
        Item(Series(DCU, "e", Stream.ALARM), 7, {"kind": 1}),
        Item(Series(DCU, "e", Stream.RECEIPT), 7, {"jws": "{}"}),
        Item(Series(DCU, "e", Stream.HEALTH), 7, {}),
        Item(Series(DCU, "e", Stream.CREDIT), 7, {"layout": b""}, []),
    ],
)
def test_what_is_not_as_the_contract_has_it_is_kept_whole(item):
    [only] = lines(item, IST)
    assert only.file == "unread.csv"
    assert json.loads(only.cells[0])["id"] == 7
    assert encoded(only.cells).count(b"\n") == 1


def test_a_name_of_a_file_is_a_name():
    item = of_profile([[0]], [COLUMNS[0]], profile="../../etc/passwd\0" + "x" * 300)
    [only] = lines(item, IST)
    assert "/" not in only.file
    assert only.file.startswith("profile-profile-..-..-etc-passwd-x")
    assert len(only.file) < 130
    assert str(LogicalName.of("1.0.99.1.0")) in lines(of_profile([[0]], [COLUMNS[0]]), IST)[0].file
