"""Somebody on the line without keys, and meters with odd but honest counters: through whole associations."""

import itertools
import logging
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from dcu import obis
from dcu.drivers import challenge
from dcu.drivers.axdr import encode_length
from dcu.drivers.counters import LEAP, RESTART_AFTER_S, CounterBook
from dcu.drivers.security import SuiteZero, client_title, nonce_title
from dcu.errors import DcuError, Fate, LinkLost, MeterBusy, ReplyForged, ReplyReplayed
from dcu.meter import AttributeRef, ClassId, Mechanism, MethodRef, Protection, Purpose
from dcu.schedule import HOLD_S
from dcu.store import Counters
from tests.store.running_store import running

from .apdus import Table
from .bench import SECRETS, SERIAL, TestWarrant, Vault
from .line import FakeTime
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


# ---- meters that count anew, and associations of the past ----


def read(table, purpose=None):
    with table.caller.associate(table.meter, purpose or table.purpose) as association:
        return association.get(CLOCK)


def at_time(table):
    time = FakeTime()
    object.__setattr__(table.caller, "monotonic", time)
    return time


def test_what_a_session_heard_is_known_though_nobody_ended_it():
    # The line was lost while the association was parked: no end is told, and none of it may be played again.
    table = Table()
    session = table.open()
    session.association.get(CLOCK)
    record = iter([heard for _, heard in table.passed])
    table.garble = lambda _sent, heard: next(record, heard)
    with pytest.raises(ReplyReplayed):
        read(table)


@pytest.mark.parametrize("dedicated", [False, True])
@pytest.mark.parametrize("mechanism", [Mechanism.LLS, Mechanism.HLS_SECRET, Mechanism.HLS_GMAC])
def test_a_meter_that_counts_anew_after_its_power_cut_is_refused_and_then_read_again(mechanism, dedicated):
    table = Table(mechanism, dedicated_key=dedicated)
    time = at_time(table)
    read(table)
    read(table)
    table.virtual.credentials._counter = 0
    for _ in range(3):
        with pytest.raises(ReplyReplayed):
            read(table)
        time.now_s += RESTART_AFTER_S / 4
    time.now_s += RESTART_AFTER_S / 2
    read(table)  # nobody changed anything
    heard = table.book.heard(SERIAL, table.client_sap)
    assert 0 < heard < 100
    read(table)
    assert table.book.heard(SERIAL, table.client_sap) > heard


def test_a_meter_that_counts_anew_in_each_association_loses_visits_and_no_readings():
    table = Table()
    time = at_time(table)
    read(table)
    good = 0
    for _ in range(6):
        table.virtual.credentials._counter = 0
        try:
            read(table)
            good += 1
        except ReplyReplayed:
            time.now_s += RESTART_AFTER_S
    assert good == 3


def test_a_restart_that_one_client_saw_is_known_to_the_other():
    table = two_clients(Mechanism.HLS_SECRET)
    time = at_time(table)
    for purpose in (Purpose.SWITCH, Purpose.READ):
        read(table, purpose)
    table.virtual.credentials._counter = 0
    with pytest.raises(ReplyReplayed):
        read(table, Purpose.READ)
    time.now_s += RESTART_AFTER_S
    read(table, Purpose.READ)
    read(table, Purpose.SWITCH)  # a consumer is not left without power for another quarter of an hour


def test_a_replay_that_was_refused_does_not_open_the_door_once_the_meter_is_heard_again():
    table = Table()
    time = at_time(table)
    read(table)
    record = [heard for sent, heard in table.passed]
    for _ in range(2):
        replay = iter(record)
        table.garble = lambda _sent, heard, replay=replay: (
            heard if table.links[-1].client_sap == 16 else next(replay, heard)
        )
        with pytest.raises(ReplyReplayed):
            read(table)
        table.garble = lambda _sent, heard: heard
        read(table)
        time.now_s += 2 * RESTART_AFTER_S


