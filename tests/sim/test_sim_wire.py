"""The ways in which meters put rows, values and times on the wire, each against the plain meter of the same house."""

import struct

import pytest

from dcu.sim import ConfigMistake
from dcu.sim.axdr import Tag
from dcu.sim.description import EXAMPLE, load
from dcu.sim.metrology import BLOCK_LOAD
from tests.sim.sim_client import NOON, Clock, Talk, between, entries, get_apdu, meter, plain, raw, refs, seconds

RINGS = ["1.0.99.1.0", "1.0.99.2.0", "1.0.98.1.0", "0.0.99.98.0", "0.0.99.98.2"]


def a_meter(**changes):
    """With rows in all rings, some of its block load missing."""
    clock = Clock(NOON - 18_000)
    defaults = {"kind": "3ph-wc", "capture_period_s": 3_600, "history_s": 24 * 86_400}
    virtual = meter(clock, ciphered=False, **(defaults | changes))
    virtual.power_off()
    clock.at += 8_000
    virtual.power_on()
    for code in (7, 8, 51):
        clock.at += 700
        virtual.happen(code)
    clock.at = NOON
    virtual.tick()
    return virtual


def reader(virtual):
    return Talk(virtual, 32).open(pdu=0xFFFF)


def sent(talk, profile, selection=None):
    """Octets of attribute 2."""
    answer = talk.ask(get_apdu(7, profile, 2, selection))
    assert answer[:4] == b"\xc4\x01\x81\x00"
    return answer[4:]


def named_rows(virtual, profile):
    """Rows as {(class, name, attribute): value}."""
    talk = reader(virtual)
    columns = refs(talk.get(7, profile, 3))
    return [dict(zip(columns, raw(virtual, row), strict=True)) for row in plain(talk.get(7, profile))]


# ---- forms of a buffer ----------------------------------------------------------------------------------------------

FIXED = {5: ">i", 6: ">I", 16: ">h", 17: ">B", 18: ">H", 23: ">f"}


def unpacked(octets):
    """Rows of a compact array, by the Blue Book's words (4.1.5): types, then values without tags."""
    assert octets[:2] == b"\x13\x02"
    types, at = octets[3 : 3 + octets[2]], 3 + octets[2]
    size, at = octets[at], at + 1
    if size & 0x80:
        at += size & 0x7F
        size = int.from_bytes(octets[at - (size & 0x7F) : at], "big")
    assert len(octets) == at + size
    rows = []
    while at < len(octets):
        row = []
        for code in types:
            if code == 9:
                row.append(octets[at + 1 : at + 1 + octets[at]])
                at += 1 + octets[at]
            elif code == 25:
                row.append(octets[at : at + 12])
                at += 12
            else:
                row.append(struct.unpack_from(FIXED[code], octets, at)[0])
                at += struct.calcsize(FIXED[code])
        rows.append(row)
    return rows


@pytest.mark.parametrize("profile", RINGS)
@pytest.mark.parametrize("more", [{}, {"clock_tag25": True}, {"newest_first": True}])
def test_a_compact_array_holds_the_same_rows_in_fewer_octets(profile, more):
    plainly, packed = reader(a_meter(**more)), reader(a_meter(compact=True, **more))
    assert unpacked(sent(packed, profile)) == plain(plainly.get(7, profile))
    assert len(sent(packed, profile)) < len(sent(plainly, profile))
    assert sent(packed, profile, entries(9_000, 9_001)) == b"\x01\x00", "of nothing"


def test_a_compact_array_octet_by_octet():
    virtual = meter(Clock(NOON), ciphered=False, history_s=1_800, compact=True)
    one, two = virtual.rows(BLOCK_LOAD)
    expected = bytes.fromhex("13 02 06 09 12 06 06 06 06 40")
    for row in (one, two):
        expected += b"\x0c" + virtual.clock.octets(row[0]) + struct.pack(">HIIII", *row[1:])
    assert len(expected) == 10 + 2 * 31
    assert sent(reader(virtual), "1.0.99.1.0") == expected.replace(b"\x40", b"\x3e", 1)


