"""The examples of docs/signing.md, run as they are: what they sign the box takes, and dcu's own kit verifies."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dcu.relay.canonical import from_base64url
from dcu.relay.envelope import COMMAND, POLICY
from dcu.relay.public_key import ORDER
from tests.headend.judged import Judge

SIGNING = Path(__file__).parents[2] / "docs" / "signing"
BOX = json.loads((SIGNING / "vectors.json").read_text())["box"]

EXAMPLES = {
    "openssl": ["bash", SIGNING / "sign.sh"],
    "python": [sys.executable, SIGNING / "sign.py"],
    "node": ["node", SIGNING / "sign.mjs"],
}
CUT = next(
    c["text"] for c in json.loads((SIGNING / "vectors.json").read_text())["cases"] if c["name"] == "a good disconnect"
)
CLAIMS = json.loads(from_base64url(json.loads(CUT)["payload"]))


def with_new_keys(tmp_path, *kids):
    """The box with other keys under those kids, whose private halves are in files."""
    entries = {entry["kid"]: dict(entry) for entry in BOX["keys"]["keys"]}
    for kid in kids:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{kid}.pem").write_bytes(pem)
        (tmp_path / f"{kid}.pem").chmod(0o600)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        from dcu.relay.canonical import to_base64url

        entries[kid] |= {"x": to_base64url(point[1:33]), "y": to_base64url(point[33:])}
    return BOX | {"keys": BOX["keys"] | {"keys": list(entries.values())}}


@pytest.fixture(params=EXAMPLES)
def sign(request, tmp_path):
    words = EXAMPLES[request.param]
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"{words[0]} is not installed: apt-get install nodejs")

    def run(claims, typ, *kids):
        source = tmp_path / "payload.json"
        source.write_text(json.dumps(claims, sort_keys=True, separators=(",", ":")))
        pairs = [word for kid in kids for word in (kid, tmp_path / f"{kid}.pem")]
        return subprocess.run([*words, typ, source, *pairs], check=True, timeout=60, stdout=subprocess.PIPE).stdout

    return run


def test_what_it_signs_the_box_takes_whatever_the_signatures_are(sign, tmp_path):
    box = with_new_keys(tmp_path, "app-1", "req-1")
    for seq in range(41, 45):  # eight signatures: one in 256 times all of them would have a low s by themselves
        signed = sign(CLAIMS | {"seq": seq}, COMMAND, "app-1", "req-1")
        assert Judge(box).judge(signed) == "accepted"
        for member in json.loads(signed)["signatures"]:
            assert int.from_bytes(from_base64url(member["signature"])[32:], "big") <= ORDER // 2
    assert Judge(BOX).judge(signed) == "E_SIG"  # other keys under these names


def test_it_signs_every_kind_of_document(sign, tmp_path):
    box = with_new_keys(tmp_path, "pol-1")
    narrower = BOX["policy"] | {"version": 8, "hours": {"mon": "10:00-12:00"}}
    assert Judge(box).judge(sign(narrower, POLICY, "pol-1")) == "accepted"
    assert Judge(box).judge(sign(narrower, COMMAND, "pol-1")) == "E_SCHEMA"
