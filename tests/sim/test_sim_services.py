"""Services, rights and result codes of the virtual meter, by tables."""

import pytest

from dcu.sim.axdr import array, boolean, enum, i8, i16, i32, octets, structure, u8, u16, u32
from dcu.sim.model import BLOCK_LOAD
from dcu.sim.objects import logical_name
from tests.sim.sim_client import NOON, Clock, Talk, descriptor, get_apdu, meter, plain

CLEAR = {"ciphered": False}
CLOCK_COLUMN = structure(u16(8), octets(logical_name("0.0.1.0.0")), i8(2), u16(0))


def history(**changes):
    return meter(**({"history_s": 86_400, **CLEAR} | changes))


@pytest.mark.parametrize(
    ("client", "class_id", "name", "member", "expected"),
    [
        (16, 1, "0.0.96.1.0", 2, b"GXT00017"),
        (16, 1, "0.0.96.1.2", 2, "SIMGXT00017"),
        (16, 1, "0.0.42.0.0", 2, b"SIM00000GXT00017"),
        (16, 1, "0.0.43.1.2", 2, 0),
        (16, 1, "0.0.43.1.3", 2, 0),
        (32, 1, "0.0.94.96.20", 2, 1),
        (32, 70, "0.0.96.3.10", 2, True),
        (32, 70, "0.0.96.3.10", 3, 1),
        (32, 70, "0.0.96.3.10", 4, 4),
        (32, 3, "1.0.12.7.0", 3, [-2, 35]),
        (32, 3, "1.0.11.7.0", 3, [-3, 33]),
        (32, 3, "1.0.1.29.0", 3, [-1, 30]),
        (32, 3, "1.0.1.8.0", 3, [0, 30]),
        (32, 7, "1.0.99.1.0", 4, 900),
        (32, 7, "1.0.99.1.0", 8, 3360),
        (32, 7, "1.0.99.1.0", 7, 96),
        (32, 7, "1.0.99.2.0", 4, 86_400),
        (32, 8, "0.0.1.0.0", 3, -330),
        (48, 71, "0.0.17.0.0", 3, 50_000),
    ],
)
def test_values(client, class_id, name, member, expected):
    assert plain(Talk(history(), client).open().get(class_id, name, member)) == expected


@pytest.mark.parametrize(
    ("client", "class_id", "name", "member", "code"),
    [
        (16, 3, "1.0.1.8.0", 2, 4),  # the public client does not see it at all
        (16, 7, "1.0.99.1.0", 2, 4),
        (16, 8, "0.0.1.0.0", 3, 3),  # sees the clock's time, not its zone
        (32, 1, "0.0.96.1.77", 2, 4),  # no such object
        (32, 3, "0.0.1.0.0", 2, 9),  # another class
        (32, 3, "1.0.1.8.0", 9, 4),  # no such attribute
        (32, 15, "0.0.40.0.0", 7, 3),  # the secret
    ],
)
def test_refused_reads(client, class_id, name, member, code):
    assert Talk(history(), client).open().get(class_id, name, member) == code


def test_clock_is_local_with_unspecified_weekday_and_deviation():
    clock = Clock(1_787_000_000.0)  # 2026-08-17T20:53:20Z = 2026-08-18T02:23:20+05:30
    octets_ = Talk(meter(clock, **CLEAR), 16).open().get(8, "0.0.1.0.0").value
    assert octets_.hex() == "07ea0812ff021714ff800000"


