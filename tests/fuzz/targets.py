"""Every decoder of what a meter may send, each as a function of octets that no one promises anything about.

A target passes when its decoder gives a value or an error of ours. What it gives must stay in proportion to the octets.
Run by hypothesis in the suite (tests/drivers/test_fuzz.py) and by atheris for as long as one likes (`make fuzz`).
"""

from contextlib import suppress
from zoneinfo import ZoneInfo

from dcu import obis
from dcu.drivers import acse, axdr, hdlc, hdlc_negotiation, profile, profile_rows, reply, wrapper
from dcu.drivers.asked import AskedRows, AskedValue
from dcu.drivers.ciphering import Ciphering
from dcu.drivers.data_link import HdlcOffer, LineTiming
from dcu.drivers.dialogue import Dialogue
from dcu.drivers.hdlc import Frame, FrameReader
from dcu.drivers.hdlc_link import HdlcLink
from dcu.drivers.mode_e import ModeELink
from dcu.drivers.security import SuiteZero
from dcu.drivers.wrapper import WrapperLink
from dcu.errors import DcuError, LinkLost
from dcu.meter import AssociationSpec, AttributeRef, ClassId, Mechanism, Protection
from dcu.obis import LogicalName
from dcu.reading import Column, meter_time

ZONE = ZoneInfo("Asia/Kolkata")
REF = AttributeRef(ClassId.REGISTER, LogicalName.of("1.0.12.7.0"), 2)
CLIENT, SERVER = hdlc.client_address(32), hdlc.server_address(1, 17)
REQUESTS = (b"\xc0\x01\xc1", b"\xc0\x02\xc1", b"\xc0\x03\xc1\x02")
VALUES_AN_OCTET = 20
MOST_STEPS = 20_000


def layout(columns):
    """A profile of so many columns."""
    return (Column(8, obis.CLOCK, 2), *(Column(3, REF.logical_name, 2) for _ in range(columns - 1)))


def count(value):
    """Values in a value, itself among them; text and octets by their length."""
    if isinstance(value, list):
        return 1 + sum(map(count, value))
    return 1 + len(value) // 8 if isinstance(value, str | bytes) else 1


def values(octets):
    value = axdr.decode(octets)
    assert count(value) <= VALUES_AN_OCTET * len(octets)


def rows(octets):
    """The first octet says how many columns there are; the quick way and the strict one agree."""
    columns, octets = layout(octets[0] % 8 + 1 if octets else 1), octets[1:]
    quick = profile_rows.read(octets, 0, columns, ZONE)
    if quick is not None:
        buffer, end = axdr.decode_at(octets, 0)
        strict = profile.rows(buffer, columns, 0, ZONE, "x")
        assert quick == (strict, len(buffer) - len(strict), end)
    asked = AskedRows(obis.BLOCK_LOAD, columns, b"", 0, ZONE, "x")
    asked.take(octets, 0)
    asked.fill(900)
    if not isinstance(asked.rows, Exception):
        assert sum(1 + len(row.values) for row in asked.rows) <= VALUES_AN_OCTET * len(octets)


def capture_objects(octets):
    found = profile.columns(axdr.decode(octets), "x")
    profile.with_scalers(found, {})


def scalers(octets):
    profile.scalers([Column(3, REF.logical_name, 3)] * 2, axdr.decode(octets), "x")


def answers(octets):
    """The first octet says which request it answers."""
    if not octets:
        return
    request = REQUESTS[octets[0] % 3]
    part = reply.get_payload(request, octets[1:])
    if isinstance(part, bytes):
        with suppress(DcuError):
            reply.take_one(part, AskedValue(REF, "x"))
        reply.take_several(part, [AskedValue(REF, "x"), AskedRows(obis.BLOCK_LOAD, layout(2), b"", 900, ZONE, "x")])


def orders(octets):
    with suppress(DcuError):
        reply.check_set(b"\xc1\x01\xc1", octets, "x")
    reply.action_result(b"\xc3\x01\xc1", octets, "x")


