"""What happens to a meter in its life: events, power, clock, capture period, firmware, replacement."""

import pytest

from dcu.sim import ConfigMistake, read_ledger
from dcu.sim.axdr import Datum, Tag, enum, i8, octets, u8, u16, u32
from dcu.sim.events import log_of
from dcu.sim.metrology import BLOCK_LOAD, DAILY_LOAD
from tests.sim.sim_client import NOON, Clock, Talk, entries, frame, frames, meter, plain, refs, seconds

LOGS = [f"0.0.99.98.{log}" for log in range(7)]
POWER, TRANSACTION, CONTROL = LOGS[2], LOGS[3], LOGS[6]
LOCAL_MIDNIGHT = NOON - 10 * 3_600


def stamps(virtual, profile=BLOCK_LOAD):
    return [row[0] - NOON for row in virtual.rows(profile)]


def lived(clock, virtual, seconds_, step=60):
    until = clock.at + seconds_
    while clock.at < until:
        clock.at = min(clock.at + step, until)
        virtual.tick()


def kinds_of(virtual):
    return [e["kind"] for e in virtual.ledger.entries() if e["kind"] != "row"]


# ---- events ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "log"),
    [
        *((1, 0), (12, 0), (22, 0), (51, 1), (84, 1), (101, 2), (102, 2), (151, 3), (166, 3), (201, 4), (216, 4)),
        *((251, 5), (252, 5), (301, 6), (302, 6), (899, 4)),
    ],
)
def test_codes_and_their_logs(code, log):
    virtual = meter()
    virtual.happen(code)
    assert [row[:2] for row in virtual.rows(LOGS[log])] == [(NOON, code)]
    assert all(virtual.rows(other) == [] for other in LOGS if other != LOGS[log])
    [entry] = virtual.ledger.entries()
    assert (entry["kind"], entry["profile"], entry["captured_at"]) == ("row", f"{LOGS[log]}.255", NOON)


@pytest.mark.parametrize("code", [0, -1, 50_000, 351])
def test_what_is_no_event_code(code):
    with pytest.raises(ValueError, match=str(code)):
        log_of(code)


def test_a_voltage_event_tells_the_readings_of_its_moment():
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False, kind="3ph-wc")
    talk = Talk(virtual, 32).open()
    clock.at += 77
    virtual.happen(9)
    columns, [row] = refs(talk.get(7, LOGS[0], 3)), talk.get(7, LOGS[0]).value
    for column, value in list(zip(columns, row.value, strict=True))[1:]:
        assert talk.get(*column) == value, column
    assert seconds(virtual, row.value[0].value) == NOON + 77
    assert plain(row.value[-1]) == 1, "one tamper so far"
    virtual.happen(10)
    assert plain(talk.get(1, "0.0.94.91.0")) == 1, "its end is none"


def test_a_full_log_drops_its_oldest_and_the_non_rollover_log_takes_no_more():
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False, kind="3ph-ct", event_entries=20)
    for _ in range(25):
        clock.at += 1
        virtual.happen(7)
        virtual.happen(251)
    assert stamps(virtual, LOGS[0]) == list(range(6, 26))
    assert stamps(virtual, LOGS[5]) == list(range(1, 11))
    talk = Talk(virtual, 32).open()
    newest = plain(talk.get(7, LOGS[0], 2, entries(20, 20)))
    assert newest[0][-1] == 25, "the sequence number goes on"
    assert plain(talk.get(7, LOGS[0], 8)) == 20


def test_the_status_word_has_bits_for_what_is_on():
    virtual = meter(ciphered=False)
    talk = Talk(virtual, 48).open()
    for code, bit, on in [(7, 3, True), (201, 81, True), (7, 3, True), (8, 3, False), (251, 83, True), (252, 83, True)]:
        virtual.happen(code)
        word = talk.get(1, "0.0.94.91.18")
        assert (word.tag, len(word.value)) == (Tag.BIT_STRING, 128)
        assert (word.value[bit] == "1") is on, code
    wanted = Datum(Tag.BIT_STRING, "10" * 64)
    assert talk.set(1, "0.0.94.91.26", 2, wanted) == 0
    assert talk.get(1, "0.0.94.91.26") == wanted
    assert talk.set(1, "0.0.94.91.26", 2, Datum(Tag.BIT_STRING, "1")) == 250
    assert [row[1] for row in virtual.rows(TRANSACTION)] == [165]


