"""Protection of an association: forms of requests, policy on replies, and a table of forgeries."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.drivers import acse
from dcu.drivers import ciphering as module
from dcu.drivers.axdr import encode_length
from dcu.drivers.ciphering import Ciphering
from dcu.drivers.security import SuiteZero
from dcu.errors import ReplyForged
from dcu.meter import AssociationSpec, Mechanism, Protection

from .golden_files import FRAMES

# Keys and titles of the Green Book's examples (DLMS UA 1000-2, 9.2.7).
SUITE = SuiteZero(bytes(range(0x10)), bytes(range(0xD0, 0xE0)))
CLIENT = bytes.fromhex("4D4D4D0000000001")
METER = bytes.fromhex("4D4D4D0000BC614E")
DEDICATED = bytes(range(0x40, 0x50))
REPLY = b"\xc4\x01\xc1\x00\x00"
INITIATE = bytes.fromhex("0800065F1F0400001D0400 0007".replace(" ", ""))
GLOBAL_TAG = {0x01: 0x21, 0x08: 0x28, 0xC4: 0xCC, 0xC5: 0xCD, 0xC7: 0xCF}
DEDICATED_TAG = {0xC4: 0xD4, 0xC5: 0xD5, 0xC7: 0xD7}


def spec(protection=Protection.BOTH, **options):
    return AssociationSpec(48, Mechanism.HLS_SECRET, protection, **options)


def ciphering(protection=Protection.BOTH, *, title=CLIENT, meter=METER, first=1, dedicated=False, heard=-1, **options):
    next_counter = itertools.count(first).__next__
    one = Ciphering(SUITE, spec(protection, **options), title, next_counter, heard=heard)
    if meter:
        one.meet(meter)
    if dedicated:
        one.dedicate(DEDICATED)
    return one


def from_meter(plaintext, counter, *, control=0x30, tag=None, general=None, title=METER, key=None):
    """What a meter would send; `general` is the tag of general ciphering, 0xDB or 0xDC."""
    suite = SUITE if key is None else SUITE.under(key)
    body = bytes([control]) + counter.to_bytes(4, "big") + suite.seal(METER, counter, plaintext, control & 0x30)
    if general:
        head = bytes([general, len(title)]) + title
    else:
        head = bytes([GLOBAL_TAG[plaintext[0]] if tag is None else tag])
    return head + encode_length(len(body)) + body


def from_dedicated(plaintext, counter, **options):
    options = {"tag": DEDICATED_TAG[plaintext[0]], "key": DEDICATED, **options}
    return from_meter(plaintext, counter, **options)


@pytest.mark.parametrize(
    ("protection", "octets"),
    [
        (Protection.AUTHENTICATED, "C81E1001234567C0010000080000010000FF020006725D910F9221D263877516"),
        (Protection.ENCRYPTED, "C8122001234567411312FF935A47566827C467BC"),
        (Protection.BOTH, "C81E3001234567411312FF935A47566827C467BC7D825C3BE4A77C3FCC056B6B"),
    ],
)
def test_green_book_get_of_the_clock(protection, octets):
    # The book shows the same request under the meter's title; the title is an argument like any other.
    client = ciphering(protection, title=METER, meter=None, first=0x01234567)
    assert client.protect(bytes.fromhex("C0010000080000010000FF0200")).hex().upper() == octets


def test_general_ciphering_names_its_sender():
    client = ciphering(title=METER, meter=None, first=0x01234567, general=True)
    octets = "DB084D4D4D0000BC614E1E3001234567411312FF935A47566827C467BC7D825C3BE4A77C3FCC056B6B"
    assert client.protect(bytes.fromhex("C0010000080000010000FF0200")).hex().upper() == octets


def test_dedicated_tags():
    # The GENUS capture has D3 in the place of CB.
    client = ciphering(dedicated=True)
    assert [client.protect(bytes([service, 1, 0xC1]))[0] for service in (0xC0, 0xC1, 0xC3)] == [0xD0, 0xD1, 0xD3]
    assert ciphering(dedicated=True, general=True).protect(b"\xc0\x01\xc1")[:10] == b"\xdc\x08" + CLIENT


def test_a_dedicated_key_is_never_shown_to_the_line():
    request = b"\x01\x01\x10" + DEDICATED + bytes.fromhex("0000065F1F0400007E1F04B0")
    for protection in (Protection.AUTHENTICATED, Protection.ENCRYPTED, Protection.BOTH):
        sent = ciphering(protection, dedicated=True).protect_initiate(request, holds_key=True)
        assert sent[0] == 0x21
        assert DEDICATED not in sent
        assert sent[2] == protection.value | 0x20


def test_one_count_serves_both_keys():
    client = ciphering(first=7, dedicated=True)
    octets = [client.protect_initiate(b"\x01"), client.protect(b"\xc0\x01\xc1"), client.protect_initiate(b"\x01")]
    assert [int.from_bytes(o[3:7], "big") for o in octets] == [7, 8, 9]


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("length", [3, 110, 127, 250, 70_000])
def test_overhead_is_what_is_added_at_most(general, length):
    client = ciphering(general=general)
    assert len(client.protect(b"\xc0" + bytes(length - 1))) - length <= client.overhead + (length > 0xFFFF)


# ---- replies ----


@pytest.mark.parametrize("protection", [Protection.AUTHENTICATED, Protection.ENCRYPTED, Protection.BOTH])
@pytest.mark.parametrize("general", [False, True])
def test_replies_in_either_form_and_with_more_protection(protection, general):
    for dedicated, make, tag in ((False, from_meter, 0xDB), (True, from_dedicated, 0xDC)):
        client = ciphering(protection, dedicated=dedicated, general=general)
        controls = [control for control in (0x10, 0x20, 0x30) if control & protection.value == protection.value]
        counter = itertools.count(5)
        for control in controls:
            for plaintext in (REPLY, b"\xc5\x01\xc1\x00", b"\xc7\x01\xc1\x00\x00" + bytes(300)):
                assert client.unprotect(make(plaintext, next(counter), control=control)) == plaintext
                assert client.unprotect(make(plaintext, next(counter), control=control, general=tag)) == plaintext


def test_an_exception_inside_general_ciphering_is_read():
    assert ciphering().unprotect(from_meter(b"\xd8\x01\x01", 1, general=0xDB)) == b"\xd8\x01\x01"


def test_the_initiate_response_has_the_global_key():
    client = ciphering(dedicated=True)
    assert client.unprotect_initiate(from_meter(INITIATE, 3)) == INITIATE
    assert client.unprotect_initiate(from_meter(INITIATE, 4, general=0xDB)) == INITIATE
    assert client.unprotect(from_dedicated(REPLY, 0)) == REPLY  # each key has its own count


def test_encryption_only_replies_where_the_model_allows_them():
    lax = ciphering(encrypted_only_replies=True)
    assert lax.unprotect(from_meter(REPLY, 9, control=0x20)) == REPLY
    assert lax.unprotect(from_meter(REPLY, 10)) == REPLY
    with pytest.raises(ReplyForged, match="0x10"):
        lax.unprotect(from_meter(REPLY, 11, control=0x10))
    with pytest.raises(ReplyForged, match="inside"):  # without a tag, this is all that can be seen of a wrong key
        lax.unprotect(from_meter(REPLY, 12, control=0x20, key=bytes(16)))


def test_a_forged_reply_moves_no_counter():
    client = ciphering()
    forged = bytearray(from_meter(REPLY, 2**32 - 1))
    forged[-1] ^= 1
    with pytest.raises(ReplyForged, match="tag"):
        client.unprotect(bytes(forged))
    assert client.unprotect(from_meter(REPLY, 1)) == REPLY


def test_the_meters_counter_only_goes_up():
    client = ciphering()
    client.unprotect_initiate(from_meter(INITIATE, 9))
    client.unprotect(from_meter(REPLY, 10))
    for old in (10, 9, 0):
        for general in (None, 0xDB):
            with pytest.raises(ReplyForged, match="not above"):
                client.unprotect(from_meter(REPLY, old, general=general))
    client.unprotect(from_meter(REPLY, 12))
    assert client.heard == 12


def test_an_association_of_the_past_is_not_heard_again():
    client = ciphering(heard=100)
    for old in (99, 100):
        with pytest.raises(ReplyForged, match="not above"):
            client.unprotect_initiate(from_meter(INITIATE, old))
    client.unprotect_initiate(from_meter(INITIATE, 101))
    assert client.heard == 101


def test_only_a_tag_proves_a_counter():
    client = ciphering(encrypted_only_replies=True, heard=5)
    client.unprotect(from_meter(REPLY, 2**32 - 1, control=0x20))
    assert client.heard == 5
    client = ciphering(dedicated=True, heard=5)
    client.unprotect(from_dedicated(REPLY, 2**32 - 1))
    assert client.heard == 5  # of the global key: the dedicated one ends with the association


# ---- real meters, keys unknown (golden/frames.txt) ----


def apdu_of(name):
    return FRAMES[name][11:-3]  # behind flag, format, addresses, control, HCS and LLC; before FCS and flag


def test_hpl_answers_with_encryption_alone():
    granted, information = acse.parse_aare(apdu_of("hpl-aare"), Mechanism.LLS, ciphered=True)
    assert information[:7].hex() == "28132000000000"  # and its count starts at 0
    with pytest.raises(ReplyForged, match="0x20, where 0x30 is agreed"):
        ciphering(meter=granted.meter_title).unprotect_initiate(information)
    for options in ({"encrypted_only_replies": True}, {"protection": Protection.ENCRYPTED}):
        with pytest.raises(ReplyForged, match="inside"):  # these are not its keys
            ciphering(meter=granted.meter_title, **options).unprotect_initiate(information)


def test_genus_is_spoken_to_in_the_same_form_as_ours():
    theirs = apdu_of("genus-aarq")
    challenge, initiate = theirs[theirs.index(b"\xac\x12\x80\x10") + 4 :][:16], theirs[-0x32:]
    assert initiate[:7].hex() == "21303000000000"
    assert acse.aarq(Mechanism.HLS_SECRET, initiate, title=b"ABCDEFGH", value=challenge) == theirs
    client = ciphering(first=0)
    ours = client.protect_initiate(acse.initiate_request(acse.PROPOSED, 1024, DEDICATED), holds_key=True)
    assert ours[:7] == initiate[:7]
    assert len(ours) == len(initiate)
    granted, information = acse.parse_aare(apdu_of("genus-aare"), Mechanism.HLS_SECRET, ciphered=True)
    assert information[:7].hex() == "281f3000000488"
    client.meet(granted.meter_title)
    with pytest.raises(ReplyForged, match="tag"):
        client.unprotect_initiate(information)
    client.dedicate(DEDICATED)
    answer = b"\x09\x10" + bytes(16)
    action = client.protect(b"\xc3\x01\xc1" + bytes.fromhex("000F0000280000FF01 01".replace(" ", "")) + answer)
    proof = apdu_of("genus-ded-action")
    assert (action[:3], len(action)) == (proof[:3], len(proof))


# ---- forgeries ----

SEALED = from_meter(REPLY, 8)
FORGED = {
    "empty": b"",
    "clear": REPLY,
    "exception inside a service tag": from_meter(b"\xd8\x01\x01", 8, tag=0xCC),
    "wrong tag": SEALED[:-1] + bytes([SEALED[-1] ^ 1]),
    "wrong key": from_meter(REPLY, 8, key=bytes(16)),
    "lower counter": from_meter(REPLY, 6),
    "equal counter": from_meter(REPLY, 7),
    "title of another": from_meter(REPLY, 8, general=0xDB, title=b"MMM12345"),
    "title of ours": from_meter(REPLY, 8, general=0xDB, title=CLIENT),
    "no title": from_meter(REPLY, 8, general=0xDB, title=b""),
    "long title": from_meter(REPLY, 8, general=0xDB, title=METER + b"\x00"),
    "encryption only": from_meter(REPLY, 8, control=0x20),
    "authentication only": from_meter(REPLY, 8, control=0x10),
    "no security": b"\xcc\x11\x00\x00\x00\x00\x08" + REPLY + bytes(7),
    "broadcast key": from_meter(REPLY, 8, control=0x70),
    "compressed": from_meter(REPLY, 8, control=0xB0),
    "suite 1": from_meter(REPLY, 8, control=0x31),
    "another service inside": from_meter(b"\xc5\x01\xc1\x00", 8, tag=0xCC),
    "a request inside": from_meter(b"\xc0\x01\xc1", 8, general=0xDB),
    "an initiate response for a service": from_meter(INITIATE, 8),
    "dedicated tag, global key": from_meter(REPLY, 8, tag=0xD4),
    "dedicated tag and key that nobody agreed": from_dedicated(REPLY, 8),
    "general dedicated that nobody agreed": from_dedicated(REPLY, 8, general=0xDC),
    "cut short": SEALED[:-1],
    "octets behind": SEALED + b"\x00",
    "shorter than a tag": bytes.fromhex("CC053000000008"),
    "shorter than a header": bytes.fromhex("CC0430000000"),
    "general without an end": b"\xdb\x08" + METER,
    "general, nothing behind": b"\xdb",
    "length of lengths": b"\xcc\x84\x00\x00",
    "our own request, reflected": ciphering(first=8).protect(b"\xc0\x01\xc1"),
    "our own general request, reflected": ciphering(first=8, general=True).protect(b"\xc0\x01\xc1"),
    "general-ciphering": b"\xdd\x00\x08" + METER + SEALED[1:],
}


@pytest.mark.parametrize("name", FORGED)
def test_forged(name):
    client = ciphering()
    client.unprotect(from_meter(REPLY, 7))
    with pytest.raises(ReplyForged):
        client.unprotect(FORGED[name])
    assert client.unprotect(from_meter(REPLY, 9)) == REPLY  # the meter is not to blame


DEDICATED_FORGED = {
    "global key": from_meter(REPLY, 8),
    "general, global key": from_meter(REPLY, 8, general=0xDB),
    "dedicated tag, global key": from_meter(REPLY, 8, tag=0xD4),
    "general dedicated, global key": from_meter(REPLY, 8, general=0xDC),
    "title of another": from_dedicated(REPLY, 8, general=0xDC, title=b"MMM12345"),
    "lower counter": from_dedicated(REPLY, 7),
    "encryption only": from_dedicated(REPLY, 8, control=0x20),
    "another service inside": from_dedicated(b"\xc5\x01\xc1\x00", 8, tag=0xD4),
}


@pytest.mark.parametrize("name", DEDICATED_FORGED)
def test_forged_under_a_dedicated_key(name):
    client = ciphering(dedicated=True)
    client.unprotect(from_dedicated(REPLY, 7))
    with pytest.raises(ReplyForged):
        client.unprotect(DEDICATED_FORGED[name])


@pytest.mark.parametrize("octets", [b"", INITIATE, from_meter(REPLY, 8), from_meter(REPLY, 8, general=0xDB)])
def test_an_initiate_response_that_is_none(octets):
    with pytest.raises(ReplyForged):
        ciphering().unprotect_initiate(octets)


WEAKER = [
    (Protection.AUTHENTICATED, 0x20),
    (Protection.ENCRYPTED, 0x10),
    (Protection.BOTH, 0x10),
    (Protection.BOTH, 0x20),
]


@pytest.mark.parametrize(("protection", "control"), WEAKER)
def test_weaker_than_agreed(protection, control):
    with pytest.raises(ReplyForged, match="agreed"):
        ciphering(protection).unprotect(from_meter(REPLY, 1, control=control))


@pytest.mark.parametrize("title", [b"", bytes(7), bytes(9), CLIENT])
def test_a_title_that_cannot_be_the_meters(title):
    with pytest.raises(ReplyForged):
        ciphering(meter=None).meet(title)


TAGS = st.sampled_from([*module.GLOBAL_RESPONSE, *module.DEDICATED_RESPONSE, 0x28, 0xDB, 0xDC, 0xC4])
HEADS = st.sampled_from([b"", b"\x08" + METER, b"\x08" + CLIENT])


@given(TAGS, HEADS, st.binary(max_size=64), st.booleans(), st.sampled_from(Protection), st.booleans())
def test_whatever_comes_is_forged(tag, head, body, dedicated, protection, lax):
    if protection is Protection.NONE:
        protection = Protection.BOTH
    client = ciphering(protection, dedicated=dedicated, encrypted_only_replies=lax)
    octets = bytes([tag]) + head + encode_length(len(body)) + body
    for read in (client.unprotect, client.unprotect_initiate):
        for said in (octets, octets[:-3], body):
            try:
                plaintext = read(said)
            except ReplyForged:
                continue
            # Without a tag there is nothing but the service to see a forgery by.
            assert (lax or protection is Protection.ENCRYPTED) and plaintext[0] in {0x08, 0x0E, 0xC4, 0xC5, 0xC7, 0xD8}


def test_keys_are_never_shown():
    client = ciphering()
    client.unprotect(from_meter(REPLY, 7))
    shown = repr(client) + str(client)
    for octets in FORGED.values():
        with pytest.raises(ReplyForged) as caught:
            client.unprotect(octets)
        shown += str(caught.value) + repr(caught.value)
    for key in (SUITE.unicast_key, SUITE.authentication_key):
        assert key.hex() not in shown
        assert repr(key) not in shown
