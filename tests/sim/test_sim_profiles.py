"""All profiles of the three kinds of meter, read by the hand-written client: columns, scalers, rows, access."""

import pytest

from dcu.sim.axdr import Tag, array, i8, octets, structure, u16, u32
from dcu.sim.kinds import KINDS
from dcu.sim.metrology import BILLING, BLOCK_LOAD, DAILY_LOAD
from dcu.sim.objects import logical_name
from tests.sim.sim_client import NOON, Clock, Talk, between, entries, meter, plain, raw, refs, seconds

EVENTS = [f"0.0.99.98.{log}" for log in range(7)]
HAPPENED = (1, 51, 101, 151, 201, 251, 301)  # one of each log
ALL = ["0.0.94.91.10", "1.0.94.91.0", "1.0.99.1.0", "1.0.99.2.0", "1.0.98.1.0", *EVENTS]


def a_meter(kind, **changes):
    """Two months old, with an event in each log."""
    clock = Clock(NOON)
    virtual = meter(clock, kind=kind, ciphered=False, history_s=40 * 86_400, **({"solar_w": 4_000} | changes))
    for code in HAPPENED:
        clock.at += 10
        virtual.happen(code)
    return virtual


@pytest.fixture(scope="module", params=list(KINDS))
def talk(request):
    return Talk(a_meter(request.param), 32).open(pdu=0xFFFF)


def test_the_columns_are_those_of_the_kind(talk):
    kind = KINDS[talk.meter.config.kind]
    expected = {
        "1.0.94.91.0": kind.present,
        "1.0.99.1.0": ((8, "0.0.1.0.0", 2), *kind.block),
        "1.0.99.2.0": ((8, "0.0.1.0.0", 2), *kind.daily),
        "1.0.98.1.0": kind.billing,
    }
    for profile, places in expected.items():
        assert refs(talk.get(7, profile, 3)) == [tuple(place) for place in places], profile


@pytest.mark.parametrize(
    ("kind", "counts"),
    [("1ph", (8, 22, 6, 5, 27)), ("3ph-wc", (8, 35, 11, 5, 63)), ("3ph-ct", (10, 40, 17, 13, 116))],
)
def test_as_many_columns_as_the_reference_counts(kind, counts):
    talk = Talk(a_meter(kind), 32).open(pdu=0xFFFF)
    for profile, count in zip(ALL, counts, strict=False):
        assert len(refs(talk.get(7, profile, 3))) == count, profile


def test_billing_columns_word_by_word():
    """The groups of reference/is15959.md 2.7, written out once more."""
    listed = [
        "3:0.0.0.1.2/2 3:1.0.13.0.0/2",
        *(f"3:1.0.1.8.{zone}/2" for zone in range(9)),
        *(f"3:1.0.9.8.{zone}/2" for zone in range(9)),
        "4:1.0.1.6.0/2 4:1.0.1.6.0/5 4:1.0.9.6.0/2 4:1.0.9.6.0/5",
        "3:0.0.94.91.13/2 3:1.0.2.8.0/2 3:1.0.10.8.0/2",
    ]
    talk = Talk(a_meter("1ph"), 32).open(pdu=0xFFFF)
    got = [f"{class_id}:{name}/{attribute}" for class_id, name, attribute in refs(talk.get(7, "1.0.98.1.0", 3))]
    assert got == " ".join(listed).split()


@pytest.mark.parametrize("profile", ALL)
def test_each_column_is_an_object_that_can_be_read_and_has_the_same_type(talk, profile):
    columns = plain(talk.get(7, profile, 3))
    rows = talk.get(7, profile, 2).value
    assert rows
    for row in (rows[0], rows[-1]):
        assert len(row.value) == len(columns)
        for (class_id, name, attribute, index), value in zip(columns, row.value, strict=True):
            alone = talk.get(class_id, ".".join(map(str, name)), attribute)
            assert index == 0
            assert alone.tag == value.tag, (class_id, name, attribute)