@pytest.mark.parametrize(
    ("class_id", "name", "member", "value", "log", "code"),
    [
        (8, "0.0.1.0.0", 2, octets(bytes.fromhex("07ea0c17ff0c0000ff800000")), TRANSACTION, 151),
        (1, "1.0.0.8.0", 2, u16(1_800), TRANSACTION, 152),
        (1, "1.0.0.8.4", 2, u16(1_800), TRANSACTION, 153),
        (1, "1.0.0.8.5", 2, u32(43_200), TRANSACTION, 153),
        (7, "1.0.99.1.0", 4, u32(1_800), TRANSACTION, 153),
        (71, "0.0.17.0.0", 4, u32(3_000), TRANSACTION, 158),
        (1, "0.0.94.96.20", 2, u8(0), LOGS[4], 211),
        (1, "0.0.94.96.19", 2, u8(0), LOGS[4], 213),
    ],
)
def test_a_set_and_the_event_that_it_is(class_id, name, member, value, log, code):
    virtual = meter(ciphered=False)
    talk = Talk(virtual, 48).open()
    assert Talk(virtual, 32).open().set(class_id, name, member, value) == 3
    assert talk.set(class_id, name, member, value) == 0
    assert [row[1] for row in virtual.rows(log)] == [code]
    assert sum(len(virtual.rows(other)) for other in LOGS) == 1
    assert plain(talk.get(1, "0.0.96.2.0")) == 1, "programmed once"


def test_modes_there_and_back():
    virtual = meter(ciphered=False, payment_mode=0)
    talk = Talk(virtual, 48).open()
    for name, value in [("20", 1), ("20", 1), ("20", 0), ("19", 0), ("19", 1)]:
        assert talk.set(1, f"0.0.94.96.{name}", 2, u8(value)) == 0
    assert [row[1] for row in virtual.rows(LOGS[4])] == [212, 211, 213, 214]


def test_the_relays_output_is_what_the_control_log_tells():
    virtual = meter(ciphered=False, control_mode=1)
    talk = Talk(virtual, 48).open()
    for method in (1, 1, 2):
        assert talk.act(70, "0.0.96.3.10", method, i8(0)) == 0
    assert [row[1] for row in virtual.rows(CONTROL)] == [301], "armed is not connected"
    virtual.relay.press_button()
    assert [row[1] for row in virtual.rows(CONTROL)] == [301, 302]
    assert talk.set(70, "0.0.96.3.10", 4, enum(4)) == 0


def test_limits():
    talk = Talk(meter(ciphered=False), 48).open()
    for member, value in ((4, 2_500), (6, 30), (7, 90)):
        assert talk.set(71, "0.0.17.0.0", member, u32(value)) == 0
    assert [plain(talk.get(71, "0.0.17.0.0", member)) for member in (3, 4, 6, 7)] == [2_500, 2_500, 30, 90]
    assert talk.set(71, "0.0.17.0.0", 3, u32(1)) == 3


# ---- power ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off_at", "on_at", "captured"),
    [
        (950, 1_000, [900, 1_800, 2_700]),  # within an interval
        (950, 1_850, [900, 2_700]),  # over one end
        (899, 900, [1_800, 2_700]),  # back at the very moment: too late for it
        (900, 901, [900, 1_800, 2_700]),  # captured, then off
        (950, 2_690, [900, 2_700]),
    ],
)
def test_without_power_nothing_is_captured(off_at, on_at, captured):
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False)
    lived(clock, virtual, off_at, step=1)
    virtual.power_off()
    virtual.power_off()
    lived(clock, virtual, on_at - off_at, step=1)
    virtual.power_on()
    lived(clock, virtual, 2_700 - on_at, step=1)
    assert stamps(virtual) == captured
    assert [(row[0] - NOON, row[1]) for row in virtual.rows(POWER)] == [(off_at, 101), (on_at, 102)]
    told = [(e["on"], e["at"] - NOON) for e in virtual.ledger.entries() if e["kind"] == "power"]
    assert told == [(False, off_at), (True, on_at)]


def test_time_and_energy_without_power_do_not_count():
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False, kind="3ph-wc")
    before = plain(Talk(virtual, 32).open().get(3, "1.0.1.8.0"))
    on_minutes = plain(Talk(virtual, 32).open().get(1, "0.0.96.7.0"))
    virtual.power_off()
    clock.at += 3 * 3_600
    virtual.power_on()
    talk = Talk(virtual, 32).open()
    assert plain(talk.get(3, "1.0.1.8.0")) == before
    assert plain(talk.get(3, "0.0.94.91.8")) == 180
    assert plain(talk.get(1, "0.0.96.7.0")) == on_minutes + 1
    clock.at += 900
    assert plain(talk.get(3, "1.0.1.8.0")) > before


