"""The cache of payloads that are made in advance: what is in it, and how it begins, forgets and ends."""

import stat
from contextlib import closing

import pytest
from sealed_cache import ALL, EPOCH, PAGES, filled, payload, right, seal

from dcu.ports import Seal
from dcu.record import Stream
from dcu.store import SealedFile, sealed

# ---- what is in it


def test_what_is_added_comes_back_and_nothing_else(path, file):
    seals = [seal(1), seal(11), seal(21, 21), seal(1, stream=Stream.ALARM), Seal(Stream.CREDIT, 1, 9, 900, 2**32 - 1)]
    with closing(filled(path, seals)) as cache:
        assert all(right(cache, each) for each in seals)
        others = [seal(2), seal(1, 9), seal(1, 11), seal(1, octets=901), seal(1, stream=Stream.HEALTH), seal(31)]
        assert [cache.payload(EPOCH, other) for other in others] == [None] * len(others)
        assert cache.payload("e2", seals[1]) is None and right(cache, seals[1])
        assert list(cache.run_from(EPOCH, Stream.CREDIT, 1)) == seals[4:]
        assert cache.payload(EPOCH, Seal(Stream.CREDIT, 1, 9, 900, 7)) is None, "of another last record"


def test_a_seal_that_is_not_the_one_written_lets_the_payload_go(cache):
    assert cache.add(EPOCH, seal(1), b"x")
    assert cache.payload(EPOCH, seal(1, 9)) is None and cache.payload(EPOCH, seal(1)) is None and cache.is_empty


def test_what_is_added_again_takes_the_place_of_what_was_there(cache):
    assert cache.add(EPOCH, seal(1), b"first") and cache.add(EPOCH, seal(1), b"second")
    assert cache.payload(EPOCH, seal(1)) == b"second"


def test_nothing_is_in_it_before_it_is_begun_and_after_it_is_closed(path, file):
    cache = SealedFile(path, PAGES)
    assert not cache.add("", seal(1), b"x") and not cache.add(EPOCH, seal(1), b"x") and not file.exists()
    assert cache.is_empty and cache.last(Stream.PROFILE) == 0 and not cache.forget(ALL)
    cache.begin(EPOCH)
    assert cache.add(EPOCH, seal(1), b"x")
    cache.close()
    assert cache.payload(EPOCH, seal(1)) is None and not cache.run_from(EPOCH, Stream.PROFILE, 1)
    assert not cache.add(EPOCH, seal(1), b"x")
    cache.close()


@pytest.mark.parametrize(
    ("firsts", "start", "run"),
    [
        ([1, 11, 21], 1, [1, 11, 21]),
        ([1, 11, 21], 11, [11, 21]),
        ([1, 11, 31], 1, [1, 11]),
        ([1, 11, 31], 21, []),
        ([1, 11], 2, []),
        ([1, 11], 5, []),
        ([11], 1, []),
        ([], 1, []),
        ([n * 10 + 1 for n in range(40)], 1, [n * 10 + 1 for n in range(sealed.RUN)]),
        ([2**62], 2**62, [2**62]),
    ],
)
def test_a_run_has_no_hole_and_begins_where_it_is_asked(path, file, firsts, start, run):
    with closing(filled(path, [seal(first) for first in firsts])) as cache:
        assert list(cache.run_from(EPOCH, Stream.PROFILE, start)) == [seal(first) for first in run]
        assert not cache.run_from(EPOCH, Stream.ALARM, start) and not cache.run_from("e2", Stream.PROFILE, start)


def test_seals_that_overlap_are_no_run(path, file):
    with closing(filled(path, [seal(1, 10), seal(5, 14), seal(11, 20)])) as cache:
        assert cache.run_from(EPOCH, Stream.PROFILE, 1) == [seal(1, 10)]
        assert cache.run_from(EPOCH, Stream.PROFILE, 5) == [seal(5, 14)]


