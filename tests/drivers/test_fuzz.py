"""Every decoder against anything, and against what is nearly right: a value or an error of ours, in bounded steps."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.errors import DcuError
from tests.fuzz.targets import SEEDS, TARGETS


def test_each_decoder_has_seeds():
    assert SEEDS.keys() == TARGETS.keys()


@st.composite
def nearly_right(draw, seeds):
    """A seed, cut, doubled, or with some octets changed."""
    octets = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at, end = sorted((draw(st.integers(0, len(octets))), draw(st.integers(0, len(octets)))))
        match draw(st.sampled_from(["change", "cut", "double", "insert"])):
            case "change" if at < len(octets):
                octets[at] = draw(st.sampled_from([0, 1, 2, 9, 19, 127, 128, 132, 255]) | st.integers(0, 255))
            case "cut":
                del octets[at:end]
            case "double":
                octets[at:at] = octets[at:end]
            case "insert":
                octets[at:at] = draw(st.binary(max_size=8))
    return bytes(octets)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150)
@given(data=st.data())
def test_a_value_or_an_error_of_ours(name, data):
    octets = data.draw(st.binary(max_size=300) | nearly_right(SEEDS[name]))
    with suppress(DcuError):
        TARGETS[name](octets)


@pytest.mark.parametrize("name", TARGETS.keys() - {"hdlc_line", "wrapped", "optical_head", "hdlc_meter", "ciphered"})
def test_a_seed_is_taken_as_good(name):
    def is_good(octets):
        try:
            TARGETS[name](octets)
        except DcuError:
            return False
        return True

    assert any(is_good(octets) for octets in SEEDS[name])
