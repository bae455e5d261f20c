"""What meters answer, read against what was asked: worked examples, real captures, and answers to something else."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers import acse, reply
from dcu.drivers.asked import AskedValue
from dcu.drivers.reply import Block
from dcu.errors import AssociationRefused, AttributeDenied, DcuError, MeterBusy, ReplyMalformed
from dcu.meter import AttributeRef, Mechanism
from dcu.obis import LogicalName

from .golden_files import FRAMES, STANDARD

GET = bytes.fromhex("C001C1000800000100 00FF0200".replace(" ", ""))
LIST = bytes.fromhex("C003C102")
NEXT = bytes.fromhex("C002C100000001")
SET, ACTION = bytes.fromhex("C101C1"), bytes.fromhex("C301C1")


def two():
    return [AskedValue(AttributeRef(3, LogicalName.of("1.0.12.7.0"), 2), "x") for _ in range(2)]


def apdu_of(name):
    """The APDU in a captured frame with two one-octet addresses."""
    return FRAMES[name][8 + 3 : -3]


def test_clock_of_a_real_meter():
    payload = reply.get_payload(bytes.fromhex("C00181"), apdu_of("secure-clock"))
    assert reply.one(payload, "clock") == bytes.fromhex("07E60810FF0F211BFF800000")


def test_service_error_of_a_real_meter():
    with pytest.raises(MeterBusy, match="0e060006"):
        reply.get_payload(GET, apdu_of("genus-service-error"))


@pytest.mark.parametrize(
    "response",
    ["", "C4", "C401", "C401C2 00 1101", "C501C1 00", "C701C1 00", "C403C1 01 00 1101", "61", "0F01C1", "C402C100"],
)
def test_not_the_answer_to_this_get(response):
    with pytest.raises(ReplyMalformed):
        reply.one(reply.get_payload(GET, bytes.fromhex(response.replace(" ", ""))), "x")


@pytest.mark.parametrize(
    ("result", "error"), [(2, MeterBusy), (3, AttributeDenied), (4, AttributeDenied), (99, AttributeDenied)]
)
def test_refusals_of_a_get(result, error):
    with pytest.raises(error, match="here"):
        reply.one(reply.get_payload(GET, bytes([0xC4, 1, 0xC1, 1, result])), "here")


def test_priority_bits_may_differ():
    assert reply.get_payload(GET, bytes.fromhex("C401010011 2A".replace(" ", ""))) == b"\x00\x11\x2a"


@pytest.mark.parametrize("payload", ["00", "0011", "00112A00", "02112A", "01", ""])
def test_a_value_of_another_form(payload):
    with pytest.raises(ReplyMalformed):
        reply.one(bytes.fromhex(payload), "x")


def test_list():
    payload = reply.get_payload(LIST, bytes.fromhex("C403C1020011 2A0104".replace(" ", "")))
    first, second = two()
    reply.take_several(payload, [first, second])
    assert first.value == 42
    assert isinstance(second.value, AttributeDenied)
    for damaged in ("01 00112A", "03 00112A 0104", "02 00112A", "02 00112A 0104 00", "02 00112A 05"):
        with pytest.raises(ReplyMalformed):
            reply.take_several(bytes.fromhex(damaged.replace(" ", "")), two())


def test_blocks():
    first = reply.get_payload(GET, bytes.fromhex("C402C1000000000100020911"))
    assert first == Block(1, last=False, raw=b"\x09\x11")
    with pytest.raises(AttributeDenied):
        reply.get_payload(NEXT, bytes.fromhex("C402C101000000010104"))
    for damaged in (
        "C402C1000000000100030911",
        "C402C10000000001000109 11",
        "C401C1001101",
        "C402C2010000000200020911",
    ):
        with pytest.raises(ReplyMalformed):
            reply.get_payload(NEXT, bytes.fromhex(damaged.replace(" ", "")))


def test_set_and_action_results():
    reply.check_set(SET, bytes.fromhex("C501C100"), "x")
    with pytest.raises(AttributeDenied):
        reply.check_set(SET, bytes.fromhex("C501C103"), "x")
    assert reply.action_result(ACTION, bytes.fromhex("C701C100"), "x") is None
    assert reply.action_result(ACTION, bytes.fromhex("C701C10000"), "x") is None
    assert reply.action_result(ACTION, bytes.fromhex("C701C100010009020102"), "x") == b"\x01\x02"
    with pytest.raises(AttributeDenied):
        reply.action_result(ACTION, bytes.fromhex("C701C10300"), "x")
    for response in ("C701C2 00", "C701C1", "C401C1000011", "C702C100", "C701C10002", "C501C10000"):
        octets = bytes.fromhex(response.replace(" ", ""))
        with pytest.raises(ReplyMalformed):
            reply.action_result(ACTION, octets, "x")
        with pytest.raises(ReplyMalformed):
            reply.check_set(SET, octets, "x")


def test_exceptions_name_the_counter():
    with pytest.raises(AssociationRefused, match="counter"):
        reply.get_payload(GET, bytes.fromhex("D801060000000A"))
    with pytest.raises(MeterBusy):
        reply.get_payload(GET, bytes.fromhex("D80101"))


@given(st.sampled_from([GET, LIST, NEXT]), st.binary(max_size=60))
def test_any_octets_are_an_answer_or_a_fault(request, octets):
    for head in (b"", b"\xc4\x01\xc1", b"\xc4\x02\xc1\x01\x00\x00\x00\x01\x00", b"\xc4\x03\xc1\x02"):
        try:
            part = reply.get_payload(request, head + octets)
            if isinstance(part, bytes):
                reply.one(part, "x")
                reply.take_several(part, two())
        except DcuError:
            pass


# ---- AARE ----


def aare(name, mechanism=Mechanism.NONE, *, ciphered=False):
    octets = STANDARD[name] if name in STANDARD else apdu_of(name)
    return acse.parse_aare(octets, mechanism, ciphered=ciphered)


def test_accepted():
    granted, initiated = aare("aare-accepted")
    assert (granted.meter_title, granted.challenge) == (b"", b"")
    assert acse.parse_initiate(initiated) == (0x00501F, 500)


def test_high_level_accepted():
    granted, initiated = aare("aare-high-level", Mechanism.HLS_GMAC)
    assert granted.challenge == b"P6wRJ21F"
    assert acse.parse_initiate(initiated) == (0x00501F, 500)
    with pytest.raises(AssociationRefused, match="mechanism"):
        aare("aare-high-level", Mechanism.HLS_SECRET)


@pytest.mark.parametrize(("name", "word"), [("aare-wrong-context", "context"), ("aare-wrong-version", "no reason")])
def test_refused(name, word):
    with pytest.raises(AssociationRefused, match=word):
        aare(name)


def test_real_meters():
    granted, initiated = aare("hpl-aare", Mechanism.LLS, ciphered=True)
    assert granted.meter_title == b"HPL\x00\x00\x10\xf4\x47"
    assert initiated[:3] == b"\x28\x13\x20"
    granted, initiated = aare("genus-aare", Mechanism.HLS_SECRET, ciphered=True)
    assert granted.meter_title == b"GOE\x00\x00X\x1c\xf1"
    assert granted.challenge[:6] == b"Genus7"
    assert len(granted.challenge) == 16
    assert initiated[:3] == b"\x28\x1f\x30"


def test_context_must_be_the_one_asked_for():
    with pytest.raises(ReplyMalformed, match="context"):
        aare("aare-accepted", ciphered=True)
    with pytest.raises(ReplyMalformed, match="context"):
        aare("hpl-aare", Mechanism.LLS, ciphered=False)


def test_a_high_level_answer_without_challenge():
    with pytest.raises(ReplyMalformed, match="challenge"):
        aare("aare-accepted", Mechanism.HLS_GMAC)


@pytest.mark.parametrize(
    "initiated", ["", "08", "0800065F1F0400001D", "01", "0800055F1F040000501F01F40007", "0800065F1F040000501F01F4FA00"]
)
def test_an_initiate_response_of_another_form(initiated):
    with pytest.raises(ReplyMalformed):
        acse.parse_initiate(bytes.fromhex(initiated))


def test_initiate_refused():
    with pytest.raises(AssociationRefused, match="0601"):
        acse.parse_initiate(bytes.fromhex("0E010601"))


@given(st.sampled_from(["aare-accepted", "aare-high-level", "aare-wrong-version"]), st.data())
def test_damaged_aare_is_a_fault_or_an_answer(name, data):
    octets = bytearray(STANDARD[name])
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    octets = octets[: data.draw(st.integers(0, len(octets)))]
    with contextlib.suppress(DcuError):
        acse.parse_initiate(acse.parse_aare(bytes(octets), Mechanism.HLS_GMAC, ciphered=False)[1])
