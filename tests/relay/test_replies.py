"""The place for one answer: who waits is woken, who has gone gets none, and whoever answers learns of it."""

import threading

import pytest

from dcu.relay.letters import Reply

FAULT = ZeroDivisionError("our bug")


class Noted(threading.Condition):
    """Says when somebody waits: the lock is given back only then."""

    def __init__(self):
        super().__init__()
        self.waits = threading.Event()

    def wait(self, timeout=None):
        self.waits.set()
        return super().wait(timeout)


@pytest.mark.parametrize("answer", [lambda reply: reply.give("yes"), lambda reply: reply.fail(FAULT)])
def test_who_waits_is_woken(answer):
    reply, found = Reply(), []
    reply._condition = Noted()

    def waits():
        try:
            found.append(reply.wait(60.0))
        except ZeroDivisionError as fault:
            found.append(fault)

    waiting = threading.Thread(target=waits, daemon=True)
    waiting.start()
    assert reply._condition.waits.wait(5)
    answer(reply)
    waiting.join(5)
    assert found in (["yes"], [FAULT])


def test_an_answer_that_is_there_is_not_waited_for():
    reply = Reply()
    assert reply.give("yes") is True
    assert reply.wait(0.0) == "yes" and reply.awaited


def test_a_fault_is_raised_at_who_waits():
    reply = Reply()
    reply.fail(FAULT)
    with pytest.raises(ZeroDivisionError) as raised:
        reply.wait(0.0)
    assert raised.value is FAULT and reply.awaited


def test_who_has_gone_gets_no_answer_and_whoever_answers_learns_of_it():
    reply = Reply()
    assert reply.awaited and reply.wait(0.0) is None
    assert not reply.awaited and reply.give("yes") is False
    assert reply.wait(0.0) is None