class _Pieces:
    """Gives the octets piece by piece: behind each length octet so many of them; then nothing more."""

    def __init__(self, octets):
        self.pieces = []
        while octets:
            self.pieces.append(octets[1 : 1 + octets[0]])
            octets = octets[1 + octets[0] :]
        self.steps = 0

    def next(self):
        self.steps += 1
        assert self.steps < MOST_STEPS, "no end"
        return self.pieces.pop(0) if self.pieces else None


class _Answers(_Pieces):
    """A data link."""

    def exchange(self, apdu, *, once):
        del apdu, once
        piece = self.next()
        if piece is None:
            raise LinkLost("no more")
        return piece


def blocks(octets):
    Dialogue(_Answers(octets), None, lambda: None).get(b"\xc0\x01\xc1")


class _Line(_Pieces):
    """A ByteLink with its own time; also the port of an optical head."""

    def __init__(self, octets, wrap=lambda piece: piece):
        super().__init__(octets)
        self.wrap = wrap
        self.now_s = 0.0

    def monotonic(self):
        return self.now_s

    def send(self, octets):
        self.steps += 1
        assert self.steps < MOST_STEPS, "no end"

    def receive(self, deadline_s):
        piece = self.next()
        if piece:
            self.now_s += 0.01
            return self.wrap(piece)
        self.now_s = max(self.now_s + 0.001, deadline_s)
        return b""

    def flush_input(self):
        pass

    def close(self):
        pass

    @property
    def baud(self):
        return 9600

    def set_speed(self, baud):
        assert baud > 0


def association(octets):
    for mechanism in (Mechanism.NONE, Mechanism.LLS, Mechanism.HLS_GMAC):
        for ciphered in (False, True):
            with suppress(DcuError):
                acse.parse_aare(octets, mechanism, ciphered=ciphered)
    acse.parse_initiate(octets)


def frames(octets):
    reader = FrameReader()
    for at in range(0, len(octets), 61):
        reader.feed(octets[at : at + 61])
        while reader.next_frame() is not None:
            pass
    while reader.next_frame(silence=True) is not None:
        pass
    assert len(reader) <= len(octets)


def negotiation(octets):
    hdlc_negotiation.negotiated(octets)


def _hdlc(line):
    link = HdlcLink(line, CLIENT, SERVER, HdlcOffer(128, 7), LineTiming(), line.monotonic, "x")
    try:
        link.open()
        link.exchange(b"\xc0\x01\xc1\x00", once=False)
        link.exchange(b"\xc3\x01\xc1\x00", once=True)
    finally:
        link.close()


def hdlc_line(octets):
    """Whatever comes over the line."""
    _hdlc(_Line(octets))


def hdlc_meter(octets):
    """Whole frames, of any control octet and information, after a UA."""
    whole = Frame(CLIENT, SERVER, hdlc.UA).encode()

    def wrap(piece):
        control, information = piece[0], piece[1:]
        return Frame(CLIENT, SERVER, control & 0xF7, information, bool(control & 0x08)).encode()

    line = _Line(octets, wrap)
    line.pieces = [piece for piece in line.pieces if piece]
    first, line.receive = line.receive, lambda _deadline_s: setattr(line, "receive", first) or whole
    _hdlc(line)


def wrapped(octets):
    with suppress(DcuError):
        wrapper.decode_header(octets[:8])
    line = _Line(octets)
    link = WrapperLink(line, 32, 1, LineTiming(), line.monotonic, "x")
    link.open()
    link.exchange(b"\xc0\x01\xc1\x00", once=False)


def optical_head(octets):
    line = _Line(octets)

    def refuse(timing):
        del timing
        raise LinkLost("it signed on")

    ModeELink(line, LineTiming(), refuse, line.monotonic, "x").open()


