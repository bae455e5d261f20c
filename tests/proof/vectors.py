"""Vectors of others through our verifier: Wycheproof's, and joserfc as a second opinion."""

import json
import warnings
from collections import Counter
from pathlib import Path

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from dcu.command import CommandRefused
from dcu.relay import envelope
from dcu.relay.canonical import from_base64url
from dcu.relay.envelope import COMMAND, PERMIT, POLICY, open_envelope
from dcu.relay.public_key import ORDER, coordinate, public_key
from tests.proof.mutants import MUTATORS, Genuine
from tests.proof.people import People
from tests.proof.run import Line, Run
from tests.proof.verifier import Verifier

WYCHEPROOF = Path(__file__).parents[3] / "shared" / "vectors" / "wycheproof"


def there() -> str:
    """Why the vectors cannot be had; empty: they are there."""
    return "" if WYCHEPROOF.is_dir() else f"no vectors at {WYCHEPROOF.name}"


def _groups(name: str) -> list[dict]:
    return json.loads((WYCHEPROOF / f"{name}.json").read_text())["testGroups"]


class _Said:
    """A key that is asked about the vector's own message, whatever the signing input is."""

    def __init__(self, key, message: bytes) -> None:
        self.kid, self._key, self._message = key.kid, key, message

    def verifies(self, signing_input: bytes, r: int, s: int) -> bool:
        return self._key.verifies(self._message, r, s)


def _takes(key, octets: bytes, protected: str = "", payload: str = "") -> bool:
    """Check 8, of one signature."""
    try:
        envelope._check_signature(envelope._Signature(protected, {}, octets), key, payload)
    except CommandRefused:
        return False
    return True


def ecdsa(run: Run) -> list[Line]:
    """Every vector through check 8."""
    found: Counter[str] = Counter()
    for group in _groups("ecdsa_secp256r1_sha256_p1363_test"):
        point = group["publicKey"]
        key = public_key("k", int(point["wx"], 16), int(point["wy"], 16))
        for vector in group["tests"]:
            octets = bytes.fromhex(vector["sig"])
            taken = _takes(_Said(key, bytes.fromhex(vector["msg"])), octets)
            high = len(octets) == 64 and int.from_bytes(octets[32:], "big") > ORDER // 2
            valid = vector["result"] == "valid"
            found["wrongly accepted"] += taken and (not valid or high)
            found["wrongly refused"] += valid and not high and not taken
            found["valid, high s"] += valid and high
            found["valid, accepted"] += valid and taken
            found["invalid, refused"] += not valid and not taken
    return [
        Line(
            "Wycheproof ECDSA P-256 SHA-256 (P1363) vectors: no wrong acceptance",
            f"{sum(found[n] for n in ('valid, high s', 'valid, accepted', 'invalid, refused', 'wrongly accepted'))} "
            "vectors through the check of a signature",
            f"{found['wrongly accepted']} wrongly accepted, {found['wrongly refused']} wrongly refused; "
            f"{found['valid, accepted']} valid accepted, {found['invalid, refused']} invalid refused",
            found["wrongly accepted"] == found["wrongly refused"] == 0,
            (
                (
                    f"{found['valid, high s']} valid vectors have s above n/2 and are refused: of two valid twins "
                    "the profile takes the low one."
                ),
            ),
        )
    ]


def jose(run: Run) -> list[Line]:
    """Every JWS vector: put into our envelope, and its signature alone through check 8."""
    found: Counter[str] = Counter()
    outside: list[int] = []
    for group in _groups("json_web_signature_test"):
        jwk = group.get("public") or group.get("private") or {}
        key = _p256(jwk)
        for vector in group["tests"]:
            found["all"] += 1
            header, payload, signature = [*str(vector["jws"]).split("."), "", "", ""][:3]
            member = {"protected": header, "signature": signature}
            keys = {key.kid: key} if key is not None else {}
            opened = _opens(json.dumps({"payload": payload, "signatures": [member]}, separators=(",", ":")), keys)
            found[f"opened {vector['result']}"] += opened
            if key is None:
                continue
            found["of P-256"] += 1
            try:
                taken = _takes(key, from_base64url(signature), header, payload)
            except (CommandRefused, UnicodeEncodeError):
                taken = False
            if taken and vector["result"] != "valid":
                outside.append(vector["tcId"])
            found["P-256 valid"] += vector["result"] == "valid"
            found["P-256 valid taken"] += taken and vector["result"] == "valid"
    high = found["P-256 valid"] - found["P-256 valid taken"]
    return [
        Line(
            "Wycheproof JWS vectors: no wrong acceptance",
            f"{found['all']} vectors in our envelope; the signatures of {found['of P-256']} with P-256 keys alone",
            f"{found['opened invalid']} invalid and {found['opened valid']} valid opened; of the signatures alone "
            f"{found['P-256 valid taken']} of {found['P-256 valid']} valid accepted, of invalid ones {len(outside)}",
            found["opened invalid"] == found["opened valid"] == 0 and set(outside) <= _BY_KEY_USE,
            (
                "No vector opens: their headers have no typ, and most are of algorithms that we do not know.",
                *[f"{high} valid signature has a high s: of two valid twins the profile takes the low one."][:high],
                *[
                    f"The signature of {tc_id} is right; its vector is invalid by the use or key_ops of its JWK, whose "
                    "place the roles of our key document take. The envelope refuses it all the same."
                    for tc_id in outside
                ],
            ),
        )
    ]


