"""A real field process with a hostile one in uplink's place: what it says costs neither disk nor readings."""

from dcu.record import Stream
from dcu.wire import connect
from dcu.wire.verbs import Delivered, Denied, Done, Hello, Link, Noted, Welcome, to_answer, to_message

FLOOD = 150


def test_a_flood_of_lies_is_answered_and_alarmed_no_more_than_a_person_needs(box):
    box.start()
    wire = connect(box.directory / "run" / "uplink.sock")

    def ask(request):
        wire.send(to_message(request))
        return to_answer(wire.receive(10))

    welcome = ask(Hello())
    assert isinstance(welcome, Welcome)
    for n in range(1, FLOOD):
        assert isinstance(ask(Delivered(welcome.epoch, Stream.RECEIPT, 10**9 + n)), Denied)
        assert isinstance(ask(Delivered(f"epoch-{n}", Stream.RECEIPT, n)), Denied)
        assert ask(Link(Noted.LOST, f"trouble {n}")) == Done()
    box.until(lambda: all(box.held_by_meter().values()), "readings all the same")
    box.until(lambda: set(box.conditions().values()) == {"ok"}, "visits to their end")
    status = box.dcu("status")
    assert status["uplink"] == f"lost: trouble {FLOOD - 1}"
    assert status["streams"]["receipt"]["delivered"] == 0
    assert 2 <= status["streams"]["alarm"]["last"] < 60
    wire.close()
    box.stop()
