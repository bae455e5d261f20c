"""A running box for each test, by the policy that the test needs; what it told last; a key document for it."""

import pytest

from dcu.headend.keys import key_claims, trust_entry
from dcu.relay.envelope import KEYS, seal
from dcu.relay.public_key import Role
from tests.relay.world import CAPS, DAY, ISS, NEIGHBOURS, NOW, ROOT_A, ROOT_B, ROOTS, FakeMeter, commissioned, trust

HOUR = 3600


def running(**changes):
    """A fixture: a box whose policy has these changes."""

    @pytest.fixture
    def world():
        world = commissioned(**changes)
        world.wall |= {serial: FakeMeter(serial) for serial in NEIGHBOURS[:12]}
        yield world
        world.end()
        assert world.fallen is None, world.fallen

    return world


def caps(**changes):
    """Changes of both profiles' caps, as a policy has them."""
    return {"caps": {"arrears": CAPS | changes, "prepaid": CAPS | changes}}


def last(world, kind="command"):
    """The last receipt of that kind."""
    return [r for r in world.receipts() if r.kind == kind][-1]


def key_document(version=2, signers=(ROOT_A, ROOT_B), *, roots=ROOTS, drop=(), **changes):
    """All keys but those that are dropped, with these roots."""
    now = (NOW - DAY, NOW + 365 * DAY)
    entries = [
        trust_entry(key, sorted(key.roles, key=lambda r: r.value), key.person, *now, admin=key.admin)
        for key in trust(without=(*drop, "root-a", "root-b", "root-c")).keys.values()
    ]
    entries += [trust_entry(root, [Role.ROOT], person, *now) for root, person in roots]
    claims = key_claims(iss=ISS, version=version, iat=NOW, exp=NOW + 90 * DAY, threshold=2, entries=entries)
    return seal(claims | changes, KEYS, signers)
