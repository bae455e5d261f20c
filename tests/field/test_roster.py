"""Meters that come and go by command: at once, over a restart, and under what a technician writes into the file."""

import threading

import pytest

from dcu.command import Change, Command, Operation
from dcu.config import load
from dcu.field.announce import Announcer
from dcu.field.plan import BusPlan
from dcu.field.roster import Roster, telling
from dcu.headend.contract import Contract
from dcu.mailbox import Stop
from dcu.record import Stream
from dcu.schedule import Schedule, Task, TaskKind
from dcu.store import SqliteStore
from tests.config.test_config import EXAMPLE, SECRETS
from tests.field.conftest import FakeClock, records

OLD, NEW, THIRD = "GXT20931188", "GXT20931999", "GXT20931777"
MORE = SECRETS + SECRETS.replace(OLD, NEW)


@pytest.fixture
def file(tmp_path):
    """The printed example; `write` changes it. Its secrets file knows a meter that the configuration does not."""
    (tmp_path / "tls").mkdir()
    for name in ("tls/ca.pem", "tls/dcu.pem", "tls/dcu.key", "trust.json", "receipt.key"):
        (tmp_path / name).write_text("x")
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(MORE)
    secrets.chmod(0o600)
    text = EXAMPLE.read_text().replace("/etc/dcu/", "")

    def write(*changes):
        path, told = tmp_path / "dcu.toml", text
        for old, new in changes:
            assert old in told
            told = told.replace(old, new, 1)
        path.write_text(told)
        return load(path)

    return write


@pytest.fixture
def store(tmp_path):
    stop = Stop()
    path = tmp_path / "dcu.db"
    opened = SqliteStore.open(path, stop=stop, clock=FakeClock(), beat=lambda: None, dcu="JH-RNC-0042")
    thread = threading.Thread(target=opened.run)
    thread.start()
    yield opened
    stop.set()
    thread.join(10)
    opened.close()


class Box:
    """A start of the box: its roster, and what it told."""

    def __init__(self, config, store):
        self.store, self.heard, self.troubles = store, [], []
        self.roster = Roster(config, lambda serial, text: self.troubles.append((serial, text)))
        self.roster.hear(lambda came, went: self.heard.append((came and came.serial, went and went.serial)))
        self.roster.recall(store)

    def order(self, change, meter, **more):
        command = Command("c", Operation.METER, "i", "d", "j", meter, None, 0, None, 1, change=change, **more)
        fault = self.roster.fault(command)
        if not fault:
            self.store.transact(lambda tx: self.roster.keep(tx, command))
            self.roster.take_effect(command)
        return fault

    @property
    def meters(self):
        return sorted(self.roster.meters)


PLACE = {"bus": "north", "address": 18, "model": "is15959-1ph", "area": "JH-RNC", "secrets": NEW}


def test_one_is_added_at_once_and_is_there_after_a_restart(file, store):
    box = Box(file(), store)
    assert box.order(Change.ADD, NEW, **PLACE) == ""
    assert box.heard == [(NEW, None)] and box.meters == [OLD, NEW]
    meter = Box(file(), store).roster.meters[NEW]
    assert (meter.address, meter.area, meter.secrets.unicast_key) == (18, "JH-RNC", bytes(range(16)))


@pytest.mark.parametrize("octets", [b"", b"\xff", b"{}", b"[7]", b'[{"change": "add"}]', b'[{"change": "sell"}]'])
def test_what_is_kept_and_damaged_stops_no_start(file, store, octets):
    assert Box(file(), store).order(Change.ADD, NEW, **PLACE) == ""
    store.transact(lambda tx: tx.save_document("meters", 9, octets))
    box = Box(file(), store)
    assert box.meters == [OLD]
    assert [text for serial, text in box.troubles if "damaged" in text and not serial] or octets == b"{}"


def test_one_is_replaced_in_its_place(file, store):
    box = Box(file(), store)
    assert box.order(Change.REPLACE, NEW, old=OLD, **PLACE | {"address": 17}) == ""
    assert box.heard == [(NEW, OLD)]
    again = Box(file(), store)
    assert again.meters == [NEW] and again.heard == [(NEW, OLD)]


def test_one_is_retired_though_the_file_has_it(file, store):
    assert Box(file(), store).order(Change.RETIRE, OLD) == ""
    assert Box(file(), store).meters == []


def test_what_a_technician_writes_later_is_the_last_word(file, store):
    box = Box(file(), store)
    assert box.order(Change.RETIRE, OLD) == "" and box.order(Change.ADD, NEW, **PLACE) == ""
    moved = Box(file(("address = 17 ", "address = 21 ")), store)  # he has put it back, at another address
    assert moved.meters == [OLD, NEW] and moved.roster.meters[OLD].address == 21
    assert Box(file(("address = 17 ", "address = 21 ")), store).meters == [OLD, NEW]
    assert Box(file(), store).meters == [OLD, NEW]  # what was forgotten does not come back


