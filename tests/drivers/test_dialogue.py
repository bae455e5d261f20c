"""Long answers: blocks in order, whole, and with an end."""

import pytest

from dcu.drivers.dialogue import Dialogue
from dcu.errors import OperatorFault, ReplyMalformed
from dcu.meter import AttributeRef
from dcu.obis import LogicalName

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


def test_an_order_that_does_not_fit_spends_nothing():
    dialogue, spent = Dialogue(Blocks((1, 1, b"")), None, lambda: None), []
    dialogue.max_pdu_bytes = 20
    with pytest.raises(OperatorFault):
        dialogue.order(bytes(21), lambda: spent.append(1))
    assert spent == []