@pytest.mark.parametrize(
    ("client", "name", "value", "code"),
    [
        (48, "0.0.94.96.20", u8(0), 0),
        (48, "0.0.94.96.20", u8(2), 250),
        (48, "0.0.94.96.20", u16(0), 12),
        (48, "0.0.94.96.24", i32(-500), 0),
        (48, "0.0.94.96.24", u32(5), 12),
        (48, "0.0.94.96.25", octets(bytes(12)), 0),
        (48, "0.0.94.96.25", octets(bytes(11)), 12),
        (48, "0.0.96.13.0", octets(b"low credit"), 0),
        (48, "0.0.96.13.0", octets(bytes(257)), 250),
        (48, "0.0.96.1.0", octets(b"another"), 3),
        (32, "0.0.96.13.0", octets(b"low credit"), 3),
        (32, "0.0.94.96.24", i32(0), 3),
    ],
)
def test_sets(client, name, value, code):
    virtual = meter(**CLEAR)
    talk = Talk(virtual, client).open()
    before = talk.get(1, name)
    assert talk.set(1, name, 2, value) == code
    assert talk.get(1, name) == (before if code else value)
    logged = [(e["ln"], e["attr"]) for e in virtual.ledger.entries() if e["kind"] == "set"]
    assert logged == ([] if code else [(f"{name}.255", 2)])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0, None), (1, 2), (2, 1), (3, 2), (4, 1), (5, 2), (6, 2)],
)
def test_relay_by_control_mode(mode, expected):
    virtual = meter(control_mode=mode, **CLEAR)
    talk = Talk(virtual, 48).open()
    if expected is None:
        assert talk.act(70, "0.0.96.3.10", 1, i8(0)) == 250
        assert virtual.relay.output_state
        assert virtual.ledger.entries() == []
        return
    assert talk.act(70, "0.0.96.3.10", 1, i8(0)) == 0
    assert plain(talk.get(70, "0.0.96.3.10", 2)) is False
    assert plain(talk.get(70, "0.0.96.3.10", 3)) == 0
    assert talk.act(70, "0.0.96.3.10", 2, i8(0)) == 0
    assert plain(talk.get(70, "0.0.96.3.10", 3)) == expected
    assert plain(talk.get(70, "0.0.96.3.10", 2)) is (expected == 1)
    virtual.relay.press_button()
    assert plain(talk.get(70, "0.0.96.3.10", 2)) is True
    assert [entry["method"] for entry in virtual.ledger.entries() if entry["kind"] == "relay"] == [1, 2]


@pytest.mark.parametrize(
    ("client", "method", "parameter", "code"),
    [(32, 1, i8(0), 3), (48, 3, i8(0), 4), (48, 1, u8(0), 12), (48, 1, boolean(True), 12), (48, 1, enum(0), 12)],
)
def test_relay_refusals_move_nothing(client, method, parameter, code):
    virtual = meter(**CLEAR)
    assert Talk(virtual, client).open().act(70, "0.0.96.3.10", method, parameter) == code
    assert virtual.relay.output_state
    assert virtual.ledger.entries() == []


# ---- lists and blocks -----------------------------------------------------------------------------------------------


def test_get_with_list_answers_each_on_its_own():
    talk = Talk(meter(**CLEAR), 32).open()
    wanted = [(1, "0.0.94.96.20", 2), (1, "9.9.9.9.9", 2), (70, "0.0.96.3.10", 2)]
    request = b"\xc0\x03\x81" + bytes([len(wanted)])
    request += b"".join(descriptor(*item) + b"\x00" for item in wanted)
    assert talk.ask(request).hex() == "c403810300110101040003ff"


@pytest.mark.parametrize("pdu", [33, 64, 200, 1024, 0])
def test_blocks_put_together_are_the_whole(pdu):
    virtual = history()
    whole = Talk(virtual, 32).open(pdu=0xFFFF).get(7, "1.0.99.1.0")
    assert len(whole.value) == 96
    talk = Talk(virtual, 32).open(pdu=pdu)
    first = talk.ask(get_apdu(7, "1.0.99.1.0", 2))
    assert len(first) <= (pdu or 0xFFFF)
    assert (first[1] == 2) is (pdu != 0)
    assert talk.get(7, "1.0.99.1.0") == whole


@pytest.mark.parametrize("ciphered", [True, False])
def test_a_block_fits_the_pdu_with_its_ciphering(ciphered):
    talk = Talk(history(ciphered=ciphered), 32).open(pdu=256)
    apdu = get_apdu(7, "1.0.99.1.0", 2)
    answer = talk.raw(talk.seal(0xC8, apdu) if ciphered else apdu)
    assert 240 <= len(answer) <= 256


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (["c0028100000001"], "c402810100000001" + "0110"),  # no long get in progress
        (["first", "c0028100000007"], "c402810100000007" + "0113"),  # block number invalid
        (["first", "c0028100000007", "c0028100000001"], "c402810100000001" + "0110"),  # and it is over
        (["first", "other", "c0028100000001"], "c402810100000001" + "0110"),
    ],
)
def test_block_transfer_out_of_step(requests, expected):
    talk = Talk(history(), 32).open(pdu=100)
    known = {"first": get_apdu(7, "1.0.99.1.0", 2), "other": get_apdu(1, "0.0.94.96.20", 2)}
    answer = b""
    for request in requests:
        answer = talk.ask(known.get(request) or bytes.fromhex(request))
    assert answer.hex() == expected


