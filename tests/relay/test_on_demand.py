"""The errand of a `read`, before a meter that answers what a test put there: what it asks, and what it brings."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import cbor2
import pytest

from dcu import obis
from dcu.command import Command, Operation, Refusal, State
from dcu.config.meter_models import shipped
from dcu.errors import AttributeDenied, CaptureMismatch, LinkLost, MeterSilent, ReplyMalformed, WrongMeter
from dcu.mailbox import Mailbox, Stop
from dcu.meter import AttributeRef, Meter, Purpose
from dcu.reading import NO_TIME, ClockState, Column, MeterTime, ProfileReading, Row, date_time, from_epoch
from dcu.record import LARGEST_BYTES, encode_profile, named_layout
from dcu.relay.case import Evidence
from dcu.relay.executor import Place
from dcu.relay.letters import Brought, Fell
from dcu.relay.on_demand import OnDemand
from tests.relay.room import Room, evidence
from tests.relay.world import METER, NOW, HandClock

ZONE = ZoneInfo("Asia/Kolkata")
OWN_WORD = "GXT-ITSELF"  # the serial as the meter says it
LAYOUT = (Column(8, obis.CLOCK, 2), Column(1, obis.LogicalName.of("0.0.96.1.0"), 2))
MODEL = shipped()["is15959-1ph"]
LOAD, LOAD_SCALERS = str(obis.BLOCK_LOAD), str(obis.BLOCK_LOAD_SCALERS)
PRESENT, PRESENT_SCALERS = str(obis.INSTANTANEOUS), str(obis.INSTANTANEOUS_SCALERS)
PLATE, STRANGE = str(obis.NAMEPLATE), "1.0.99.77.0.255"


class Answers:
    """Line and association in one. `asked` is all that it was asked, dates as their text with the zone's offset."""

    serial = OWN_WORD

    def __init__(self, value=None, rows=()):
        self.value, self.given, self.asked = value, list(rows), []

    @contextmanager
    def associate(self, meter, purpose):
        assert (meter.serial, purpose) == (METER, Purpose.READ)
        yield self

    def get(self, ref):
        self.asked.append(("get", ref))
        return self.value

    def layout(self, profile, scalers):
        self.asked.append(("layout", str(profile), scalers and str(scalers)))
        return LAYOUT

    def snapshot(self, profile, layout):
        return self._rows("snapshot", profile, layout)

    def last_rows(self, profile, layout, count):
        return self._rows("last", profile, layout, count)

    def rows(self, profile, layout, since, until):
        return self._rows("rows", profile, layout, since.isoformat(), until.isoformat())

    def _rows(self, how, profile, layout, *which):
        assert layout is LAYOUT
        self.asked.append((how, str(profile), *which))
        return self.given


class Errand(OnDemand):
    def __init__(self, **members):
        self.clock, self.letters = HandClock(), Mailbox(Stop())
        command = Command("c-1", Operation.READ, "hes", "d", "j", METER, None, 0, None, 1, **members)
        meter = Meter(METER, "north", MODEL, 17, "JH-RNC")
        super().__init__(command, meter, Place(self.letters, self.clock, ZONE))

    def brought(self, answers):
        """The one letter that it leaves, which is not urgent."""
        self.run(answers)
        assert self.letters.take_urgent() is None
        letter = self.letters.take(0.0)
        assert isinstance(letter, Brought) and letter.key == ("hes", "c-1") and len(self.letters) == 0
        assert letter.evidence == Evidence(OWN_WORD)
        return letter


def row(at_s, *values):
    at = datetime.fromtimestamp(at_s, ZONE)
    return Row(MeterTime(at, 0, date_time(at, ZONE)), values)


def reading(*rows):
    """As the errand puts it together by the clock of `HandClock`."""
    return ProfileReading(METER, obis.BLOCK_LOAD, LAYOUT, rows, from_epoch(NOW), ClockState.TRUSTED)


# ---- what it asks ---------------------------------------------------------------------------------------------------

