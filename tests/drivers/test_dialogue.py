"""Long answers: blocks in order, whole, and with an end."""

import pytest

from dcu.drivers.dialogue import Dialogue
from dcu.errors import OperatorFault, ReplyMalformed
from dcu.meter import AttributeRef
from dcu.obis import LogicalName

from .line import FakeTime

REF = AttributeRef(7, LogicalName.of("1.0.99.1.0"), 2)


class Blocks:
    """A data link whose meter answers with these blocks, in turn."""

    def __init__(self, *blocks):
        self.blocks = list(blocks)
        self.asked = []

    def exchange(self, apdu, *, once):
        assert not once
        self.asked.append(apdu)
        number, last, raw = self.blocks.pop(0) if len(self.blocks) > 1 else self.blocks[0]
        length = b"\x82" + len(raw).to_bytes(2, "big")
        return b"\xc4\x02" + apdu[2:3] + bytes([last]) + number.to_bytes(4, "big") + b"\x00" + length + raw


def ask(*blocks):
    link = Blocks(*blocks)
    dialogue = Dialogue(link, None, lambda: None)
    return dialogue.get(dialogue.codec.get(REF)), link.asked


def test_blocks_are_joined_and_asked_for_by_number():
    payload, asked = ask((1, 0, b"\x09\x04"), (2, 0, b"\x01\x02"), (3, 1, b"\x03\x04"))
    assert payload == b"\x00\x09\x04\x01\x02\x03\x04"
    assert [request[1] for request in asked] == [1, 2, 2]
    assert [int.from_bytes(request[3:7], "big") for request in asked[1:]] == [1, 2]
    assert len({request[2] for request in asked}) == 1


@pytest.mark.parametrize("numbers", [(0,), (2,), (1, 1), (1, 3), (1, 2, 2)])
def test_blocks_out_of_order(numbers):
    with pytest.raises(ReplyMalformed, match="is due"):
        ask(*[(number, 0, b"x") for number in numbers])


def test_blocks_without_end():
    blocks = [(number, 0, bytes(60_000)) for number in range(1, 40)]
    with pytest.raises(ReplyMalformed, match="without end"):
        ask(*blocks)


class Dripping(Blocks):
    """Endless blocks with hardly anything in them, each as late as an answer may be."""

    def __init__(self, raw, time):
        super().__init__((0, 0, raw))
        self.time = time

    def exchange(self, apdu, *, once):
        self.blocks = [(len(self.asked) + 1, 0, self.blocks[0][2])]
        self.time.now_s += 2.9
        return super().exchange(apdu, once=once)


@pytest.mark.parametrize("raw", [b"", b"x", bytes(16)])
def test_blocks_that_drip(raw):
    time = FakeTime()
    link = Dripping(raw, time)
    dialogue, began = Dialogue(link, None, lambda: None, time), time.now_s
    with pytest.raises(ReplyMalformed, match="without end"):
        dialogue.get(dialogue.codec.get(REF))
    assert time.now_s - began < 180


def test_small_blocks_of_a_slow_meter_are_waited_for():
    time = FakeTime()
    link = Dripping(bytes(100), time)
    dialogue = Dialogue(link, None, lambda: None, time)
    with pytest.raises(ReplyMalformed, match="without end"):
        dialogue.get(dialogue.codec.get(REF))
    assert len(link.asked) > 10_000, "only its length was too much"


def test_an_order_that_does_not_fit_spends_nothing():
    dialogue, spent = Dialogue(Blocks((1, 1, b"")), None, lambda: None), []
    dialogue.max_pdu_bytes = 20
    with pytest.raises(OperatorFault):
        dialogue.order(bytes(21), lambda: spent.append(1))
    assert spent == []
