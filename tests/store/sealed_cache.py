"""Seals, the payloads that belong to them, and a cache that is filled with both."""

import random

from dcu.ports import Seal
from dcu.record import Stream
from dcu.store import SealedFile

EPOCH = "e1"
PAGES = 4000
ALL = dict.fromkeys(Stream, 10**9)
"""Of each stream everything, as `forget` takes it."""


def seal(first, last=None, *, stream=Stream.PROFILE, octets=900):
    return Seal(stream, first, first + 9 if last is None else last, octets, first % 1000)


def payload(of, size=700):
    return random.Random(f"{of}").randbytes(size)


def filled(path, seals, size=700):
    """A cache with the payloads of those seals."""
    cache = SealedFile(path, PAGES)
    cache.begin(EPOCH)
    for each in seals:
        assert cache.add(EPOCH, each, payload(each, size))
    return cache


def right(cache, each, size=700):
    return cache.payload(EPOCH, each) == payload(each, size)