_BY_KEY_USE = {354, 356}


def _p256(jwk: dict):
    if jwk.get("crv") != "P-256":
        return None
    x, y = (int.from_bytes(from_base64url(jwk[c]), "big") for c in "xy")
    return public_key(jwk.get("kid", "none"), x, y)


def _opens(text: str, keys: dict) -> bool:
    try:
        open_envelope(text.encode(), keys, None, {COMMAND, POLICY, PERMIT})
    except CommandRefused:
        return False
    return True


# ---- a second opinion -----------------------------------------------------------------------------------------------


def second_opinion(run: Run) -> list[Line]:
    """Genuine commands and mutants, shown to joserfc too."""
    verifier = Verifier(People(run.seed))
    genuine, chance = Genuine(verifier), run.chance("joserfc")
    jwks = KeySet(
        [
            ECKey.import_key({"kty": "EC", "crv": "P-256", "kid": k.kid, "x": coordinate(k.x), "y": coordinate(k.y)})
            for k in verifier.trust.keys.values()
        ]
    )
    found: Counter[str] = Counter()
    kinds, weights = zip(*MUTATORS, strict=True)
    wanted = run.of(1_500, 60_000)
    for n in range(wanted + len(genuine.octets)):
        fresh = n >= len(genuine.octets)
        octets = chance.choices(kinds, weights)[0](genuine, chance) if fresh else genuine.octets[n]
        ours, theirs = _ours(octets, verifier.trust.keys), _theirs(octets, jwks)
        match ours == "opens", theirs == "opens":
            case True, True:
                found["both open"] += 1
            case False, False:
                found["both refuse"] += 1
            case True, False:
                found["ours alone"] += 1
            case _:
                found[_class(ours, octets)] += 1
    explained = {name: n for name, n in found.items() if name.startswith("E_")}
    bad = found["ours alone"] + found["not explained"]
    return [
        Line(
            "joserfc opens nothing that we should have, and we open nothing that it refuses",
            f"{wanted:,} mutants and {len(genuine.octets)} genuine commands, joserfc {_version()}",
            f"{found['both open']:,} open for both, {found['both refuse']:,} for neither; "
            f"{found['ours alone']} for us alone, {found['not explained']} not explained",
            bad == 0 and found["both open"] >= len(genuine.octets),
            tuple(f"joserfc alone opens {n:,}: {_CLASSES[name]}." for name, n in sorted(explained.items())),
        )
    ]


_CLASSES = {
    "E_JSON": "E_JSON: a name twice, of which it takes the last, or text that is not UTF-8",
    "E_CANON": "E_CANON: the same JSON spelled otherwise",
    "E_SHAPE": "E_SHAPE: members that the profile does not have",
    "E_B64": "E_B64: base64url with bits behind the last octet, padding or foreign characters, which it skips",
    "E_HDR": "E_HDR: a header spelled otherwise, with other members, or of a kind (typ) that no command has",
    "E_ORDER": "E_ORDER: signatures out of order, or one twice, which it counts twice",
    "E_SIG": "E_SIG: the high one of two twins; both are valid for it",
    "E_KEY": "E_KEY: one key under two names",
}
"""Why joserfc may open what we refuse, by the code of ours."""


def _class(code: str, octets: bytes) -> str:
    """The class of a disagreement; a signature has to be a high twin to be one."""
    if code == "E_SIG" and not _high(octets):
        return "not explained"
    return code if code in _CLASSES else "not explained"


def _high(octets: bytes) -> bool:
    members = json.loads(octets)["signatures"]
    return any(int.from_bytes(from_base64url(m["signature"])[32:], "big") > ORDER // 2 for m in members)


def _ours(octets: bytes, keys) -> str:
    try:
        open_envelope(octets, keys, None, {COMMAND})
    except CommandRefused as refusal:
        return refusal.code.value
    return "opens"


def _theirs(octets: bytes, keys: KeySet) -> str:
    """As somebody would use it who takes commands of ES256 only."""
    registry = jws.JWSRegistry(algorithms=["ES256"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jws.deserialize_json(json.loads(octets), keys, registry=registry)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "refuses"
    return "opens"


def _version() -> str:
    from importlib.metadata import version

    return version("joserfc")