def test_without_power_it_is_silent_and_afterwards_all_links_are_gone():
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False)
    [ua] = frames(virtual.receive(frame(0x93), 0.0))
    assert ua.control == 0x73
    talk = Talk(virtual, 32).open()
    virtual.power_off()
    assert virtual.receive(frame(0x93), 1.0) == []
    assert virtual.converse(talk.port, b"\x00\x01") == []
    virtual.power_on()
    [dm] = frames(virtual.receive(frame(0x11), 2.0))
    assert dm.control == 0x1F
    assert virtual.converse(talk.port, b"\x00\x01") is None
    assert plain(Talk(virtual, 32).open().get(1, "0.0.94.96.20")) == 1


def test_a_meter_without_power_stays_without_it_on_its_old_ledger(tmp_path):
    clock = Clock(NOON)
    first = meter(clock, tmp_path, ciphered=False)
    clock.at += 1_000
    first.power_off()
    first.close()
    clock.at += 9_000
    second = meter(clock, tmp_path, ciphered=False)
    assert second.receive(frame(0x93), 0.0) == []
    second.power_on()
    assert plain(Talk(second, 32).open().get(3, "0.0.94.91.14")) * 60 < clock.at - 9_000 - 1_577_836_800
    assert [row[1] for row in second.rows(POWER)] == [101, 102]
    assert stamps(second) == [900]
    second.close()


# ---- clock ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "repeats", "captured"),
    [
        (3_600, False, [900, 5_400, 6_300]),
        (-3_600, False, [900]),
        (-3_600, True, [900, -1_800, -900]),
        (200, False, [900, 1_800, 2_700]),
        (-200, False, [900, 1_800]),
        (-200, True, [900, 900, 1_800]),
    ],
)
def test_the_clock_is_set(ahead, repeats, captured):
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False, repeats=repeats)
    clock.at += 1_000
    virtual.set_clock(ahead)
    assert virtual.clock.now() == clock.at + ahead
    lived(clock, virtual, 1_700, step=10)
    assert stamps(virtual) == captured
    [told] = [e for e in virtual.ledger.entries() if e["kind"] == "clock"]
    assert (told["ahead_s"], told["at"]) == (ahead, NOON + 1_000)
    assert [(row[0] - NOON, row[1]) for row in virtual.rows(TRANSACTION)] == [(1_000 + ahead, 151)]
    talk = Talk(virtual, 32).open()
    got = [seconds(virtual, row[0]) - NOON for row in plain(talk.get(7, "1.0.99.1.0"))]
    assert got == captured


def test_a_clock_that_drifts_is_caught_up_by_a_set():
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False, clock_drift_ppm=1_000.0)
    assert kinds_of(virtual) == ["clock"]
    lived(clock, virtual, 86_400, step=600)
    assert abs(virtual.clock.now() - clock.at - 86.4) < 0.001
    for row in virtual.rows(BLOCK_LOAD):
        assert row[0] % 900 == 0
    assert abs(virtual.clock.real(virtual.clock.now()) - clock.at) < 0.001
    virtual.set_clock(0.0)
    assert virtual.clock.now() == clock.at
    clock.at += 1_000
    assert abs(virtual.clock.now() - clock.at - 1) < 0.001


def test_a_clock_that_was_set_stays_so_on_the_old_ledger(tmp_path):
    clock = Clock(NOON)
    first = meter(clock, tmp_path)
    first.set_clock(-700)
    first.close()
    second = meter(clock, tmp_path)
    assert second.clock.now() == clock.at - 700
    second.close()


# ---- capture period -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "at", "captured"),
    [
        (900, 1_800, 100, [900, 1_800, 3_600, 5_400]),
        (1_800, 900, 100, [1_800, 2_700, 3_600, 4_500, 5_400]),
        (900, 3_600, 1_000, [900, 1_800, 3_600]),
    ],
)
def test_another_capture_period_counts_from_the_next_boundary(before, after, at, captured):
    clock = Clock(NOON)
    virtual = meter(clock, ciphered=False, capture_period_s=before)
    talk = Talk(virtual, 48).open()
    lived(clock, virtual, at)
    assert talk.set(1, "1.0.0.8.4", 2, u32(after)) == 0
    assert plain(talk.get(1, "1.0.0.8.4")) == after, "what was set"
    assert plain(talk.get(7, "1.0.99.1.0", 4)) == before, "what is in force"
    lived(clock, virtual, 5_400 - at)
    assert stamps(virtual) == captured
    assert plain(talk.get(7, "1.0.99.1.0", 4)) == after
    [told] = [e for e in virtual.ledger.entries() if e["kind"] == "period"]
    boundary = next(t for t in captured if t > at)
    assert (told["profile"], told["period_s"], told["since"]) == (BLOCK_LOAD, after, NOON + boundary)
    total = sum(row[2] for row in virtual.rows(BLOCK_LOAD))
    other = meter(Clock(NOON + captured[-1]), history_s=captured[-1])
    assert abs(total - sum(row[2] for row in other.rows(BLOCK_LOAD))) <= len(captured), "no energy twice, none lost"


