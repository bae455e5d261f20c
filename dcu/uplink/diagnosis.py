"""Why there is no session, in words: which certificate, which authority, which host, and what to do about it.

A person reads this line at the foot of a pole. Source: reference/store-uplink.md 2.2 (TLS) and MQTT 5.0 3.2.2.2.
"""

import re
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from dcu.errors import SessionLost


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A broker, and the identity that is shown to it.

    Attributes:
        host, port: of `mqtts://host:port`; the broker's certificate must be for `host`.
        ca: PEM of the authority that signed the broker's certificate.
        certificate, key: PEM of our own.
    """

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path

    @property
    def place(self) -> str:
        """host:port, as errors name it."""
        return f"{self.host}:{self.port}"


_BROKERS_CERTIFICATE: Final = {
    18: ("the broker's certificate is self-signed, and not from the CA in {ca}", "install the broker's CA there"),
    19: ("the broker's certificate is not from the CA in {ca}", "install the broker's CA there"),
    20: ("the broker's certificate is not from the CA in {ca}", "install the broker's CA there"),
    21: ("the broker's certificate is not from the CA in {ca}", "install the broker's CA there"),
    26: ("the broker's certificate is not one for servers", "the broker needs one with serverAuth"),
    62: ("the broker's certificate is not for the host {host}", "name the broker as its certificate does"),
    64: ("the broker's certificate is not for the address {host}", "name the broker as its certificate does"),
}
"""By X509_V_ERR (openssl x509_vfy.h): cause and cure. Dates are judged in `tls`."""

_ALERTS: Final = {
    "UNKNOWN_CA": ("the broker does not know the authority that signed our certificate {own}", "install one from it"),
    "CERTIFICATE_EXPIRED": ("the broker says that our certificate {own} has expired", "renew it"),
    "CERTIFICATE_REVOKED": ("the broker says that our certificate {own} is revoked", "install a new one"),
    "CERTIFICATE_REQUIRED": ("the broker asks for a client certificate", "install one at {own}"),
    "UNSUPPORTED_CERTIFICATE": (
        "the broker takes our certificate {own} for no client's",
        "install one with clientAuth",
    ),
    "BAD_CERTIFICATE": ("the broker refuses our certificate {own}", "install one that its CA signed"),
    "CERTIFICATE_UNKNOWN": ("the broker refuses our certificate {own}", "install one that its CA signed"),
    "DECRYPT_ERROR": ("the broker cannot verify our certificate {own}", "install one that its CA signed"),
    "PROTOCOL_VERSION": ("the broker speaks no TLS of 1.2 or later", "enable TLS 1.2 or 1.3 there"),
    "HANDSHAKE_FAILURE": ("the broker and we have no cipher in common", "enable TLS 1.2 or 1.3 there"),
    "WRONG_VERSION_NUMBER": ("what answers does not speak TLS", "use the broker's TLS port"),
}
"""By the end of OpenSSL's reason: an alert that the broker sent, or what it would have been."""

_OF_OUR_CERTIFICATE: Final = ("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_EXPIRED", "ALERT_CERTIFICATE_UNKNOWN")

_REASONS: Final = {
    0x80: ("refused without a reason", ""),
    0x81: ("malformed packet", "is that an MQTT 5 broker?"),
    0x82: ("protocol error", "is that an MQTT 5 broker?"),
    0x84: ("the broker does not speak MQTT 5", "MQTT 5 is needed"),
    0x85: ("the client id {client} is not accepted", "it must be the name in the certificate"),
    0x86: ("bad user name or password", "the broker must take the certificate's name as identity"),
    0x87: ("not authorized", "allow {client} at the broker"),
    0x88: ("the broker is unavailable", ""),
    0x89: ("the broker is busy", ""),
    0x8A: ("banned", "ask the broker's administrator about {client}"),
    0x8B: ("the broker is shutting down", ""),
    0x8D: ("the broker heard nothing for too long", ""),
    0x8E: ("session taken over: another client uses the id {client}", "is a copy of this box's card in use?"),
    0x93: ("more in flight than the broker accepts", ""),
    0x95: ("a packet was larger than the broker accepts", ""),
    0x97: ("quota exceeded", "ask the broker's administrator"),
    0x98: ("ended by the broker's administrator", ""),
    0x9C: ("use another server", "set the broker's new name"),
    0x9D: ("the broker has moved", "set the broker's new name"),
    0x9F: ("connections come too fast", ""),
}
"""By MQTT 5.0 reason code of CONNACK and DISCONNECT."""

TAKEN_OVER: Final = 0x8E

_SSL_REASON: Final = re.compile(r"\[SSL: (\w+)\]")


