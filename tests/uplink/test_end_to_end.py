"""From a store on disk over a real broker to the head-end, and what may break on the way."""

import os
import secrets
import signal

import pytest

from dcu.event import Alarm, AlarmKind
from dcu.headend.collection import Collection
from dcu.reading import ClockState, from_epoch
from dcu.record import Stream, encode_alarm
from tests.uplink.world import DCU, Field, HeadEnd, Uplink, until, uplink_process

pytestmark = pytest.mark.broker

EPOCH = from_epoch(0)


@pytest.mark.parametrize("encoding", ["cbor", "json"])
def test_every_record_arrives_once_and_the_cursor_follows(tmp_path, field, box, head_end, encoding):
    field.append(Stream.PROFILE, 300)
    field.append(Stream.ALARM, 3)
    with Uplink(tmp_path, box, encoding=encoding, max_bytes=4096):
        until(lambda: field.delivered(Stream.PROFILE) == 300 and field.delivered(Stream.ALARM) == 3)
        field.append(Stream.PROFILE, 5)  # heard by the bell
        until(lambda: field.delivered(Stream.PROFILE) == 305)
    assert head_end.ids(Stream.PROFILE) == list(range(1, 306))
    assert head_end.ids(Stream.ALARM) == [1, 2, 3]
    assert head_end.listener.holes() == []
    assert {i.series.epoch for i in head_end.items} == {field.store.epoch}
    seventh = next(i for i in head_end.items if i.series.stream is Stream.PROFILE and i.id == 7)
    assert seventh.record["rows"] == [[6, 6, "x" * 200, b"\x06"]]


def test_urgent_records_do_not_wait_behind_the_backlog(tmp_path, field, box, head_end):
    field.append(Stream.HEALTH, 400)
    with Uplink(tmp_path, box, max_bytes=2048, in_flight=2):
        until(lambda: len(head_end.items) > 20)
        field.append(Stream.RECEIPT, 1)
        until(lambda: field.delivered(Stream.RECEIPT) == 1)
        assert field.delivered(Stream.HEALTH) < 400
        until(lambda: field.delivered(Stream.HEALTH) == 400)


def test_the_broker_is_away_for_a_while(tmp_path, broker, field, box, head_end):
    with Uplink(tmp_path, box, max_bytes=4096):
        field.append(Stream.PROFILE, 50)
        until(lambda: field.delivered(Stream.PROFILE) == 50)
        broker.stop()
        field.append(Stream.PROFILE, 200)
        until(lambda: any(link.noted.value == "lost" for link in field.links))
        assert field.delivered(Stream.PROFILE) == 50
        broker.start()
        until(lambda: field.delivered(Stream.PROFILE) == 250)
    until(lambda: head_end.ids(Stream.PROFILE) == list(range(1, 251)))
    assert head_end.listener.holes() == []


def test_nobody_subscribed_holds_the_cursor(tmp_path, field, box, hes):
    field.append(Stream.PROFILE, 40)
    with Uplink(tmp_path, box):
        held = until(lambda: next((x for x in field.links if x.noted.value == "held"), None))
        assert held.code == 0x10
        assert "nobody is subscribed" in held.text
        assert held.certificate_until > 1_700_000_000
        assert field.delivered(Stream.PROFILE) == 0
        with HeadEnd(hes) as head_end:
            until(lambda: field.delivered(Stream.PROFILE) == 40)
            assert head_end.ids(Stream.PROFILE) == list(range(1, 41))
        until(lambda: field.links[-1].noted.value == "connected")  # and that it is over is told too
    assert sum(x.noted.value == "held" for x in field.links) == 1  # told once, however often it was tried


def test_one_stream_that_nobody_takes_does_not_stop_the_others(tmp_path, field, box, hes):
    field.append(Stream.ALARM, 5)
    field.append(Stream.PROFILE, 5)
    only_profiles = ("dcu/v1/+/up/profile",)
    with HeadEnd(hes, filters=only_profiles), Uplink(tmp_path, box):
        until(lambda: field.delivered(Stream.PROFILE) == 5)
        assert field.delivered(Stream.ALARM) == 0


def test_a_stream_that_the_access_list_forbids_is_held_and_named(tmp_path, broker, field, box, head_end):
    text = "user hes\ntopic read dcu/v1/+/up/+\npattern write dcu/v1/%u/up/profile\npattern write dcu/v1/%u/state\n"
    broker.stop()
    broker.set_access_list(text)
    broker.start()
    field.append(Stream.ALARM, 2)
    field.append(Stream.PROFILE, 30)
    with Uplink(tmp_path, box):
        held = until(lambda: next((x for x in field.links if x.code == 0x87), None))
        assert "up/alarm" in held.text
        until(lambda: field.delivered(Stream.PROFILE) == 30, 20)
        assert field.delivered(Stream.ALARM) == 0


def test_field_restarts_and_what_was_in_flight_is_offered_again(tmp_path, box, head_end):
    with Field(tmp_path) as field:
        epoch = field.store.epoch
        field.append(Stream.PROFILE, 100)
        uplink = Uplink(tmp_path, box, max_bytes=1024)
        until(lambda: len(head_end.items) > 10)
    with uplink, Field(tmp_path) as field:
        assert field.store.epoch == epoch
        field.append(Stream.PROFILE, 20)
        until(lambda: field.delivered(Stream.PROFILE) == 120)
        assert head_end.ids(Stream.PROFILE) == list(range(1, 121))