@pytest.mark.parametrize("period", [0, 7, 86_401, 1_000])
def test_periods_that_no_meter_has(period):
    virtual = meter(ciphered=False)
    assert Talk(virtual, 48).open().set(1, "1.0.0.8.4", 2, u32(period)) == 250
    assert virtual.ledger.entries() == []


def test_a_period_is_remembered(tmp_path):
    clock = Clock(NOON)
    first = meter(clock, tmp_path)
    clock.at += 100
    first.set_period(1_800)
    lived(clock, first, 4_000)
    first.close()
    second = meter(clock, tmp_path)
    lived(clock, second, 2_000)
    assert stamps(second) == [900, 1_800, 3_600, 5_400]
    second.close()


# ---- firmware and replacement ---------------------------------------------------------------------------------------


def test_another_firmware_captures_other_columns_and_begins_with_empty_rings(tmp_path):
    clock = Clock(NOON)
    virtual = meter(clock, tmp_path, ciphered=False, history_s=86_400)
    before = refs(Talk(virtual, 32).open().get(7, "1.0.99.1.0", 3))
    old_talk = Talk(virtual, 32).open()
    days = virtual.rows(DAILY_LOAD)
    virtual.upgrade("SIM 2.0")
    assert virtual.converse(old_talk.port, b"\x00\x01") is None
    talk = Talk(virtual, 32).open()
    assert plain(talk.get(1, "1.0.0.2.0")) == "SIM 2.0"
    columns = refs(talk.get(7, "1.0.99.1.0", 3))
    assert columns == [*before, (3, "1.0.11.27.0", 2), (3, "1.0.91.27.0", 2)]
    assert refs(talk.get(7, "1.0.94.91.4", 3)) == [(c, name, 3) for c, name, _ in columns[1:]]
    assert virtual.rows(BLOCK_LOAD) == []
    assert virtual.rows(DAILY_LOAD) == days
    assert [row[1] for row in virtual.rows(TRANSACTION)] == [157]
    lived(clock, virtual, 2_000)
    [_, row] = plain(talk.get(7, "1.0.99.1.0"))
    assert len(row) == 8
    assert row[6] > 0
    [told] = [e for e in virtual.ledger.entries() if e["kind"] == "upgrade"]
    assert (told["firmware"], told["cleared"]) == ("SIM 2.0", [BLOCK_LOAD])
    virtual.close()
    again = meter(clock, tmp_path, ciphered=False)
    assert again.rows(BLOCK_LOAD) == virtual.rows(BLOCK_LOAD)
    assert plain(Talk(again, 32).open().get(1, "1.0.0.2.0")) == "SIM 2.0"
    again.close()


def test_another_meter_in_its_place(tmp_path):
    clock = Clock(NOON)
    virtual = meter(clock, tmp_path, ciphered=False, history_s=86_400)
    old = read_ledger(tmp_path / "GXT00017.jsonl")
    used = plain(Talk(virtual, 32).open().get(3, "1.0.1.8.0"))
    talk = Talk(virtual, 32).open()
    virtual.replace("NEW00001", seed=77)
    assert virtual.converse(talk.port, b"\x00\x01") is None
    assert virtual.config.serial == "NEW00001"
    assert virtual.rows(BLOCK_LOAD) == []
    talk = Talk(virtual, 32).open()
    assert plain(talk.get(1, "0.0.96.1.0")) == b"NEW00001"
    assert plain(talk.get(3, "1.0.1.8.0")) != used
    lived(clock, virtual, 900)
    assert read_ledger(tmp_path / "GXT00017.jsonl") == old
    assert [e["captured_at"] for e in read_ledger(tmp_path / "NEW00001.jsonl")] == [NOON + 900]
    with pytest.raises(ConfigMistake):
        virtual.replace("")
    assert plain(Talk(virtual, 32).open().get(1, "0.0.96.1.0")) == b"NEW00001", "a replacement that cannot be is none"
    virtual.close()
