"""Somebody on the line without keys, and meters with odd but honest counters: through whole associations."""

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from dcu import obis
from dcu.drivers import challenge
from dcu.drivers.axdr import encode_length
from dcu.drivers.counters import LEAP, CounterBook
from dcu.drivers.security import SuiteZero, client_title, nonce_title
from dcu.errors import ReplyForged
from dcu.meter import AttributeRef, ClassId, Mechanism, Protection, Purpose

from dcu.store import Counters
from tests.store.running_store import running

from .apdus import Table
from .bench import SERIAL, Vault
from .test_counters import WallClock

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


# ---- a store that was put back, and a published counter that is of the past ----


def test_an_old_published_counter_does_not_bring_nonces_back_with_an_old_store(tmp_path, sealed):
    # The published counter is read in clear: whoever recorded it can answer with it for the meter.
    wall, path, table, recorded = WallClock(), tmp_path / "dcu.db", Table(), []

    def process(reads):
        with running(path, clock=wall) as it:
            table.vault = Counters(it.store)
            table.restart()
            with table.associate() as association:
                for _ in range(reads):
                    association.get(CLOCK)

    def recording(_sent, heard):
        if table.links[-1].client_sap == 16:
            recorded.append(heard)
        return heard

    table.garble = recording
    process(10)
    shutil.copy(path, tmp_path / "copy.db")
    wall.at += timedelta(minutes=20)
    table.garble = lambda _sent, heard: heard
    process(400)
    for again in ("an old copy", "none at all"):
        path.unlink()
        for left in tmp_path.glob("dcu.db-*"):
            left.unlink()
        if again == "an old copy":
            shutil.copy(tmp_path / "copy.db", path)
        wall.at += timedelta(minutes=20)
        replay = iter(recorded)
        table.garble = lambda _sent, heard, replay=replay: (
            next(replay, heard) if table.links[-1].client_sap == 16 else heard
        )
        process(10)
        assert next(replay, None) is None
    assert len(set(sealed)) == len(sealed)


def test_a_meter_is_believed_as_far_as_time_may_have_carried_its_counter():
    # A copy of a month ago was put back: what the meter publishes is true, and a month of seconds above the copy.
    vault = Vault()
    vault.top[SERIAL, 32], vault.skip, vault.by_time = 1000, 3 * LEAP, True
    book = CounterBook(vault)
    book.learn(SERIAL, 32, 1000 + 3 * LEAP)
    assert book.next(SERIAL, 32) == 1000 + 3 * LEAP + 1
    book = CounterBook(vault)
    with pytest.raises(ReplyForged, match="believed"):
        book.learn(SERIAL, 32, vault.top[SERIAL, 32] + 4 * LEAP)
    book = CounterBook(vault)
    vault.by_time = False  # by chance only: no reason to believe more
    with pytest.raises(ReplyForged, match="believed"):
        book.learn(SERIAL, 32, vault.top[SERIAL, 32] + 3 * LEAP)
