"""A store whose payloads are made, for each test that asks for one."""

import pytest

from tests.field.sealing.box import box_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dcu.db"


@pytest.fixture
def box(path):
    with box_of(path) as it:
        yield it
