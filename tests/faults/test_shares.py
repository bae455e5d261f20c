"""A small share of `make faults`, and the replayer against traces that were made by hand."""

import random

import pytest

from tests.faults import network, rows, strained, trace, virtual
from tests.faults.disk import SECTOR, Cut, Disk
from tests.faults.trace import Closed, Opened, Renamed, Resized, Synced, Unlinked, Written

needs_strace = pytest.mark.skipif(bool(trace.there()), reason=trace.there() or "strace is there")


@pytest.fixture
def run(tmp_path):
    return rows.Run(7, full=False, scratch=tmp_path)


def hold(lines):
    assert [line for line in lines if not line.good] == []


@needs_strace
def test_power_cuts(run):
    hold(rows.power_cut(run))


@needs_strace
def test_a_failed_sync_is_never_acknowledged(run):
    hold(rows.failed_sync(run))


@pytest.mark.broker
def test_kill_9(run):
    hold(rows.kill_9(run))


def test_a_thousand_boxes_come_back_spread(run):
    hold(rows.ROWS[28](run))


def test_an_adapter_comes_back_under_another_name(run):
    hold([strained.unplugged(run)])


def test_two_with_one_identity_do_not_flap(run):
    hold([network.rivals(run)])


# ---- the disk


def opened(fd, name, *, create=True, truncate=False):
    return Opened(fd, f"/d/{name}", create, truncate, append=False)


def after(tmp, *events, cut=Cut.NOTHING, seed=0, own_names=False):
    disk = Disk(tmp, own_names=own_names)
    for event in events:
        disk.take(event)
    return disk.image(cut, random.Random(seed))


@pytest.fixture
def tmp():
    from pathlib import Path

    return Path("/d")


FOLDER = Opened(9, "/d", create=False, truncate=False, append=False)


def test_nothing_is_there_before_its_sync_and_no_name_before_that_of_its_directory(tmp):
    made = (opened(3, "a"), Written(3, b"one", 0))
    assert after(tmp, *made) == {}
    assert after(tmp, *made, Synced(3, good=True)) == {}
    assert after(tmp, *made, Synced(3, good=True), own_names=True) == {"a": b"one"}
    named = (*made, FOLDER, Synced(9, good=True))
    assert after(tmp, *named) == {"a": b""}
    assert after(tmp, *named, Synced(3, good=True), Written(3, b"two", 0)) == {"a": b"one"}


def test_a_sync_that_failed_brings_nothing_ever(tmp):
    made = (opened(3, "a"), FOLDER, Synced(9, good=True), Written(3, b"one", 0), Synced(3, good=False))
    assert after(tmp, *made, Written(3, b"two", 3), Synced(3, good=True)) == {"a": b"\0\0\0two"}


def test_a_name_that_was_replaced_is_the_old_one_or_the_new_one(tmp):
    made = (opened(3, "a"), Written(3, b"old", 0), Synced(3, good=True), FOLDER, Synced(9, good=True), Closed(3))
    new = (opened(4, "b"), Written(4, b"new", 0), Synced(4, good=True), Renamed("/d/b", "/d/a"))
    assert after(tmp, *made, *new) == {"a": b"old"}
    assert after(tmp, *made, *new, Synced(9, good=True)) == {"a": b"new"}
    images = [after(tmp, *made, *new, cut=Cut.SUBSET, seed=seed) for seed in range(20)]
    assert all(image.get("a") in {b"old", b"new"} for image in images)
    assert {image["a"] for image in images} == {b"old", b"new"}
    assert after(tmp, *made, Unlinked("/d/a")) == {"a": b"old"}
    assert after(tmp, *made, Unlinked("/d/a"), Synced(9, good=True)) == {}


def test_unsynced_writes_come_in_part_and_tear_at_sectors(tmp):
    made = (opened(3, "a"), Resized(3, 4 * SECTOR), Synced(3, good=True), FOLDER, Synced(9, good=True))
    write = Written(3, b"x" * 3 * SECTOR, 0)
    subsets = {after(tmp, *made, write, cut=Cut.SUBSET, seed=seed)["a"].count(b"x") for seed in range(40)}
    assert subsets == {0, 3 * SECTOR}
    torn = {after(tmp, *made, write, cut=Cut.TORN, seed=seed)["a"].count(b"x") for seed in range(60)}
    assert torn == {0, SECTOR, 2 * SECTOR, 3 * SECTOR}


def test_acknowledgements_are_counted_and_are_no_file(tmp):
    disk = Disk(tmp)
    for event in (opened(5, trace.ACKS), Written(5, b"one\ntwo\n", None)):
        disk.take(event)
    assert disk.acks == [b"one", b"two"]
    assert disk.image(Cut.SUBSET, random.Random(1)) == {}


def test_calls_of_several_threads_are_read_in_the_order_in_which_they_count(tmp_path):
    path = tmp_path / "trace"
    path.write_text(
        '7 openat(AT_FDCWD, "\\x2f\\x64", O_RDWR|O_CREAT, 0600) = 3\n'
        "7 fdatasync(3 <unfinished ...>\n"
        '8 pwrite64(3, "\\x41\\x42", 2, 10 <unfinished ...>\n'
        "7 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)\n"
        "8 <... pwrite64 resumed>) = 2\n"
        "7 +++ killed by SIGKILL +++\n"
    )
    assert trace.read(path) == [
        Opened(3, "/d", create=True, truncate=False, append=False),
        Written(3, b"AB", 10),
        Synced(3, good=False),
    ]


@pytest.mark.parametrize(
    ("settings", "unseen"),
    [
        ([(900.0, 86_400.0, 600.0)], 0),
        ([(900.0, 86_400.0, None)], 1),
        ([(-900.0, 86_400.0, None)], 1),
        ([(900.0, 1800.0, None)], 0),  # set again before anybody looked
        ([(5.0, 86_400.0, None)], 0),  # it may have drifted
    ],
)
def test_a_clock_that_was_set_and_that_nobody_told_of_is_counted(settings, unseen):
    assert virtual._noticed(settings)[0] == unseen
