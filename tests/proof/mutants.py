"""Commands made wrong in a million ways, and every single bit of one turned over.

A mutant is made of genuine, fully signed commands. What comes out as the very octets of a genuine one is none and is
not counted as tried. Everything else has to be refused, and by a check that has a name.
"""

import base64
import hashlib
import hmac
import json
import random
from collections import Counter
from collections.abc import Callable

from dcu.relay.canonical import canonical, from_base64url, to_base64url
from dcu.relay.envelope import COMMAND, PERMIT, POLICY, RECEIPT
from dcu.relay.public_key import ORDER
from tests.proof.people import People
from tests.proof.run import Line, Run
from tests.proof.verifier import SERIALS, Verifier

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_BYTES = b'{}[]":,\\ 0aA_-=+/\n\x00\xff\xc3e.'


class Genuine:
    """Commands that every check lets pass, and their parts."""

    def __init__(self, verifier: Verifier, n: int = 24) -> None:
        self.verifier = verifier
        ops = ("disconnect", "disconnect", "connect", "message", "freeze")
        self.claims = [
            verifier.command(ops[i % 5], SERIALS[i], f"c-{i}", profile=("arrears", "prepaid")[i % 5], seq=i + 1)
            if i % 5 < 2
            else verifier.command(ops[i % 5], SERIALS[i], f"c-{i}", seq=i + 1)
            for i in range(n)
        ]
        self.octets = [verifier.envelope(claims) for claims in self.claims]
        self.known = frozenset(self.octets)
        self.parts = [json.loads(octets) for octets in self.octets]


Mutator = Callable[[Genuine, random.Random], bytes]


def _octets(genuine: Genuine, chance: random.Random) -> bytearray:
    return bytearray(chance.choice(genuine.octets))


def _parts(genuine: Genuine, chance: random.Random) -> dict:
    part = chance.choice(genuine.parts)
    return {"payload": part["payload"], "signatures": [dict(member) for member in part["signatures"]]}


def _member(envelope: dict, chance: random.Random) -> dict:
    return chance.choice(envelope["signatures"])


# ---- octets ---------------------------------------------------------------------------------------------------------


def flip_bits(genuine: Genuine, chance: random.Random) -> bytes:
    octets = _octets(genuine, chance)
    for _ in range(chance.randint(1, 4)):
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    return bytes(octets)


def change_octets(genuine: Genuine, chance: random.Random) -> bytes:
    octets = _octets(genuine, chance)
    for _ in range(chance.randint(1, 3)):
        at, what = chance.randrange(len(octets)), chance.choice(_BYTES + _ALPHABET)
        how = chance.randrange(3)
        octets[at : at + (how != 0)] = b"" if how == 2 else bytes([what])
    return bytes(octets)


def move_slices(genuine: Genuine, chance: random.Random) -> bytes:
    octets = _octets(genuine, chance)
    a, b = sorted(chance.randrange(len(octets)) for _ in range(2))
    to = chance.randrange(len(octets))
    return bytes(chance.choice([octets[:a] + octets[b:], octets[:to] + octets[a:b] + octets[to:], octets[:b]]))


def splice_octets(genuine: Genuine, chance: random.Random) -> bytes:
    one, other = _octets(genuine, chance), _octets(genuine, chance)
    at = chance.randrange(len(one))
    return bytes(one[:at] + other[chance.choice([at, chance.randrange(len(other))]) :])


# ---- members --------------------------------------------------------------------------------------------------------


def change_text(genuine: Genuine, chance: random.Random) -> bytes:
    """One character of a base64url text."""
    envelope = _parts(genuine, chance)
    where, name = chance.choice(
        [(envelope, "payload"), (_member(envelope, chance), "protected"), (_member(envelope, chance), "signature")]
    )
    text = bytearray(where[name].encode())
    text[chance.randrange(len(text))] = chance.choice(_ALPHABET)
    where[name] = text.decode()
    return canonical(envelope)


def reorder(genuine: Genuine, chance: random.Random) -> bytes:
    """Signatures shuffled, repeated, left out, exchanged."""
    envelope = _parts(genuine, chance)
    members = envelope["signatures"]
    how = chance.randrange(4)
    if how == 0:
        members.reverse()
    elif how == 1:
        members.insert(chance.randrange(len(members) + 1), dict(_member(envelope, chance)))
    elif how == 2:
        del members[chance.randrange(len(members))]
    elif len(members) > 1:
        name = chance.choice(["protected", "signature"])
        members[0][name], members[1][name] = members[1][name], members[0][name]
    return canonical(envelope)


