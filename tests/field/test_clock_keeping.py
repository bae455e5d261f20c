"""What the field process does for its clock: no battery, a step, a veto, a restart, a floor that is wrong."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import cbor2
import pytest
from click.testing import CliRunner

from dcu.cli import technician
from dcu.clock import BUILT, SystemClock, alarm_now
from dcu.errors import OperatorFault, StoreBusy
from dcu.event import AlarmKind
from dcu.field.clock_keeping import EVERY_S, KEEP_S, ClockKeeping
from dcu.field.clock_watch import Look
from dcu.field.clock_words import cure, told, veto
from dcu.headend.contract import Contract
from dcu.mailbox import Stop
from dcu.reading import ClockState
from dcu.record import Stream, encode_alarm
from dcu.timekeeping import HOLDOVER_S, SETTLE_S, STEADY_S, Because, Sighting, Standing
from tests.store.running_store import running

TRUE = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)
YEAR = timedelta(days=365)


class SetClock(SystemClock):
    """The real clock over kernel clocks that are moved by hand."""

    def __init__(self, wall=TRUE, *, boot="boot-1", disciplined=True):
        super().__init__()
        self.boot_id, self.wall, self.uptime_s, self.disciplined = boot, wall, 100.0, disciplined
        self._keeper._boot = boot

    def now(self):
        return self.wall

    def monotonic_s(self):
        return self.uptime_s

    def boottime_s(self):
        return self.uptime_s

    def _sighting(self):
        return Sighting(self.wall.timestamp(), self.uptime_s, self.disciplined)

    def pass_(self, seconds):
        self.wall += timedelta(seconds=seconds)
        self.uptime_s += seconds


class Box:
    """A clock, its keeping and a real store, over restarts of process and machine."""

    def __init__(self, directory):
        self.path = directory / "dcu.db"
        self.looks, self.all_asked = [], False
        self.down = False

    def start(self, clock):
        self.clock = clock
        self._running = running(self.path, clock=clock)
        it = self._running.__enter__()
        self._store, self.epoch = it.store, it.store.epoch
        kept = it.store.transact(lambda tx: tx.kept_time())
        clock.remember(kept)
        self.keeping = ClockKeeping(clock, self, lambda: self.looks, lambda: self.all_asked, kept, Stop(), lambda: None)
        self.keeping.turn()
        return self

    def transact(self, work):
        if self.down:
            raise StoreBusy("not now")
        return self._store.transact(work)

    def run(self, seconds, every_s=30.0):
        while seconds > 0:
            self.clock.pass_(min(every_s, seconds))
            seconds -= every_s
            self.keeping.turn()

    def stop(self):
        self.keeping.end()
        self._running.__exit__(None, None, None)

    def told(self, kind):
        batch = self._store.transact(lambda tx: tx.page(Stream.ALARM, 0, 10**6))
        bodies = [cbor2.loads(record.body) for record in batch.records]
        return [body for body in bodies if body["kind"] == kind.value]

    def kept(self):
        return self._store.transact(lambda tx: tx.kept_time())


@pytest.fixture
def box(tmp_path):
    it = Box(tmp_path)
    yield it
    it.stop()


def shows(at, uptime_s):
    """A look at a meter's clock."""
    return Look(int(at.timestamp()), uptime_s, uptime_s)


def test_a_boot_without_the_time_is_dated_once_it_is_known(box):
    box.start(SetClock(datetime(1970, 1, 1, tzinfo=UTC), disciplined=False))
    box.run(3600)
    early = cbor2.loads(encode_alarm(alarm_now(box.clock, AlarmKind.STARTED, "up")))
    assert (early["clock"], early["uptime_s"]) == ("untrusted", 3700)
    assert box.told(AlarmKind.CLOCK_KNOWN) == []
    box.clock.wall, box.clock.disciplined = TRUE, True
    box.run(3600)
    [known] = box.told(AlarmKind.CLOCK_KNOWN)
    assert known["facts"]["boot"] == early["boot"]
    true_at = known["facts"]["utc"] + early["uptime_s"] - known["facts"]["uptime_s"]
    assert abs(true_at - TRUE.timestamp()) <= 30  # it was set right behind that alarm
    assert known["facts"]["step_s"] > 50 * YEAR.total_seconds()