ASKED = {
    # members of the command, what the meter is asked for behind the layout
    "the present": ({"profile": PRESENT}, PRESENT_SCALERS, ("snapshot", PRESENT)),
    "the present, whatever the bounds": ({"profile": PRESENT, "since": 1}, PRESENT_SCALERS, ("snapshot", PRESENT)),
    "the nameplate": ({"profile": PLATE}, None, ("snapshot", PLATE)),
    "a ring without bounds: its newest rows": ({"profile": LOAD}, LOAD_SCALERS, ("last", LOAD, 8)),
    "a profile that the model has not": ({"profile": STRANGE}, None, ("last", STRANGE, 8)),
    "between two moments": (
        {"profile": LOAD, "since": 1_795_000_000, "until": 1_795_086_400},
        LOAD_SCALERS,
        ("rows", LOAD, "2026-11-18T16:36:40+05:30", "2026-11-19T16:36:40+05:30"),
    ),
    "from a moment on: to a day ahead of the box": (
        {"profile": LOAD, "since": 1_795_000_000},
        LOAD_SCALERS,
        ("rows", LOAD, "2026-11-18T16:36:40+05:30", "2026-11-24T12:40:00+05:30"),
    ),
    "up to a moment": (
        {"profile": LOAD, "until": 1_795_000_000},
        LOAD_SCALERS,
        ("rows", LOAD, "1970-01-01T05:30:00+05:30", "2026-11-18T16:36:40+05:30"),
    ),
}


@pytest.mark.parametrize("what", ASKED)
def test_rows_are_asked_for_as_the_profile_gives_them(what):
    members, scalers, asked = ASKED[what]
    answers = Answers(rows=[row(NOW, 5), row(NOW + 1, 6)])
    brought = Errand(**members).brought(answers)
    assert answers.asked == [("layout", members["profile"], scalers), asked]
    assert brought.said == {"rows": 2}
    ((body, layout),) = brought.records
    record = cbor2.loads(body)
    assert (record["meter"], record["profile"], layout) == (METER, members["profile"], LAYOUT)
    assert record["rows"] == [[NOW, 5], [NOW + 1, 6]]


def test_a_day_ahead_is_counted_in_whole_seconds():
    errand, answers = Errand(profile=LOAD, since=NOW), Answers()
    errand.clock.pass_s(0.9)
    errand.brought(answers)
    assert answers.asked[1] == ("rows", LOAD, "2026-11-23T12:40:00+05:30", "2026-11-24T12:40:00+05:30")


def test_where_there_are_no_rows_there_are_no_records():
    brought = Errand(profile=LOAD).brought(Answers())
    assert (brought.records, brought.said) == ((), {"rows": 0})


def test_a_reading_has_the_boxs_time_and_where_that_is_not_known_its_uptime():
    errand = Errand(profile=LOAD)
    ((body, _),) = errand.brought(Answers(rows=[row(NOW, 5)])).records
    assert body == encode_profile(reading(row(NOW, 5)))
    errand.clock.trusted = ClockState.UNTRUSTED
    ((body, _),) = errand.brought(Answers(rows=[row(NOW, 5)])).records
    record = cbor2.loads(body)
    assert (record["read_at"], record["clock"]) == (NOW, "untrusted")
    assert (record["boot"], record["uptime_s"]) == ("boot-1", 1000)


def test_a_row_without_a_time_has_that_of_the_reading_to_the_second():
    errand = Errand(profile=PLATE)
    errand.clock.pass_s(0.75)
    plain, dated = Row(NO_TIME, ("x",)), row(NOW - 9, "y")
    at = datetime(2026, 11, 23, 12, 40, tzinfo=ZONE)
    assert errand._dated(plain) == Row(MeterTime(at, 0, date_time(at, ZONE)), ("x",))
    assert errand._dated(dated) is dated
    ((body, _),) = errand.brought(Answers(rows=[plain, dated])).records
    assert cbor2.loads(body)["rows"] == [[NOW, "x"], [NOW - 9, "y"]]


# ---- records of a size that fits ------------------------------------------------------------------------------------


def filled(count, octets):
    """So many rows, whose one record would have so many octets."""
    last = octets // 2
    rows = [row(NOW + n, bytes(300)) for n in range(count - 1)] + [row(NOW + count - 1, bytes(last))]
    last += octets - len(encode_profile(reading(*rows)))
    rows[-1] = row(NOW + count - 1, bytes(last))
    assert len(encode_profile(reading(*rows))) == octets
    return rows


def numbers(brought):
    """Of the rows of each record, in seconds behind NOW."""
    return [[each[0] - NOW for each in cbor2.loads(body)["rows"]] for body, _ in brought.records]


