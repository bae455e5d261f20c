"""Requests, octet for octet as an unrelated implementation (dlms-cosem 21.3.2) builds them and the standard shows."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from dlms_cosem import cosem as theirs_cosem
from dlms_cosem import enumerations as enums
from dlms_cosem.cosem import selective_access
from dlms_cosem.cosem.capture_object import CaptureObject
from dlms_cosem.protocol.acse import ApplicationAssociationRequest, ReleaseRequest, UserInformation
from dlms_cosem.protocol.wrappers import WrapperHeader
from dlms_cosem.protocol.xdlms import InitiateRequest
from dlms_cosem.protocol.xdlms import get as theirs_get
from dlms_cosem.protocol.xdlms.action import ActionRequestNormal
from dlms_cosem.protocol.xdlms.conformance import Conformance
from dlms_cosem.protocol.xdlms.invoke_id_and_priority import InvokeIdAndPriority
from dlms_cosem.protocol.xdlms.set import SetRequestNormal

from dcu import obis
from dcu.drivers import acse, get_request, wrapper
from dcu.drivers.apdu import RequestCodec
from dcu.drivers.asked import AskedValue
from dcu.errors import FrameDamaged
from dcu.meter import AttributeRef, ClassId, Mechanism, MethodRef

from .golden_files import FRAMES, STANDARD

KOLKATA = timezone(timedelta(hours=5, minutes=30))
INVOKE = InvokeIdAndPriority(1, True, True)
PROPOSED = Conformance(
    block_transfer_with_get_or_read=True,
    multiple_references=True,
    get=True,
    set=True,
    selective_access=True,
    action=True,
)


def their_attribute(class_id, logical_name, attribute):
    instance = theirs_cosem.Obis.from_bytes(logical_name.octets)
    return theirs_cosem.CosemAttribute(enums.CosemInterface(class_id), instance, attribute)


@pytest.mark.parametrize(
    ("name", "mechanism", "value"),
    [
        ("aarq-no-security", Mechanism.NONE, b""),
        ("aarq-low-level", Mechanism.LLS, b"12345678"),
        ("aarq-high-level", Mechanism.HLS_GMAC, b"K56iVagY"),
    ],
)
def test_aarq_of_the_standard(name, mechanism, value):
    assert acse.aarq(mechanism, acse.initiate_request(0x007E1F, 0x04B0), value=value) == STANDARD[name]


def test_rlrq_of_the_standard():
    assert acse.rlrq() == STANDARD["rlrq"] == ReleaseRequest(enums.ReleaseRequestReason.NORMAL).to_bytes()


def test_aarq_of_a_real_client():
    # The HPL capture's request, rebuilt from its parts; its ciphered InitiateRequest is taken as it is.
    octets = FRAMES["hpl-aarq"][8 + 3 : -3]
    initiate = octets[-0x15:]
    rebuilt = acse.aarq(Mechanism.LLS, initiate, title=b"HPL72998", value=b"1" * 16)
    assert rebuilt == octets


@pytest.mark.parametrize("secret", [None, b"12345678"])
def test_aarq_as_an_unrelated_implementation(secret):
    information = UserInformation(InitiateRequest(PROPOSED, client_max_receive_pdu_size=1024))
    expected = ApplicationAssociationRequest(
        information,
        authentication=enums.AuthenticationMechanism.LLS if secret else None,
        authentication_value=secret,
    ).to_bytes()
    mechanism = Mechanism.LLS if secret else Mechanism.NONE
    assert acse.aarq(mechanism, acse.initiate_request(acse.PROPOSED, 1024), value=secret or b"") == expected


@pytest.mark.parametrize(
    "ref",
    [
        AttributeRef(ClassId.DATA, obis.SERIAL_NUMBER, 2),
        AttributeRef(ClassId.CLOCK, obis.CLOCK, 2),
        AttributeRef(ClassId.PROFILE_GENERIC, obis.BLOCK_LOAD, 3),
        AttributeRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 3),
    ],
    ids=str,
)
def test_get(ref):
    attribute = their_attribute(ref.class_id, ref.logical_name, ref.attribute)
    assert RequestCodec().get(ref) == theirs_get.GetRequestNormal(attribute, INVOKE).to_bytes()


def test_get_by_range():
    # dlms-cosem writes weekday and deviation of its datetime; those four octets apart, all is the same.
    since, until = datetime(2026, 11, 1, 0, 15, tzinfo=KOLKATA), datetime(2026, 11, 2, 0, 0, tzinfo=KOLKATA)
    clock = CaptureObject(their_attribute(8, obis.CLOCK, 2), 0)
    selection = selective_access.RangeDescriptor(clock, since, until)
    attribute = their_attribute(7, obis.BLOCK_LOAD, 2)
    expected = bytearray(theirs_get.GetRequestNormal(attribute, INVOKE, selection).to_bytes())
    ref = AttributeRef(ClassId.PROFILE_GENERIC, obis.BLOCK_LOAD, 2)
    ours = RequestCodec().get(ref, get_request.by_range(since.astimezone(UTC), until, KOLKATA))
    for at in (len(expected) - 2 - 12, len(expected) - 2 - 26):
        assert ours[at : at + 12][4] == 0xFF
        expected[at + 4] = 0xFF  # weekday
        expected[at + 9 : at + 12] = b"\x80\x00\x00"  # deviation, status
    assert ours == bytes(expected)


def test_get_by_entry():
    # Blue Book 4.3.6, entry_descriptor: from_entry, to_entry u32; from_selected_value, to_selected_value u16.
    ref = AttributeRef(ClassId.PROFILE_GENERIC, obis.BLOCK_LOAD, 2)
    octets = RequestCodec().get(ref, get_request.by_entry(3, 7))
    assert octets.hex() == "c001c100070100630100ff020102020406000000030600000007120001120000"


def test_get_with_list_and_next_block():
    refs = [AttributeRef(3, obis.LogicalName.of("1.0.12.7.0"), 2), AttributeRef(8, obis.CLOCK, 2)] * 8
    codec = RequestCodec()
    request = codec.get_list([AskedValue(ref, "x") for ref in refs])
    attributes = [
        theirs_cosem.CosemAttributeWithSelection(their_attribute(r.class_id, r.logical_name, r.attribute), None)
        for r in refs
    ]
    assert request == theirs_get.GetRequestWithList(attributes, INVOKE).to_bytes()
    for block in (1, 2, 70_000):
        expected = theirs_get.GetRequestNext(block, InvokeIdAndPriority(1, True, True)).to_bytes()
        assert codec.next_block(request, block) == expected


def test_set_and_action():
    text = b"\x09\x05hello"
    ref = AttributeRef(ClassId.DATA, obis.CONSUMER_MESSAGE, 2)
    expected = SetRequestNormal(their_attribute(1, obis.CONSUMER_MESSAGE, 2), text, None, INVOKE).to_bytes()
    assert RequestCodec().set(ref, text) == expected
    instance = theirs_cosem.Obis.from_bytes(obis.DISCONNECT_CONTROL.octets)
    method = theirs_cosem.CosemMethod(enums.CosemInterface(70), instance, 1)
    for data in (b"\x0f\x00", b""):
        ours = RequestCodec().action(MethodRef(70, obis.DISCONNECT_CONTROL, 1), data)
        assert ours == ActionRequestNormal(method, data, INVOKE).to_bytes()


def test_long_parameters_are_not_cut():
    data = b"\x09\x82\x07\xd0" + bytes(2000)
    assert RequestCodec().set(AttributeRef(1, obis.CONSUMER_MESSAGE, 2), data).endswith(data)
    assert RequestCodec().action(MethodRef(15, obis.CURRENT_ASSOCIATION, 1), data).endswith(data)


def test_invoke_ids_go_round_and_are_never_zero():
    codec, ref = RequestCodec(), AttributeRef(8, obis.CLOCK, 2)
    ids = [codec.get(ref)[2] for _ in range(31)]
    assert ids[:15] == [0xC0 | n for n in range(1, 16)]
    assert ids[15:30] == ids[:15]


def test_encoding_prints_nothing(capfd):
    codec = RequestCodec()
    codec.get(AttributeRef(8, obis.CLOCK, 2))
    codec.action(MethodRef(70, obis.DISCONNECT_CONTROL, 1), b"\x0f\x00")
    assert capfd.readouterr() == ("", "")


def test_wrapper_header():
    octets = wrapper.encode(32, 1, b"\xc0\x01\xc1")
    assert octets == WrapperHeader(32, 1, 3).to_bytes() + b"\xc0\x01\xc1"
    assert wrapper.decode_header(octets[:8]) == (32, 1, 3)
    for damaged in (b"", octets[:7], octets[:9], b"\x00\x02" + octets[2:8]):
        with pytest.raises(FrameDamaged):
            wrapper.decode_header(damaged)
    with pytest.raises(ValueError):
        wrapper.encode(32, 1, bytes(65_536))
