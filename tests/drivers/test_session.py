"""An association that stays open: kept alive, ended once, and what is remembered of it."""

import pytest

from dcu import obis
from dcu.errors import BusFault, LinkLost, MeterSilent, Preempted, ReplyForged, WrongMeter
from dcu.meter import AttributeRef, ClassId, Mechanism, Protection

from .apdus import Table
from .bench import SERIAL

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)
RLRQ = 0x62


def sent(table):
    return [apdu[0] for apdu, _ in table.passed]


def test_open_until_it_is_ended_and_ended_once():
    table = Table()
    session = table.open()
    first = session.association.get(CLOCK)
    assert session.keep_alive() is True
    assert session.association.get(CLOCK) == first
    assert RLRQ not in sent(table)
    session.end()
    session.end(ReplyForged("too late to matter"))
    assert sent(table).count(RLRQ) == 1
    assert table.links[-1].closed == 1
    assert session.keep_alive() is False
    assert table.book.knows(SERIAL, table.client_sap)


@pytest.mark.parametrize("fault", [MeterSilent("x"), LinkLost("x"), BusFault("x")])
def test_nothing_is_said_to_a_meter_that_does_not_hear(fault):
    table = Table()
    session = table.open()
    session.end(fault)
    assert RLRQ not in sent(table)
    assert table.links[-1].closed == 1


def test_a_release_that_fails_is_no_fault():
    table = Table()
    session = table.open()

    def gone(_apdu, *, once):
        assert once
        raise LinkLost("gone")

    table.links[-1].exchange = gone
    session.end()
    assert table.links[-1].closed == 1


@pytest.mark.parametrize("fault", [MeterSilent("x"), LinkLost("x")])
def test_a_link_that_is_gone_is_not_kept(fault):
    table = Table()
    session = table.open()

    def failing():
        raise fault

    table.links[-1].keep_alive = failing
    assert session.keep_alive() is False
    table.links[-1].keep_alive = lambda: False
    assert session.keep_alive() is False


def test_a_port_that_is_gone_is_told():
    table = Table()
    session = table.open()

    def failing():
        raise BusFault("gone")

    table.links[-1].keep_alive = failing
    with pytest.raises(BusFault):
        session.keep_alive()


@pytest.mark.parametrize("first", [ReplyForged("x"), None, WrongMeter("x"), KeyError("mine")])
def test_only_a_reply_in_doubt_has_the_counter_asked_for_again(first):
    table = Table()
    session = table.open()
    session.association.get(CLOCK)
    session.end(first)
    assert table.book.knows(SERIAL, table.client_sap) is not isinstance(first, ReplyForged)
    assert table.book.heard(SERIAL, table.client_sap) > 0


def test_what_cannot_be_opened_is_closed():
    table = Table()
    session = table.open()
    session.end()
    before = len(table.links)
    table.garble = lambda _sent, heard: heard[:-1]
    with pytest.raises(Exception, match="BER|octets|early"):
        table.open()
    assert len(table.links) == before + 1
    assert table.links[-1].closed == 1


def test_an_urgent_errand_comes_before_the_first_octet():
    table = Table()
    table.open().end()
    table.passed.clear()

    def urgent():
        raise Preempted("a relay errand waits")

    object.__setattr__(table.caller, "give_way", urgent)
    with pytest.raises(Preempted):
        table.open()
    assert table.passed == []
    assert table.links[-1].closed == 1


@pytest.mark.parametrize("mechanism", [Mechanism.LLS, Mechanism.HLS_SECRET])
def test_another_meter_is_found_out_in_the_association_that_is_used(mechanism):
    table = Table(mechanism)
    with table.associate() as association:
        association.get(CLOCK)
    heard = table.book.heard(SERIAL, table.client_sap)
    table.virtual.faults.serial = "GXT00000001"
    with pytest.raises(WrongMeter), table.associate() as association:
        assert mechanism is Mechanism.LLS, "who may switch is told at once"
        association.get(CLOCK)
    assert table.book.knows(SERIAL, table.client_sap)
    assert table.book.heard(SERIAL, table.client_sap) > heard
    assert sent(table)[-1] == RLRQ


def test_no_counter_is_used_in_clear():
    table = Table(Mechanism.HLS_SECRET, Protection.NONE)
    table.open().end()
    assert table.vault.reserved == []
