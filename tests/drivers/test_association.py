"""Associations with a virtual meter that shares no code with the drivers, and with one that lies."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dcu import obis
from dcu.drivers import acse, hdlc
from dcu.drivers.acse import Conformance
from dcu.drivers.counters import BLOCK
from dcu.errors import (
    AssociationRefused,
    AttributeDenied,
    CounterExhausted,
    DcuError,
    LineFault,
    LinkLost,
    MeterSilent,
    Preempted,
    ReplyForged,
    WarrantRequired,
    WrongMeter,
)
from dcu.meter import AttributeRef, ClassId, MethodRef, Protection, Purpose
from dcu.obis import LogicalName
from dcu.reading import meter_time

from .bench import KEYS, NOW, SERIAL, ZONE, Bench, TestWarrant
from .line import frame_of

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)
OUTPUT = AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 2)
DISCONNECT = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 1)
RECONNECT = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 2)
MESSAGE = AttributeRef(ClassId.DATA, obis.CONSUMER_MESSAGE, 2)
PARAMETER = b"\x0f\x00"
PUBLIC, READER, SETTING = 16, 32, 48


def controls(bench):
    return [frame_of(octets).control for octets in bench.line.sent]


def information_frames(bench):
    return [octets for octets in bench.line.sent if frame_of(octets).is_information]


@pytest.mark.parametrize("mechanism", ["secret", "gmac"])
@pytest.mark.parametrize("purpose", list(Purpose))
def test_each_client_opens_reads_and_releases(purpose, mechanism):
    bench = Bench(mechanism=mechanism)
    with bench.associate(purpose) as association:
        assert association.serial == SERIAL
        clock = meter_time(association.get(CLOCK), ZONE)
        assert clock.epoch_s == int(NOW)
    assert controls(bench)[-1] == hdlc.DISC
    assert controls(bench).count(hdlc.DISC) == controls(bench).count(hdlc.SNRM)


def test_counters_start_above_what_the_meter_has_seen_and_are_reserved_ahead():
    bench = Bench()
    with bench.associate() as association:
        for _ in range(BLOCK):
            association.get(CLOCK)
    assert {(serial, sap) for serial, sap, _, _ in bench.vault.reserved} == {(SERIAL, READER)}
    firsts = [first for _, _, first, _ in bench.vault.reserved]
    assert firsts == [firsts[0], firsts[0] + BLOCK]
    # A process that begins anew with an empty vault learns from the meter itself what was used.
    again = Bench()
    again.virtual = bench.virtual
    with again.associate() as association:
        association.get(CLOCK)
    assert again.vault.reserved[0][2] > firsts[0] + BLOCK


def test_no_counter_no_octet():
    bench = Bench()
    bench.vault.top[SERIAL, READER] = (1 << 32) - 10
    with pytest.raises(CounterExhausted), bench.associate():
        pass
    assert not any(b"\x21\x13" in octets for octets in information_frames(bench))


def test_the_public_client_is_asked_for_the_counter_only_once():
    bench = Bench()
    for _ in range(3):
        with bench.associate():
            pass
    publics = [o for o in bench.line.sent if frame_of(o).source == hdlc.client_address(PUBLIC)]
    assert sum(frame_of(octets).control == hdlc.SNRM for octets in publics) == 1


def test_another_meter_at_that_address():
    bench = Bench()
    bench.virtual.faults.serial = "GXT00000001"
    for purpose in Purpose:
        with pytest.raises(WrongMeter, match="GXT00000001"), bench.associate(purpose) as association:
            association.get(CLOCK)
            pytest.fail("nothing of it must be returned")
        assert controls(bench)[-1] == hdlc.DISC


@pytest.mark.parametrize(
    ("secrets", "purpose", "error"),
    [
        ({"unicast_key": bytes(16)}, Purpose.READ, DcuError),
        ({"authentication_key": bytes(16)}, Purpose.READ, DcuError),
        ({"unicast_key": b"short"}, Purpose.READ, AssociationRefused),
        ({"lls_secret": b"wrong"}, Purpose.READ, AssociationRefused),
        ({"hls_secret": bytes(16)}, Purpose.SWITCH, AssociationRefused),
        ({"hls_secret": b"short"}, Purpose.SWITCH, AssociationRefused),
    ],
)
def test_wrong_secrets(secrets, purpose, error):
    bench = Bench().with_secrets(**secrets)
    with pytest.raises(error) as caught, bench.associate(purpose):
        pytest.fail("must not be lent")
    shown = str(caught.value) + repr(caught.value)
    for secret in (KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
    assert not bench.book.knows(SERIAL, READER) or purpose is not Purpose.READ


@pytest.mark.parametrize("mechanism", ["secret", "gmac"])
def test_our_own_challenge_is_not_answered(mechanism, monkeypatch):
    # Who answers it proves to an impostor what the impostor then shows to us.
    bench, sent = Bench(mechanism=mechanism), []
    build, parse = acse.aarq, acse.parse_aare

    def remember(mechanism, initiate, *, title, value):
        sent.append(value)
        return build(mechanism, initiate, title=title, value=value)

    def reflect(octets, mechanism, *, ciphered):
        granted, initiated = parse(octets, mechanism, ciphered=ciphered)
        return (replace(granted, challenge=sent[-1]) if granted.challenge else granted), initiated

    monkeypatch.setattr(acse, "aarq", remember)
    monkeypatch.setattr(acse, "parse_aare", reflect)
    with pytest.raises(ReplyForged, match="own challenge"), bench.associate(Purpose.SWITCH):
        pytest.fail("must not be lent")
    assert len(set(sent)) == len(sent)


@pytest.mark.parametrize("fault", ["bad_tag", "lower_counter", "clear_answer"])
def test_forged_answers(fault):
    bench = Bench()
    with pytest.raises(ReplyForged), bench.associate() as association:
        association.get(CLOCK)
        setattr(bench.virtual.faults, fault, True)
        association.get(CLOCK)
        association.get(CLOCK)
    assert not bench.book.knows(SERIAL, READER)


@pytest.mark.parametrize("at", range(14))
def test_a_meter_that_falls_silent_anywhere_is_silent(at):
    bench = Bench()
    heard = []

    def deaf_after(octets):
        heard.append(octets)
        return octets if len(heard) <= at else None

    bench.change = deaf_after
    began = bench.line.time.now_s
    with pytest.raises((MeterSilent, LinkLost)), bench.associate() as association:
        for _ in range(10):
            association.get(CLOCK)
    assert bench.line.time.now_s - began < 15


def test_first_error_is_not_masked_by_the_release():
    bench = Bench()
    with pytest.raises(KeyError, match="mine"), bench.associate():
        bench.change = lambda _octets: None
        raise KeyError("mine")


def test_reads_survive_a_lossy_line():
    bench = Bench()
    count = iter(range(10_000))
    bench.change = lambda octets: None if next(count) % 5 == 4 else octets
    bench.garble = lambda octets: None if next(count) % 7 == 6 else octets
    with bench.associate() as association:
        layout = association.layout(obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS)
        assert len(association.last_rows(obis.BLOCK_LOAD, layout, 5)) == 5


# ---- reads ----


def test_get_list_keeps_order_and_names_what_was_refused():
    bench = Bench()
    serial = AttributeRef(ClassId.DATA, obis.SERIAL_NUMBER, 2)
    nothing = AttributeRef(ClassId.REGISTER, LogicalName.of("1.0.77.77.77"), 2)
    with bench.associate() as association:
        values = association.get_list([serial, nothing, CLOCK] * 12)
        assert association.get_list([]) == []
        with pytest.raises(AttributeDenied, match="77.77"):
            association.get(nothing)
        assert association.get(serial) in {SERIAL, SERIAL.encode()}
    assert len(values) == 36
    for at in range(0, 36, 3):
        assert values[at] in {SERIAL, SERIAL.encode()}
        assert isinstance(values[at + 1], AttributeDenied)
        assert len(values[at + 2]) == 12


@pytest.mark.parametrize(
    ("name", "scalers"),
    [
        (obis.INSTANTANEOUS, obis.INSTANTANEOUS_SCALERS),
        (obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS),
        (obis.DAILY_LOAD, obis.DAILY_LOAD_SCALERS),
    ],
    ids=str,
)
def test_layout_by_scaler_profile_and_by_each_register_agree(name, scalers):
    bench = Bench()
    with bench.associate() as association:
        layout = association.layout(name, scalers)
        assert association.layout(name, None) == layout
        assert association.layout(name, LogicalName.of("1.0.94.91.77")) == layout
    assert layout[0].logical_name == obis.CLOCK
    scaled = [column for column in layout if column.scaler is not None]
    assert scaled
    assert all(column.unit is not None and column.class_id in {3, 4} for column in scaled)


def test_block_load_rows_are_the_meters_own():
    bench = Bench()
    with bench.associate() as association:
        layout = association.layout(obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS)
        assert association.capture_period_s(obis.BLOCK_LOAD) == 900
        until = datetime.fromtimestamp(NOW, UTC)
        all_rows = association.rows(obis.BLOCK_LOAD, layout, until - timedelta(hours=6), until)
        snapshot = association.snapshot(obis.BLOCK_LOAD, layout)
        newest = association.last_rows(obis.BLOCK_LOAD, layout, 3)
        oldest = association.oldest_row(obis.BLOCK_LOAD, layout)
        one = association.rows(obis.BLOCK_LOAD, layout, all_rows[4].captured_at.at, all_rows[4].captured_at.at)
        none = association.rows(obis.BLOCK_LOAD, layout, until + timedelta(days=1), until + timedelta(days=2))
        assert association.last_rows(obis.BLOCK_LOAD, layout, 0) == []
    truth = bench.virtual.rows("1.0.99.1.0.255")
    assert len(all_rows) == len(truth) >= 23
    assert [row.values for row in all_rows] == [tuple(row[1:]) for row in truth]
    steps = {b.captured_at.epoch_s - a.captured_at.epoch_s for a, b in itertools.pairwise(all_rows)}
    assert steps == {900}
    assert snapshot == all_rows
    assert newest == all_rows[-3:]
    assert oldest == all_rows[0]
    assert one == [all_rows[4]]
    assert none == []


def test_a_long_profile_comes_in_blocks():
    bench = Bench(max_pdu=256)
    with bench.associate() as association:
        layout = association.layout(obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS)
        rows = association.snapshot(obis.BLOCK_LOAD, layout)
    assert len(rows) == len(bench.virtual.rows("1.0.99.1.0.255"))


@pytest.mark.parametrize("missing", [Conformance.MULTIPLE_REFERENCES, Conformance.SELECTIVE_ACCESS])
def test_what_a_meter_does_not_grant_is_done_without(missing):
    bench = Bench()
    with bench.associate() as association:
        layout = association.layout(obis.BLOCK_LOAD, None)
        association._conformance &= ~missing
        assert association.layout(obis.BLOCK_LOAD, None) == layout
        everything = association.snapshot(obis.BLOCK_LOAD, layout)
        since, until = everything[3].captured_at.at, everything[6].captured_at.at
        assert association.rows(obis.BLOCK_LOAD, layout, since, until) == everything[3:7]
        assert association.last_rows(obis.BLOCK_LOAD, layout, 2) == everything[-2:]
        assert association.oldest_row(obis.BLOCK_LOAD, layout) == everything[0]
        refused = association.get_list([AttributeRef(3, LogicalName.of("1.0.77.77.77"), 2), CLOCK])
    assert isinstance(refused[0], AttributeDenied)
    assert len(refused[1]) == 12


@pytest.mark.parametrize("purpose", [Purpose.READ, Purpose.SWITCH])
def test_a_meter_without_ciphering(purpose):
    bench = Bench(ciphered=False)
    model = bench.meter.model
    clear = {which: replace(spec, protection=Protection.NONE) for which, spec in model.associations.items()}
    bench.meter = replace(bench.meter, model=replace(model, associations=clear))
    with bench.associate(purpose) as association:
        assert meter_time(association.get(CLOCK), ZONE).epoch_s == int(NOW)
    assert bench.vault.reserved == []


@pytest.mark.parametrize("octets", [1, 2, 4])
def test_address_sizes(octets):
    bench = Bench(address={1: 0, 2: 17, 4: 300}[octets], address_octets=octets)
    with bench.associate() as association:
        assert association.serial == SERIAL


def test_give_way_between_two_exchanges():
    bench = Bench()
    with pytest.raises(Preempted), bench.associate() as association:
        association.get(CLOCK)
        before = len(bench.line.sent)

        def urgent():
            raise Preempted("a relay errand waits")

        bench.give_way = urgent
        association.get(CLOCK)
    assert len(bench.line.sent) - before == 2  # RLRQ and DISC, and nothing else
    assert controls(bench)[-1] == hdlc.DISC


# ---- what changes a meter ----


@pytest.mark.parametrize("mechanism", ["secret", "gmac"])
def test_relay_moves_with_a_warrant(mechanism):
    bench = Bench(mechanism=mechanism)
    with bench.associate(Purpose.SWITCH) as association:
        assert association.get(OUTPUT) is True
        warrant = TestWarrant(SERIAL, DISCONNECT, PARAMETER)
        warrant.line = bench.line
        before = len(bench.line.sent)
        association.act(DISCONNECT, PARAMETER, warrant)
        assert warrant.spent == 1
        assert warrant.sent_before == before  # spent with nothing sent in between
        assert len(bench.line.sent) == before + 1
        assert association.get(OUTPUT) is False
        association.act(RECONNECT, PARAMETER, TestWarrant(SERIAL, RECONNECT, PARAMETER))
        assert association.get(OUTPUT) is True


def test_nothing_is_sent_without_the_right_warrant():
    bench = Bench()
    with bench.associate(Purpose.SWITCH) as association:
        before = len(bench.line.sent)
        spent = TestWarrant(SERIAL, DISCONNECT, PARAMETER)
        spent.spent = 1
        for wrong in (
            None,
            object(),
            spent,
            TestWarrant("GXT00000001", DISCONNECT, PARAMETER),
            TestWarrant(SERIAL, RECONNECT, PARAMETER),
            TestWarrant(SERIAL, DISCONNECT, b"\x0f\x01"),
        ):
            with pytest.raises(WarrantRequired):
                association.act(DISCONNECT, PARAMETER, wrong)
            with pytest.raises(WarrantRequired):
                association.set(MESSAGE, b"\x09\x01x", wrong)
        assert len(bench.line.sent) == before
        assert association.get(OUTPUT) is True


@pytest.mark.parametrize("loss", ["answer lost", "answer damaged", "request lost", "request damaged"])
def test_an_action_is_never_sent_again(loss):
    bench = Bench()
    damage = lambda octets: octets[:-4] + bytes([octets[-4] ^ 1]) + octets[-3:]  # noqa: E731
    with pytest.raises(LineFault), bench.associate(Purpose.SWITCH) as association:
        before = len(information_frames(bench))
        if loss.startswith("answer"):
            bench.garble = damage if "damaged" in loss else lambda _octets: None
        else:
            bench.change = damage if "damaged" in loss else lambda _octets: None
        association.act(DISCONNECT, PARAMETER, TestWarrant(SERIAL, DISCONNECT, PARAMETER))
    assert len(information_frames(bench)) == before + 1
    bench.garble = bench.change = lambda octets: octets
    with bench.associate(Purpose.SWITCH) as association:
        assert association.get(OUTPUT) is loss.startswith("request")


def test_set_a_message():
    bench = Bench()
    text = b"\x09\x05hello"
    with bench.associate(Purpose.SWITCH) as association:
        association.set(MESSAGE, text, TestWarrant(SERIAL, MESSAGE, text))
        assert association.get(MESSAGE) == b"hello"


def test_a_reader_may_not_switch():
    bench = Bench()
    with bench.associate(Purpose.READ) as association:
        with pytest.raises(DcuError):
            association.act(DISCONNECT, PARAMETER, TestWarrant(SERIAL, DISCONNECT, PARAMETER))
    with bench.associate(Purpose.SWITCH) as association:
        assert association.get(OUTPUT) is True


def test_a_request_longer_than_the_meter_takes_spends_nothing():
    bench = Bench(max_pdu=200)
    text = b"\x09\x82\x01\x00" + bytes(256)
    warrant = TestWarrant(SERIAL, MESSAGE, text)
    with bench.associate(Purpose.SWITCH) as association:
        before = len(bench.line.sent)
        with pytest.raises(DcuError, match="octets a request"):
            association.set(MESSAGE, text, warrant)
        assert len(bench.line.sent) == before
    assert warrant.spent == 0
