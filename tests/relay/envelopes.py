"""Envelopes good and bad: each bad one differs from a good one in one thing, and names the check that must see it."""

import hashlib
import json

from dcu.relay.canonical import canonical, from_base64url, to_base64url
from dcu.relay.envelope import COMMAND, POLICY, RECEIPT, seal
from dcu.relay.public_key import ORDER
from tests.relay.world import APPROVE, PERMITTER, POLICY_A, REQUEST, STRANGER, World, known, trust

CLAIMS = World().start_claims("disconnect")
GOOD = seal(CLAIMS, COMMAND, [REQUEST, APPROVE])
TYPS = {COMMAND, POLICY}
KEYS = {
    **trust().keys,
    "apr-twin": known(type("Twin", (), {"kid": "apr-twin", "x": APPROVE.x, "y": APPROVE.y}), person="binod"),
}


def parts():
    return json.loads(GOOD)


def built(payload=None, **members):
    """The good envelope with its payload text or signature members changed."""
    envelope = parts()
    if payload is not None:
        envelope["payload"] = payload
    return canonical(envelope | members)


def member(header, signer, payload=None, *, high_s=False, raw_header=None, signature=None):
    """One signature member, truly signed, whatever its header says."""
    octets = raw_header if raw_header is not None else json.dumps(header, separators=(",", ":")).encode()
    protected = to_base64url(octets)
    text = parts()["payload"] if payload is None else payload
    r, s = signer.sign_digest(hashlib.sha256(f"{protected}.{text}".encode()).digest())
    s = max(s, ORDER - s) if high_s else min(s, ORDER - s)
    octets = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return {"protected": protected, "signature": to_base64url(octets if signature is None else signature(octets))}


def header(kid, alg="ES256", typ=COMMAND, **more):
    return {"alg": alg, "kid": kid, "typ": typ, **more}


def signed_by(*members):
    return built(signatures=list(members))


APR, REQ = member(header("apr-1"), APPROVE), member(header("req-1"), REQUEST)


def _texts(**changes):
    first, second = parts()["signatures"]
    return built(signatures=[{**first, **changes}, second])


def _zero(part):
    def change(octets):
        return bytes(32) + octets[32:] if part == "r" else octets[:32] + bytes(32)

    return change


def _order(octets):
    return ORDER.to_bytes(32, "big") + octets[32:]


def _spelled(payload, signatures="[]"):
    return f'{{"payload":{payload},"signatures":{signatures}}}'.encode()


_DEEP = "[[[[]]]]"  # and one level more around it

