"""A store for each test, and the cache of payloads that stands beside one."""

from contextlib import closing

import pytest
from running_store import running
from sealed_cache import filled


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


@pytest.fixture
def file(path):
    """Of the cache, beside a store of nothing."""
    path.touch()
    return path.with_name("dcu-sealed.db")


@pytest.fixture
def cache(path, file):
    with closing(filled(path, [])) as it:
        yield it