def ciphered(octets):
    spec = AssociationSpec(32, Mechanism.LLS, Protection.BOTH)
    for lax in (False, True):
        how = AssociationSpec(32, Mechanism.LLS, Protection.BOTH, general=lax, encrypted_only_replies=lax)
        ciphering = Ciphering(SuiteZero(bytes(16), bytes(16)), how if lax else spec, b"DCU00001", lambda: 1)
        ciphering.meet(b"MET00001")
        with suppress(DcuError):
            ciphering.unprotect_initiate(octets)
        with suppress(DcuError):
            ciphering.unprotect(octets)


def moments(octets):
    meter_time(octets, ZONE)


TARGETS = {
    each.__name__: each
    for each in (
        values, rows, capture_objects, scalers, answers, orders, blocks, association, frames, negotiation, hdlc_line,
        hdlc_meter, wrapped, optical_head, ciphered, moments,
    )
}  # fmt: skip

_CLOCK = bytes.fromhex("090C07EA0B01FF000F0000800000")
_ROW = b"\x02\x02" + _CLOCK + b"\x12\x08\xfd"
SEEDS = {
    "values": [
        b"\x01\x03" + _ROW * 3,
        bytes.fromhex("130203120006060001000000050002"),
        bytes.fromhex("1302021101000210050700010002"),
        bytes.fromhex("02080A024142040AAA80174366199A18406CC33333333333191C07EA0B01FF000F0000800000FF1CFF00"),
    ],
    "rows": [
        b"\x01\x01\x05" + _ROW * 5,
        b"\x01\x01\x04" + _ROW + b"\x02\x02\x00\x00" * 3,
        b"\x01\x13\x02\x02\x19\x12\x1c" + (_CLOCK[2:] + b"\x00\x01") * 2,
        b"\x01\x01\x03" + _ROW + b"\x02\x02" + _CLOCK + b"\x1c\xff" + _ROW,
    ],
    "capture_objects": [b"\x01\x02" + bytes.fromhex("020412000809060000010000FF0F02120000") * 2],
    "scalers": [b"\x01\x01\x02\x02" + b"\x02\x02\x0f\xff\x16\x23" * 2],
    "answers": [
        b"\x00\xc4\x01\xc1\x00" + _CLOCK,
        b"\x02\xc4\x03\xc1\x02\x00\x11\x2a\x00\x01\x03" + _ROW * 3,
        b"\x01\xc4\x02\xc1\x00\x00\x00\x00\x01\x00\x02\x09\x11",
        b"\x00\xd8\x01\x06\x00\x00\x00\x01",
    ],
    "orders": [bytes.fromhex("C501C100"), bytes.fromhex("C701C100010009020102")],
    "blocks": [bytes.fromhex("0CC402C10000000001000209110CC402C1010000000200020102")],
    "association": [
        bytes.fromhex("6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F0400007E1F04B00007"),
        bytes.fromhex("0800065F1F0400007E1F04B00007"),
    ],
    "frames": [
        bytes.fromhex("7EA01E210373C37A818012050180060180070400000001080400000001533B7E"),
        bytes.fromhex("7EA01E410352054FE6E700C4018100090C07E60810FF0F211BFF800000C71A7E"),
    ],
    "negotiation": [bytes.fromhex("818012050180060180070400000001080400000001")],
    "hdlc_line": [b"\x20" + bytes.fromhex("7EA01E210373C37A818012050180060180070400000001080400000001533B7E")],
    "hdlc_meter": [b"\x08\x30\xe6\xe7\x00\xc4\x01\xc1\x00", b"\x03\x38\xe6\xe7\x04\x32\x00\xc4\x01"],
    "wrapped": [b"\x08\x00\x01\x00\x01\x00\x20\x00\x02\x02\xc4\x01"],
    "optical_head": [b"\x0a/DCU5\\2XX\r\n\x06\x06242\r\n"],
    "ciphered": [bytes.fromhex("CC16300000000583D1"), bytes.fromhex("DB084D4554303030303112300000000500")],
    "moments": [bytes.fromhex("07E60810FF0F211BFF800000"), bytes.fromhex("FFFFFFFFFFFFFFFFFF8000FF")],
}