@pytest.mark.parametrize(
    ("conformance", "request_"),
    [
        (0x521D & ~0x4, get_apdu(7, "1.0.99.1.0", 2, (2, structure(u32(1), u32(1), u16(1), u16(0))))),
        (0x521D & ~0x200, b"\xc0\x03\x81\x01" + descriptor(1, "0.0.96.1.0", 2) + b"\x00"),
        (0x521D & ~0x8, b"\xc1\x01\x81" + descriptor(1, "0.0.96.13.0", 2) + b"\x00\x09\x00"),
        (0x521D & ~0x1, b"\xc3\x01\x81" + descriptor(70, "0.0.96.3.10", 1) + b"\x01\x0f\x00"),
    ],
)
def test_what_was_not_negotiated_is_not_served(conformance, request_):
    assert Talk(meter(**CLEAR), 48).open(conformance=conformance).ask(request_).hex() == "d80101"


# ---- selective access -----------------------------------------------------------------------------------------------


def between(virtual, start, end, columns=(), column=CLOCK_COLUMN):
    low, high = (octets(virtual.clock.octets(at)) for at in (start, end))
    return (1, structure(column, low, high, array(list(columns))))


def test_range_is_inclusive_at_both_ends():
    virtual = history()
    rows = virtual.rows(BLOCK_LOAD)
    got = Talk(virtual, 32).open().get(7, "1.0.99.1.0", 2, between(virtual, rows[10][0], rows[14][0]))
    assert [virtual.clock.moment(row[0]) for row in plain(got)] == [row[0] for row in rows[10:15]]
    assert [tuple(row[1:]) for row in plain(got)] == [row[1:] for row in rows[10:15]]


def test_range_of_nothing_is_an_empty_array():
    virtual = history()
    got = Talk(virtual, 32).open().get(7, "1.0.99.1.0", 2, between(virtual, NOON + 9_000, NOON + 99_000))
    assert got == array([])


def test_range_with_columns_and_open_ends():
    virtual = history()
    energy = structure(u16(3), octets(logical_name("1.0.1.29.0")), i8(2), u16(0))
    unspecified = octets(bytes.fromhex("ffffffffffffffffff8000ff"))
    selection = (1, structure(CLOCK_COLUMN, unspecified, unspecified, array([energy])))
    got = Talk(virtual, 32).open().get(7, "1.0.99.1.0", 2, selection)
    assert plain(got) == [[row[2]] for row in virtual.rows(BLOCK_LOAD)]


def test_range_bounds_with_a_deviation_of_their_own():
    virtual = history()
    row = virtual.rows(BLOCK_LOAD)[-1]
    utc = bytes.fromhex("07ea0c17ff") + bytes(4) + b"\x00\x00\x00"
    at = int(virtual.clock.moment(utc))
    assert at == 1_797_984_000  # 2026-12-23T00:00:00Z by the deviation 0 that it bears, not by the meter's zone
    selection = (1, structure(CLOCK_COLUMN, octets(utc), octets(virtual.clock.octets(NOON)), array([])))
    got = Talk(virtual, 32).open().get(7, "1.0.99.1.0", 2, selection)
    assert [virtual.clock.moment(item[0]) for item in plain(got)] == list(range(at, row[0] + 1, 900))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((1, 1, 1, 0), slice(0, 1)),
        ((1, 0, 1, 0), slice(0, None)),
        ((95, 0, 1, 0), slice(94, None)),
        ((95, 500, 1, 0), slice(94, None)),
        ((97, 0, 1, 0), slice(96, None)),
    ],
)
def test_entries_count_from_the_oldest(entries, expected):
    virtual = history()
    first, last, left, right = entries
    got = Talk(virtual, 32).open().get(7, "1.0.99.1.0", 2, (2, structure(u32(first), u32(last), u16(left), u16(right))))
    assert [tuple(row[1:]) for row in plain(got)] == [row[1:] for row in virtual.rows(BLOCK_LOAD)[expected]]


def test_entries_with_columns():
    virtual = history()
    got = Talk(virtual, 32).open().get(7, "1.0.99.1.0", 2, (2, structure(u32(3), u32(3), u16(2), u16(3))))
    assert plain(got) == [list(virtual.rows(BLOCK_LOAD)[2][1:3])]


