"""Invocation counters: where a process begins, how far a meter is believed, no nonce twice whatever was restored."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu import obis
from dcu.drivers.counters import (
    BLOCK,
    FIRST_CONTACT_BELOW,
    LEAP,
    LOW,
    LOW_AGAIN,
    CounterBook,
)
from dcu.drivers.security import SuiteZero
from dcu.errors import AssociationRefused, CounterExhausted, ReplyForged
from dcu.meter import AttributeRef, ClassId, Mechanism
from dcu.reading import ClockState
from dcu.store import Counters
from tests.store.running_store import running

from .apdus import Table
from .bench import SERIAL, Vault

SAP = 32
CLOCK = AttributeRef(ClassId.CLOCK, obis.CLOCK, 2)


def begun(vault, published=None, **options):
    book = CounterBook(vault, **options)
    book.learn(SERIAL, SAP, published)
    return book, book.next(SERIAL, SAP)


# ---- where to begin ----


def test_first_contact():
    assert begun(Vault())[1] == 1
    assert begun(Vault(), 41)[1] == 42
    assert begun(Vault(), FIRST_CONTACT_BELOW - 1)[1] == FIRST_CONTACT_BELOW
    vault = Vault()
    with pytest.raises(ReplyForged, match="2147483648") as caught:
        begun(vault, FIRST_CONTACT_BELOW)
    assert "0004" in caught.value.cure
    assert vault.reserved == []


def test_a_meter_that_publishes_nothing_is_begun_beyond_what_may_be_lost():
    vault = Vault()
    vault.top[SERIAL, SAP], vault.skip = 100, 5000
    book, first = begun(vault)
    assert first == 5100
    book.forget(SERIAL, SAP)
    assert not book.knows(SERIAL, SAP)
    book.learn(SERIAL, SAP, None)
    assert book.next(SERIAL, SAP) == first + BLOCK  # within a process nothing is lost
    assert begun(vault, 7)[1] == first + 2 * BLOCK  # a meter that publishes needs no margin


def test_a_leap_is_believed_within_bounds():
    vault = Vault()
    vault.top[SERIAL, SAP] = 1000
    limit = 1000 + LEAP
    with pytest.raises(ReplyForged, match=f"less than {limit} "):
        begun(vault, limit)
    assert vault.reserved == []
    book, first = begun(vault, limit - 1)
    assert first == limit
    with pytest.raises(ReplyForged):
        book.learn(SERIAL, SAP, first + BLOCK + LEAP)
    book.learn(SERIAL, SAP, 7)  # a lower one is no reason to go back
    assert book.next(SERIAL, SAP) == first + BLOCK


def test_a_spoofed_counter_uses_nothing_up():
    table = Table()
    with table.associate() as association:
        association.get(CLOCK)
    top = dict(table.vault.top)

    def spoof(_sent, heard):
        public = table.links[-1].client_sap == 16
        return heard[:-4] + b"\xff\xff\xff\xf0" if public and heard[0] == 0xC4 else heard

    table.garble = spoof
    for _ in range(3):
        table.restart()
        with pytest.raises(ReplyForged, match="believed"), table.associate():
            pytest.fail("must not be lent")
    assert table.vault.top == top


# ---- warned of ----


def test_told_long_before_the_end_and_once_a_step():
    told = []
    vault = Vault()
    book = CounterBook(vault, lambda *said: told.append(said))
    book.learn(SERIAL, SAP, FIRST_CONTACT_BELOW - 1 - BLOCK)
    for _ in range(3 * BLOCK):
        book.next(SERIAL, SAP)
    assert told == [(SERIAL, SAP, LOW)]
    for step in range(1, 8):
        vault.top[SERIAL, SAP] = LOW + step * LOW_AGAIN
        book.learn(SERIAL, SAP, None)
        book.next(SERIAL, SAP)
        book.next(SERIAL, SAP)
    assert [said[2] for said in told] == [LOW + step * LOW_AGAIN for step in range(8)]
    assert len([book.next(SERIAL, 48) for _ in range(BLOCK)]) == BLOCK
    assert len(told) == 8  # of this client alone
    vault.top[SERIAL, SAP] = (1 << 32) - 3
    book.learn(SERIAL, SAP, None)
    with pytest.raises(CounterExhausted):
        book.next(SERIAL, SAP)


# ---- the meters' own ----


def test_what_was_heard_of_a_meter_goes_up_only_and_is_not_forgotten():
    book = CounterBook(Vault())
    assert book.heard(SERIAL, SAP) == -1
    book.hear(SERIAL, SAP, 9)
    book.hear(SERIAL, SAP, 5)
    book.hear(SERIAL, SAP, -1)
    book.forget(SERIAL, SAP)
    assert book.heard(SERIAL, SAP) == 9
    assert book.heard(SERIAL, 48) == -1


# ---- never twice ----


class Used:
    """Nonces of this box, as they are sealed."""

    def __init__(self, monkeypatch):
        self.counters = []
        seal = SuiteZero.seal

        def noting(suite, title, counter, plaintext, *control):
            self.counters.append((suite.unicast_key, title, counter))
            return seal(suite, title, counter, plaintext, *control)

        monkeypatch.setattr(SuiteZero, "seal", noting)

    def assert_new(self):
        assert len(set(self.counters)) == len(self.counters)


class WallClock:
    """Time of a store."""

    def __init__(self):
        self.at = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
        self.trusted = ClockState.TRUSTED

    def now(self):
        return self.at

    def state(self):
        return self.trusted

    def monotonic_s(self):
        return 0.0


def work(table, reads):
    with table.associate() as association:
        for _ in range(reads):
            association.get(CLOCK)


@pytest.mark.parametrize(
    ("published", "clock"),
    [(True, ClockState.TRUSTED), (True, ClockState.UNTRUSTED), (False, ClockState.TRUSTED)],
)
def test_an_old_copy_of_the_database_uses_no_nonce_again(tmp_path, monkeypatch, published, clock):
    used, wall, path = Used(monkeypatch), WallClock(), tmp_path / "dcu.db"
    wall.trusted = clock
    table = Table(**({} if published else {"invocation_counter": None}))

    def process(reads):
        with running(path, clock=wall) as it:
            table.vault = Counters(it.store)
            table.restart()
            work(table, reads)

    process(10)
    shutil.copy(path, tmp_path / "copy.db")
    for _ in range(3):  # what the copy does not know of
        wall.at += timedelta(minutes=20)
        process(400)
    before = len(used.counters)
    for _ in range(2):
        shutil.copy(tmp_path / "copy.db", path)
        wall.at += timedelta(minutes=20)
        process(200)
    used.assert_new()
    assert len(used.counters) > before + 400
    counters = [counter for _, _, counter in used.counters]
    assert counters == sorted(counters)


def test_a_counter_that_the_meter_refuses_is_learnt_anew_once_an_association():
    # Another client of the same address used counters: the meter says so, and is asked.
    table = Table(Mechanism.HLS_SECRET)
    work(table, 1)
    table.virtual.credentials.accept_counter(48, 5000)
    with pytest.raises(AssociationRefused), table.associate():
        pytest.fail("must not be lent")
    publics = sum(link.client_sap == 16 for link in table.links)
    assert publics == 1  # not within the refused association: the pause comes first
    work(table, 1)
    assert sum(link.client_sap == 16 for link in table.links) == 2
    assert table.vault.top[SERIAL, 48] > 5000


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(1, 100)),
        st.tuples(st.just("restart"), st.integers(0, 100)),
        st.tuples(st.just("forget"), st.just(0)),
        st.tuples(st.just("others"), st.integers(1, LEAP // 16)),
    ),
    max_size=12,
)


@given(STEPS, st.booleans())
def test_counters_only_go_up(steps, published):
    vault, meter, last = Vault(), 0, 0
    book = CounterBook(vault)
    for step, number in steps:
        if step == "others" and published:
            meter += number  # another client of that address
        elif step == "restart":
            book = CounterBook(vault)
        elif step == "forget":
            book.forget(SERIAL, SAP)
        elif step == "use":
            for _ in range(number):
                if not book.knows(SERIAL, SAP):
                    book.learn(SERIAL, SAP, meter if published else None)
                counter = book.next(SERIAL, SAP)
                assert counter > last
                last = counter
            meter = max(meter, last)