def splice_members(genuine: Genuine, chance: random.Random) -> bytes:
    """Payload of one, signatures of others."""
    envelope, other = _parts(genuine, chance), _parts(genuine, chance)
    how = chance.randrange(3)
    if how == 0:
        envelope["payload"] = other["payload"]
    elif how == 1:
        name = chance.choice(["protected", "signature"])
        _member(envelope, chance)[name] = _member(other, chance)[name]
    else:
        envelope["signatures"][chance.randrange(len(envelope["signatures"]))] = _member(other, chance)
    return canonical(envelope)


# ---- spelled otherwise ----------------------------------------------------------------------------------------------


def respell_json(genuine: Genuine, chance: random.Random) -> bytes:
    """The same document, otherwise spelled."""
    octets = bytes(_octets(genuine, chance))
    envelope = json.loads(octets)
    at = chance.randrange(len(octets))
    letter = octets[at : at + 1]
    spelled = [
        json.dumps(envelope).encode(),
        json.dumps(envelope, indent=1).encode(),
        json.dumps(dict(reversed(envelope.items())), separators=(",", ":")).encode(),
        octets + chance.choice([b" ", b"\n", b"\x00", b"{}", b","]),
        b"\xef\xbb\xbf" + octets,
        octets.decode().encode("utf-16"),
        octets.replace(letter, b"\\u%04x" % letter[0], 1) if letter.isalnum() else octets + b"\t",
        octets[:-1] + b',"payload":"' + envelope["payload"].encode() + b'"}',
        octets.replace(b'"}', b'" }', 1),
    ]
    return chance.choice(spelled)


def respell_text(genuine: Genuine, chance: random.Random) -> bytes:
    """Base64 with padding, of the other alphabet, with line ends, with bits behind the last octet."""
    envelope = _parts(genuine, chance)
    member = _member(envelope, chance)
    where, name = chance.choice([(envelope, "payload"), (member, "protected"), (member, "signature")])
    text = where[name]
    octets = from_base64url(text)
    last = _ALPHABET.index(text[-1].encode())
    where[name] = chance.choice(
        [
            text + "=" * (-len(text) % 4 or 4),
            base64.b64encode(octets).decode().rstrip("=") + "/",
            text[:9] + "\n" + text[9:],
            text + "A",
            text[:-1] + chr(_ALPHABET[last ^ chance.randint(1, 15)]),
            octets.hex(),
        ]
    )
    return json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode()


def respell_signature(genuine: Genuine, chance: random.Random) -> bytes:
    """The other twin, DER, zeros, other lengths, values beyond the order."""
    envelope = _parts(genuine, chance)
    member = _member(envelope, chance)
    octets = from_base64url(member["signature"])
    r, s = octets[:32], octets[32:]
    number = int.from_bytes(s, "big")
    choices = [
        r + (ORDER - number).to_bytes(32, "big"),
        b"\x30\x44\x02\x20" + r + b"\x02\x20" + s,
        b"\x00" + r + b"\x00" + s,
        octets + bytes(chance.randint(1, 3)),
        octets[: chance.randrange(64)],
        bytes(64),
        r + bytes(32),
        bytes(32) + s,
        (ORDER).to_bytes(32, "big") + s,
        s + r,
        b"",
    ]
    member["signature"] = to_base64url(chance.choice(choices))
    return canonical(envelope)


def respell_payload(genuine: Genuine, chance: random.Random) -> bytes:
    """Claims changed, or the same claims spelled otherwise: under the old signatures."""
    envelope = _parts(genuine, chance)
    claims = json.loads(from_base64url(envelope["payload"]))
    how = chance.randrange(4)
    if how == 0:
        name = chance.choice(sorted(claims))
        claims[name] = chance.choice(["x", 7, None, True, [], {}, "disconnect", SERIALS[0], claims["exp"] + 1])
        payload = canonical(claims)
    elif how == 1:
        claims[chance.choice(["meters", "crit", "seq", "force"])] = chance.choice([1, "*", ["A"]])
        payload = canonical(claims)
    else:
        payload = json.dumps(claims, indent=how - 2 or None).encode()
    envelope["payload"] = to_base64url(payload)
    return canonical(envelope)


def reheader(genuine: Genuine, chance: random.Random) -> bytes:
    """Another header over the old signature."""
    envelope = _parts(genuine, chance)
    member = _member(envelope, chance)
    header = json.loads(from_base64url(member["protected"]))
    header |= chance.choice(_HEADERS)
    octets = canonical(header) if chance.random() < 0.8 else json.dumps(header).encode()
    member["protected"] = to_base64url(octets)
    return canonical(envelope)


_HEADERS = [
    {"alg": "none"},
    {"alg": "HS256"},
    {"alg": "ES384"},
    {"alg": "es256"},
    {"kid": "req-1"},
    {"kid": "apr-1"},
    {"kid": "per-1"},
    {"kid": "stranger"},
    {"kid": "../req-1"},
    {"typ": POLICY},
    {"typ": PERMIT},
    {"typ": RECEIPT},
    {"crit": ["b64"]},
    {"b64": False},
    {"jwk": {}},
    {"zip": "DEF"},
]


