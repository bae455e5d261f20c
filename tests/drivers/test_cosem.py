"""What an association asks in how many exchanges, and of whom: lists, selections, identity, faults gone round."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dcu import obis
from dcu.drivers import axdr
from dcu.drivers.acse import Conformance
from dcu.drivers.cosem import OpenAssociation
from dcu.drivers.dialogue import Dialogue
from dcu.errors import (
    AttributeDenied,
    CaptureMismatch,
    MeterBusy,
    ReplyMalformed,
    WarrantRequired,
    WrongMeter,
)
from dcu.meter import AttributeRef, ByEntry, ByRange, ClassId, MethodRef, ProfileKind, ProfileSpec, Purpose, Quirk
from dcu.obis import LogicalName
from dcu.ports import Described, RowsWanted
from dcu.reading import Column

from .bench import NOW, SERIAL, ZONE, Bench, TestWarrant

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)
VOLTAGE = AttributeRef(ClassId.REGISTER, LogicalName.of("1.0.12.7.0"), 2)
NOTHING = AttributeRef(ClassId.REGISTER, LogicalName.of("1.0.77.77.77"), 2)
SERIAL_REF = AttributeRef(ClassId.DATA, obis.SERIAL_NUMBER, 2)
UNTIL = datetime.fromtimestamp(NOW, UTC)
HOUR = ByRange(UNTIL - timedelta(hours=1), UNTIL)
BLOCK = ProfileSpec("block-load", obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS, ProfileKind.RING)
DAILY = ProfileSpec("daily-load", obis.DAILY_LOAD, obis.DAILY_LOAD_SCALERS, ProfileKind.RING)
NOW_PROFILE = ProfileSpec("instantaneous", obis.INSTANTANEOUS, obis.INSTANTANEOUS_SCALERS, ProfileKind.SNAPSHOT)


class Requests:
    """Counts the requests that leave a dialogue, and can refuse them."""

    def __init__(self, monkeypatch):
        self.sent = []
        self.refuse = lambda _request: None
        ask = Dialogue.ask

        def counted(dialogue, request):
            self.sent.append(request)
            refusal = self.refuse(request)
            if refusal is not None:
                return refusal
            return ask(dialogue, request)

        monkeypatch.setattr(Dialogue, "ask", counted)

    def since(self, mark):
        return [request for request in self.sent[mark:] if request[1] != 2]


@pytest.fixture
def requests(monkeypatch):
    return Requests(monkeypatch)


def with_quirks(bench, *quirks):
    bench.meter = replace(bench.meter, model=replace(bench.meter.model, quirks=frozenset(quirks)))
    return bench


def layout_of(bench):
    with bench.associate() as association:
        return association.layout(obis.BLOCK_LOAD, obis.BLOCK_LOAD_SCALERS)


def test_a_poll_is_one_list_with_its_selection_and_the_serial(requests):
    bench = Bench()
    layout = layout_of(bench)
    mark = len(requests.sent)
    with bench.associate() as association:
        polled = association.poll([CLOCK, VOLTAGE], [RowsWanted(obis.BLOCK_LOAD, layout, HOUR, 900)])
        again = association.poll([CLOCK], [RowsWanted(obis.BLOCK_LOAD, layout, ByEntry(1, 2), 900)])
    first, second = requests.since(mark)
    assert (first[1], first[3]) == (3, 4)  # serial, clock, voltage, rows
    assert (second[1], second[3]) == (3, 2)
    assert len(polled.values[0]) == 12
    assert isinstance(polled.values[1], int)
    assert [row.captured_at.epoch_s % 900 for row in polled.rows[0]] == [0] * 4
    truth = bench.virtual.rows("1.0.99.1.0.255")[-4:]
    assert [row.values for row in polled.rows[0]] == [tuple(row[1:]) for row in truth]
    assert len(again.rows[0]) == 2


def test_a_poll_in_a_small_pdu_is_split_and_the_same():
    bench = Bench(max_pdu=120)
    layout = layout_of(bench)
    with bench.associate() as association:
        refs = [CLOCK, VOLTAGE, NOTHING] * 7
        polled = association.poll(refs, [RowsWanted(obis.BLOCK_LOAD, layout, HOUR, 900)])
    assert len(polled.rows[0]) == 4
    for at in range(0, 21, 3):
        assert len(polled.values[at]) == 12
        assert isinstance(polled.values[at + 2], AttributeDenied)


@pytest.mark.parametrize("why", ["quirk", "not granted", "refused once", "too long"])
def test_without_lists_everything_is_asked_singly(requests, why):
    bench = Bench()
    layout = layout_of(bench)
    if why == "quirk":
        with_quirks(bench, Quirk.NO_LIST)
    elif why != "not granted":
        answer = {"refused once": b"\xd8\x02\x02", "too long": b"\xd8\x01\x04"}[why]
        requests.refuse = lambda request: answer if request[1] == 3 else None
    mark = len(requests.sent)
    with bench.associate() as association:
        if why == "not granted":
            association._conformance &= ~Conformance.MULTIPLE_REFERENCES
        polled = association.poll([CLOCK, NOTHING], [RowsWanted(obis.BLOCK_LOAD, layout, HOUR, 900)])
        assert association.get_list([VOLTAGE, CLOCK])[1][:4] == polled.values[0][:4]
    assert isinstance(polled.values[1], AttributeDenied)
    assert len(polled.rows[0]) == 4
    lists = sum(request[1] == 3 for request in requests.since(mark))
    assert lists == (1 if why in {"refused once", "too long"} else 0)


@pytest.mark.parametrize("answer", [b"\xd8\x01\x01", b"\xd8\x01\x04", b"\xc4\x02\xc0\x01\x00\x00\x00\x01\x01\x0c"])
def test_a_list_that_is_too_long_is_asked_in_short_ones(requests, answer):
    bench = Bench()
    layout_of(bench)
    mark = len(requests.sent)

    def refuse(request):
        too_long = request[1] == 3 and request[3] > 10
        return (
            answer[:2] + request[2:3] + answer[3:] if too_long and answer[0] == 0xC4 else answer if too_long else None
        )

    requests.refuse = refuse
    with bench.associate() as association:
        for _ in range(2):
            values = association.get_list([CLOCK, VOLTAGE, NOTHING] * 12)
            assert [type(value) for value in values] == [bytes, int, AttributeDenied] * 12
    lists = [request[3] for request in requests.since(mark)]
    assert lists == [37, 10, 10, 10, 7, 10, 10, 10, 6]


def test_a_busy_meter_is_not_asked_singly(requests):
    bench = Bench()
    requests.refuse = lambda _request: b"\xd8\x01\x01"
    with pytest.raises(MeterBusy), bench.associate() as association:
        association.get_list([CLOCK, VOLTAGE])
    assert len(requests.sent) == 1


# ---- identity ----


@pytest.mark.parametrize(
    "read",
    [
        lambda a: a.get(CLOCK),
        lambda a: a.get(SERIAL_REF),
        lambda a: a.get_list([CLOCK, VOLTAGE]),
        lambda a: a.poll([CLOCK], []),
        lambda a: a.poll([], [RowsWanted(obis.BLOCK_LOAD, (Column(8, obis.CLOCK, 2),), HOUR)]),
        lambda a: a.describe([BLOCK]),
        lambda a: a.layout(obis.BLOCK_LOAD, None),
        lambda a: a.capture_period_s(obis.BLOCK_LOAD),
        lambda a: a.rows(obis.BLOCK_LOAD, LAYOUT, UNTIL, UNTIL),
        lambda a: a.snapshot(obis.BLOCK_LOAD, LAYOUT),
        lambda a: a.last_rows(obis.BLOCK_LOAD, LAYOUT, 1),
        lambda a: a.oldest_row(obis.BLOCK_LOAD, LAYOUT),
        lambda a: a.identify(),
    ],
)
@pytest.mark.parametrize("lists", [True, False])
def test_nothing_comes_of_another_meter(requests, read, lists):
    bench = Bench() if lists else with_quirks(Bench(), Quirk.NO_LIST)
    layout_of(bench)  # the counter is known now
    bench.virtual.faults.serial = "GXT00000001"
    mark = len(requests.sent)
    with pytest.raises(WrongMeter, match="GXT00000001"), bench.associate() as association:
        assert association.serial == SERIAL
        read(association)
        pytest.fail("nothing of it must be returned")
    assert len(requests.since(mark)) == 1


def test_the_serial_is_asked_once_and_costs_no_exchange(requests):
    bench = Bench()
    layout_of(bench)
    mark = len(requests.sent)
    with bench.associate() as association:
        for _ in range(3):
            association.get(CLOCK)
        association.identify()
    assert [request[1] for request in requests.since(mark)] == [3, 1, 1]


def test_a_write_waits_for_the_serial():
    bench = Bench()
    method = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 1)
    with bench.associate(Purpose.SWITCH) as association:
        warrant = TestWarrant(SERIAL, method, b"\x0f\x00")
        association._identified = False  # as if the client had been opened to read
        bench.virtual.faults.serial = "GXT00000001"
        with pytest.raises(WrongMeter):
            association.act(method, b"\x0f\x00", warrant)
        with pytest.raises(WarrantRequired):
            association.act(method, b"\x0f\x00", None)
    assert warrant.spent == 0


def test_a_meter_that_hides_its_serial_gives_nothing(requests):
    bench = Bench()
    layout_of(bench)
    requests.refuse = lambda request: b"\xc4\x03" + request[2:3] + b"\x02\x01\x03\x00\x11\x2a"
    with pytest.raises(AttributeDenied), bench.associate() as association:
        association.get(CLOCK)


# ---- a meter by script ----


class Script:
    """A data link whose meter gives these A-XDR values by reference; answers with lists where it is asked so."""

    def __init__(self, values):
        self.values = values
        self.asked = []

    def exchange(self, apdu, *, once):
        assert not once
        self.asked.append(apdu)
        if apdu[1] == 1:
            return b"\xc4\x01" + apdu[2:3] + self._result(apdu[3:12])
        at, found = 4, b""
        for _ in range(apdu[3]):
            found += self._result(apdu[at : at + 9])
            at += 10 if apdu[at + 9] == 0 else 11 + _length_of(apdu, at + 11)
        assert at == len(apdu)
        return b"\xc4\x03" + apdu[2:4] + found

    def _result(self, key):
        value = self.values.get(key)
        return b"\x01\x04" if value is None else b"\x00" + value


def _length_of(apdu, at):
    return axdr.decode_at(apdu, at)[1] - at


def key(ref):
    return ref.class_id.to_bytes(2, "big") + ref.logical_name.octets + bytes([ref.attribute])


def scripted(values, **how):
    link = Script({key(ref): value for ref, value in values.items()})
    granted = Conformance.GET | Conformance.MULTIPLE_REFERENCES | Conformance.SELECTIVE_ACCESS
    return OpenAssociation(Dialogue(link, None, lambda: None), granted, ZONE, lambda: 0.0, "M1", **how), link


BUFFER = AttributeRef(ClassId.PROFILE_GENERIC, obis.BLOCK_LOAD, 2)
LAYOUT = (Column(8, obis.CLOCK, 2), Column(3, LogicalName.of("1.0.12.27.0"), 2))
MOMENT = bytes.fromhex("090C07EA0B01FF000F0000800000")


def test_one_value_that_cannot_be_read_costs_itself():
    association, link = scripted({CLOCK: MOMENT, VOLTAGE: b"\x63", SERIAL_REF: b"\x0a\x02ab"})
    first, second, third = association.get_list([CLOCK, VOLTAGE, SERIAL_REF])
    assert (first, third) == (MOMENT[2:], "ab")
    assert isinstance(second, ReplyMalformed)
    assert len(link.asked) == 4
    with pytest.raises(ReplyMalformed):
        association.get(VOLTAGE)


def test_rows_of_other_columns_cost_themselves():
    association, link = scripted({CLOCK: MOMENT, BUFFER: b"\x01\x01\x02\x01" + MOMENT, VOLTAGE: b"\x11\x07"})
    wanted = RowsWanted(obis.BLOCK_LOAD, LAYOUT, HOUR, 900)
    polled = association.poll([CLOCK], [wanted, wanted])
    assert [type(rows) for rows in polled.rows] == [CaptureMismatch] * 2
    assert polled.values == (MOMENT[2:],)
    assert len(link.asked) == 1


def test_a_period_is_asked_for_only_where_times_are_compressed_away():
    row = b"\x02\x02" + MOMENT + b"\x11\x01"
    period = AttributeRef(ClassId.PROFILE_GENERIC, obis.BLOCK_LOAD, 4)
    values = {BUFFER: b"\x01\x02" + row + b"\x02\x02\x00\x11\x02", period: b"\x12\x03\x84", CLOCK: MOMENT}
    association, link = scripted(values)
    [rows] = association.poll([CLOCK], [RowsWanted(obis.BLOCK_LOAD, LAYOUT, None)]).rows
    assert [r.captured_at.at.minute for r in rows] == [15, 30]
    assert len(link.asked) == 2
    plain = {BUFFER: b"\x01\x01" + row, CLOCK: MOMENT}
    association, link = scripted(plain)
    association.poll([CLOCK], [RowsWanted(obis.BLOCK_LOAD, LAYOUT, None)])
    assert len(link.asked) == 1
    values[period] = b"\x00"
    association, _ = scripted(values)
    [rows] = association.poll([], [RowsWanted(obis.BLOCK_LOAD, LAYOUT, None)]).rows
    assert isinstance(rows, ReplyMalformed)


@pytest.mark.parametrize("known_s", [0, 900])
def test_compressed_times_go_by_the_period_that_the_meter_has_now(known_s):
    """It may have been set since anybody asked; rows at other times than their own would be invented ones."""
    period = AttributeRef(ClassId.PROFILE_GENERIC, obis.BLOCK_LOAD, 4)
    buffer = b"\x01\x02\x02\x02" + MOMENT + b"\x11\x01\x02\x02\x00\x11\x02"
    association, link = scripted({BUFFER: buffer})
    for period_s in (900, 3600):
        link.values[key(period)] = b"\x12" + period_s.to_bytes(2, "big")
        [rows] = association.poll([], [RowsWanted(obis.BLOCK_LOAD, LAYOUT, HOUR, known_s)]).rows
        first, second = (row.captured_at.epoch_s for row in rows)
        assert second - first == period_s


# ---- what a meter says of its profiles ----


def test_all_profiles_are_described_in_one_list_where_scaler_profiles_say_all(requests):
    bench = Bench()
    specs = [BLOCK, DAILY, NOW_PROFILE]
    with bench.associate() as association:
        singly = [association.layout(spec.logical_name, spec.scalers) for spec in specs]
    mark = len(requests.sent)
    with bench.associate() as association:
        found = association.describe(specs)
    assert [described.layout for described in found] == singly
    assert (found[0].period_s, found[1].period_s) == (900, 86_400)
    assert found[0].entries_in_use == len(bench.virtual.rows("1.0.99.1.0.255")) <= found[0].entries
    assert not found[0].newest_first
    assert len(requests.since(mark)) <= 2


def test_a_profile_that_cannot_be_used_leaves_the_others():
    gone = ProfileSpec("gone", LogicalName.of("1.0.99.77.0"), None, ProfileKind.RING)
    bench = Bench()
    with bench.associate() as association:
        found = association.describe([gone, BLOCK])
    assert isinstance(found[0], AttributeDenied)
    assert isinstance(found[1], Described)


def attribute(spec, number):
    return AttributeRef(ClassId.PROFILE_GENERIC, spec.logical_name, number)


def capture(class_id, name, number, index=0):
    return (
        b"\x02\x04\x12"
        + class_id.to_bytes(2, "big")
        + b"\x09\x06"
        + name.octets
        + bytes([0x0F, number])
        + (b"\x12" + index.to_bytes(2, "big"))
    )


def described(kind, **changed):
    """A profile of clock and one register, with these attributes changed; `None` takes one away."""
    spec = ProfileSpec("x", obis.BLOCK_LOAD, None, kind)
    name = LAYOUT[1].logical_name
    values = {
        attribute(spec, 3): b"\x01\x02" + capture(8, obis.CLOCK, 2) + capture(3, name, 2),
        attribute(spec, 4): b"\x06\x00\x00\x03\x84",
        attribute(spec, 5): b"\x16\x02",
        attribute(spec, 7): b"\x06\x00\x00\x00\x05",
        attribute(spec, 8): b"\x06\x00\x00\x00\x09",
        AttributeRef(3, name, 3): b"\x02\x02\x0f\xff\x16\x23",
    }
    for number, value in changed.items():
        values[AttributeRef(3, name, 3) if number == "scaler" else attribute(spec, int(number[1:]))] = value
    association, _ = scripted({ref: value for ref, value in values.items() if value is not None})
    return association.describe([spec])[0]


def test_what_a_meter_says_and_leaves_out():
    layout = (LAYOUT[0], replace(LAYOUT[1], scaler=-1, unit=35))
    assert described(ProfileKind.RING) == Described(layout, 900, 9, 5, newest_first=True)
    assert described(ProfileKind.RING, a5=None, a8=None) == Described(layout, 900, 0, 5, newest_first=False)
    assert described(ProfileKind.EVENTS, a4=None).period_s == 0
    assert described(ProfileKind.RING, scaler=None).layout == LAYOUT
    for kind, changed in (
        (ProfileKind.RING, {"a4": None}),
        (ProfileKind.RING, {"a4": b"\x03\x01"}),
        (ProfileKind.RING, {"a7": b"\x10\xff\xff"}),
        (ProfileKind.RING, {"a3": b"\x01\x00"}),
        (ProfileKind.RING, {"a3": b"\x01\x01" + capture(3, obis.CLOCK, 2)[:-5] + MOMENT}),
        (ProfileKind.RING, {"scaler": b"\x02\x01\x0f\xff"}),
    ):
        assert isinstance(described(kind, **changed), AttributeDenied | ReplyMalformed | CaptureMismatch)


# ---- only by entry ----


def test_a_meter_without_range_access_is_searched_by_entry(requests):
    bench = with_quirks(Bench(), Quirk.NO_RANGE)
    layout = layout_of(bench)
    mark = len(requests.sent)
    with bench.associate() as association:
        everything = association.snapshot(obis.BLOCK_LOAD, layout)
        for first, last in ((0, 3), (5, 9), (20, 23), (3, 3)):
            since, until = everything[first].captured_at.at, everything[last].captured_at.at
            assert association.rows(obis.BLOCK_LOAD, layout, since, until) == everything[first : last + 1]
            wanted = RowsWanted(obis.BLOCK_LOAD, layout, ByRange(since, until), 900)
            polled = association.poll([CLOCK], [wanted])
            assert polled.rows[0] == everything[first : last + 1]
            assert len(polled.values[0]) == 12
    assert not any(b"\x12\x00\x08\x09\x06" in request for request in requests.since(mark))
