"""Every mechanism with every protection, form and key, through real associations; and replies that are refused."""

import itertools
import secrets

import pytest

from dcu import obis
from dcu.drivers.counters import BLOCK
from dcu.drivers.security import SuiteZero
from dcu.errors import AssociationRefused, DcuError, LinkLost, MeterBusy, ReplyForged, ReplyMalformed
from dcu.meter import AttributeRef, ClassId, Mechanism, Protection
from dcu.reading import meter_time

from .apdus import Table
from .bench import KEYS, NOW, SERIAL, ZONE

CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)
RLRQ, RLRE = 0x62, 0x63
HIGH = (Mechanism.HLS_SECRET, Mechanism.HLS_GMAC)

MATRIX = [
    (mechanism, protection, general, dedicated)
    for mechanism in (Mechanism.LLS, *HIGH)
    for protection in Protection
    for general in (False, True)
    for dedicated in (False, True)
    if protection is not Protection.NONE or not (general or dedicated or mechanism is Mechanism.HLS_GMAC)
]


@pytest.fixture
def nonces(monkeypatch):
    """Every (key, title, counter) under which this box sealed anything; one that comes twice fails the test."""
    seen = set()
    seal, gmac = SuiteZero.seal, SuiteZero.gmac

    def used(suite, title, counter):
        nonce = (suite.unicast_key, title, counter)
        assert nonce not in seen, "a nonce was used twice"
        seen.add(nonce)

    def noting_seal(suite, title, counter, plaintext, *control):
        used(suite, title, counter)
        return seal(suite, title, counter, plaintext, *control)

    def noting_gmac(suite, title, counter, challenge):
        if title.startswith(b"DCU"):  # the check of the meter's own answer uses the meter's
            used(suite, title, counter)
        return gmac(suite, title, counter, challenge)

    monkeypatch.setattr(SuiteZero, "seal", noting_seal)
    monkeypatch.setattr(SuiteZero, "gmac", noting_gmac)
    return seen


def ids(value):
    return value.name.lower() if not isinstance(value, bool) else str(value)


@pytest.mark.parametrize(("mechanism", "protection", "general", "dedicated"), MATRIX, ids=ids)
def test_opens_reads_and_releases(mechanism, protection, general, dedicated, nonces):
    table = Table(mechanism, protection, general=general, dedicated_key=dedicated)
    with table.associate() as association:
        assert meter_time(association.get(CLOCK), ZONE).epoch_s == int(NOW)
        assert association.serial == SERIAL
    sent = [apdu for apdu, _ in table.passed]
    heard = [apdu for _, apdu in table.passed]
    assert sent[-1][0] == RLRQ
    assert heard[-1][0] == RLRE
    services = {0xDC if general else 0xD0, 0xDC if general else 0xD3} if dedicated else {0xDB if general else 0xC8}
    if protection is Protection.NONE:
        services = {0xC0, 0xC3}
    elif not general and not dedicated:
        services = {0xC8, 0xCB}
    assert {apdu[0] for apdu in sent[1:-1]} <= services
    if protection is not Protection.NONE:
        at = 11 if general else 2
        assert {apdu[at] for apdu in sent[1:-1]} == {protection.value}
        assert len(nonces) >= len(sent)
        assert all(KEYS.guek not in apdu for apdu in sent)


@pytest.mark.parametrize("mechanism", [Mechanism.LLS, *HIGH])
@pytest.mark.parametrize("dedicated", [False, True])
def test_encryption_only_replies(mechanism, dedicated):
    quirk = {"encrypted_only_replies": True}
    table = Table(mechanism, meter=quirk, dedicated_key=dedicated)
    with pytest.raises(ReplyForged, match="0x20"), table.associate():
        pytest.fail("must not be lent")
    table = Table(mechanism, meter=quirk, dedicated_key=dedicated, encrypted_only_replies=True)
    with table.associate() as association:
        assert meter_time(association.get(CLOCK), ZONE).epoch_s == int(NOW)


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("dedicated", [False, True])
@pytest.mark.parametrize("fault", ["bad_tag", "lower_counter", "clear_answer", "wrong_title"])
def test_a_meter_that_lies(fault, general, dedicated):
    table = Table(general=general, dedicated_key=dedicated)
    with pytest.raises(ReplyForged) as caught, table.associate() as association:
        association.get(CLOCK)
        setattr(table.virtual.faults, fault, True)
        association.get(CLOCK)
        association.get(CLOCK)  # a counter may fall to one that this key did not use yet, once
    assert not table.book.knows(SERIAL, table.client_sap)
    for key in (KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls):
        assert key.hex() not in str(caught.value)
        assert repr(key) not in str(caught.value)


def test_weaker_protection_of_the_meter_is_refused():
    for ours, theirs in ((Protection.BOTH, "authenticated"), (Protection.BOTH, "encrypted")):
        with (
            pytest.raises(ReplyForged, match="agreed"),
            Table(protection=ours, meter={"protection": theirs}).associate(),
        ):
            pytest.fail("must not be lent")