@pytest.mark.parametrize("profile", RINGS)
def test_null_stands_for_what_repeats(profile):
    virtual = a_meter(null_compressed=True)
    talk = reader(virtual)
    period = plain(talk.get(7, profile, 4))
    restored, before = [], None
    for row in talk.get(7, profile).value:
        values = []
        for at, item in enumerate(row.value):
            if item.tag is not Tag.NULL:
                values.append(seconds(virtual, item.value) if isinstance(item.value, bytes) else item.value)
            elif at == 0:
                values.append(before[0] + period)
            else:
                values.append(before[at])
        before = values
        restored.append(tuple(values))
    expected = [raw(virtual, row) for row in plain(reader(a_meter()).get(7, profile))]
    assert restored == expected
    if profile != "0.0.99.98.2":  # of two rows nothing repeats
        assert len(sent(talk, profile)) < len(sent(reader(a_meter()), profile))


def test_null_for_a_time_only_right_after_the_row_before():
    virtual = a_meter(null_compressed=True)
    rows = reader(virtual).get(7, "1.0.99.1.0").value
    stamps = [row[0] for row in virtual.rows(BLOCK_LOAD)]
    told = [row.value[0].tag is not Tag.NULL for row in rows]
    assert told == [at == 0 or stamps[at] - stamps[at - 1] != 3_600 for at in range(len(stamps))]
    assert sum(told) == 2
    first = reader(virtual).get(7, "1.0.99.1.0", 2, entries(100, 101)).value[0]
    assert all(item.tag is not Tag.NULL for item in first.value), "a first row is whole"


@pytest.mark.parametrize("profile", RINGS)
def test_newest_first(profile):
    talk, fifo = reader(a_meter(newest_first=True)), reader(a_meter())
    assert (plain(talk.get(7, profile, 5)), plain(fifo.get(7, profile, 5))) == (2, 1)
    rows = plain(fifo.get(7, profile))
    assert plain(talk.get(7, profile)) == rows[::-1]
    assert plain(talk.get(7, profile, 2, entries(1, 1))) == rows[-1:]
    assert plain(talk.get(7, profile, 2, entries(2, 3))) == rows[::-1][1:3]
    if profile.startswith("1.0.99"):
        window = between(talk.meter, seconds(talk.meter, rows[5][0]), seconds(talk.meter, rows[9][0]))
        assert plain(talk.get(7, profile, 2, window)) == rows[5:10][::-1]


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["1ph", "3ph-wc", "3ph-ct"])
def test_float32_registers_are_worth_the_same(kind):
    floats, whole = reader(a_meter(kind=kind, float32=True)), reader(a_meter(kind=kind))
    seen = 0
    for profile in ("1.0.94.91.0", *RINGS):
        columns = refs(whole.get(7, profile, 3))
        newest = [talk.get(7, profile).value[-1].value for talk in (whole, floats)]
        for (class_id, name, attribute), integer, number in zip(columns, *newest, strict=True):
            if number.tag is not Tag.FLOAT32:
                assert number == integer, name
                continue
            seen += 1
            if class_id == 71:  # a limiter's threshold is worth what the register is that it watches
                class_id, name, attribute = 3, "1.0.1.7.0", 2
            assert class_id in {3, 4} and attribute == 2
            scalers = [plain(talk.get(class_id, name, 3)) for talk in (whole, floats)]
            assert scalers[0][1] == scalers[1][1], "of the same unit"
            worth = integer.value * 10.0 ** scalers[0][0], number.value * 10.0 ** scalers[1][0]
            assert worth[1] == pytest.approx(worth[0], rel=1e-6), name
    assert seen > 40
    assert plain(floats.get(3, "1.0.1.8.0", 3)) == [3, 30]
    [scalers] = plain(floats.get(7, "1.0.94.91.4", 2))
    assert scalers == [plain(floats.get(c, n, 3)) for c, n, a in refs(floats.get(7, "1.0.99.1.0", 3)) if c in {3, 4}]