def test_the_next_seal_and_the_last_record(path, file):
    with closing(filled(path, [seal(11), seal(31), seal(5, stream=Stream.ALARM)])) as cache:
        asked = [0, 10, 11, 30, 31, 2**63 - 1]
        assert [cache.next_first(EPOCH, Stream.PROFILE, n) for n in asked] == [11, 11, 31, 31, None, None]
        assert cache.next_first("e2", Stream.PROFILE, 0) is None and cache.next_first(EPOCH, Stream.BILLING, 0) is None
        assert [cache.last(stream) for stream in (Stream.PROFILE, Stream.ALARM, Stream.BILLING)] == [40, 14, 0]


# ---- its life


def test_it_is_kept_over_a_restart_for_the_same_epoch_only(path, file):
    filled(path, [seal(1), seal(11)]).close()
    with closing(filled(path, [])) as cache:
        assert (
            right(cache, seal(1)) and right(cache, seal(11)) and not cache.is_empty and cache.last(Stream.PROFILE) == 20
        )
        cache.begin(EPOCH)
        assert right(cache, seal(1))
        cache.begin("e2")
        assert cache.is_empty and cache.last(Stream.PROFILE) == 0 and not cache.run_from("e2", Stream.PROFILE, 1)
        assert not cache.add(EPOCH, seal(1), b"of another epoch") and cache.add("e2", seal(1), b"new")
        cache.begin(EPOCH)
        assert cache.is_empty and cache.payload(EPOCH, seal(1)) is None


def test_it_is_for_its_owner_only(cache, file):
    assert cache.add(EPOCH, seal(1), b"x")
    journal = file.with_name("dcu-sealed.db-journal")
    assert [stat.S_IMODE(each.stat().st_mode) for each in (file, journal) if each.exists()][:1] == [0o600]
    assert not journal.exists() or stat.S_IMODE(journal.stat().st_mode) == 0o600


def test_it_forgets_in_bites_and_the_file_goes_with_the_last(path, file, monkeypatch):
    monkeypatch.setattr(sealed, "BITE", 3)
    with closing(filled(path, [seal(n * 10 + 1) for n in range(8)])) as cache:
        assert not cache.forget({Stream.PROFILE: 9}) and right(cache, seal(1))
        assert cache.forget({Stream.PROFILE: 45, Stream.ALARM: 9}) and cache.forget({Stream.PROFILE: 45})
        assert not cache.forget({Stream.PROFILE: 45})
        assert cache.run_from(EPOCH, Stream.PROFILE, 41) == [seal(41), seal(51), seal(61), seal(71)]
        bites = 0
        while cache.forget(ALL):
            bites += 1
        assert bites <= 2 and cache.is_empty and not file.exists() and list(file.parent.iterdir()) == [path]
        cache.begin(EPOCH)
        assert cache.add(EPOCH, seal(81), b"x") and file.exists()


def test_what_is_discarded_is_gone_and_can_be_begun_anew(path, file):
    with closing(filled(path, [seal(1)])) as cache:
        cache.discard()
        cache.discard()
        assert not file.exists() and cache.payload(EPOCH, seal(1)) is None and cache.last(Stream.PROFILE) == 0
        assert not cache.add(EPOCH, seal(1), b"x")
        cache.begin(EPOCH)
        assert cache.is_empty and cache.add(EPOCH, seal(1), b"x")


def test_at_its_limit_nothing_is_added_and_what_was_there_still_reads(path, file):
    cache = SealedFile(path, 400)
    cache.begin(EPOCH)
    kept = []
    for n in range(400):
        if not cache.add(EPOCH, seal(n * 10 + 1), payload(seal(n * 10 + 1), 3000)):
            break
        kept.append(seal(n * 10 + 1))
    assert 50 < len(kept) < 400 and file.stat().st_size <= 100 * 4096
    assert all(right(cache, each, 3000) for each in kept)
    assert cache.forget({Stream.PROFILE: 100}) and cache.add(EPOCH, seal(10**6), payload(seal(10**6), 3000))
    cache.close()
    with closing(SealedFile(path, 400)) as again:
        again.begin(EPOCH)
        assert all(right(again, each, 3000) for each in kept[10:])