@pytest.mark.parametrize("mechanism", [Mechanism.HLS_SECRET, Mechanism.HLS_GMAC])
def test_no_wait_lets_an_association_of_the_past_prove_itself_to_the_client_that_switches(mechanism):
    table = Table(mechanism)
    time = at_time(table)
    read(table)
    record = [heard for _, heard in table.passed]
    for refusal in ("not above", "own challenge|does not know"):
        replay = iter(record)
        table.garble = lambda _sent, heard, replay=replay: (
            heard if table.links[-1].client_sap == 16 else next(replay, heard)
        )
        with pytest.raises(ReplyForged, match=refusal):
            read(table)
        time.now_s += 2 * RESTART_AFTER_S


def test_a_reply_of_the_past_within_an_association_is_no_sign_of_a_restart():
    table = Table()
    time = at_time(table)
    read(table)
    old = table.passed[1][1]
    for _ in range(3):
        table.garble = lambda sent, heard: heard if sent[0] in {0x60, 0x62} or table.links[-1].client_sap == 16 else old
        with pytest.raises(ReplyReplayed):
            read(table)
        time.now_s += 2 * RESTART_AFTER_S


# ---- refusals in clear ----


@pytest.mark.parametrize("dedicated", [False, True])
def test_a_reply_that_was_held_back_is_none_to_a_later_request_of_its_invoke_id(dedicated):
    # An exception response is believed in clear and moves no counter; invoke-ids come again after fifteen requests.
    table = Table(dedicated_key=dedicated)
    voltage = AttributeRef(ClassId.REGISTER, obis.LogicalName.of("1.0.12.7.0.255"), 2)
    with pytest.raises(LinkLost, match="clear"), table.associate() as association:
        clock = association.get(CLOCK)
        held = []

        def holding(_sent, heard):
            held.append(heard)
            return b"\xd8\x01\x01"

        table.garble = holding
        for _ in range(15):
            with pytest.raises(MeterBusy):
                association.get(CLOCK)
        table.garble = lambda _sent, _heard: held[0]
        assert association.get(voltage) != clock


def test_refusals_in_clear_with_answers_between_them_are_an_honest_meters():
    table = Table()
    with table.associate() as association:
        for turn in range(40):
            table.garble = (lambda _s, heard: heard) if turn % 14 == 13 else (lambda _s, _h: b"\x0e\x06\x00\x06")
            if turn % 14 == 13:
                association.get(CLOCK)
            else:
                with pytest.raises(MeterBusy):
                    association.get(CLOCK)


# ---- counters are used up slowly, whoever lies about them ----


def test_a_liar_who_has_the_counter_asked_for_at_each_visit_gains_a_counter_a_second():
    # A clear refusal on a parked association has it opened anew, silently, and the counter asked for before that.
    table = Table()
    time = at_time(table)
    read(table)

    def leap(_sent, heard):
        public = table.links[-1].client_sap == 16
        lie = table.vault.top[SERIAL, 32] + LEAP // 2
        return heard[:-4] + lie.to_bytes(4, "big") if public and heard[0] == 0xC4 else heard

    table.garble = leap
    believed = 0
    for _ in range(50):
        table.book.forget(SERIAL, 32)
        time.now_s += 60
        with suppress(ReplyForged):
            read(table)
            believed += 1
    assert believed <= 2
    assert table.vault.top[SERIAL, 32] < 1000 + LEAP + 50 * 60
    table.garble = lambda _sent, heard: heard
    read(table)


def test_what_another_system_uses_is_followed_for_years():
    vault, now_s = Vault(), 0.0
    book = CounterBook(vault)
    published = 10
    for _ in range(100):
        book.learn(SERIAL, 32, published, now_s)
        assert book.next(SERIAL, 32) == published + 1
        book.forget(SERIAL, 32)
        published += 30_000  # half a day of an APDU a second and more
        now_s += 43_200


def test_a_meter_that_counts_anew_is_due_again_after_it_may_be_believed():
    assert HOLD_S[Fate.PAUSE_METER] >= RESTART_AFTER_S


# ---- what held ----


