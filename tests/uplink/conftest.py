"""A broker and a field for each test that asks for one."""

import pytest

from tests.broker import endpoint, running_broker
from tests.uplink.world import DCU, Field, HeadEnd


@pytest.fixture
def broker(tmp_path):
    with running_broker(tmp_path) as it:
        yield it


@pytest.fixture
def box(broker):
    """The broker as the box reaches it."""
    return endpoint(broker, broker.authority.client(DCU))


@pytest.fixture
def hes(broker):
    """The broker as the head-end reaches it."""
    return endpoint(broker, broker.authority.client("hes"))


@pytest.fixture
def field(tmp_path):
    with Field(tmp_path) as it:
        yield it


@pytest.fixture
def head_end(hes):
    with HeadEnd(hes) as it:
        yield it
