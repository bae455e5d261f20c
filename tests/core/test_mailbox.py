"""Mailboxes and the one signal to stop."""

import threading
import time

import pytest

from dcu.mailbox import Mailbox, Stop


@pytest.fixture
def stop():
    return Stop()


def test_urgent_letters_go_first_and_each_kind_keeps_its_order(stop):
    box = Mailbox(stop)
    for letter, urgent in ((1, False), (2, True), (3, False), (4, True)):
        assert box.post(letter, urgent=urgent)
    assert len(box) == 4
    assert box.take_urgent() == 2
    assert [box.take(0) for _ in range(4)] == [4, 1, 3, None]
    assert box.take_urgent() is None


def test_a_full_box_refuses_letters_but_never_urgent_ones(stop):
    box = Mailbox(stop, capacity=2)
    assert [box.post(n) for n in range(3)] == [True, True, False]
    assert box.post("relay", urgent=True)
    assert box.drain(0, 9) == ["relay", 0, 1]
    assert box.post("again")


def test_drain_takes_what_waits_and_no_more_than_asked(stop):
    box = Mailbox(stop)
    assert box.drain(0.001, 5) == []
    for n in range(5):
        box.post(n)
    box.post("u", urgent=True)
    assert box.drain(0, 3) == ["u", 0, 1]
    assert box.drain(0, 1) == [2]
    assert box.drain(0, 9) == [3, 4]


def test_a_wait_ends_at_its_deadline(stop):
    began = time.monotonic()
    assert Mailbox(stop).take(0.03) is None
    assert 0.03 <= time.monotonic() - began < 5


def waiting(take):
    """A thread inside `take`, and the list that its answer will stand in."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(take()))
    thread.start()
    return thread, answers


def test_a_letter_wakes_who_waits(stop):
    box = Mailbox(stop)
    thread, answers = waiting(lambda: box.take(30))
    box.post("x")
    thread.join(5)
    assert answers == ["x"]


def test_the_stop_wakes_everyone_and_leaves_no_letter_behind(stop):
    boxes = [Mailbox(stop) for _ in range(3)]
    sleepers = [waiting(lambda box=box: box.take(30)) for box in boxes]
    sleepers.append(waiting(lambda: stop.wait(30)))
    assert not stop
    stop.set()
    for thread, _ in sleepers:
        thread.join(5)
    assert [answers for _, answers in sleepers] == [[None], [None], [None], [True]]
    assert bool(stop)
    boxes[0].post("still delivered")
    assert boxes[0].take(30) == "still delivered"
    assert boxes[0].take(30) is None


def test_many_senders_and_takers_lose_and_repeat_nothing(stop):
    box, taken, lock = Mailbox(stop, capacity=100_000), [], threading.Lock()

    def send(base):
        for n in range(300):
            box.post(base + n, urgent=n % 7 == 0)

    def receive():
        while (letter := box.take(30)) is not None:
            with lock:
                taken.append(letter)

    takers = [threading.Thread(target=receive) for _ in range(3)]
    senders = [threading.Thread(target=send, args=(1000 * n,)) for n in range(4)]
    for thread in takers + senders:
        thread.start()
    for thread in senders:
        thread.join(10)
    stop.set()
    for thread in takers:
        thread.join(10)
    assert sorted(taken) == sorted(1000 * s + n for s in range(4) for n in range(300))