def test_it_is_told_once_a_boot_whatever_restarts_the_process(box):
    clock = SetClock()
    for _ in range(3):
        box.start(clock)
        box.run(1800)
        box.stop()
        clock = SetClock(clock.wall, boot="boot-1")
        clock.uptime_s = box.clock.uptime_s
    clock = SetClock(clock.wall, boot="boot-2")
    box.start(clock)
    box.run(600)
    assert [alarm["facts"]["boot"] for alarm in box.told(AlarmKind.CLOCK_KNOWN)] == ["boot-1", "boot-2"]


def test_a_step_is_told_twice_that_nothing_is_known_and_what_is(box):
    box.start(SetClock())
    box.run(600)
    box.clock.wall += YEAR
    box.keeping.turn()
    [unknown] = box.told(AlarmKind.CLOCK_UNKNOWN)
    assert unknown["facts"]["because"] == "stepped"
    assert unknown["facts"]["step_s"] == YEAR.total_seconds()
    assert (unknown["clock"], unknown["boot"]) == ("untrusted", "boot-1")
    box.run(SETTLE_S + 60)
    again = box.told(AlarmKind.CLOCK_KNOWN)[1]
    assert again["facts"]["step_s"] == YEAR.total_seconds()


def test_a_clock_that_comes_and_goes_fills_no_disk(box):
    box.start(SetClock())
    for n in range(2000):
        box.clock.wall += timedelta(seconds=100 if n % 2 else -100)
        box.run(SETTLE_S + 30, every_s=45)
    hours = box.clock.uptime_s / 3600
    assert len(box.told(AlarmKind.CLOCK_KNOWN)) + len(box.told(AlarmKind.CLOCK_UNKNOWN)) < 8 + hours * 3600 / EVERY_S


def test_three_meters_speak_against_the_clock_and_two_do_not(box):
    box.start(SetClock(TRUE + timedelta(hours=2)))
    box.looks = [shows(TRUE, 100.0)] * 2
    box.run(60)
    assert box.clock.state() is ClockState.TRUSTED
    assert "being asked since the start" in box.keeping.report()["veto"]
    box.all_asked = True
    box.run(6)
    assert "no veto: 2 have" in box.keeping.report()["veto"]
    box.looks = [shows(TRUE, 100.0)] * 3
    box.run(60)
    report = box.keeping.report()
    assert (report["state"], report["because"]) == ("untrusted", "the meters disagree")
    assert report["meters_ahead_s"] == pytest.approx(-7200, abs=2)
    assert "2:00:00 behind the box's" in report["text"]
    assert "meters' clocks" in report["cure"]
    box.run(2 * 86_400, every_s=900)  # nobody was asked since: they do not speak any more
    assert box.clock.state() is ClockState.TRUSTED


def test_a_start_waits_for_the_meters_words(box):
    box.start(SetClock())
    assert not box.clock.meters_heard()
    box.looks = [shows(TRUE, 100.0)] * 3
    box.run(6, every_s=6)
    assert box.clock.meters_heard() and box.keeping.report()["heard"]
    box.looks = []
    box.stop()
    box.start(SetClock())
    assert not box.clock.meters_heard(), "what a process before has heard counts for nothing"
    box.all_asked = True
    box.run(6, every_s=6)
    assert box.clock.meters_heard(), "there is nobody else to be heard"


def test_the_floor_is_on_disk_and_a_battery_that_dies_does_not_bring_1970_back(box):
    box.looks = []
    box.start(SetClock())
    box.run(2 * 86_400, every_s=300)
    floor = box.clock.floor()
    assert timedelta(0) < box.clock.wall - floor < timedelta(minutes=2)
    box.stop()
    box.start(SetClock(datetime(2027, 1, 1, tzinfo=UTC), boot="boot-2"))
    assert box.clock.floor() > floor - timedelta(seconds=2)
    report = box.keeping.report()
    assert (report["state"], report["because"]) == ("untrusted", "before the floor")
    assert "dcu clock --floor" in report["cure"]


