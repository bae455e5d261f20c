"""Protection of a virtual meter's APDUs: what it takes, what it refuses, and in which form it answers."""

import pytest

from dcu.sim import ConfigMistake, MeterKeys, security
from dcu.sim.axdr import length
from dcu.sim.ciphered import GENERAL_PROTECTION
from dcu.sim.errors import Unsecured
from tests.sim.sim_client import CONFORMANCE, KEYS, TITLE, Talk, aarq, element, get_apdu, initiate, meter, verdict

GREEN_BOOK = MeterKeys(guek=bytes(range(16)), gak=bytes(range(0xD0, 0xE0)))
SERVER = bytes.fromhex("4d4d4d0000bc614e")
CLOCK = get_apdu(8, "0.0.1.0.0", 2)
KEY = bytes(range(0x60, 0x70))
CONTROLS = {"authenticated": 0x10, "encrypted": 0x20, "both": 0x30}
DECIPHERING_ERROR, COUNTER_ERROR, NOT_SUPPORTED = b"\xd8\x01\x05", b"\xd8\x01\x06", b"\xd8\x02\x02"


@pytest.mark.parametrize(
    ("control", "body"),
    [
        (0x10, "c0010000080000010000ff020006725d910f9221d263877516"),
        (0x20, "411312ff935a47566827c467bc"),
        (0x30, "411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b"),
    ],
)
def test_protection_of_the_green_book(control, body):
    """Green Book 9.2.7.2.4.6: the same GET authenticated, encrypted, and both."""
    plain, covered = bytes.fromhex("c0010000080000010000ff0200"), bytes([control]) + bytes.fromhex("01234567" + body)
    assert security.protect(GREEN_BOOK, SERVER, 0x01234567, plain, control) == covered
    assert security.unprotect(GREEN_BOOK, SERVER, covered, control) == (0x01234567, plain)
    for policy in (0x10, 0x20, 0x30):
        if policy & control != policy:
            with pytest.raises(Unsecured):
                security.unprotect(GREEN_BOOK, SERVER, covered, policy)


class Client:
    """A reader with everything in its own hands: control, key, form, counter."""

    def __init__(self, control=0x30, *, dedicated=False, **changes):
        self.meter = meter(**changes)
        self.talk = Talk(self.meter, 32)
        self.title = self.meter.credentials.system_title
        self.control = control
        self.key = KEY if dedicated else b""
        self.counter = 100

    def open(self):
        key = b"\x01\x10" + self.key if self.key else b"\x00"
        request = b"\x01" + key + initiate(conformance=CONFORMANCE | GENERAL_PROTECTION)[2:]
        user = self.sealed(0x21, request, key=b"")
        self.aare = self.talk.raw(aarq(user, context=3, mechanism=1, secret=KEYS.lls, title=TITLE))
        assert verdict(self.aare) == (0, 0)
        return self

    def sealed(self, tag, apdu, *, key=None, control=None, title=TITLE):
        self.counter += 1
        key, control = self.key if key is None else key, self.control if control is None else control
        covered = security.protect(KEYS, TITLE, self.counter, apdu, control, key=key)
        head = bytes([tag, len(title)]) + title if tag in {0xDB, 0xDC} else bytes([tag])
        return head + length(len(covered)) + covered

    def ask(self, tag, apdu=CLOCK, **options):
        return self.talk.raw(self.sealed(tag, apdu, **options))

    def plain(self, answer, at, policy=0x30):
        return security.unprotect(KEYS, self.title, security.covered(answer, at), policy, key=self.key)[1]


@pytest.mark.parametrize("dedicated", [False, True])
@pytest.mark.parametrize("protection", CONTROLS)
def test_answers_come_in_the_form_of_the_request(protection, dedicated):
    control = CONTROLS[protection]
    client = Client(control, dedicated=dedicated, protection=protection, general=True).open()
    specific, general = (0xD0, 0xDC) if dedicated else (0xC8, 0xDB)
    answer = client.ask(specific)
    assert answer[0] == (0xD4 if dedicated else 0xCC)
    assert answer[2] == control
    assert client.plain(answer, 1, control)[:2] == b"\xc4\x01"
    answer = client.ask(general)
    assert answer[:10] == bytes([general, 8]) + client.title
    assert client.plain(answer, 10, control)[:2] == b"\xc4\x01"


@pytest.mark.parametrize(
    ("protection", "weaker"), [("both", 0x10), ("both", 0x20), ("encrypted", 0x10), ("authenticated", 0x20)]
)
def test_less_protection_is_refused_and_more_is_taken(protection, weaker):
    client = Client(CONTROLS[protection], protection=protection).open()
    assert client.ask(0xC8, control=weaker) == DECIPHERING_ERROR
    assert client.ask(0xC8, control=0x30)[0] == 0xCC


def test_general_form_only_where_the_meter_has_it():
    for general in (False, True):
        client = Client(general=general).open()
        granted = security.unprotect(KEYS, client.title, security.covered(element(client.aare, 0xBE)[2:], 1))[1]
        assert bool(int.from_bytes(granted[7:10], "big") & GENERAL_PROTECTION) is general
        assert client.ask(0xDB)[:1] == (b"\xdb" if general else NOT_SUPPORTED[:1])
    assert client.ask(0xDB, title=b"MMM12345") == DECIPHERING_ERROR


def test_a_dedicated_key_must_have_been_agreed():
    client = Client().open()
    for tag in (0xD0, 0xDC):
        assert client.ask(tag, key=KEY) == NOT_SUPPORTED
    client = Client(dedicated=True).open()
    assert client.ask(0xD0, key=b"") == DECIPHERING_ERROR
    assert client.ask(0xC8, key=b"")[0] == 0xCC  # the global key is good still
    client.talk.raw(bytes.fromhex("6203800100"))
    client.key = b""
    client.open()
    assert client.ask(0xD0, key=KEY) == NOT_SUPPORTED  # it ended with its association


def test_each_key_has_its_own_count():
    client = Client(dedicated=True).open()
    accepted = client.meter.credentials.last_counter(32)
    client.counter = 0
    assert client.ask(0xD0)[0] == 0xD4
    assert client.meter.credentials.last_counter(32) == accepted
    client.counter = 0
    assert client.ask(0xD0)[:3] == COUNTER_ERROR


def test_a_meter_that_does_not_look_at_counters():
    client = Client(counter="any").open()
    client.counter = 0
    assert client.ask(0xC8)[0] == 0xCC
    client.counter = 0
    assert client.ask(0xC8)[0] == 0xCC


def test_faults_and_quirks():
    client = Client(encrypted_only_replies=True).open()
    assert client.plain(client.ask(0xC8), 1, 0x20)[:2] == b"\xc4\x01"
    client = Client().open()
    client.meter.faults.wrong_title = True
    answer = client.ask(0xC8)
    assert answer[:2] == b"\xdb\x08"
    assert answer[2:10] != client.title


@pytest.mark.parametrize("changes", [{"protection": "most"}, {"counter": "below"}])
def test_what_no_meter_can_be(changes):
    with pytest.raises(ConfigMistake, match=next(iter(changes))):
        meter(**changes)
