"""Associations and suite 0 from the meter's side: who gets in, what is refused and how, which counters are taken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.sim import MeterKeys, security
from dcu.sim.axdr import decode, i8, octets
from dcu.sim.errors import Malformed, Unsecured
from tests.sim.sim_client import (
    KEYS,
    TITLE,
    Talk,
    aarq,
    action_apdu,
    element,
    get_apdu,
    initiate,
    meter,
    plain,
    verdict,
)

GREEN_BOOK = MeterKeys(guek=bytes(range(16)), gak=bytes(range(0xD0, 0xE0)))
SERVER, CLIENT = bytes.fromhex("4d4d4d0000bc614e"), bytes.fromhex("4d4d4d0000000001")
PAYMENT = get_apdu(1, "0.0.94.96.20", 2)


# ---- worked examples of the standard --------------------------------------------------------------------------------


def test_ciphered_get_of_the_green_book():
    """Green Book 9.2.7.2.4.6, GET of the clock with authenticated encryption."""
    plain_ = bytes.fromhex("c0010000080000010000ff0200")
    apdu = bytes.fromhex("c81e3001234567411312ff935a47566827c467bc7d825c3be4a77c3fcc056b6b")
    assert security.cipher(GREEN_BOOK, SERVER, 0x01234567, 0xC8, plain_) == apdu
    assert security.decipher(GREEN_BOOK, SERVER, apdu) == (0x01234567, plain_)


@pytest.mark.parametrize(
    ("title", "counter", "challenge", "proof"),
    [
        (CLIENT, 1, b"P6wRJ21F", "10000000011a52fe7dd3e72748973c1e28"),
        (SERVER, 0x01234567, b"K56iVagY", "1001234567fe1466afb3dbcd4f9389e2b7"),
    ],
)
def test_hls_mechanism_5_of_the_green_book(title, counter, challenge, proof):
    """Green Book 9.2.7.4, example of HLS with GMAC: pass 3 and pass 4."""
    assert security.gmac(GREEN_BOOK, title, counter, challenge).hex() == proof


def test_mechanism_2_is_aes_of_the_challenge():
    """FIPS 197 appendix C.1."""
    assert (
        security.ecb(bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")).hex()
        == "69c4e0d86a7b0430d8cdb78070b4c55a"
    )
    with pytest.raises(Malformed):
        security.ecb(bytes(16), bytes(15))


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=60, deadline=None)
def test_any_change_of_a_ciphered_apdu_is_noticed(text, counter, data):
    apdu = bytearray(security.cipher(KEYS, TITLE, counter, 0xC8, text))
    assert security.decipher(KEYS, TITLE, bytes(apdu)) == (counter, text)
    bit = data.draw(st.integers(8, len(apdu) * 8 - 1))
    apdu[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Unsecured, Malformed)):
        security.decipher(KEYS, TITLE, bytes(apdu))


# ---- who gets in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ciphered", [True, False])
@pytest.mark.parametrize("mechanism", ["secret", "gmac"])
@pytest.mark.parametrize("client", [16, 32, 48])
def test_every_client_by_every_mechanism(client, mechanism, ciphered):
    talk = Talk(meter(mechanism=mechanism, ciphered=ciphered), client).open()
    assert plain(talk.get(1, "0.0.96.1.0")) == b"GXT00017"
    context = element(talk.last_aare, 0xA1)[-1]
    assert context == (3 if ciphered and client != 16 else 1)
    assert (element(talk.last_aare, 0xA4) is not None) is (client == 48 or (ciphered and client != 16))


@pytest.mark.parametrize(
    ("client", "changes", "expected"),
    [
        (32, {"secret": b"reader02"}, (1, 13)),
        (32, {"secret": b""}, (1, 13)),
        (32, {"mechanism": None}, (1, 12)),
        (32, {"mechanism": 5}, (1, 11)),
        (32, {"mechanism": 9}, (1, 11)),
        (32, {"context": 1}, (1, 2)),
        (32, {"context": 2}, (1, 2)),
        (32, {"title": b""}, (1, 3)),
        (32, {"title": b"SHORT"}, (1, 3)),
        (33, {}, (1, 1)),
        (48, {"mechanism": 5, "secret": bytes(16)}, (1, 11)),
        (48, {"mechanism": 2, "secret": bytes(15)}, (1, 13)),
        (48, {"mechanism": 2, "secret": b""}, (1, 13)),
        (16, {"context": 3}, (1, 2)),
        (16, {"context": 1, "mechanism": 1}, (1, 11)),
    ],
)
def test_refused_associations(client, changes, expected):
    virtual = meter()
    talk = Talk(virtual, client)
    settings_ = {"context": 3, "mechanism": 1, "secret": b"reader01", "title": TITLE} | changes
    answer = talk.raw(aarq(talk.seal(0x21, initiate()), **settings_))
    assert verdict(answer) == expected
    assert talk.raw(PAYMENT).hex() == "d80101"
    assert virtual.credentials.last_counter(client) == 0


def test_a_clear_meter_refuses_the_ciphered_context():
    talk = Talk(meter(ciphered=False), 32)
    answer = talk.raw(aarq(initiate(), context=3, mechanism=1, secret=b"reader01", title=TITLE))
    assert verdict(answer) == (1, 2)
    assert element(answer, 0xA1)[-1] == 1  # and says which context it has


@pytest.mark.parametrize(
    ("user", "error"),
    [
        (initiate(version=5), "0e010601"),
        (initiate(conformance=0x8), "0e010602"),
        (initiate(pdu=11), "0e010603"),
        (initiate()[:-1], "0e010600"),
        (initiate() + b"\x00", "0e010600"),
        (b"\x02" + initiate()[1:], "0e010600"),
    ],
)
def test_bad_proposals(user, error):
    answer = Talk(meter(), 16).raw(aarq(user))
    assert verdict(answer) == (1, 1)
    assert element(answer, 0xBE)[2:].hex() == error


def test_proposals_with_optional_parts():
    user = b"\x01\x01\x10" + bytes(16) + b"\x01\x00\x01\x05" + initiate()[4:]
    assert verdict(Talk(meter(), 16).raw(aarq(user))) == (0, 0)


@pytest.mark.parametrize("apdu", ["60", "6000", "6003a10100", "600aa1080606608574050801", "61" + "00", "60820000"])
def test_nonsense_aarqs_are_answered_and_open_nothing(apdu):
    talk = Talk(meter(ciphered=False), 32)
    answer = talk.raw(bytes.fromhex(apdu))
    assert answer[0] in {0x61, 0xD8}
    assert answer[0] == 0xD8 or verdict(answer)[0] == 1
    assert talk.raw(PAYMENT).hex() == "d80101"


def _opening(talk, user):
    return talk.raw(aarq(user, context=3, mechanism=1, secret=b"reader01", title=TITLE))


def _flip(apdu, at=-1):
    return apdu[:at] + bytes([apdu[at] ^ 1]) + (apdu[at + 1 :] if at != -1 else b"")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda talk: _flip(talk.seal(0x21, initiate())),
        lambda talk: talk.seal(0x21, initiate(), title=b"ANOTHER!"),
        lambda talk: talk.seal(0x20, initiate()),
        lambda talk: initiate(),
        lambda talk: _flip(talk.seal(0x21, initiate()), 2),
        lambda talk: talk.seal(0x21, initiate())[:-1],
        lambda talk: security.cipher(KEYS, TITLE, 0, 0x21, initiate()),  # not above the last accepted, 0
    ],
    ids=["tag", "title", "service", "clear", "security control", "cut", "counter"],
)
def test_bad_ciphered_initiate_requests(spoil):
    virtual = meter()
    talk = Talk(virtual, 32)
    answer = _opening(talk, spoil(talk))
    assert verdict(answer) == (1, 1)
    assert element(answer, 0xBE)[2:].hex() == "0e010600"
    assert virtual.credentials.last_counter(32) == 0


# ---- HLS ------------------------------------------------------------------------------------------------------------


def _pending(virtual, own=bytes(range(16))):
    """An association that waits for pass 3: the talk and the meter's challenge."""
    talk = Talk(virtual, 48)
    config = virtual.config
    mechanism = 5 if config.mechanism == "gmac" else 2
    user = talk.seal(0x21, initiate()) if config.ciphered else initiate()
    context = 3 if config.ciphered else 1
    answer = talk.raw(aarq(user, context=context, mechanism=mechanism, secret=own, title=TITLE))
    assert verdict(answer) == (0, 14)
    talk.ciphered = config.ciphered
    return talk, element(answer, 0xAA)[2:]