# ---- signed anew, by whoever has a key ------------------------------------------------------------------------------


def forge(genuine: Genuine, chance: random.Random) -> bytes:
    """Signed by a stranger under known names, by too few, by the wrong people, as another kind, with a secret."""
    people: People = genuine.verifier.people
    envelope = _parts(genuine, chance)
    how = chance.randrange(5)
    kids = [json.loads(from_base64url(m["protected"]))["kid"] for m in envelope["signatures"]]
    if how == 0:  # a stranger
        hands = [(kid, people.stranger) for kid in kids]
    elif how == 1:  # one of them twice
        hands = [(kids[0], people[kids[0]])] * 2
    elif how == 2:  # the wrong people
        nobody = ["plan-1", "root-a", "root-b"]  # whoever else has a say may freeze
        others = nobody if b'"op":"freeze"' in from_base64url(envelope["payload"]) else [*nobody, "pol-a", "per-1"]
        wrong = sorted(chance.sample(others, chance.randint(1, 2)))
        hands = [(kid, people[kid]) for kid in wrong]
    else:
        hands = [(kid, people[kid]) for kid in kids]
    typ = chance.choice([POLICY, PERMIT, RECEIPT]) if how == 3 else COMMAND
    alg = "HS256" if how == 4 else "ES256"
    envelope["signatures"] = [_sign(envelope["payload"], kid, hand, typ, alg) for kid, hand in hands]
    return canonical(envelope)


def _sign(payload: str, kid: str, hand, typ: str, alg: str) -> dict:
    protected = to_base64url(canonical({"alg": alg, "kid": kid, "typ": typ}))
    octets = f"{protected}.{payload}".encode()
    if alg == "HS256":  # the public key as a shared secret
        secret = hand.x.to_bytes(32, "big") + hand.y.to_bytes(32, "big")
        return {
            "protected": protected,
            "signature": to_base64url(hmac.new(secret, octets, "sha256").digest() * 2),
        }
    r, s = hand.sign_digest(hashlib.sha256(octets).digest())
    return {
        "protected": protected,
        "signature": to_base64url(r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")),
    }


MUTATORS: tuple[tuple[Mutator, int], ...] = (
    (flip_bits, 15),
    (change_octets, 15),
    (move_slices, 10),
    (splice_octets, 10),
    (change_text, 10),
    (reorder, 6),
    (splice_members, 10),
    (respell_json, 6),
    (respell_text, 6),
    (respell_signature, 6),
    (respell_payload, 6),
    (reheader, 6),
    (forge, 4),
)


def mutants(run: Run) -> list[Line]:
    """So many mutants, each through all of the verifier."""
    verifier = Verifier(People(run.seed))
    genuine, chance = Genuine(verifier), run.chance("mutants")
    assert {verifier.verdict(octets) for octets in genuine.octets} == {"accepted"}
    kinds, weights = zip(*MUTATORS, strict=True)
    wanted, tried, same = run.of(5_000, 1_000_000), 0, 0
    verdicts: Counter[str] = Counter()
    while tried < wanted:
        made = chance.choices(kinds, weights)[0](genuine, chance)
        if made in genuine.known:
            same += 1
            continue
        tried += 1
        verdicts[verifier.verdict(made)] += 1
    accepted, unforeseen = verdicts["accepted"], verdicts["unforeseen"]
    codes = ", ".join(f"{code} {n}" for code, n in verdicts.most_common() if code not in {"accepted", "unforeseen"})
    return [
        Line(
            "mutated, spliced, re-ordered, re-encoded commands are refused, each by a check with a name",
            f"{tried:,} mutants of {len(genuine.octets)} commands in {len(kinds)} ways",
            f"{accepted} accepted, {unforeseen} by the catch-all; {codes}",
            accepted == unforeseen == 0,
            (f"{same:,} more came out as the very octets of a genuine command: those are no mutants.",),
        )
    ]


def flips(run: Run) -> list[Line]:
    """Every bit of envelopes turned over, one at a time."""
    verifier = Verifier(People(run.seed))
    genuine = Genuine(verifier, 5)
    verdicts: Counter[str] = Counter()
    for octets in genuine.octets[: run.of(1, 5)]:
        for bit in range(len(octets) * 8):
            turned = bytearray(octets)
            turned[bit // 8] ^= 1 << bit % 8
            verdicts[verifier.verdict(bytes(turned))] += 1
    good = verdicts["accepted"] == verdicts["unforeseen"] == 0
    return [
        Line(
            "every single-bit flip of an envelope is refused",
            f"all {sum(verdicts.values()):,} bits of {run.of(1, 5)} envelopes",
            f"{verdicts['accepted']} accepted, {verdicts['unforeseen']} by the catch-all",
            good,
        )
    ]