@pytest.mark.parametrize("profile", ["1.0.99.1.0", "1.0.99.2.0", "1.0.98.1.0", "0.0.99.98.0"])
@pytest.mark.parametrize("kind", ["1ph", "3ph-ct"])
def test_a_vendors_order_is_another_order_of_the_same(profile, kind):
    ours, vendors = a_meter(kind=kind), a_meter(kind=kind, columns="vendor")
    assert named_rows(vendors, profile) == named_rows(ours, profile)
    order = [refs(reader(virtual).get(7, profile, 3)) for virtual in (ours, vendors)]
    assert order[0] != order[1]
    assert sorted(order[0]) == sorted(order[1])
    assert order[0][0] == order[1][0], "a row's time stays first"
    scalers = {"1.0.99.1.0": "1.0.94.91.4", "1.0.99.2.0": "1.0.94.91.5", "1.0.98.1.0": "1.0.94.91.6"}
    if profile in scalers:
        scaled = refs(reader(vendors).get(7, scalers[profile], 3))
        assert [name for _, name, _ in scaled] == [
            name for c, name, attribute in order[1] if c in {3, 4} and attribute == 2 and name != "0.0.0.1.2"
        ]


def test_scaler_profiles_that_are_missing_or_in_another_order():
    assert reader(a_meter(scaler_profiles="missing")).get(7, "1.0.94.91.4", 2) == 4
    talk = reader(a_meter(scaler_profiles="wrong-order", kind="3ph-ct"))
    right = reader(a_meter(kind="3ph-ct"))
    assert refs(talk.get(7, "1.0.94.91.4", 3)) == refs(right.get(7, "1.0.94.91.4", 3))[::-1]
    [row] = plain(talk.get(7, "1.0.94.91.4", 2))
    assert row == plain(right.get(7, "1.0.94.91.4", 2))[0][::-1]
    assert refs(talk.get(7, "1.0.99.1.0", 3)) == refs(right.get(7, "1.0.99.1.0", 3))


# ---- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),  # 2026-12-23, a Wednesday, ten in the morning
    [
        ({}, "090c 07ea0c17ff 0a0000ff 8000 00"),
        ({"weekday": True}, "090c 07ea0c1703 0a0000ff 8000 00"),
        ({"deviation": "right"}, "090c 07ea0c17ff 0a0000ff feb6 00"),
        ({"deviation": "wrong-sign"}, "090c 07ea0c17ff 0a0000ff 014a 00"),
        ({"clock_tag25": True}, "19 07ea0c17ff 0a0000ff 8000 00"),
        ({"clock_tag25": True, "deviation": "right", "weekday": True}, "19 07ea0c1703 0a0000ff feb6 00"),
    ],
)
def test_faces_of_the_clock(changes, expected):
    virtual = meter(Clock(NOON), ciphered=False, history_s=900, **changes)
    talk = reader(virtual)
    octets = bytes.fromhex(expected)
    assert talk.ask(get_apdu(8, "0.0.1.0.0", 2))[4:] == octets
    assert sent(talk, "1.0.99.1.0").startswith(b"\x01\x01\x02\x06" + octets)
    assert octets in sent(talk, "1.0.94.91.0")
    assert plain(talk.get(7, "1.0.99.1.0", 2, between(virtual, NOON, NOON))) == plain(talk.get(7, "1.0.99.1.0"))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("hour-24", "07ea0c17ff 182d00ff 8000 00"),
        ("february-30", "07ea021eff 092d00ff 8000 00"),
        ("wildcards", "07ea0c17ff ffffffff 8000 00"),
        ("unspecified", "ffffffffff ffffffff 8000 ff"),
    ],
)
def test_a_bad_time_spoils_its_row_and_no_other(how, expected):
    virtual = meter(Clock(NOON), ciphered=False, history_s=3_600)
    talk = reader(virtual)
    good = plain(talk.get(7, "1.0.99.1.0"))
    at = virtual.rows(BLOCK_LOAD)[2][0]
    virtual.faults.bad_times[at] = how
    bad = plain(talk.get(7, "1.0.99.1.0"))
    assert bad[2] == [bytes.fromhex(expected), *good[2][1:]]
    assert bad[:2] + bad[3:] == good[:2] + good[3:]
    assert plain(talk.get(7, "1.0.99.1.0", 2, between(virtual, at, at))) == [bad[2]]
    virtual.faults.bad_times.clear()
    assert plain(talk.get(7, "1.0.99.1.0")) == good