@pytest.mark.parametrize(
    ("count", "octets", "records"),
    [
        (2, 60_000, [[0, 1]]),
        (2, 60_001, [[0], [1]]),
        (3, 60_001, [[0], [1, 2]]),
        (5, 60_001, [[0, 1], [2, 3, 4]]),
        (1, 60_001, [[0]]),  # one row is not cut
        (1, LARGEST_BYTES - len(named_layout(LAYOUT)[0]), [[0]]),
    ],
)
def test_rows_that_are_too_many_for_one_record_are_several(count, octets, records):
    brought = Errand(profile=LOAD).brought(Answers(rows=filled(count, octets)))
    assert numbers(brought) == records and brought.said == {"rows": count}


@pytest.mark.parametrize("count", [64, 65])
def test_a_read_brings_so_many_records_and_no_more(count):
    """Each row is more than the half of a record."""
    errand, answers = Errand(profile=LOAD), Answers(rows=[row(NOW + n, bytes(30_000)) for n in range(count)])
    if count <= 64:
        assert numbers(errand.brought(answers)) == [[n] for n in range(count)]
        return
    with pytest.raises(ReplyMalformed, match="more than one read may bring"):
        errand.run(answers)
    assert len(errand.letters) == 0


def test_a_row_that_fits_no_frame_is_refused():
    errand = Errand(profile=LOAD)
    with pytest.raises(ReplyMalformed, match="a record of"):
        errand.run(Answers(rows=[row(NOW, bytes(LARGEST_BYTES))]))
    assert len(errand.letters) == 0


# ---- one attribute --------------------------------------------------------------------------------------------------

TOLD = {
    # what the meter said, what is told
    "nought": (0, 0),
    "a number below it": (-7, -7),
    "the highest number": ((1 << 64) - 1, (1 << 64) - 1),
    "true": (True, "true"),
    "false": (False, "false"),
    "nothing": (None, "null"),
    "octets": (b"\x01\xff", "01ff"),
    "no text": ("", ""),
    "text from end to end": (" as said~", " as said~"),
    "text that is not printable": ("no\x1f\x7f\u00e9", "no???"),
    "an empty list": ([], "[]"),
    "lists": ([1, ["a", b"\n", None], True], "[1,[a,0a,null],true]"),
}


@pytest.mark.parametrize("what", TOLD)
def test_an_attribute_is_told_as_a_number_or_as_text(what):
    value, told = TOLD[what]
    answers = Answers(value)
    brought = Errand(attribute="3:1.0.12.7.0.255/2").brought(answers)
    assert answers.asked == [("get", AttributeRef(3, obis.LogicalName.of("1.0.12.7.0"), 2))]
    assert (brought.said, brought.records) == ({"value": told}, ()) and type(brought.said["value"]) is type(told)


LONGEST = [
    # longest values, and each with one octet more
    ("x" * 4096, "x" * 4097),
    ('"' * 2048, '"' * 2048 + "x"),  # JSON spells it with a backslash
    (bytes(2048), bytes(2049)),
]


@pytest.mark.parametrize(("value", "longer"), LONGEST, ids=["text", "quotes", "octets"])
def test_the_longest_value_comes_whole_in_a_receipt_that_verifies_and_a_longer_one_is_refused(value, longer):
    attribute = "3:1.0.12.7.0.255/2"
    brought = Errand(attribute=attribute).brought(Answers(value))
    room = Room()
    key = room.accept("read", attribute=attribute)
    assert room.life.bring(replace(brought, key=key, evidence=evidence())) is State.DONE
    assert room.receipts()[-1].claims["readback"] == [{"value": value.hex() if isinstance(value, bytes) else value}]
    with pytest.raises(ReplyMalformed, match="a receipt tells"):
        Errand(attribute=attribute).run(Answers(longer))


# ---- where nothing is brought ---------------------------------------------------------------------------------------

FAULTS = [
    (WrongMeter("another serial"), Refusal.E_METER),
    (AttributeDenied("no such object"), Refusal.E_METER),
    (CaptureMismatch("two columns"), Refusal.E_METER),
    (ReplyMalformed("no A-XDR"), Refusal.E_METER),
    (MeterSilent("no answer"), Refusal.E_UNREACHABLE),
    (LinkLost("gone"), Refusal.E_UNREACHABLE),
    (RuntimeError("our bug"), Refusal.E_UNREACHABLE),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS, ids=lambda each: type(each).__name__)
def test_what_a_meter_refuses_and_what_was_not_reached(fault, code):
    errand = Errand(profile=LOAD)
    errand.failed(fault)
    assert errand.letters.take_urgent() is None
    assert errand.letters.take(0.0) == Fell(("hes", "c-1"), code, str(fault))