@pytest.mark.parametrize(
    ("selection", "code"),
    [
        ((3, u8(0)), 13),
        ((1, u8(0)), 12),
        ((1, structure(CLOCK_COLUMN, u32(1), u32(2), array([]))), 12),
        ((1, structure(u8(1), octets(bytes(12)), octets(bytes(12)), array([]))), 12),
        ((1, structure(CLOCK_COLUMN, octets(b"\x07\xea\x0d\x01" + bytes(8)), octets(bytes(12)), array([]))), 250),
        ((1, structure(CLOCK_COLUMN, octets(bytes(5)), octets(bytes(12)), array([]))), 12),
        ((2, structure(u32(0), u32(0), u16(1), u16(0))), 250),
        ((2, structure(u32(5), u32(4), u16(1), u16(0))), 250),
        ((2, structure(u32(1), u32(4), u16(1))), 12),
        ((2, structure(i16(1), u32(4), u16(1), u16(0))), 12),
    ],
)
def test_selections_that_are_refused(selection, code):
    assert Talk(history(), 32).open().get(7, "1.0.99.1.0", 2, selection) == code


def test_selective_access_on_what_has_none():
    selection = (2, structure(u32(1), u32(1), u16(1), u16(0)))
    talk = Talk(history(), 32).open()
    assert talk.get(7, "1.0.94.91.0", 2, selection) == 13
    assert talk.get(1, "0.0.96.1.0", 2, selection) == 13


# ---- model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["1.0.94.91.0", "1.0.99.1.0", "1.0.99.2.0", "0.0.94.91.10", "1.0.94.91.4"])
def test_every_captured_column_is_an_object_that_can_be_read(profile):
    talk = Talk(history(), 32).open()
    columns = plain(talk.get(7, profile, 3))
    for row in talk.get(7, profile, 2).value:
        assert len(row.value) == len(columns)
        for (class_id, name, attribute, index), value in zip(columns, row.value, strict=True):
            assert index == 0
            alone = talk.get(class_id, ".".join(map(str, name)), attribute)
            assert alone.tag == value.tag, (class_id, name, attribute)


@pytest.mark.parametrize(
    ("profile", "scalers"),
    [("1.0.94.91.0", "1.0.94.91.3"), ("1.0.99.1.0", "1.0.94.91.4"), ("1.0.99.2.0", "1.0.94.91.5")],
)
def test_scaler_profiles_are_the_scalers_of_the_scaled_columns(profile, scalers):
    talk = Talk(history(), 32).open()
    captured = [c for c in plain(talk.get(7, profile, 3)) if c[0] in {3, 4} and c[2] == 2]
    columns = plain(talk.get(7, scalers, 3))
    assert [c[:2] for c in columns] == [c[:2] for c in captured]
    assert {c[2] for c in columns} == {3}
    row = plain(talk.get(7, scalers, 2))[0]
    assert row == [plain(talk.get(c[0], ".".join(map(str, c[1])), 3)) for c in columns]
    assert len({scaler for scaler, _ in row}) > (0 if profile == "1.0.99.2.0" else 1) or profile == "1.0.99.1.0"


def test_object_list_names_what_each_client_sees():
    virtual = history()
    public, reader, setting = (plain(Talk(virtual, client).open().get(15, "0.0.40.0.0", 2)) for client in (16, 32, 48))
    assert {tuple(entry[2]) for entry in public} == {
        tuple(logical_name(n))
        for n in ("0.0.1.0.0", "0.0.96.1.0", "0.0.96.1.2", "0.0.42.0.0", "0.0.43.1.2", "0.0.43.1.3")
    }
    assert len(reader) == len(setting) > 40
    assert {right[1] for entry in reader for right in entry[3][0]} == {1}
    assert {right[1] for entry in setting for right in entry[3][0]} == {1, 3}


@pytest.mark.parametrize("apdu", ["00", "c0", "c00181", "c0018100", "c1018100", "d0", "ff", "c4018100", "c00481"])
def test_nonsense_apdus_get_an_exception_and_the_association_lives(apdu):
    talk = Talk(meter(**CLEAR), 32).open()
    assert talk.ask(bytes.fromhex(apdu))[0] == 0xD8
    assert plain(talk.get(1, "0.0.94.96.20")) == 1


def test_an_apdu_beyond_the_meters_size_is_refused():
    talk = Talk(meter(max_pdu=100, **CLEAR), 48).open()
    assert talk.ask(b"\xc1\x01\x81" + bytes(98)).hex() == "d80104"


def test_services_before_any_association_are_refused():
    assert Talk(meter(**CLEAR), 32).raw(get_apdu(1, "0.0.96.1.0", 2)).hex() == "d80101"


def test_released_is_released():
    talk = Talk(meter(**CLEAR), 32).open()
    assert talk.raw(bytes.fromhex("6203800100")).hex() == "6303800100"
    assert talk.raw(get_apdu(1, "0.0.96.1.0", 2)).hex() == "d80101"