@pytest.mark.parametrize("mechanism", ["secret", "gmac"])
def test_a_wrong_proof_ends_the_association(mechanism):
    virtual = meter(mechanism=mechanism)
    talk, challenge = _pending(virtual)
    answer = talk.ask(action_apdu(15, "0.0.40.0.0", 1, octets(challenge)))
    assert answer.hex() == "c70181fa00"
    assert talk.raw(talk.seal(0xC8, PAYMENT)).hex() == "d80101"


@pytest.mark.parametrize("reflected", [True, False])
def test_mechanism_2_proves_knowledge_of_the_secret(reflected):
    virtual = meter(ciphered=False)
    talk, challenge = _pending(virtual)
    secret = b"another secret!!" if reflected else KEYS.hls
    proof = octets(security.ecb(secret, challenge))
    assert talk.act(15, "0.0.40.0.0", 1, proof) == (250 if reflected else 0)


def test_before_pass_3_nothing_else_is_served():
    talk, _ = _pending(meter())
    assert talk.ask(PAYMENT).hex() == "d80101"
    assert talk.ask(action_apdu(70, "0.0.96.3.10", 1, i8(0))).hex() == "d80101"
    assert talk.meter.relay.output_state


def test_challenges_differ():
    virtual = meter()
    assert _pending(virtual)[1] != _pending(virtual)[1]