REFUSED = {
    # 2
    "a command above 8 KiB": (seal(CLAIMS | {"case": "x" * 8192}, COMMAND, [REQUEST, APPROVE]), "E_SIZE"),
    "64 KiB + 1": (GOOD + b" " * (65537 - len(GOOD)), "E_SIZE"),
    # 3
    "empty": (b"", "E_JSON"),
    "invalid UTF-8": (GOOD[:-1] + b"\xff", "E_JSON"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "E_JSON"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "E_JSON"),
    "half of it": (GOOD[: len(GOOD) // 2], "E_JSON"),
    "something behind it": (GOOD + b"{}", "E_JSON"),
    "a name twice": (GOOD[:-1] + b',"payload":"AAAA"}', "E_JSON"),
    "a float": (b'{"payload":1.0,"signatures":[]}', "E_JSON"),
    "an exponent": (b'{"payload":1e3,"signatures":[]}', "E_JSON"),
    "NaN": (b'{"payload":NaN,"signatures":[]}', "E_JSON"),
    "Infinity": (b'{"payload":-Infinity,"signatures":[]}', "E_JSON"),
    "2^53 + 1": (b'{"payload":9007199254740993,"signatures":[]}', "E_JSON"),
    "a number of 5000 digits": (b'{"payload":' + b"9" * 5000 + b',"signatures":[]}', "E_JSON"),
    "five levels": (_spelled(_DEEP), "E_JSON"),
    "five levels behind shallow ones": (_spelled("[[],[]]", _DEEP), "E_JSON"),
    "five levels behind brackets in text": (_spelled('"]}]}"', _DEEP), "E_JSON"),
    "five levels behind a quoted quote": (_spelled(r'"\""', _DEEP), "E_JSON"),
    "4000 levels": (b"[" * 4000 + b"]" * 4000, "E_JSON"),
    # 4
    "a space": (GOOD.replace(b",", b", ", 1), "E_CANON"),
    "a newline behind it": (GOOD + b"\n", "E_CANON"),
    "keys in another order": (json.dumps(dict(reversed(parts().items())), separators=(",", ":")).encode(), "E_CANON"),
    "an escaped letter": (GOOD.replace(b"payload", b"p\\u0061yload"), "E_CANON"),
    "a control character": (GOOD.replace(b'"payload":"', b'"payload":"\\n'), "E_CANON"),
    "a letter beyond ASCII": (GOOD.replace(b'"payload":"', '"payload":"ä'.encode()), "E_CANON"),
    "an array": (b"[]", "E_SHAPE"),
    "text": (b'""', "E_SHAPE"),
    "null": (b"null", "E_SHAPE"),
    "another member": (built(header={}), "E_SHAPE"),
    "no payload": (canonical({"signatures": parts()["signatures"]}), "E_SHAPE"),
    "no signatures": (canonical({"payload": parts()["payload"]}), "E_SHAPE"),
    "flattened": (canonical({"payload": parts()["payload"], **APR}), "E_SHAPE"),
    "payload no text": (built(payload=7), "E_SHAPE"),
    "signatures no array": (built(signatures=APR), "E_SHAPE"),
    "signatures a number": (built(signatures=7), "E_SHAPE"),
    "empty signatures": (built(signatures=[]), "E_SHAPE"),
    "five signatures": (signed_by(APR, REQ, REQ, REQ, REQ), "E_SHAPE"),
    "brackets in text and no signature": (_spelled(r'"\"[[{{"'), "E_SHAPE"),
    "a signature that is text": (signed_by("x"), "E_SHAPE"),
    "an unprotected header": (signed_by({**APR, "header": {"kid": "apr-1"}}, REQ), "E_SHAPE"),
    "a signature without its header": (signed_by({"signature": APR["signature"]}, REQ), "E_SHAPE"),
    "a signature that is no text": (_texts(signature=None), "E_SHAPE"),
    # 5
    "padding": (_texts(signature=APR["signature"] + "=="), "E_B64"),
    "plain base64": (_texts(signature=APR["signature"][:-2] + "+/"), "E_B64"),
    "an impossible length": (_texts(signature=APR["signature"][:-1]), "E_B64"),
    "trailing bits": (_texts(signature=APR["signature"][:-1] + "B"), "E_B64"),
    "payload no base64url": (built(payload="a b"), "E_B64"),
    "header no base64url": (_texts(protected="!"), "E_B64"),
    # 6
    "header no JSON": (_texts(protected=to_base64url(b"ES256")), "E_HDR"),
    "header an array": (_texts(protected=to_base64url(b"[]")), "E_HDR"),
    "header empty": (_texts(protected=""), "E_HDR"),
    "header not canonical": (
        signed_by(member(None, APPROVE, raw_header=b'{"alg":"ES256", "kid":"apr-1","typ":"dcu-cmd+jws"}'), REQ),
        "E_HDR",
    ),
    "header with crit": (signed_by(member(header("apr-1", crit=["b64"]), APPROVE), REQ), "E_HDR"),
    "header with jwk": (signed_by(member(header("apr-1", jwk={}), APPROVE), REQ), "E_HDR"),
    "header without typ": (signed_by(member({"alg": "ES256", "kid": "apr-1"}, APPROVE), REQ), "E_HDR"),
    "kid no text": (signed_by(member(header(7), APPROVE), REQ), "E_HDR"),
    "kid a path": (signed_by(member(header("../apr-1"), APPROVE), REQ), "E_HDR"),
    "a typ that is not taken": (seal(CLAIMS, RECEIPT, [APPROVE, REQUEST]), "E_HDR"),
    "two typs": (signed_by(APR, member(header("req-1", typ=POLICY), REQUEST)), "E_HDR"),
    "an unknown key": (seal(CLAIMS, COMMAND, [REQUEST, STRANGER]), "E_KID"),
    "swapped": (signed_by(REQ, APR), "E_ORDER"),
    "repeated": (signed_by(APR, APR), "E_ORDER"),
    "a key twice, signed twice": (signed_by(APR, member(header("apr-1"), APPROVE), REQ), "E_ORDER"),
    # 7
    "alg none": (signed_by(member(header("apr-1", alg="none"), APPROVE), REQ), "E_ALG"),
    "alg HS256": (signed_by(member(header("apr-1", alg="HS256"), APPROVE), REQ), "E_ALG"),
    "one key under two names": (signed_by(APR, member(header("apr-twin"), APPROVE)), "E_KEY"),
    # 8
    "an empty signature": (_texts(signature=""), "E_SIG"),
    "63 octets": (signed_by(member(header("apr-1"), APPROVE, signature=lambda o: o[:63]), REQ), "E_SIG"),
    "65 octets": (signed_by(member(header("apr-1"), APPROVE, signature=lambda o: o + b"\0"), REQ), "E_SIG"),
    "65 octets with the same numbers": (
        signed_by(member(header("apr-1"), APPROVE, signature=lambda o: o[:32] + b"\0" + o[32:]), REQ),
        "E_SIG",
    ),
    "r = 0": (signed_by(member(header("apr-1"), APPROVE, signature=_zero("r")), REQ), "E_SIG"),
    "s = 0": (signed_by(member(header("apr-1"), APPROVE, signature=_zero("s")), REQ), "E_SIG"),
    "r = n": (signed_by(member(header("apr-1"), APPROVE, signature=_order), REQ), "E_SIG"),
    "high s": (signed_by(member(header("apr-1"), APPROVE, high_s=True), REQ), "E_SIG"),
    "signatures exchanged": (
        signed_by({**APR, "signature": REQ["signature"]}, {**REQ, "signature": APR["signature"]}),
        "E_SIG",
    ),
    "one good, one garbage": (signed_by(APR, {**REQ, "signature": to_base64url(b"\1" * 64)}), "E_SIG"),
    "another payload": (built(payload=to_base64url(canonical(CLAIMS | {"meter": "GXT20931199"}))), "E_SIG"),
    "signed by another": (signed_by(APR, member(header("req-1"), STRANGER)), "E_SIG"),
    "an extra garbage signature": (
        signed_by(APR, {**APR, "protected": to_base64url(canonical(header("pol-a")))}, REQ),
        "E_SIG",
    ),
}

ACCEPTED = {
    "two signatures": GOOD,
    "one signature": seal(CLAIMS, COMMAND, [REQUEST]),
    "four signatures": seal(CLAIMS, COMMAND, [REQUEST, APPROVE, POLICY_A, PERMITTER]),
    "a policy": World().policy(),
    "a payload of nothing": seal({}, COMMAND, [REQUEST]),
}
assert from_base64url(parts()["payload"]) == canonical(CLAIMS)