@pytest.mark.parametrize(
    ("profile", "scalers"),
    [
        ("1.0.94.91.0", "1.0.94.91.3"),
        ("1.0.99.1.0", "1.0.94.91.4"),
        ("1.0.99.2.0", "1.0.94.91.5"),
        ("1.0.98.1.0", "1.0.94.91.6"),
        ("0.0.99.98.0", "1.0.94.91.7"),
    ],
)
def test_a_scaler_profile_has_what_is_scaled_and_only_that(talk, profile, scalers):
    captured = [c for c in refs(talk.get(7, profile, 3)) if c[0] in {3, 4} and c[2] == 2 and c[1] != "0.0.0.1.2"]
    columns = refs(talk.get(7, scalers, 3))
    assert columns == [(class_id, name, 3) for class_id, name, _ in captured]
    [row] = plain(talk.get(7, scalers, 2))
    assert row == [plain(talk.get(*column)) for column in columns]


@pytest.mark.parametrize("profile", ["1.0.99.1.0", "1.0.99.2.0", *EVENTS])
def test_rows_are_those_of_the_ledger(talk, profile):
    virtual = talk.meter
    truth = [
        (e["captured_at"], *e["values"])
        for e in virtual.ledger.entries()
        if e["kind"] == "row" and e["profile"] == f"{profile}.255"
    ]
    entries_in_use, size = (plain(talk.get(7, profile, number)) for number in (7, 8))
    assert virtual.rows(profile) == truth[-size:]
    got = plain(talk.get(7, profile, 2))
    assert [raw(virtual, row) for row in got] == truth[-size:]
    assert len(got) == entries_in_use == min(len(truth), size)


def test_bills_are_those_of_the_ledger_and_the_present_one(talk):
    virtual = talk.meter
    closed = virtual.rows(BILLING)
    assert [virtual.clock.local(row[0]).isoformat() for row in closed] == ["2026-12-01T00:00:00+05:30"]
    rows = plain(talk.get(7, "1.0.98.1.0", 2))
    assert len(rows) == plain(talk.get(7, "1.0.98.1.0", 7)) == 2
    assert plain(talk.get(7, "1.0.98.1.0", 8)) == 13
    assert raw(virtual, rows[0]) == closed[0]
    assert seconds(virtual, rows[1][0]) == int(virtual.clock.now())


@pytest.mark.parametrize(("log", "code"), list(enumerate(HAPPENED)))
def test_an_event_stands_in_the_log_of_its_code(talk, log, code):
    rows = plain(talk.get(7, EVENTS[log], 2))
    kind = KINDS[talk.meter.config.kind]
    width = 2 + (len(kind.event) if log in {0, 1, 4} else 0) + kind.numbered
    assert [(row[1], len(row)) for row in rows] == [(code, width)]
    assert plain(talk.get(1, f"0.0.96.11.{log}")) == code
    if kind.numbered:
        assert rows[0][-1] == 1
        assert refs(talk.get(7, EVENTS[log], 3))[-1] == (1, f"0.0.96.15.{log}", 2)