def test_a_meter_that_the_file_has_now_is_as_the_file_says(file, store):
    assert Box(file(), store).order(Change.ADD, NEW, **PLACE) == ""
    box = Box(file((OLD, NEW), ('secrets = "GXT20931188"', f'secrets = "{NEW}"')), store)
    assert box.roster.meters[NEW].address == 17


@pytest.mark.parametrize(
    ("change", "meter", "more", "word"),
    [
        (Change.ADD, OLD, PLACE, "already"),
        (Change.ADD, NEW, PLACE | {"address": 17}, "already"),
        (Change.ADD, NEW, PLACE | {"bus": "south"}, "no bus"),
        (Change.ADD, NEW, PLACE | {"model": "unheard-of"}, "not allowed"),
        (Change.ADD, NEW, PLACE | {"secrets": "nobody"}, "no entry"),
        (Change.ADD, NEW, PLACE | {"address": 3}, "reserved"),
        (Change.REPLACE, NEW, PLACE | {"old": THIRD}, "no meter"),
        (Change.RETIRE, THIRD, {}, "no meter"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_in_words(file, store, change, meter, more, word):
    box = Box(file(), store)
    assert word in box.order(change, meter, **more)
    assert box.heard == [] and store.transact(lambda tx: tx.document("meters")) is None


def test_its_troubles_are_alarms_of_the_contract(store):
    tell = telling(Announcer(store, FakeClock()))
    tell(NEW, "commissioned by command, and cannot be read: no entry")
    tell("", "what was commanded of meters is damaged: the file alone says which are here")
    alarms = records(store, Stream.ALARM)
    assert [(alarm["kind"], alarm.get("meter")) for alarm in alarms] == [
        ("meter-set-aside", NEW),
        ("meter-set-aside", None),
    ]
    for alarm in alarms:
        Contract().check_value("record-alarm.json", alarm)


def test_keys_that_went_cost_that_meter_alone(file, store, tmp_path):
    assert Box(file(), store).order(Change.ADD, NEW, **PLACE) == ""
    (tmp_path / "secrets.toml").write_text(SECRETS)
    box = Box(file(), store)
    assert box.meters == [OLD] and box.troubles[0][0] == NEW and "no entry" in box.troubles[0][1]
    (tmp_path / "secrets.toml").write_text(MORE)
    assert Box(file(), store).meters == [OLD, NEW]


def test_nothing_of_a_key_is_kept(file, store):
    assert Box(file(), store).order(Change.ADD, NEW, **PLACE) == ""
    kept = store.transact(lambda tx: tx.document("meters"))[1]
    assert b"00010203" not in kept.lower() and b"password" not in kept


class Deaf:
    def alarm(self, *_args, **_facts):
        pass


def test_a_plan_visits_who_came_and_leaves_who_went_even_in_mid_visit(file, store):
    config, clock = file(), FakeClock()
    box = Box(config, store)
    plan = BusPlan(config.meters, store, clock, Deaf(), config.dcu.timezone, config.poll)
    box.roster.hear(lambda came, went: (came and plan.admit(came), went and plan.dismiss(went.serial)))
    visit = plan.due(clock.monotonic_s())
    assert visit.meter.serial == OLD
    box.order(Change.REPLACE, NEW, old=OLD, **PLACE | {"address": 17})
    plan.done(Task(OLD, TaskKind.BALANCE), clock.monotonic_s() + 1, given=True)
    plan.backlog(Task(OLD, TaskKind.BALANCE), remains=True)
    plan.visited(visit.meter)
    plan.failed(visit.meter, RuntimeError())
    assert plan.due(clock.monotonic_s()).meter.serial == NEW
    assert list(plan.condition) == [NEW]
    box.order(Change.RETIRE, NEW)
    clock.advance(3600)
    assert plan.due(clock.monotonic_s()) is None and plan.idle_s(clock.monotonic_s()) > 0


def test_a_meter_may_leave_a_schedule_and_come_again():
    task = Task("a", TaskKind.BALANCE)
    schedule = Schedule([task], 0.0)
    schedule.remove("a")
    schedule.remove("a")
    assert schedule.visit(10.0) is None
    schedule.add("a", [task], 10.0)
    assert schedule.visit(10.0).tasks == (task,)
    schedule.done(task, 20.0, 10.0)
    assert schedule.visit(11.0) is None and schedule.visit(20.0).serial == "a"
