"""`field.sock`: questions and answers, and what garbage does to it: nothing."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from dcu.errors import OperatorFault, SocketFault
from dcu.field.field_socket import FieldSocket
from dcu.field.main import uplink_uids
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


# ---- who may ask ----------------------------------------------------------------------------------------------------


def serving(path, **more):
    stop = Stop()
    server = FieldSocket(path, {"echo": lambda request: request["text"]}, stop, lambda: None, **more)
    thread = threading.Thread(target=server.run)
    thread.start()
    return stop, thread


def test_a_user_that_is_barred_is_turned_away(tmp_path, caplog):
    stop, thread = serving(tmp_path / "field.sock", barred={os.getuid()})
    try:
        for _ in range(8):  # more than there are places
            with pytest.raises(SocketFault):
                ask(tmp_path / "field.sock", {"ask": "echo", "text": "x"})
        assert f"user {os.getuid()} may not connect" in caplog.text
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.skipif(os.getuid() != 0, reason="another user's process needs root")
def test_uplinks_user_lifts_no_lock_and_the_technician_does(tmp_path_factory):
    """Both are in the group of the file; the kernel says who connects."""
    uplink, technician, group = 61001, 61002, 61000
    directory = Path(tempfile.mkdtemp(prefix="run-"))
    os.chown(directory, 0, group)
    directory.chmod(0o750)
    stop, thread = serving(directory / "field.sock", barred={uplink})
    os.chown(directory / "field.sock", 0, group)
    try:
        told = {uid: as_user(uid, group, directory / "field.sock") for uid in (uplink, technician)}
        assert told == {uplink: "turned away", technician: "{'answer': 'x'}"}
    finally:
        stop.set()
        thread.join(10)
        shutil.rmtree(directory)


def as_user(uid, group, path):
    """What a process of that user is told: a child that gives its rights up before it connects."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([group])
            os.setgid(group)
            os.setuid(uid)
            said = str(ask(path, {"ask": "echo", "text": "x"}))
        except SocketFault:
            said = "turned away"
        except BaseException as fault:
            said = repr(fault)
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def test_on_a_box_the_user_of_uplink_is_barred_and_on_a_bench_nobody_is(monkeypatch):
    monkeypatch.setenv("DCU_UPLINK_USER", "61001")
    assert uplink_uids() - {os.getuid(), 0} == {61001}
    monkeypatch.delenv("DCU_UPLINK_USER")
    assert uplink_uids() - {os.getuid(), 0} == set()