@pytest.mark.parametrize("profile", [BLOCK_LOAD, DAILY_LOAD, "0.0.99.98.0"])
def test_by_range_and_by_entry(talk, profile):
    virtual = talk.meter
    rows = virtual.rows(profile)
    first, last = rows[len(rows) // 3], rows[-1]
    expected = rows[len(rows) // 3 :]
    for selection in (between(virtual, first[0], last[0]), entries(len(rows) // 3 + 1, 0)):
        got = plain(talk.get(7, profile, 2, selection))
        assert [raw(virtual, row) for row in got] == expected


def test_bills_by_range_of_their_date_by_entry_and_some_columns(talk):
    virtual = talk.meter
    [closed] = virtual.rows(BILLING)
    date = structure(u16(3), octets(logical_name("0.0.0.1.2")), i8(2), u16(0))
    wh = structure(u16(3), octets(logical_name("1.0.1.8.0")), i8(2), u16(0))
    low, high = (octets(virtual.clock.octets(closed[0])) for _ in range(2))
    by_range = plain(talk.get(7, "1.0.98.1.0", 2, (1, structure(date, low, high, array([date, wh])))))
    assert [(seconds(virtual, at), value) for at, value in by_range] == [(closed[0], closed[2])]
    newest = plain(talk.get(7, "1.0.98.1.0", 2, entries(2, 2, 1, 3)))
    assert [seconds(virtual, row[0]) for row in newest] == [int(virtual.clock.now())]
    assert newest[0][2] == plain(talk.get(3, "1.0.1.8.0"))


def test_a_transformer_operated_meter_has_no_switch_and_tells_its_ratios():
    talk = Talk(a_meter("3ph-ct"), 48).open(pdu=0xFFFF)
    assert talk.get(70, "0.0.96.3.10", 2) == 4
    assert talk.get(71, "0.0.17.0.0", 3) == 4
    assert talk.act(70, "0.0.96.3.10", 1, i8(0)) == 4
    assert (plain(talk.get(1, "1.0.0.4.2")), plain(talk.get(1, "1.0.0.4.3"))) == (100, 1)
    names = {tuple(entry[2]) for entry in plain(talk.get(15, "0.0.40.0.0", 2))}
    assert tuple(logical_name("0.0.96.3.10")) not in names


@pytest.mark.parametrize(("kind", "plate"), [("1ph", (6, "D1")), ("3ph-wc", (7, "D2")), ("3ph-ct", (8, "D3"))])
def test_nameplates_tell_the_kinds_apart(kind, plate):
    talk = Talk(meter(kind=kind, ciphered=False, firmware="V 7.3"), 32).open(pdu=0xFFFF)
    [row] = plain(talk.get(7, "0.0.94.91.10", 2))
    assert tuple(row[4:6]) == plate
    assert row[3] == "V 7.3"


def test_three_phases_and_a_roof_are_consistent():
    virtual = a_meter("3ph-ct")
    talk = Talk(virtual, 32).open(pdu=0xFFFF)
    names = [name for _, name, _ in refs(talk.get(7, "1.0.99.1.0", 3))]
    day = [dict(zip(names, row, strict=True)) for row in virtual.rows(BLOCK_LOAD)[-96:]]
    assert all(row["1.0.1.29.0"] > 0 and row["1.0.9.29.0"] > row["1.0.1.29.0"] for row in day)
    assert all(row[f"1.0.{c}.27.0"] > 0 for row in day for c in (31, 51, 71))
    assert {row["1.0.2.29.0"] > 0 for row in day} == {True, False}, "export by day, none at night"
    night = [row["1.0.2.29.0"] for row in day if virtual.clock.local(row["0.0.1.0.0"]).hour < 5]
    assert set(night) == {0}
    assert len({tuple(row[f"1.0.{c}.27.0"] for c in (31, 51, 71)) for row in day}) > 50


def test_the_hdlc_setup_says_what_the_link_does():
    virtual = meter(ciphered=False, max_info=512, window=3, inactivity_s=240.0, address=34)
    talk = Talk(virtual, 32).open()
    assert [plain(talk.get(23, "0.0.22.0.0", number)) for number in range(2, 10)] == [5, 3, 3, 512, 512, 30, 240, 34]


def test_a_ring_wraps():
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False, kind="3ph-wc", history_s=34 * 86_400)
    talk = Talk(virtual, 32).open(pdu=0xFFFF)
    for _ in range(200):
        clock.at += 900
        virtual.tick()
    rows = virtual.rows(BLOCK_LOAD)
    assert len(rows) == plain(talk.get(7, "1.0.99.1.0", 7)) == plain(talk.get(7, "1.0.99.1.0", 8)) == 3_360
    assert [rows[0][0], rows[-1][0]] == [clock.at - 3_359 * 900, clock.at]
    [oldest] = plain(talk.get(7, "1.0.99.1.0", 2, entries(1, 1)))
    assert seconds(virtual, oldest[0]) == rows[0][0]
    gone = between(virtual, rows[0][0] - 900, rows[0][0])
    assert [seconds(virtual, row[0]) for row in plain(talk.get(7, "1.0.99.1.0", 2, gone))] == [rows[0][0]]


def test_entries_beyond_the_buffer_are_none(talk):
    assert talk.get(7, "0.0.99.98.0", 2, (2, structure(u32(7), u32(9), u16(1), u16(0)))) == array([])
    assert talk.get(7, "0.0.99.98.0", 2).value[0].value[0].tag is Tag.OCTET_STRING