def test_the_disk_is_written_to_four_times_an_hour(box, mocker):
    box.start(SetClock())
    box.run(600)
    spy = mocker.spy(box, "transact")
    box.run(86_400, every_s=5)
    assert spy.call_count <= 86_400 / KEEP_S + 1


def test_what_cannot_be_stored_is_told_later(box):
    box.down = False
    box.start(SetClock(disciplined=False))
    box.down, box.clock.disciplined = True, True
    box.run(60)
    box.down = False
    box.run(60)
    assert len(box.told(AlarmKind.CLOCK_KNOWN)) == 1


def test_hold_over_ends_in_words(box):
    box.start(SetClock())
    box.run(600)
    box.clock.disciplined = False
    box.run(HOLDOVER_S - 60, every_s=600)
    assert box.keeping.report()["state"] == "holdover"
    assert box.told(AlarmKind.CLOCK_UNKNOWN) == []
    box.run(1200)
    [unknown] = box.told(AlarmKind.CLOCK_UNKNOWN)
    assert unknown["facts"]["because"] == "held too long"
    assert "chronyc" in unknown["text"]


def test_somebody_at_the_box_lowers_a_floor_that_is_wrong(box):
    box.start(SetClock(TRUE + 10 * YEAR))
    box.run(2 * 86_400, every_s=300)  # nobody contradicted
    box.clock.wall -= 10 * YEAR
    box.run(SETTLE_S + 60)
    ask = box.keeping.asks()["clock"]
    assert ask({})["because"] == "before the floor"
    for wrong in (0, int(BUILT.timestamp()) - 1, int(box.clock.floor().timestamp()), "2027", 1.5, True, 1 << 60):
        with pytest.raises(OperatorFault, match="only be lowered"):
            ask({"floor": wrong})
    assert ask({"floor": int(TRUE.timestamp())})["state"] == "trusted"
    [alarm] = box.told(AlarmKind.CLOCK_FLOOR)
    assert alarm["facts"]["now"] == int(TRUE.timestamp())
    wall = box.clock.wall
    box.stop()
    box.start(SetClock(wall, boot="boot-2"))
    assert box.clock.state() is ClockState.TRUSTED


def test_the_hour_that_raises_the_floor_begins_anew_with_each_process(box):
    box.start(SetClock())
    box.looks = [shows(TRUE, 100.0)] * 3
    box.run(STEADY_S - 120)
    assert box.clock.floor() == BUILT
    box.run(240)
    assert box.clock.floor() > TRUE


def test_every_alarm_of_the_clock_is_one_of_the_contract(box):
    contract = Contract()
    box.start(SetClock(TRUE, disciplined=False))
    box.clock.disciplined = True
    box.run(60)
    box.clock.wall += YEAR
    box.run(30)
    batch = box.transact(lambda tx: tx.page(Stream.ALARM, 0, 10**6))
    for record in batch.records:
        contract.check_value("record-alarm.json", cbor2.loads(record.body))


@pytest.mark.parametrize("because", list(Because))
@pytest.mark.parametrize("assumed", [True, False])
def test_every_reason_has_its_words(because, assumed):
    state = ClockState.TRUSTED if because is Because.DISCIPLINED else ClockState.UNTRUSTED
    standing = Standing(state, because, BUILT.timestamp(), 1, -86_400.0, 3, 400.0)
    text = told(standing, TRUE, assumed=assumed)
    assert "{" not in text
    assert bool(cure(standing)) is (because is not Because.DISCIPLINED)
    assert veto(standing)


def test_dcu_clock_says_it_in_words(box, mocker, tmp_path):
    box.start(SetClock(datetime(1971, 1, 1, tzinfo=UTC), disciplined=False))
    config = tmp_path / "dcu.toml"
    config.write_text("")
    mocker.patch("dcu.cli.clock.ask", side_effect=lambda _, question: box.keeping.asks()["clock"](question))
    from dcu.cli import main

    done = CliRunner().invoke(main, ["clock", "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert "clock untrusted: the clock says 1971-01-01" in done.output
    assert "cure:" in done.output
    assert "boot boot-1, 0 h 1 min ago" in done.output
    lines = technician.clock_lines(box.keeping.report())
    assert all(a != b for a, b in pairwise(lines))
