"""A certificate authority for the demo, tests and benches: a CA, the broker's certificate, and those of its clients.

Not for the field: the CA's key lies beside what it signed, nothing is revoked, and nobody checks who asks. A utility
uses its own PKI; all that the box needs of it are the same three PEM files. EC P-256 throughout (RFC 5280).
"""

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HEAD_END: Final = "hes"
"""Common name of the head-end's client certificate; the broker's access list knows it by that."""

_SKEW: Final = timedelta(minutes=10)
_LIFE: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A CA whose files are in one directory: `ca.pem` and `ca.key`.

    Args:
        directory: made (0700) if it is missing; a CA that is there is used again.
        name: common name of the CA.
    """

    def __init__(self, directory: Path, name: str = "DCU demo CA") -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self.certificate_file = directory / "ca.pem"
        key_file = directory / "ca.key"
        if self.certificate_file.exists():
            self._key = _load_key(key_file)
            self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign_itself(name)
        _write_key(key_file, self._key)
        self.certificate_file.write_bytes(_pem(self._certificate))

    def server(self, name: str, hosts: tuple[str, ...] = ("localhost", "127.0.0.1")) -> Identity:
        """The broker's certificate, for those DNS names and IP addresses."""
        return self._issue(name, ExtendedKeyUsageOID.SERVER_AUTH, [_general_name(host) for host in hosts], None)

    def client(self, name: str, *, until: datetime | None = None) -> Identity:
        """A client's certificate: `name` is the id of a box, or `hes`. `until` (aware) ends it; default in a year."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, [], until)

    def _issue(
        self, name: str, usage: x509.ObjectIdentifier, hosts: list[x509.GeneralName], until: datetime | None
    ) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        end = until or datetime.now(UTC) + _LIFE
        builder = (
            _named(name, self._certificate.subject, key.public_key())
            .not_valid_before(min(datetime.now(UTC), end) - timedelta(days=1) if until else datetime.now(UTC) - _SKEW)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        made = Identity(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        _write_key(made.key, key)
        made.certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        return made

    def _sign_itself(self, name: str) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        return (
            _named(name, subject, self._key.public_key())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + 2 * _LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )


def _named(name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    octets = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is not an EC key")
    return key
