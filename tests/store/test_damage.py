"""Pages zeroed, garbled and torn, salvages cut short: what can be read is kept, what is gone is told."""

import os
import random
import sqlite3
import struct
import time
from contextlib import closing, suppress
from pathlib import Path

import cbor2
import pytest
from running_store import LAYOUT, FixedClock, Running, reading, running
from sqlite_utils import Database as Utilities

from dcu import obis
from dcu.errors import StoreDamaged, StoreDown
from dcu.event import DropReason
from dcu.record import Stream
from dcu.store import salvage, schema, writer
from dcu.store.check import Check
from dcu.store.seat import Opener

DAY = 1_795_305_600 - 19_800
SEEDS = range(int(os.environ.get("DCU_DAMAGE_SEEDS", "12")))
SERIALS = [f"GXT{n}" for n in range(6)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(writer, "TURN_S", 0.01)
    monkeypatch.setattr(writer, "AGAIN_FIRST_S", 0.0)


def fill(path, records=400):
    """A store with something of everything."""
    with running(path) as it:
        store = it.store
        for serial in SERIALS:
            store.transact(lambda tx, s=serial: tx.describe(s, obis.BLOCK_LOAD, LAYOUT, 900, DAY))
            store.transact(lambda tx, s=serial: tx.admit(reading([DAY + 900 * n for n in range(20)], s)))
            store.transact(lambda tx, s=serial: tx.reserve_counters(s, 32, 5000, 64))
            store.transact(lambda tx, s=serial: tx.raise_relay_sequence(s, 7, disconnect=True))
        for stream in Stream:
            bodies = [b"%s %d " % (stream.value.encode(), n) * 20 for n in range(records // 4)]
            store.transact(lambda tx, st=stream, b=bodies: [tx.append(st, body, LAYOUT) for body in b])
        store.transact(lambda tx: [tx.append(Stream.PROFILE, b"p%d " % n * 60, LAYOUT) for n in range(records)])
        store.transact(lambda tx: [tx.journal(n, "entry", b"%d" % n) for n in range(30)])
        store.transact(lambda tx: tx.deliver(Stream.PROFILE, 17))
        store.transact(lambda tx: tx.count("refusals"))
        return store.epoch


def bodies(path):
    """Every record of the file by stream and id."""
    raw = sqlite3.connect(path)
    try:
        return {s: dict(raw.execute(f"SELECT id, body FROM record_{s.value}")) for s in Stream}
    finally:
        raw.close()


def up(it):
    """Wait until it stores again, or its loop has ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and it._thread.is_alive():
        try:
            return it.store.transact(lambda tx: True)
        except StoreDown:
            time.sleep(0.005)
        except Exception:
            return False
    return False


def whole_check(it):
    """A round of the daily check; what it raised."""

    def round_(tx):
        check = Check(tx._database, tx.dropping, tx.accounts)
        while check.step():
            pass

    try:
        it.store.transact(round_)
    except StoreDamaged as fault:
        return fault
    return None


def recover(path):
    """Start until a whole check finds nothing any more; how many starts that took, and the epoch."""
    for starts in range(1, 6):
        it = Running(path)
        try:
            if up(it) and whole_check(it) is None:
                return starts, it.store.epoch
        finally:
            it.stop.set()
            it._thread.join(20)
            it.store.close()
    raise AssertionError("it never becomes well")


def alarms(path, kind):
    found = [
        cbor2.loads(body)
        for _, body in sorted(bodies(path)[Stream.ALARM].items())
        if body[:5] != b"alarm" and body != b"new"
    ]
    return [alarm["facts"] for alarm in found if alarm["kind"] == kind]


def judge(path, before, epoch):
    """Each record is there as it was, or told to be gone, and never both; numbers only go up."""
    after, now = bodies(path), recover(path)[1]
    told = {stream: set() for stream in Stream}
    for each in alarms(path, "dropped"):
        assert each["reason"] == "damaged"
        if each["epoch"] in {epoch, now}:  # the new one, where the old one could not be read
            told[Stream(each["stream"])] |= set(range(each["first"], each["last"] + 1))
    for stream, records in before.items():
        kept = {n for n, body in records.items() if after[stream].get(n) == body}
        silent = records.keys() - kept - told[stream]
        assert not silent, f"{stream}: {sorted(silent)[:5]} vanished without a word"
        assert not kept & told[stream], f"{stream}: {sorted(kept & told[stream])[:5]} told to be gone and are there"
    with running(path) as it:
        for stream, records in before.items():
            assert it.store.transact(lambda tx, s=stream: tx.append(s, b"new")) > max(records)
        assert it.store.transact(lambda tx: tx.journal(0, "new", b""))[0] > 0
    return now


def spoil(path, page, how, dice):
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        octets = bytearray(file.read(4096))
        match how:
            case "zeros":
                octets[:] = bytes(4096)
            case "noise":
                octets[:] = dice.randbytes(4096)
            case "torn":
                octets[512 * dice.randrange(8) :] = b""
                octets += dice.randbytes(4096 - len(octets))
            case "bit":
                octets[dice.randrange(4096)] ^= 1 << dice.randrange(8)
        file.seek((page - 1) * 4096)
        file.write(octets)


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_pages_cost_what_stood_on_them_and_no_more(path, tmp_path, seed):
    dice = random.Random(seed)
    epoch = fill(path)
    before = bodies(path)
    pages = path.stat().st_size // 4096
    for _ in range(dice.choice((1, 1, 2, 5))):
        spoil(path, dice.randrange(2, pages + 1), dice.choice(("zeros", "noise", "torn", "bit")), dice)
    starts, now = recover(path)
    assert starts <= 4
    aside = list(tmp_path.glob("dcu.db.damaged-*"))
    assert bool(aside) == (now != epoch)
    judge(path, before, epoch)
    if now != epoch:
        told = alarms(path, "salvaged")
        assert [each["stream"] for each in told] == [s.value for s in Stream]
        assert {each["epoch"] for each in told} == {now}


def pages_of_the_schema(path):
    """The first page, and the leaves that it points to."""
    octets = path.read_bytes()[:4096]
    assert octets[100] == 5, "the schema stands on more pages than one"
    (cells,), (last,) = struct.unpack_from(">H", octets, 103), struct.unpack_from(">I", octets, 108)
    places = struct.unpack_from(f">{cells}H", octets, 112)
    return [1, *(struct.unpack_from(">I", octets, place)[0] for place in places), last]


@pytest.mark.parametrize("how", ["zeros", "noise"])
@pytest.mark.parametrize("which", range(3))
def test_a_schema_that_cannot_be_read_costs_nothing(path, tmp_path, which, how):
    """One page of it would otherwise cost all records, counters and spent sequences."""
    epoch = fill(path)
    before = bodies(path)
    spoil(path, pages_of_the_schema(path)[which], how, random.Random(1))
    starts, _ = recover(path)
    assert starts <= 2 and len(list(tmp_path.glob("dcu.db.damaged-*"))) == 1
    after = bodies(path)
    assert all(after[stream].get(n) == body for stream, records in before.items() for n, body in records.items())
    judge(path, before, epoch)
    assert {each["was"] for each in alarms(path, "salvaged")} == {epoch}
    with running(path) as it:
        assert it.store.transact(lambda tx: tx.reserve_counters(SERIALS[0], 32, 5000, 1))[0] > 5064


def test_a_schema_of_which_sqlite_speaks_no_text_is_salvaged_as_any_other(path, tmp_path):
    """Its message quotes what is garbled, which is no UTF-8: the box did not start any more."""
    epoch = fill(path)
    before = bodies(path)
    octets = path.read_bytes()
    assert octets.count(b"CREATE TABLE journal") == 1
    path.write_bytes(octets.replace(b"CREATE TABLE journal", b"CREATE \xf3\x40BLE journal"))
    recover(path)
    assert len(list(tmp_path.glob("dcu.db.damaged-*"))) == 1
    after = bodies(path)
    assert all(after[stream].get(n) == body for stream, records in before.items() for n, body in records.items())
    judge(path, before, epoch)


def test_a_schema_that_cannot_be_read_while_its_log_is_there_costs_nothing(path):
    """As a power cut leaves it: what was written last stands in the log alone."""
    epoch = fill(path)
    it = Running(path)
    try:
        it.store.transact(lambda tx: tx.append(Stream.ALARM, b"new"))
        held = {name: path.with_name(name).read_bytes() for name in ("dcu.db", "dcu.db-wal")}
    finally:
        it.end()
    before = bodies(path)
    for name, octets in held.items():
        path.with_name(name).write_bytes(octets)
    spoil(path, pages_of_the_schema(path)[1], "zeros", random.Random(1))
    recover(path)
    after = bodies(path)
    assert all(after[stream].get(n) == body for stream, records in before.items() for n, body in records.items())
    assert {each["was"] for each in alarms(path, "salvaged")} == {epoch}


def test_the_schema_of_another_program_is_not_put_in_the_place_of_one_that_cannot_be_read(path, tmp_path):
    """An older program's tables may stand elsewhere: they would be taken for others."""
    fill(path)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DELETE FROM _sqlite_migrations WHERE id = (SELECT max(id) FROM _sqlite_migrations)")
        raw.commit()
    spoil(path, pages_of_the_schema(path)[1], "zeros", random.Random(1))
    damaged = path.read_bytes()
    recover(path)
    [aside] = tmp_path.glob("dcu.db.damaged-*")
    assert aside.read_bytes() == damaged


@pytest.mark.parametrize("how", ["zeros", "noise"])
@pytest.mark.parametrize("stream", ["profile", "alarm"])
def test_the_root_of_a_table_that_cannot_be_read_costs_nothing(path, stream, how):
    """All that stands below it would otherwise be lost with it."""
    epoch = fill(path, records=4000)
    before = bodies(path)
    spoil(path, root(path, f"record_{stream}"), how, random.Random(1))
    recover(path)
    after = bodies(path)
    assert all(after[stream].get(n) == body for stream, records in before.items() for n, body in records.items())
    judge(path, before, epoch)


def test_an_inner_page_and_a_leaf_below_it_cost_what_stood_on_the_leaf(path):
    """The tree is three deep; both its root and a branch are gone."""
    epoch = fill(path, records=30_000)
    before = bodies(path)
    top = root(path, "record_profile")
    octets = path.read_bytes()
    branch = struct.unpack_from(">I", octets, (top - 1) * 4096 + 8)[0]
    assert octets[(branch - 1) * 4096] == 5, "it is not three deep"
    leaf = struct.unpack_from(">I", octets, (branch - 1) * 4096 + 8)[0]
    for page in (top, branch, leaf):
        spoil(path, page, "zeros", random.Random(1))
    recover(path)
    after = bodies(path)
    lost = [n for n, body in before[Stream.PROFILE].items() if after[Stream.PROFILE].get(n) != body]
    assert 0 < len(lost) < 30
    judge(path, before, epoch)


def pointers(path):
    """(Kind, page above) of each page, as the map tells, of a file of less pages than it has entries."""
    octets = path.read_bytes()
    pages = len(octets) // 4096
    assert pages <= 821
    return {n: struct.unpack_from(">BI", octets, 4096 + 5 * (n - 3)) for n in range(3, pages + 1)}


@pytest.mark.parametrize("other", ["record_receipt", "journal", "invocation"])
@pytest.mark.parametrize("spoilt", ["credit", "profile"])
def test_a_page_that_can_be_read_is_not_replaced_because_the_pointer_map_is_wrong(path, spoilt, other):
    """It names a leaf as the page above another: neither that leaf is lost nor, where its table is sound, the other."""
    epoch = fill(path, records=2000)
    before = bodies(path)
    found = pointers(path)
    stray = [n for n, told in found.items() if told == (5, root(path, "record_profile"))][7]
    below = [n for n, told in found.items() if told == (5, root(path, other))]
    named = below[-1] if below else root(path, other)
    assert path.read_bytes()[(named - 1) * 4096] in {0x0D, 0x0A}, "no leaf"
    with path.open("r+b") as file:
        file.seek(4096 + 5 * (stray - 3) + 1)
        file.write(struct.pack(">I", named))
    spoil(path, root(path, f"record_{spoilt}"), "zeros", random.Random(1))
    recover(path)
    after = bodies(path)
    lost = {s: [n for n, body in records.items() if after[s].get(n) != body] for s, records in before.items()}
    of_the_stray = lost.pop(Stream.PROFILE)
    assert not any(lost.values())
    assert (0 < len(of_the_stray) < 30) if spoilt == "profile" else not of_the_stray
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM journal").fetchone() == (30,)
        assert raw.execute("SELECT count(*) FROM invocation").fetchone() == (len(SERIALS),)
    judge(path, before, epoch)


@pytest.mark.parametrize("name", ["record_profile", "journal"])
def test_a_file_is_set_aside_as_it_was_found(path, tmp_path, name):
    """What was mended to read it is no evidence of what happened to it."""
    fill(path, records=4000)
    spoil(path, root(path, name), "noise", random.Random(1))
    found = path.read_bytes()
    Opener(path, "JH-RNC-0042", 100_000, FixedClock()).salvage(lambda: None)
    [aside] = tmp_path.glob("dcu.db.damaged-*")
    assert aside.read_bytes() == found


@pytest.mark.parametrize("octet", [18, 47, 69])
def test_a_bit_of_the_header_that_makes_it_another_kind_of_file_costs_nothing(path, tmp_path, octet):
    """File format, schema format, application id: such a file was refused at every start, or waited for for ever."""
    epoch = fill(path)
    before = bodies(path)
    octets = bytearray(path.read_bytes())
    octets[octet] ^= 0x08
    path.write_bytes(octets)
    recover(path)
    assert len(list(tmp_path.glob("dcu.db.damaged-*"))) == 1
    after = bodies(path)
    assert all(after[stream].get(n) == body for stream, records in before.items() for n, body in records.items())
    judge(path, before, epoch)


def test_what_is_no_database_is_set_aside_as_it_was(path, tmp_path):
    path.write_bytes(b"readings, 2026-11\n" * 1000)
    recover(path)
    [aside] = tmp_path.glob("dcu.db.damaged-*")
    assert aside.read_bytes() == b"readings, 2026-11\n" * 1000


def root(path, name):
    raw = sqlite3.connect(path)
    try:
        return raw.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
    finally:
        raw.close()


def test_counters_leap_and_sequences_stay_and_the_ledger_goes_on(path):
    epoch = fill(path)
    spoil(path, root(path, "record_profile"), "zeros", random.Random(1))
    _, now = recover(path)
    assert now != epoch
    with running(path) as it:
        for serial in SERIALS:
            assert it.store.transact(lambda tx, s=serial: tx.counter_standing(s, 32)).next == 5064 + salvage.LEAP
            assert it.store.transact(lambda tx, s=serial: tx.relay_sequence(s)).disconnect == 7
            assert it.store.transact(lambda tx, s=serial: tx.profile(s, obis.BLOCK_LOAD)).held
        assert it.store.transact(lambda tx: tx.counts()) == {"refusals": 1}
        assert it.store.transact(lambda tx: tx.verify_journal())[0] == 30
        assert it.store.transact(lambda tx: tx.cursors())[Stream.PROFILE][0] == 17
    assert not alarms(path, "dropped")


def test_damage_that_is_met_at_work_ends_the_process_and_the_next_start_salvages(path, monkeypatch):
    monkeypatch.setattr(Check, "at_start", lambda self: None)
    fill(path)
    before = bodies(path)
    spoil(path, root(path, "record_profile"), "zeros", random.Random(1))
    it = Running(path)
    with pytest.raises(StoreDamaged):
        it.store.transact(lambda tx: tx.append(Stream.PROFILE, b"x"))
    it._thread.join(10)
    assert isinstance(it.fault, StoreDamaged)
    it.store.close()
    assert path.with_name("dcu.db.suspect").exists()
    assert recover(path)[0] == 1
    assert not path.with_name("dcu.db.suspect").exists()
    assert bodies(path)[Stream.RECEIPT] == before[Stream.RECEIPT]


def test_while_it_is_salvaged_nothing_can_be_stored_and_the_watchdog_is_fed(path, monkeypatch):
    fill(path)
    spoil(path, root(path, "record_profile"), "zeros", random.Random(1))
    it = None
    seen = []
    real = salvage.salvage

    def slow(*args):
        with pytest.raises(StoreDown, match="dcu.db"):
            it.store.transact(lambda tx: None)
        with pytest.raises(StoreDown):
            _ = it.store.epoch
        seen.append(it.store.condition)
        return real(*args)

    monkeypatch.setattr(salvage, "salvage", slow)
    monkeypatch.setattr(writer.Writer, "_open_again", held := Held(writer.Writer._open_again))
    it = Running(path)
    beats = it.beats
    held.go = True
    assert up(it) and seen and "SQLITE_CORRUPT" in seen[0] and it.beats > beats
    assert it.store.condition == "ok"
    it.end()


class Held:
    """A method that does nothing until it may."""

    def __init__(self, method):
        self.method, self.go = method, False

    def __get__(self, instance, _owner):
        return lambda: self.method(instance) if self.go else None


@pytest.mark.parametrize("at", range(8))
def test_a_salvage_that_is_cut_short_is_taken_up_again(path, tmp_path, monkeypatch, at):
    """The process ends before the n-th change of a name."""
    epoch = fill(path)
    before = bodies(path)
    spoil(path, root(path, "record_profile"), "zeros", random.Random(1))
    count = [0]

    class Cut(BaseException):
        pass

    def counted(method):
        def changed(*args, **kwargs):
            count[0] += 1
            if count[0] > at:
                raise Cut
            return method(*args, **kwargs)

        return changed

    with monkeypatch.context() as patched:
        for name in ("rename", "unlink"):
            patched.setattr(Path, name, counted(getattr(Path, name)))
        with suppress(Cut):
            Opener(path, "JH-RNC-0042", 100_000, FixedClock()).salvage(lambda: None)
    recover(path)
    judge(path, before, epoch)
    assert len(list(tmp_path.glob("dcu.db.damaged-*"))) == 1
    assert not [each for each in tmp_path.iterdir() if "salvag" in each.name]


def test_damaged_files_are_kept_to_a_number(path, tmp_path):
    fill(path)
    for n in range(6):
        spoil(path, root(path, "journal"), "zeros", random.Random(n))
        recover(path)
        for each in tmp_path.glob("dcu.db.damaged-*"):
            if "-a" not in each.name[-3:]:
                each.rename(each.with_name(f"dcu.db.damaged-2000000{n}-a"))
    assert len(list(tmp_path.glob("dcu.db.damaged-*"))) == salvage.KEPT


def test_records_that_nobody_finds_any_more_are_missed(path):
    """A flipped bit in the key of an inner page hides whole records, and no checksum is wrong."""
    epoch = fill(path)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("DELETE FROM record_profile WHERE id BETWEEN 200 AND 209")
    raw.close()
    it = Running(path)
    assert "496 records of 506 are found" in str(whole_check(it))
    it._thread.join(10)
    it.store.close()
    assert recover(path)[1] != epoch
    [gone] = [each for each in alarms(path, "dropped") if each["stream"] == "profile"]
    assert (gone["first"], gone["last"]) == (200, 209)


def test_announced_holes_are_no_damage(path):
    epoch = fill(path)
    with running(path) as it:
        it.store.transact(lambda tx: tx.dropping.between(Stream.PROFILE, 30, 33, DropReason.DAMAGED, "tried"))
        it.store.transact(lambda tx: tx.dropping.upto(Stream.PROFILE, 31, DropReason.AGE))
        assert whole_check(it) is None
        it.store.transact(lambda tx: tx.dropping.sweep())
        assert whole_check(it) is None
    assert recover(path) == (1, epoch)


def test_a_store_that_grew_up_through_all_versions_has_its_roots_where_a_new_one_has_them(path):
    """What the graft relies on."""

    def roots(connection):
        return dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))

    with closing(sqlite3.connect(":memory:")) as new, closing(sqlite3.connect(path, isolation_level=None)) as old:
        for connection in (new, old):
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        schema.MIGRATIONS.apply(Utilities(new))
        old.execute("PRAGMA journal_mode = WAL")
        for version in [*sorted(schema.names())[1:], None]:
            schema.MIGRATIONS.apply(Utilities(old), stop_before=version)
            for n in range(40):
                body = b"%d " % n * 700
                old.execute("INSERT INTO record_profile (at_s, crc, body) VALUES (?, 0, ?)", (n, body))
        assert len(roots(new)) > 20
        assert roots(old) == roots(new)