def test_a_new_store_is_a_new_epoch_and_nothing_is_mixed(tmp_path, box, head_end):
    with Field(tmp_path) as field:
        field.append(Stream.PROFILE, 30)
        first = field.store.epoch
        uplink = Uplink(tmp_path, box)
        until(lambda: field.delivered(Stream.PROFILE) == 30)
    for name in tmp_path.glob("dcu.db*"):
        name.unlink()
    with uplink, Field(tmp_path) as field:
        field.append(Stream.PROFILE, 10)
        until(lambda: field.delivered(Stream.PROFILE) == 10)
        until(lambda: any(s.get("epoch") == field.store.epoch for _, s in head_end.states))
        assert len([i for i in head_end.items if i.series.epoch == field.store.epoch]) == 10
        assert len([i for i in head_end.items if i.series.epoch == first]) == 30
        assert field.refused_cursors == []


def test_presence_and_the_will_of_a_killed_uplink(tmp_path, field, box, head_end):
    log = tmp_path / "uplink.log"
    process = uplink_process(tmp_path, box, log)
    try:
        dcu, state = until(lambda: next((s for s in head_end.states if s[1]["online"]), None), 20)
        assert dcu == DCU
        assert state == {"online": True, "version": "1.2.3", "epoch": field.store.epoch, "since": state["since"]}
        process.send_signal(signal.SIGKILL)
        until(lambda: head_end.states[-1] == (DCU, {"online": False}))
    finally:
        process.kill()
        process.wait()


def test_an_uplink_that_is_told_to_stop_says_so_and_leaves_with_0(tmp_path, field, box, head_end):
    process = uplink_process(tmp_path, box, tmp_path / "uplink.log")
    try:
        until(lambda: head_end.states, 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        until(lambda: head_end.states[-1] == (DCU, {"online": False}))
    finally:
        process.kill()
        process.wait()


def test_a_killed_uplink_remembers_nothing_and_loses_nothing(tmp_path, field, box, head_end):
    field.append(Stream.PROFILE, 3000)
    for kill_at in (200, 900, 1800):
        process = uplink_process(tmp_path, box, tmp_path / "uplink.log")
        until(lambda at=kill_at: len(head_end.items) > at, 20)
        process.kill()
        process.wait()
    with Uplink(tmp_path, box):
        until(lambda: field.delivered(Stream.PROFILE) == 3000, 20)
    assert head_end.ids(Stream.PROFILE) == list(range(1, 3001))


def test_a_broker_that_falls_silent_is_left(tmp_path, broker, field, box, head_end):
    with Uplink(tmp_path, box, answer_s=0.5):
        field.append(Stream.PROFILE, 5)
        until(lambda: field.delivered(Stream.PROFILE) == 5)
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            field.append(Stream.PROFILE, 5)
            lost = until(lambda: next((x for x in field.links if x.noted.value == "lost"), None))
            assert "has not acknowledged for 0.5 s" in lost.text
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        until(lambda: field.delivered(Stream.PROFILE) == 10, 20)


def test_the_listener_goes_on_where_its_file_ends(tmp_path, field, box, hes):
    path = tmp_path / "headend.db"
    field.append(Stream.PROFILE, 20)
    with Uplink(tmp_path, box):
        with Collection(path) as kept, HeadEnd(hes, keeping=kept):
            until(lambda: field.delivered(Stream.PROFILE) == 20)
        field.append(Stream.PROFILE, 10)
        with Collection(path) as kept, HeadEnd(hes, keeping=kept) as again:
            until(lambda: field.delivered(Stream.PROFILE) == 30)
            until(lambda: again.listener.count() == 30)
            assert again.listener.holes() == []
            assert [item.id for _, item in kept.after(0, 100)] == list(range(1, 31))


def test_a_broker_that_takes_less_gets_smaller_batches_and_what_is_larger_is_set_aside(
    tmp_path, broker, field, box, head_end
):
    """Row 32."""
    configuration = tmp_path / "broker" / "mosquitto.conf"
    configuration.write_text(configuration.read_text() + "max_packet_size 3000\n")
    broker.stop()
    broker.start()
    too_large = encode_alarm(Alarm(AlarmKind.METER_RETURNED, EPOCH, ClockState.TRUSTED, secrets.token_hex(9000), "M"))
    field.store.transact(lambda tx: tx.append(Stream.ALARM, too_large))
    field.append(Stream.PROFILE, 60)
    with Uplink(tmp_path, box):
        until(lambda: field.delivered(Stream.PROFILE) == 60)
        held = until(lambda: next((x for x in field.links if x.noted.value == "held"), None))
        assert held.code == 0x95
        assert "up/alarm from 1" in held.text
        until(lambda: field.delivered(Stream.ALARM) == 2)
        until(lambda: head_end.ids(Stream.ALARM))
    [told] = [item for item in head_end.items if item.series.stream is Stream.ALARM]
    assert told.id == 2
    assert told.record["kind"] == "record-quarantined"
    assert told.record["facts"] == {
        "epoch": field.store.epoch, "stream": "alarm", "first": 1, "last": 1, "code": 0x95
    }  # fmt: skip
    assert head_end.listener.holes() == []  # it was announced