def of_exception(fault: Exception, endpoint: Endpoint, now: datetime | None = None) -> SessionLost:
    """What an exception of connecting means. `now` is the best known time."""
    match fault:
        case ssl.SSLCertVerificationError():
            cause, cure = _BROKERS_CERTIFICATE.get(
                fault.verify_code, (f"the broker's certificate is not accepted: {fault.verify_message}", "")
            )
        case ssl.SSLError():
            if any(word in str(fault) for word in _OF_OUR_CERTIFICATE):
                return before_connack(str(fault), endpoint, now)
            return of_alert(str(fault), endpoint) or _lost(f"TLS failed: {fault.reason or fault}", "", endpoint)
        case socket.gaierror():
            cause, cure = "the name of the broker cannot be resolved", "is there a network, and is the name right?"
        case ConnectionRefusedError():
            cause, cure = "nobody listens there", "is the broker running, and is the port right?"
        case TimeoutError():
            cause, cure = "no answer in time", "is there a network, and does the broker run?"
        case ConnectionResetError() | BrokenPipeError() | EOFError():
            return before_connack("", endpoint, now)
        case _:
            cause, cure = f"cannot connect: {fault}", ""
    return _lost(cause, cure, endpoint)


def of_own_files(fault: Exception, path: Path, endpoint: Endpoint) -> SessionLost:
    """A certificate, key or CA file that cannot be used."""
    text = str(fault)
    if "KEY_VALUES_MISMATCH" in text:
        return _lost(f"the key {endpoint.key} is not the one of {endpoint.certificate}", "install both again", endpoint)
    if isinstance(fault, FileNotFoundError):
        return _lost(f"no such file: {path}", "install it", endpoint)
    if isinstance(fault, PermissionError):
        return _lost(f"may not be read: {path}", "give it to the user of this process", endpoint)
    return _lost(f"no PEM certificate or key that can be used: {path}", "install it again", endpoint)


def of_alert(words: str, endpoint: Endpoint) -> SessionLost | None:
    """What a TLS alert says, in OpenSSL's words; with TLS 1.3 a refusal of our certificate comes as one."""
    found = _SSL_REASON.search(words)
    if found is None:
        return None
    for ending, (cause, cure) in _ALERTS.items():
        if found.group(1).endswith(ending):
            return _lost(cause, cure, endpoint)
    return _lost(f"TLS failed: {found.group(1).lower().replace('_', ' ')}", "", endpoint)


def before_connack(words: str, endpoint: Endpoint, now: datetime | None = None) -> SessionLost:
    """The broker ended the connection before it answered CONNECT: by what our certificate shows, or by its alert.

    With TLS 1.3 a refusal of our certificate comes after the handshake, and the alert that says why can be lost.
    """
    own = _certificate(endpoint.certificate)
    told = of_alert(words, endpoint)
    if own is None:
        return told or _lost("the broker closed before it answered CONNECT", "see the broker's log", endpoint)
    outdated = of_own_dates(endpoint, now or datetime.now(UTC))
    if outdated is not None:
        return outdated
    who = f"{own.subject.rfc4514_string()} of {own.issuer.rfc4514_string()}"
    return told or _lost(
        f"the broker closed before it answered CONNECT; it may refuse our certificate {{own}} ({who})",
        "see the broker's log: is that authority known there, and the certificate not revoked?",
        endpoint,
    )


def of_own_dates(endpoint: Endpoint, now: datetime) -> SessionLost | None:
    """What the dates of our own certificate say at `now`; None where they are right, or there is none to read."""
    own = _certificate(endpoint.certificate)
    if own is None:
        return None
    if own.not_valid_after_utc < now:
        cause = f"our certificate {{own}} expired on {own.not_valid_after_utc:%Y-%m-%d}"
        return _lost(cause, "install a new one", endpoint)
    if own.not_valid_before_utc > now:
        cause = f"our certificate {{own}} is not valid before {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return _lost(cause, "is this machine's clock right?", endpoint)
    return None


def of_reason(code: int, client: str, endpoint: Endpoint, *, where: str) -> SessionLost:
    """What the reason code of a CONNACK or a DISCONNECT means."""
    cause, cure = _REASONS.get(code, ("an unknown reason", ""))
    cause, cure = (text.replace("{client}", client) for text in (cause, cure))
    return _lost(f"{where} 0x{code:02X}: {cause}", cure, endpoint)


def certificate_until(path: Path) -> datetime | None:
    """End of validity of a PEM certificate, aware; None where it cannot be read."""
    certificate = _certificate(path)
    return certificate.not_valid_after_utc if certificate else None


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _lost(cause: str, cure: str, endpoint: Endpoint) -> SessionLost:
    words = {"{ca}": str(endpoint.ca), "{own}": str(endpoint.certificate), "{host}": endpoint.host}
    for word, meaning in words.items():
        cause, cure = cause.replace(word, meaning), cure.replace(word, meaning)
    return SessionLost(cause, place=endpoint.place, cure=cure)