# ---- selective access -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "expected"), [("", range(10, 15)), ("ends", range(9, 16)), ("all", range(96))])
def test_a_meter_that_does_not_keep_to_the_range(how, expected):
    virtual = meter(Clock(NOON), ciphered=False, history_s=86_400)
    virtual.faults.range_ignored = how
    rows = virtual.rows(BLOCK_LOAD)
    got = plain(reader(virtual).get(7, "1.0.99.1.0", 2, between(virtual, rows[10][0], rows[14][0])))
    assert [seconds(virtual, row[0]) for row in got] == [rows[at][0] for at in expected]


@pytest.mark.parametrize("window", [(0, 1), (94, 95), (0, 95)])
def test_one_more_at_each_end_where_there_is_one(window):
    virtual = meter(Clock(NOON), ciphered=False, history_s=86_400)
    virtual.faults.range_ignored = "ends"
    rows = virtual.rows(BLOCK_LOAD)
    first, last = window
    got = plain(reader(virtual).get(7, "1.0.99.1.0", 2, between(virtual, rows[first][0], rows[last][0])))
    expected = rows[max(first - 1, 0) : last + 2]
    assert [seconds(virtual, row[0]) for row in got] == [row[0] for row in expected]


# ---- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kind": "2ph"}, "kind"),
        ({"columns": "mine"}, "columns"),
        ({"compact": True, "null_compressed": True}, "compact"),
        ({"scaler_profiles": "none"}, "scaler_profiles"),
        ({"deviation": "left"}, "deviation"),
        ({"clock_drift_ppm": 1e6}, "clock_drift_ppm"),
        ({"solar_w": -1.0}, "solar_w"),
        ({"event_entries": 0}, "event_entries"),
        ({"firmware": "V\n2"}, "firmware"),
    ],
)
def test_varieties_that_cannot_be(changes, word):
    with pytest.raises(ConfigMistake, match=word):
        meter(**changes)


def test_a_description_may_say_all_of_it(tmp_path):
    wanted = {
        "kind": "3ph-ct",
        "firmware": "V 9",
        "columns": "amended",
        "scaler_profiles": "missing",
        "deviation": "wrong-sign",
        "compact": True,
        "newest_first": True,
        "float32": True,
        "weekday": True,
        "clock_tag25": True,
        "repeats": True,
        "clock_drift_ppm": -4.5,
        "solar_w": 2_000,
        "event_entries": 9,
    }
    lines = [
        f"{key} = {str(value).lower() if value in (True, False) else repr(value)}" for key, value in wanted.items()
    ]
    (tmp_path / "sim.toml").write_text(EXAMPLE + "\n".join(lines).replace("'", '"'))
    (tmp_path / "sim-secrets.toml").write_text(
        f'[GXT20931188]\nguek = "{"00" * 16}"\ngak = "{"00" * 16}"\nlls = "x"\nhls = "{"00" * 16}"\n'
    )
    (tmp_path / "sim-secrets.toml").chmod(0o600)
    [config] = load(tmp_path / "sim.toml").meters
    assert {key: getattr(config, key) for key in wanted} == wanted
