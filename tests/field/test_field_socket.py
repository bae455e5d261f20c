"""`field.sock`: questions and answers, and what garbage does to it: nothing."""

import threading

import pytest

from dcu.errors import OperatorFault, SocketFault
from dcu.field.field_socket import FieldSocket
from dcu.mailbox import Stop
from dcu.wire import connect


def refuse(request):
    raise OperatorFault(f"no meter {request['meter']!r}", place="field", cure="ask for another")


def fail(request):
    raise RuntimeError("a bug")


@pytest.fixture
def path(tmp_path):
    stop = Stop()
    asks = {"echo": lambda request: request["text"], "refuse": refuse, "fail": fail}
    server = FieldSocket(tmp_path / "field.sock", asks, stop, lambda: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield tmp_path / "field.sock"
    stop.set()
    thread.join(10)
    assert not (tmp_path / "field.sock").exists()


def ask(path, question):
    wire = connect(path)
    try:
        wire.send(question)
        return wire.receive(5)
    finally:
        wire.close()


def test_a_question_is_answered(path):
    assert ask(path, {"ask": "echo", "text": "x"}) == {"answer": "x"}


def test_only_the_owner_and_the_group_may_ask(path):
    assert path.stat().st_mode & 0o777 == 0o660


def test_a_refusal_names_place_cause_and_cure(path):
    answer = ask(path, {"ask": "refuse", "meter": "X"})
    assert answer == {"refused": {"place": "field", "cause": "no meter 'X'", "cure": "ask for another"}}


def test_an_unknown_question_is_refused(path):
    assert "unknown question" in ask(path, {"ask": "rm -rf"})["refused"]["cause"]
    assert "unknown question" in ask(path, {})["refused"]["cause"]


def test_our_own_bug_is_an_answer_too_and_the_next_question_is_served(path):
    assert "RuntimeError" in ask(path, {"ask": "fail"})["refused"]["cause"]
    assert ask(path, {"ask": "echo", "text": "still here"}) == {"answer": "still here"}


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\x00\x00\x00\x01\xff"])
def test_garbage_ends_that_connection_only(path, garbage):
    wire = connect(path)
    wire._sock.sendall(garbage)
    with pytest.raises(SocketFault):
        wire.receive(15)
    wire.close()
    assert ask(path, {"ask": "echo", "text": "x"}) == {"answer": "x"}
