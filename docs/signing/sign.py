# ruff: noqa: INP001 - a script beside its document
"""Signs with the `cryptography` package alone: python sign.py TYP PAYLOAD.json KID KEY.pem [KID KEY.pem].. > FILE."""

import base64
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def canonical(value: object) -> bytes:
    """Sorted names, no spaces, plain ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def base64url(octets: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def sign(typ: str, payload: str, kid: str, pem: str) -> dict[str, str]:
    """One member of `signatures`."""
    protected = base64url(canonical({"alg": "ES256", "kid": kid, "typ": typ}))
    key = load_pem_private_key(Path(pem).read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SystemExit(f"{pem}: not a P-256 key")
    r, s = decode_dss_signature(key.sign(f"{protected}.{payload}".encode(), ec.ECDSA(SHA256())))
    s = min(s, N - s)  # of the two signatures that would verify, the one with the low s
    return {"protected": protected, "signature": base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}


def main() -> None:
    """Print the envelope, signatures in the order of their kids."""
    typ, source, *pairs = sys.argv[1:]
    payload = base64url(canonical(json.loads(Path(source).read_text())))
    keys = sorted(zip(pairs[::2], pairs[1::2], strict=True))
    envelope = {"payload": payload, "signatures": [sign(typ, payload, kid, pem) for kid, pem in keys]}
    sys.stdout.write(canonical(envelope).decode())


main()
