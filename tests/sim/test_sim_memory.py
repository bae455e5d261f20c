"""What a meter captures, what it remembers, and that its energies agree with one another."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.sim import ConfigMistake, MeterConfig, MeterKeys, read_ledger
from dcu.sim.axdr import Datum, Reader, Tag, array, decode, encode, i8, octets, structure
from dcu.sim.errors import Malformed
from dcu.sim.load import COMMISSIONED, HouseLoad
from dcu.sim.model import BLOCK_LOAD, DAILY_LOAD
from dcu.sim.profile import Ring
from tests.sim.sim_client import KEYS, NOON, Clock, Talk, meter, plain

LOCAL_MIDNIGHT = NOON - 10 * 3600


def stamps(virtual, profile=BLOCK_LOAD):
    return [row[0] for row in virtual.rows(profile)]


def logged(virtual, profile=BLOCK_LOAD):
    entries = [e for e in virtual.ledger.entries() if e["kind"] == "row" and e["profile"] == profile]
    return [(e["captured_at"], *e["values"]) for e in entries]


# ---- capture --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "period", "start", "after", "expected"),
    [
        (330, 900, NOON + 1, 899, [NOON + 900]),
        (330, 900, NOON + 1, 898, []),
        (330, 900, NOON, 0, []),
        (330, 10, NOON + 3, 30, [NOON + 10, NOON + 20, NOON + 30]),
        (330, 3600, NOON + 1, 3600, [NOON + 3600]),  # full hours of local time
        (0, 3600, NOON + 1, 3600, [NOON + 1800]),
        (345, 3600, NOON + 1, 3600, [NOON + 2700]),
    ],
)
def test_rows_end_on_the_grid_of_local_time(offset, period, start, after, expected):
    clock = Clock(start)
    virtual = meter(clock, utc_offset_min=offset, capture_period_s=period)
    clock.at += after
    virtual.tick()
    assert stamps(virtual) == expected
    assert logged(virtual) == virtual.rows(BLOCK_LOAD)


def test_midnights_are_local():
    clock = Clock(LOCAL_MIDNIGHT - 5)
    virtual = meter(clock, history_s=3 * 86_400)
    assert stamps(virtual, DAILY_LOAD) == [LOCAL_MIDNIGHT - 86_400 * n for n in (3, 2, 1)]
    clock.at += 5
    virtual.tick()
    assert stamps(virtual, DAILY_LOAD)[-1] == LOCAL_MIDNIGHT


def test_a_late_tick_misses_nothing():
    clock = Clock(NOON)
    virtual = meter(clock, capture_period_s=10)
    clock.at += 3_605
    virtual.tick()
    assert stamps(virtual) == [NOON + 10 * n for n in range(1, 361)]


def test_the_ring_forgets_the_oldest():
    ring = Ring(10, 4, lambda start, end: (end - start,), lambda row, start: None)
    ring.reached = 100
    ring.advance(1_000)
    assert [row[0] for row in ring.rows] == [970, 980, 990, 1000]
    ring.advance(1_020)
    assert [row[0] for row in ring.rows] == [990, 1000, 1010, 1020]


@pytest.mark.parametrize(("period", "entries"), [(900, 3360), (1800, 1680), (10, 100_000)])
def test_ring_of_35_days_as_far_as_memory_allows(period, entries):
    virtual = meter(capture_period_s=period, ciphered=False)
    assert plain(Talk(virtual, 32).open().get(7, "1.0.99.1.0", 8)) == entries


@pytest.mark.parametrize(
    ("jump", "expected"),
    [
        (3_600, [900, 5400, 6300]),  # moments that the clock jumped over were never captured
        (-3_600, [900]),  # and none is captured twice: until the clock has caught up, nothing is due
    ],
)
def test_setting_the_clock(jump, expected):
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False)
    talk = Talk(virtual, 48).open()
    clock.at = NOON + 1_000
    virtual.tick()
    assert talk.set(8, "0.0.1.0.0", 2, octets(virtual.clock.octets(clock.at + jump))) == 0
    assert virtual.clock.moment(talk.get(8, "0.0.1.0.0").value) == clock.at + jump
    clock.at = NOON + 2_700
    virtual.tick()
    assert stamps(virtual) == [NOON + at for at in expected]


# ---- an earlier life ------------------------------------------------------------------------------------------------


def test_a_meter_on_its_old_ledger_remembers(tmp_path):
    clock = Clock(NOON)
    first = meter(clock, tmp_path, ciphered=False, history_s=7_200)
    talk = Talk(first, 48).open()
    assert talk.set(1, "0.0.96.13.0", 2, octets(b"recharge")) == 0
    assert talk.act(70, "0.0.96.3.10", 1, i8(0)) == 0
    clock.at += 950
    first.tick()
    rows = first.rows(BLOCK_LOAD)
    first.close()
    path = tmp_path / "GXT00017.jsonl"
    path.write_text(path.read_text() + '{"kind":"row","prof')  # killed in the middle of a line
    clock.at += 5_000
    second = meter(clock, tmp_path, ciphered=False, history_s=7_200)
    assert second.rows(BLOCK_LOAD) == rows
    assert not second.relay.output_state
    assert second.account.message == b"recharge"
    clock.at += 900
    second.tick()
    assert stamps(second)[-1] == NOON + 6_300 + 0  # those of the time in which it was off are missing
    assert len(stamps(second)) == len(rows) + 1
    second.close()
    entries = read_ledger(path)
    assert [e["captured_at"] for e in entries if e["kind"] == "row" and e["profile"] == BLOCK_LOAD] == stamps(second)
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines() if line.endswith("}")][-1] == "row"


# ---- energies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3, 99])
def test_block_energies_add_up_to_the_registers(seed):
    virtual = meter(Clock(LOCAL_MIDNIGHT), seed=seed, history_s=86_400)
    blocks, days = virtual.rows(BLOCK_LOAD), virtual.rows(DAILY_LOAD)
    assert len(blocks) == 96
    assert len(days) == 1
    meter_before = meter(Clock(LOCAL_MIDNIGHT - 86_400), seed=seed, ciphered=False)
    talk = Talk(meter_before, 32).open()
    for column, name in ((2, "1.0.1.8.0"), (3, "1.0.9.8.0")):
        used = sum(row[column] for row in blocks)
        assert abs(days[0][column - 1] * 10 - plain(talk.get(3, name)) * 10 - used) < 10
        assert used > 10_000  # more than 1 kWh: somebody lives there


def test_the_load_depends_on_seed_and_time_alone():
    one, other = (meter(Clock(NOON), history_s=40_000).rows(BLOCK_LOAD) for _ in range(2))
    assert one == other
    assert meter(Clock(NOON), history_s=40_000, seed=2).rows(BLOCK_LOAD) != one
    assert meter(Clock(NOON + 900), history_s=40_900).rows(BLOCK_LOAD)[:-1] == one


@given(st.integers(0, 50), st.floats(0, 2e8), st.floats(1, 100_000))
@settings(max_examples=50, deadline=None)
def test_energy_grows_and_is_the_integral_of_power(seed, since, span):
    load = HouseLoad(seed, 19_800)
    start = COMMISSIONED + since
    assert load.power(start) > 0
    assert load.energy(start + span) > load.energy(start)
    steps = 200
    width = 7.0 / steps
    sampled = sum(load.power(start + (n + 0.5) * width) for n in range(steps)) * width
    assert abs(load.energy(start + 7) - load.energy(start) - sampled) < 1_900 * width * 8 + 1


def test_an_open_relay_stops_energy_but_not_voltage():
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False)
    talk = Talk(virtual, 48).open()
    clock.at = NOON + 900
    assert talk.act(70, "0.0.96.3.10", 1, i8(0)) == 0
    clock.at = NOON + 1_800
    assert plain(talk.get(3, "1.0.1.7.0")) == plain(talk.get(3, "1.0.11.7.0")) == 0
    assert plain(talk.get(3, "1.0.12.7.0")) > 20_000
    counted = plain(talk.get(3, "1.0.1.8.0"))
    assert talk.act(70, "0.0.96.3.10", 2, i8(0)) == 0
    assert plain(talk.get(3, "1.0.1.8.0")) == counted
    clock.at = NOON + 2_700
    virtual.tick()
    before, off, after = virtual.rows(BLOCK_LOAD)
    assert before[2] > 0
    assert off[2:4] == (0, 0)
    assert off[1] > 2_000
    assert after[2] > 0


def test_a_stuck_relay_says_one_thing_and_does_another():
    virtual = meter(ciphered=False)
    virtual.faults.relay_sticks = True
    talk = Talk(virtual, 48).open()
    assert talk.act(70, "0.0.96.3.10", 1, i8(0)) == 0
    assert plain(talk.get(70, "0.0.96.3.10", 3)) == 0
    assert plain(talk.get(70, "0.0.96.3.10", 2)) is True


def test_demand_is_the_highest_block_of_the_month():
    virtual = meter(history_s=86_400, ciphered=False)
    best = max(virtual.rows(BLOCK_LOAD), key=lambda row: row[2])
    talk = Talk(virtual, 32).open()
    assert plain(talk.get(4, "1.0.1.6.0", 2)) == best[2] * 360 // 900
    assert virtual.clock.moment(plain(talk.get(4, "1.0.1.6.0", 5))) == best[0]


def test_a_wrong_serial():
    virtual = meter()
    virtual.faults.serial = "0017"
    assert plain(Talk(virtual, 16).open().get(1, "0.0.96.1.0")) == b"0017"
    virtual.faults.serial = None
    assert plain(Talk(virtual, 16).open().get(1, "0.0.96.1.0")) == b"GXT00017"


# ---- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"serial": ""}, "serial"),
        ({"serial": "A" * 14}, "serial"),
        ({"capture_period_s": 7_000}, "capture_period_s"),
        ({"address": 128}, "address"),
        ({"address_octets": 3}, "octets"),
        ({"payment_mode": 2}, "payment_mode"),
        ({"control_mode": 7}, "control_mode"),
        ({"mechanism": "md5"}, "mechanism"),
        ({"max_info": 2031}, "max_info"),
        ({"keys": MeterKeys()}, "guek"),
        ({"keys": MeterKeys(KEYS.guek, KEYS.gak, b"x", b"short")}, "hls"),
        ({"port": 70_000}, "port"),
    ],
)
def test_meters_that_cannot_be(changes, word):
    with pytest.raises(ConfigMistake, match=word):
        meter(**changes)


def test_config_defaults_are_those_of_the_standard():
    config = MeterConfig(serial="X")
    assert (config.capture_period_s, config.utc_offset_min, config.mechanism) == (900, 330, "secret")


# ---- A-XDR ----------------------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.just(Datum(Tag.NULL)),
    st.booleans().map(lambda v: Datum(Tag.BOOLEAN, v)),
    st.integers(-(2**31), 2**31 - 1).map(lambda v: Datum(Tag.DOUBLE_LONG, v)),
    st.integers(0, 2**32 - 1).map(lambda v: Datum(Tag.DOUBLE_LONG_UNSIGNED, v)),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: Datum(Tag.LONG64, v)),
    st.integers(0, 255).map(lambda v: Datum(Tag.ENUM, v)),
    st.binary(max_size=300).map(octets),
    st.text(max_size=50).map(lambda v: Datum(Tag.UTF8_STRING, v)),
    st.text("01", max_size=40).map(lambda v: Datum(Tag.BIT_STRING, v)),
    st.binary(min_size=12, max_size=12).map(lambda v: Datum(Tag.DATE_TIME, v)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map(array), st.lists(inner, max_size=5).map(lambda v: structure(*v))
    ),
    max_leaves=20,
)


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_values_survive_their_encoding(value):
    whole = encode(value)
    assert decode(whole) == value
    for cut in range(len(whole)):
        with pytest.raises(Malformed):
            decode(whole[:cut])


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_octets_are_a_value_or_malformed(noise):
    with contextlib.suppress(Malformed):
        Reader(noise).datum()


@pytest.mark.parametrize("text", ["0184ffffffff", "01" * 40 + "00", "63", "0985" + "00" * 5, "0c02fffe", "0680"])
def test_senseless_values(text):
    with pytest.raises(Malformed):
        decode(bytes.fromhex(text))


def test_every_time_without_output_counts():
    """Open twice: the register stands still both times, and what was lost first stays lost."""
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False)
    talk = Talk(virtual, 48).open()
    moved = []
    for method in (1, 2, 1, 2):
        clock.at += 1_800
        moved.append(plain(talk.get(3, "1.0.1.8.0")))
        assert talk.act(70, "0.0.96.3.10", method, i8(0)) == 0
    clock.at += 1_800
    moved.append(plain(talk.get(3, "1.0.1.8.0")))
    assert moved[0] == moved[1] < moved[2] == moved[3] < moved[4]