@pytest.mark.parametrize("dedicated", [False, True])
@pytest.mark.parametrize("mechanism", [Mechanism.LLS, Mechanism.HLS_GMAC])
def test_no_beginning_of_a_reply_is_a_reply(mechanism, dedicated):
    table = Table(mechanism, dedicated_key=dedicated)
    read(table)
    for at, length in [(at, len(heard)) for at, (_, heard) in enumerate(table.passed[:-1])]:
        for cut in range(length):
            turns = itertools.count()
            table.garble = lambda _sent, heard, at=at, cut=cut, turns=turns: (
                heard if table.links[-1].client_sap == 16 or next(turns) != at else heard[:cut]
            )
            with pytest.raises(DcuError):
                read(table)


CONNECT = MethodRef(ClassId.DISCONNECT_CONTROL, obis.DISCONNECT_CONTROL, 2)
ZERO = b"\x0f\x00"


@pytest.mark.parametrize("mechanism", [Mechanism.HLS_SECRET, Mechanism.HLS_GMAC])
@pytest.mark.parametrize("dedicated", [False, True])
def test_the_answer_to_an_action_cannot_be_made_by_somebody_on_the_line(mechanism, dedicated):
    table = Table(mechanism, dedicated_key=dedicated)
    with table.associate() as association:
        association.act(CONNECT, ZERO, TestWarrant(SERIAL, CONNECT, ZERO))
    past = [heard for _, heard in table.passed]
    ok, far = bytes([0xC7, 0x01]), (1 << 31).to_bytes(4, "big")
    forged = [
        *past,
        *(ok + bytes([0xC0 | invoke]) + b"\x00" for invoke in range(16)),
        *(ok + bytes([0xC0 | invoke]) + b"\x00\x00" for invoke in range(16)),
        *(b"\xcf\x09\x30" + far + ok + bytes([0xC0 | invoke]) + b"\x00" for invoke in range(16)),
        b"\xd8\x01\x01",
        b"\x0e\x06\x00\x06",
        b"",
    ]
    for answer in forged:
        now = []
        with pytest.raises(DcuError), table.associate() as association:
            table.garble = lambda sent, heard, answer=answer, now=now: now.append(sent) or answer
            try:
                association.act(CONNECT, ZERO, TestWarrant(SERIAL, CONNECT, ZERO))
            finally:
                table.garble = lambda _sent, heard: heard
        assert len(now) == 1  # never sent again


def test_no_key_is_in_what_is_logged_raised_or_shown(caplog):
    caplog.set_level(logging.DEBUG)
    said = []
    for mechanism, fault in itertools.product(
        (Mechanism.LLS, Mechanism.HLS_SECRET, Mechanism.HLS_GMAC), ("bad_tag", "lower_counter", "clear_answer")
    ):
        table = Table(mechanism, dedicated_key=True)
        session = table.open()
        suites = [session._ciphering.suite, session._ciphering._services.suite]
        said += map(repr, (session, session._ciphering, *suites, table.caller, table.meter, table.meter.secrets))
        setattr(table.virtual.faults, fault, True)
        with pytest.raises(DcuError) as caught:
            for _ in range(2):
                session.association.get(CLOCK)
        said += [repr(caught.value), str(caught.value), repr(caught.value.__context__)]
        session.end(caught.value)
        for key in ("unicast_key", "authentication_key", "hls_secret", "lls_secret"):
            for wrong in (b"", b"fifteen octets.", bytes(16)):
                table = Table(mechanism)
                table.meter = replace(table.meter, secrets=replace(SECRETS, **{key: wrong}))
                try:
                    read(table)
                except DcuError as refusal:
                    said += [repr(refusal), str(refusal)]
    text = caplog.text + "".join(said)
    assert "lower" in text or "not above" in text
    for key in (SECRETS.unicast_key, SECRETS.authentication_key, SECRETS.lls_secret, SECRETS.hls_secret):
        for form in (key.hex(), key.hex().upper(), repr(key)[2:-1], repr(list(key))[1:-1]):
            assert form not in text
