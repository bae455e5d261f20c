# ruff: noqa: INP001 - scripts beside their document, no package
"""Vectors of the envelope: checks 2 to 8, before anybody is known to have signed."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator

from parts import COMMAND, CONNECT, CUT, NOW, ORDER, POLICY, b64, canonical, header, member, seal

Case = tuple[str, bytes, str]
"""(name, octets, "accepted" or the code of the refusal)."""

GOOD = seal(CUT, COMMAND, "app-1", "req-1")
PARTS = json.loads(GOOD)
TEXT = PARTS["payload"]
APP, REQ = PARTS["signatures"]


def built(**members: object) -> bytes:
    """The good envelope with its payload or signatures replaced."""
    return canonical(PARTS | members)


def signed(*members: object) -> bytes:
    """The good payload under those signature members."""
    return built(signatures=list(members))


def app(protected: bytes, *, high: bool = False, signer: str = "") -> dict[str, str]:
    """A true signature of app-1 under any header."""
    return member("app-1", protected, TEXT, high=high, signer=signer)


def spoilt(octets: bytes) -> dict[str, str]:
    """The member of app-1 with other octets for its signature."""
    return APP | {"signature": b64(octets)}


def envelopes() -> Iterator[Case]:
    """All of them."""
    yield "two signatures", GOOD, "accepted"
    yield "one signature where one is enough", seal(CONNECT, COMMAND, "req-1"), "accepted"
    yield from _json()
    yield from _shape()
    yield from _base64()
    yield from _headers()
    yield from _keys()
    yield from _signatures()


def _json() -> Iterator[Case]:
    yield "more than 64 KiB", GOOD + b" " * 65536, "E_SIZE"
    long = seal(CUT | {"case": "x" * 5600}, COMMAND, "app-1", "req-1")
    yield f"a command of {len(long)} octets", long, "E_SIZE"
    for name, octets in {
        "nothing": b"",
        "not UTF-8": GOOD[:-1] + b"\xff",
        "UTF-16": GOOD.decode().encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf" + GOOD,
        "half of it": GOOD[: len(GOOD) // 2],
        "twice": GOOD + GOOD,
        "a name twice": GOOD[:-1] + b',"payload":"AAAA"}',
        "a float": b'{"payload":1.0,"signatures":[]}',
        "an exponent": b'{"payload":1e3,"signatures":[]}',
        "NaN": b'{"payload":NaN,"signatures":[]}',
        "Infinity": b'{"payload":Infinity,"signatures":[]}',
        "a number beyond 2^53": b'{"payload":9007199254740993,"signatures":[]}',
        "five levels": b'{"payload":[[[[[]]]]],"signatures":[]}',
        "single quotes": GOOD.replace(b'"', b"'"),
        "compact JWS": f"{APP['protected']}.{TEXT}.{APP['signature']}".encode(),
    }.items():
        yield name, octets, "E_JSON"


def _shape() -> Iterator[Case]:
    for name, octets in {
        "a space": GOOD.replace(b",", b", ", 1),
        "a newline behind it": GOOD + b"\n",
        "names in another order": json.dumps(dict(reversed(PARTS.items())), separators=(",", ":")).encode(),
        "an escaped letter": GOOD.replace(b"payload", b"p\\u0061yload"),
        "a letter beyond ASCII": GOOD.replace(b'"payload":"', '"payload":"ä'.encode()),
        "indented": json.dumps(PARTS, indent=1, sort_keys=True).encode(),
    }.items():
        yield name, octets, "E_CANON"
    for name, octets in {
        "an array": b"[]",
        "a text": b'""',
        "null": b"null",
        "an empty object": b"{}",
        "a third member": built(header={}),
        "no payload": canonical({"signatures": PARTS["signatures"]}),
        "no signatures": canonical({"payload": TEXT}),
        "flattened JWS": canonical({"payload": TEXT, **APP}),
        "a payload that is a number": built(payload=7),
        "a payload that is null": built(payload=None),
        "signatures that are an object": built(signatures=APP),
        "an empty array of signatures": signed(),
        "five signatures": signed(APP, REQ, REQ, REQ, REQ),
        "a signature that is a text": signed("x"),
        "an unprotected header": signed(APP | {"header": {"kid": "app-1"}}, REQ),
        "a signature without header": signed({"signature": APP["signature"]}, REQ),
        "a header without signature": signed({"protected": APP["protected"]}, REQ),
        "a signature that is null": signed(APP | {"signature": None}, REQ),
    }.items():
        yield name, octets, "E_SHAPE"


def _base64() -> Iterator[Case]:
    stray = chr(ord(APP["signature"][-1]) + 1)  # the last letter is A, Q, g or w; the next one spells the same octets
    for name, octets in {
        "padding": signed(APP | {"signature": APP["signature"] + "=="}, REQ),
        "the other alphabet": signed(APP | {"signature": "+/" + APP["signature"][2:]}, REQ),
        "an impossible length": signed(APP | {"signature": APP["signature"][:-1]}, REQ),
        "trailing bits": signed(APP | {"signature": APP["signature"][:-1] + stray}, REQ),
        "a space in the payload": built(payload="a b"),
        "a header that is none": signed(APP | {"protected": "!"}, REQ),
        "a line break in the payload": built(payload=TEXT[:76] + " " + TEXT[76:]),
    }.items():
        yield name, octets, "E_B64"


def _headers() -> Iterator[Case]:
    for name, protected in {
        "header that is no JSON": b"ES256",
        "header that is an array": b"[]",
        "header that is empty": b"",
        "header with a space": b'{"alg":"ES256", "kid":"app-1","typ":"dcu-cmd+jws"}',
        "header in another order": b'{"typ":"dcu-cmd+jws","kid":"app-1","alg":"ES256"}',
        "header with a name twice": b'{"alg":"ES256","alg":"ES256","kid":"app-1","typ":"dcu-cmd+jws"}',
        "header with crit": header("app-1", COMMAND, crit=["b64"]),
        "header with b64": header("app-1", COMMAND, b64=False),
        "header with jwk": header("app-1", COMMAND, jwk={"kty": "EC"}),
        "header with jku": header("app-1", COMMAND, jku="https://example.invalid/keys"),
        "header with x5c": header("app-1", COMMAND, x5c=[]),
        "header with x5u": header("app-1", COMMAND, x5u="x"),
        "header with zip": header("app-1", COMMAND, zip="DEF"),
        "header without typ": canonical({"alg": "ES256", "kid": "app-1"}),
        "header without kid": canonical({"alg": "ES256", "typ": COMMAND}),
        "header without alg": canonical({"kid": "app-1", "typ": COMMAND}),
        "kid that is a number": header("app-1", COMMAND, kid=7),
        "kid that is a path": header("app-1", COMMAND, kid="../app-1"),
        "kid that is empty": header("app-1", COMMAND, kid=""),
        "kid of 41 letters": header("app-1", COMMAND, kid="x" * 41),
        "two kinds of document": header("app-1", POLICY),
    }.items():
        yield name, signed(app(protected), REQ), "E_HDR"
    for typ in ("dcu-rcpt+jws", "JWT", "dcu-cmd+JWS"):
        yield f"a command that says it is {typ}", seal(CUT, typ, "app-1", "req-1"), "E_HDR"
    yield "one signature of a key that nobody knows", seal(CUT, COMMAND, "req-1", "stranger"), "E_KID"
    yield "signed by nobody who is known", seal(CONNECT, COMMAND, "stranger"), "E_KID"
    yield "a kid in capitals", signed(app(header("APP-1", COMMAND)), REQ), "E_KID"
    yield "signatures swapped", signed(REQ, APP), "E_ORDER"
    yield "one signature twice", signed(APP, APP), "E_ORDER"
    again = app(header("app-1", COMMAND), high=True)
    yield "one key twice", signed(APP, again, REQ), "E_ORDER"


def _keys() -> Iterator[Case]:
    for kid, why in (("exp-1", "expired"), ("fut-1", "not valid yet"), ("rev-1", "revoked")):
        yield f"a key that is {why}", seal(CONNECT, COMMAND, kid), "E_KEY"
        yield f"a second key that is {why}", seal(CUT, COMMAND, "app-1", kid), "E_KEY"
    for alg in ("none", "HS256", "ES384", "EdDSA", "es256", "ES256K", ""):
        yield f"alg {alg or 'empty'}", signed(app(header("app-1", COMMAND, alg=alg)), REQ), "E_ALG"


def _signatures() -> Iterator[Case]:
    octets = urlsafe_b64decode(APP["signature"] + "==")
    r, s = octets[:32], octets[32:]
    number = int.from_bytes(s, "big")
    for name, wrong in {
        "an empty signature": b"",
        "63 octets": octets[:63],
        "65 octets": octets + b"\0",
        "DER instead of r || s": b"\x30\x44\x02\x20" + r + b"\x02\x20" + s,
        "r = 0": bytes(32) + s,
        "s = 0": r + bytes(32),
        "r = n": ORDER.to_bytes(32, "big") + s,
        "s = n": r + ORDER.to_bytes(32, "big"),
        "r = s = 0": bytes(64),
        "r = s = 1": bytes(31) + b"\1" + bytes(31) + b"\1",
        "all ones": b"\xff" * 64,
        "r and s swapped": s + r,
        "high s": r + (ORDER - number).to_bytes(32, "big"),
        "s + 1": r + (number + 1).to_bytes(32, "big"),
    }.items():
        yield f"signature: {name}", signed(spoilt(wrong), REQ), "E_SIG"
    yield "the second signature is garbage", signed(APP, REQ | {"signature": b64(b"\1" * 64)}), "E_SIG"
    yield (
        "the two signatures exchanged",
        signed(APP | {"signature": REQ["signature"]}, REQ | {"signature": APP["signature"]}),
        "E_SIG",
    )
    yield (
        "signed by another key under that name",
        signed(app(header("app-1", COMMAND), signer="stranger"), REQ),
        "E_SIG",
    )
    other = b64(canonical(CUT | {"exp": NOW + 1741}))
    yield "another payload under these signatures", built(payload=other), "E_SIG"
    yield (
        "a policy's signature under a command",
        signed(
            {"protected": b64(header("app-1", COMMAND)), "signature": app(header("app-1", POLICY))["signature"]}, REQ
        ),
        "E_SIG",
    )
    yield (
        "a third signature that is garbage",
        signed(APP, {"protected": b64(header("pol-1", COMMAND)), "signature": b64(b"\2" * 64)}, REQ),
        "E_SIG",
    )