@pytest.mark.parametrize(("step", "code"), [(2, 0), (1, 250), (0, 250)], ids=["fresh", "of the APDU", "old"])
def test_the_counter_of_a_gmac_proof_is_a_nonce_of_its_own(step, code):
    virtual = meter(mechanism="gmac")
    talk, challenge = _pending(virtual)
    proof = security.gmac(KEYS, TITLE, talk.counter + step, challenge)
    assert talk.act(15, "0.0.40.0.0", 1, octets(proof)) == code


# ---- ciphered services ----------------------------------------------------------------------------------------------


def test_counters_only_go_up_and_are_published():
    virtual = meter()
    talk = Talk(virtual, 32).open()
    for _ in range(5):
        before = talk.heard_counter
        assert plain(talk.get(1, "0.0.94.96.20")) == 1
        assert talk.heard_counter > before
    assert plain(Talk(virtual, 16).open().get(1, "0.0.43.1.2")) == talk.counter == 6
    assert plain(Talk(virtual, 16).open().get(1, "0.0.43.1.3")) == 0
    talk.counter = 0xFFFFFFFE
    assert plain(talk.get(1, "0.0.94.96.20")) == 1
    assert virtual.credentials.last_counter(32) == 0xFFFFFFFF


def test_a_replay_is_refused_with_the_last_counter():
    talk = Talk(meter(), 32).open()
    apdu = talk.seal(0xC8, PAYMENT)
    assert talk.raw(apdu)[0] == 0xCC
    assert talk.raw(apdu).hex() == "d80106" + "00000002"
    assert plain(talk.get(1, "0.0.94.96.20")) == 1


@pytest.mark.parametrize(
    ("spoil", "answer"),
    [
        (lambda talk: _flip(talk.seal(0xC8, PAYMENT)), "d80105"),
        (lambda talk: talk.seal(0xC8, PAYMENT, title=b"ANOTHER!"), "d80105"),
        (lambda talk: PAYMENT, "d80101"),
        (lambda talk: talk.seal(0xC9, PAYMENT), "d80103"),
        (lambda talk: talk.seal(0xD0, PAYMENT), "d80202"),
        (lambda talk: talk.seal(0xC8, b""), "d80103"),
        (lambda talk: _flip(talk.seal(0xC8, PAYMENT), 2), "d80105"),
    ],
    ids=["tag", "title", "clear", "another service inside", "dedicated", "empty", "security control"],
)
def test_ciphered_requests_that_are_refused(spoil, answer):
    virtual = meter()
    talk = Talk(virtual, 32).open()
    apdu = spoil(talk)
    before = virtual.credentials.last_counter(32)
    assert talk.raw(apdu).hex() == answer
    if answer == "d80105":
        assert virtual.credentials.last_counter(32) == before
    assert plain(talk.get(1, "0.0.94.96.20")) == 1


def test_a_forged_release_releases_nothing():
    talk = Talk(meter(), 32).open()
    forged = _flip(talk.seal(0x21, initiate()))
    body = b"\x80\x01\x00\xbe" + bytes([len(forged) + 2, 4, len(forged)]) + forged
    assert talk.raw(b"\x62" + bytes([len(body)]) + body).hex() == "d80105"
    assert plain(talk.get(1, "0.0.94.96.20")) == 1


# ---- faults ---------------------------------------------------------------------------------------------------------


def test_fault_bad_tag():
    talk = Talk(meter(), 32).open()
    talk.meter.faults.bad_tag = True
    with pytest.raises(Unsecured):
        talk.get(1, "0.0.94.96.20")


def test_fault_lower_counter():
    talk = Talk(meter(), 32).open()
    before = talk.heard_counter
    talk.get(1, "0.0.94.96.20")
    assert talk.heard_counter > before
    talk.meter.faults.lower_counter = True
    before = talk.heard_counter
    talk.get(1, "0.0.94.96.20")
    assert talk.heard_counter < before


def test_fault_clear_answer():
    talk = Talk(meter(), 32).open()
    talk.meter.faults.clear_answer = True
    answer = talk.raw(talk.seal(0xC8, PAYMENT))
    assert answer[0] == 0xC4
    assert decode(answer[4:]).value == 1


def test_secrets_are_not_in_any_representation():
    shown = repr(meter().config) + repr(KEYS)
    for secret in (KEYS.guek, KEYS.gak, KEYS.lls, KEYS.hls):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
