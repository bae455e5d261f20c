"""A store for each test."""

import pytest
from running_store import running


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dcu.db"


@pytest.fixture
def opened(path):
    with running(path) as it:
        yield it


@pytest.fixture
def store(opened):
    return opened.store
