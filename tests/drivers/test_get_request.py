"""GET of our own encoding: octet for octet gurux's, wherever gurux can build the request."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from gurux_dlms import GXDateTime, GXDLMSClient
from gurux_dlms.enums import Authentication, Command, Conformance, DateTimeSkips, InterfaceType, RequestTypes
from gurux_dlms.objects import (
    GXDLMSCaptureObject,
    GXDLMSClock,
    GXDLMSData,
    GXDLMSDisconnectControl,
    GXDLMSExtendedRegister,
    GXDLMSProfileGeneric,
    GXDLMSRegister,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu import obis
from dcu.drivers import axdr, get_request
from dcu.drivers.apdu import RequestCodec
from dcu.drivers.asked import AskedRows, AskedValue
from dcu.meter import AttributeRef, ClassId
from dcu.obis import LogicalName

ZONE = ZoneInfo("Asia/Kolkata")
CLASSES = {
    1: GXDLMSData,
    3: GXDLMSRegister,
    4: GXDLMSExtendedRegister,
    7: GXDLMSProfileGeneric,
    8: GXDLMSClock,
    70: GXDLMSDisconnectControl,
}
NAMES = st.binary(min_size=6, max_size=6).map(LogicalName)
REFS = st.builds(AttributeRef, st.sampled_from(list(CLASSES)), NAMES, st.integers(1, 20))
BUFFER = AttributeRef(ClassId.PROFILE_GENERIC, obis.BLOCK_LOAD, 2)


def gurux():
    client = GXDLMSClient(True, 16, 1, Authentication.NONE, None, InterfaceType.PDU)
    client.settings.maxPduSize = 0xFFFF
    client.settings.negotiatedConformance |= Conformance.MULTIPLE_REFERENCES
    return client


def their_object(ref):
    return CLASSES[ref.class_id](str(ref.logical_name))


def their_profile():
    profile = GXDLMSProfileGeneric(str(obis.BLOCK_LOAD))
    profile.captureObjects.append((GXDLMSClock(), GXDLMSCaptureObject(2, 0)))
    return profile


@settings(max_examples=40)
@given(REFS)
def test_one_attribute(ref):
    [theirs] = gurux().read(their_object(ref), ref.attribute)
    assert RequestCodec().get(ref) == theirs


@settings(max_examples=40)
@given(st.lists(REFS, min_size=1, max_size=10))
def test_a_list(refs):
    [[theirs]] = gurux().readList([(their_object(ref), ref.attribute) for ref in refs])
    assert RequestCodec().get_list([AskedValue(ref, "x") for ref in refs]) == theirs


@settings(max_examples=40)
@given(st.integers(1, 60_000), st.integers(1, 60_000))
def test_rows_by_entry(first, count):
    [theirs] = gurux().readRowsByEntry(their_profile(), first, count)
    assert RequestCodec().get(BUFFER, get_request.by_entry(first, first + count - 1)) == theirs


def their_moment(at):
    moment = GXDateTime(at)
    moment.skip |= DateTimeSkips.DEVITATION | DateTimeSkips.DAY_OF_WEEK
    return moment


MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)).map(
    lambda at: at.replace(microsecond=0, tzinfo=ZONE)
)


@settings(max_examples=40)
@given(MOMENTS, MOMENTS)
def test_rows_by_range(since, until):
    [theirs] = gurux().readRowsByRange(their_profile(), their_moment(since), their_moment(until))
    ours = RequestCodec().get(BUFFER, get_request.by_range(since.astimezone(UTC), until, ZONE))
    assert ours == theirs


@pytest.mark.parametrize("block", [1, 2, 255, 70_000])
def test_the_next_block(block):
    client = gurux()
    client.settings.blockIndex, client.settings.command = block, Command.GET_REQUEST
    theirs = client.receiverReady(RequestTypes.DATABLOCK)
    assert RequestCodec().next_block(b"\xc0\x01\xc1", block) == bytes(theirs)


def test_selections_in_a_list_stand_behind_their_attributes():
    # gurux cannot do this: the parts are its own, one by one.
    since = datetime(2026, 11, 1, tzinfo=ZONE)
    selector = get_request.by_range(since, since + timedelta(hours=1), ZONE)
    ref = AttributeRef(3, LogicalName.of("1.0.12.7.0"), 2)
    rows = AskedRows(obis.BLOCK_LOAD, (), selector, 0, ZONE, "x")
    request = RequestCodec().get_list([AskedValue(ref, "x"), rows, AskedValue(ref, "x")])
    one, [buffer] = (
        RequestCodec().get(ref)[3:],
        gurux().readRowsByRange(their_profile(), their_moment(since), their_moment(since + timedelta(hours=1))),
    )
    assert request == b"\xc0\x03\xc1\x03" + one + bytes(buffer)[3:] + one
    assert axdr.decode(selector[1:])[3] == []
