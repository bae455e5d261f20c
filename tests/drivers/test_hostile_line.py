"""Somebody on the line without keys, and meters with odd but honest counters: through whole associations."""

from dataclasses import replace

import pytest

from dcu import obis
from dcu.drivers import challenge
from dcu.drivers.axdr import encode_length
from dcu.drivers.security import SuiteZero, client_title, nonce_title
from dcu.errors import ReplyForged
from dcu.meter import AttributeRef, ClassId, Mechanism, Protection, Purpose

from .apdus import Table
from .bench import SERIAL

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)


# ---- a nonce under one key is used once, whoever uses the key ----


@pytest.fixture
def sealed(monkeypatch):
    """(key, nonce) of all that this box seals or signs."""
    found = []
    seal, gmac = SuiteZero.seal, SuiteZero.gmac

    def sealing(suite, title, counter, plaintext, *control):
        found.append((suite.unicast_key, title, counter))
        return seal(suite, title, counter, plaintext, *control)

    def signing(suite, title, counter, theirs):
        if title[:3] == b"DCU":  # the other title is the meter's: its answer is checked
            found.append((suite.unicast_key, title, counter))
        return gmac(suite, title, counter, theirs)

    monkeypatch.setattr(SuiteZero, "seal", sealing)
    monkeypatch.setattr(SuiteZero, "gmac", signing)
    return found


def two_clients(mechanism, **options):
    """A meter whose reader and utility setting clients share its key, each with a counter of its own."""
    table = Table(mechanism, **options)
    reader = Table(Mechanism.LLS, **options).meter.model.associations[Purpose.READ]
    model = table.meter.model
    model = replace(model, associations={**model.associations, Purpose.READ: reader})
    table.meter = replace(table.meter, model=model)
    return table


@pytest.mark.parametrize("mechanism", [Mechanism.HLS_SECRET, Mechanism.HLS_GMAC])
@pytest.mark.parametrize("dedicated", [False, True])
def test_two_clients_of_one_key_share_no_nonce(mechanism, dedicated, sealed):
    table = two_clients(mechanism, dedicated_key=dedicated)
    for purpose in (Purpose.READ, Purpose.SWITCH, Purpose.READ):
        with table.caller.associate(table.meter, purpose) as association:
            association.get(CLOCK)
    assert len(sealed) > 10
    assert len(set(sealed)) == len(sealed)


def test_two_meters_with_the_same_keys_share_no_nonce(sealed):
    for serial in (SERIAL, "GXT20931189"):  # as they come from the factory
        table = Table()
        table.meter = replace(table.meter, serial=serial)
        table.virtual.faults.serial = serial
        with table.associate() as association:
            association.get(CLOCK)
    assert len(set(sealed)) == len(sealed)


def test_titles_are_the_makers_and_differ_by_box_meter_and_client():
    titles = {
        nonce_title(client_title(box), serial, client_sap)
        for box in ("JH-RNC-0042", "JH-RNC-0043")
        for serial in ("1", "11", "2")
        for client_sap in (1, 11, 32, 48)
    }
    assert len(titles) == 2 * 3 * 4
    assert all(len(title) == 8 and title[:3] == b"DCU" for title in titles)


# ---- mechanism 2 answers block by block ----


REFLECTED = [
    lambda ours: ours + bytes(16),
    lambda ours: bytes(16) + ours,
    lambda ours: bytes(48) + ours,
]


@pytest.mark.parametrize("reflect", REFLECTED)
@pytest.mark.parametrize("protection", [Protection.NONE, Protection.BOTH])
def test_our_challenge_is_not_answered_for_whoever_sends_it_back_among_others(reflect, protection):
    table = Table(Mechanism.HLS_SECRET, protection)

    def reflected(sent, heard):
        if sent[0] != 0x60 or table.links[-1].client_sap == 16:
            return heard
        at = sent.index(b"\xac\x12\x80\x10") + 4
        theirs = reflect(sent[at : at + 16])
        begin = heard.index(b"\xaa\x12\x80\x10")
        field = bytes([0xAA, len(theirs) + 2, 0x80, len(theirs)]) + theirs
        body = heard[2:begin] + field + heard[begin + 20 :]
        return b"\x61" + encode_length(len(body)) + body

    table.garble = reflected
    before = len(table.passed)
    with pytest.raises(ReplyForged, match="challenge"), table.associate():
        pytest.fail("must not be lent")
    assert [sent[0] for sent, _ in table.passed[before:]] == [0x60, 0x62]  # nothing was answered


def test_a_short_challenge_is_padded_before_it_is_compared():
    ours = b"fifteen octets.\x00"
    assert challenge.is_reflected(Mechanism.HLS_SECRET, ours[:15], ours)
    assert challenge.is_reflected(Mechanism.HLS_GMAC, ours, ours)
    assert not challenge.is_reflected(Mechanism.HLS_SECRET, bytes(64), ours)
