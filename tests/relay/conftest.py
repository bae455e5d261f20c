"""What several files of tests ask for."""

import pytest

from tests.relay.room import Room


@pytest.fixture
def room():
    """A box of two meters; nothing runs."""
    return Room()