def test_an_association_of_the_past_is_not_heard_again():
    table = Table()
    with table.associate() as association:
        association.get(CLOCK)
    record = [heard for _, heard in table.passed]
    replay = iter(record)
    table.garble = lambda _sent, answer: next(replay, answer)
    with pytest.raises(ReplyForged, match="not above"), table.associate():
        pytest.fail("must not be lent")


def test_a_meter_whose_counter_restarts_may_be_named_so():
    for restarts in (False, True):
        table = Table(counter_restarts=restarts)
        with table.associate() as association:
            association.get(CLOCK)
        table.virtual.credentials._counter = 0
        if not restarts:
            with pytest.raises(ReplyForged, match="not above"), table.associate():
                pytest.fail("must not be lent")
            continue
        with table.associate() as association:
            assert association.serial == SERIAL
            association.get(CLOCK)


def test_release_in_clear_where_the_model_says_so():
    for protected in (False, True):
        table = Table(protected_release=protected)
        with table.associate() as association:
            association.get(CLOCK)
        sent, heard = table.passed[-1]
        assert (sent[0], heard[0]) == (RLRQ, RLRE)
        assert (len(sent) > 5) is protected


@pytest.mark.parametrize(
    "answer", [b"\x63\x00", b"\x63\x05\x80\x01\x01\xbe\x00", b"\xd8\x01\x01", b"\x0e\x06\x00\x06", b"x"]
)
def test_whatever_answers_a_release_it_is_the_end(answer):
    table = Table()
    table.garble = lambda sent, heard: answer if sent[0] == RLRQ else heard
    with table.associate() as association:
        association.get(CLOCK)
    assert all(link.closed == 1 for link in table.links)


def test_an_exception_in_clear_denies_and_no_more():
    table = Table()
    with pytest.raises(MeterBusy), table.associate() as association:
        association.get(CLOCK)
        table.garble = lambda _sent, _heard: b"\xd8\x01\x02"
        association.get(CLOCK)
    assert table.book.knows(SERIAL, table.client_sap)
    table.garble = lambda sent, heard: b"\xd8\x01\x06\xff\xff\xff\xff" if sent[0] not in {0x60, RLRQ} else heard
    with pytest.raises(AssociationRefused, match="counter"), table.associate() as association:
        association.get(CLOCK)
    table.garble = lambda _sent, heard: heard
    with table.associate() as association:  # it learns anew, and is not led by the number in the exception
        association.get(CLOCK)
    assert table.vault.top[SERIAL, table.client_sap] <= 1 + 2 * BLOCK


def test_a_dedicated_key_lives_for_one_association(monkeypatch):
    made = []
    token = secrets.token_bytes
    monkeypatch.setattr(secrets, "token_bytes", lambda count: made.append(token(count)) or made[-1])
    table = Table(dedicated_key=True)
    for _ in range(3):
        with table.associate() as association:
            association.get(CLOCK)
    assert len(set(made)) == len(made) == 3
    assert all(key not in sent and key not in heard for key in made for sent, heard in table.passed)


def test_damaged_replies_are_faults_of_ours():
    # Every octet of every reply of an association, flipped: refused in our own words, and no value is taken.
    for mechanism, general, dedicated in itertools.product((Mechanism.LLS, Mechanism.HLS_SECRET), *[(False, True)] * 2):
        table = Table(mechanism, general=general, dedicated_key=dedicated)
        with table.associate() as association:
            good = association.get(CLOCK)
        lengths = [len(heard) for _, heard in table.passed[:-1]]
        for at, length in enumerate(lengths):
            for octet in range(0, length, 1 if at else 3):
                count = itertools.count()
                table.passed.clear()

                def garble(_sent, heard, at=at, octet=octet, count=count, table=table):
                    if table.links[-1].client_sap == 16 or next(count) != at:
                        return heard
                    octet = min(octet, len(heard) - 1)
                    return heard[:octet] + bytes([heard[octet] ^ 0x55]) + heard[octet + 1 :]

                table.garble = garble
                try:
                    with table.associate() as association:
                        assert association.get(CLOCK) == good
                except LinkLost:
                    pytest.fail("nothing here loses a link")
                except DcuError:
                    pass
                else:
                    assert at == 0  # fields of the AARE that nothing depends on
        table.garble = lambda _sent, heard: heard
        with table.associate() as association:
            assert association.get(CLOCK) == good


def test_a_public_counter_that_is_none():
    table = Table()

    def garble(_sent, heard):
        return heard[:-6] + b"\x00\x09\x01x" if table.links[-1].client_sap == 16 and heard[0] == 0xC4 else heard

    table.garble = garble
    with pytest.raises(ReplyMalformed), table.associate():
        pytest.fail("must not be lent")
