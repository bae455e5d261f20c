"""TLS to the broker: 1.2 or later, its chain and name verified by OpenSSL, the dates by ourselves.

OpenSSL can judge dates only by the kernel's clock, and a box without a battery boots in 1970: its time check is off,
and every certificate of the verified chain is judged against the best known time before the first octet of MQTT.
Source: DESIGN, reference/store-uplink.md 2.2.
"""

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from cryptography import x509

from dcu.clock import BUILT
from dcu.errors import SessionLost
from dcu.uplink import diagnosis
from dcu.uplink.diagnosis import Endpoint

_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, openssl x509_vfy.h
_DER: Final = 2  # _ssl.ENCODING_DER
_ALERT_S: Final = 3.0


def known_time(floor: datetime = BUILT) -> datetime:
    """The kernel's time, or `floor` (aware) where that is later: no true time is before it."""
    return max(datetime.now(UTC), floor)


class Context(ssl.SSLContext):
    """Sockets of it complete no handshake with certificates that are out of date.

    Attributes:
        endpoint: the broker, for words.
        now: the best known time, aware.
    """

    endpoint: Endpoint
    now: Callable[[], datetime]


class VerifiedSocket(ssl.SSLSocket):
    """Judges dates within its handshake, closes itself when that fails (paho forgets it then), knows when it heard.

    Attributes:
        heard_s: when octets came last, monotonic; None before.
        peer_ended: the peer said that nothing more comes.
        alert: the words of OpenSSL with which it ended; with TLS 1.3 our certificate is refused behind the handshake.
    """

    heard_s: float | None = None
    peer_ended: bool = False
    alert: str = ""

    def do_handshake(self, block: bool = False) -> None:
        """As ssl.SSLSocket; raises SessionLost for dates."""
        try:
            super().do_handshake(block)
            context = cast("Context", self.context)
            judge(_chain(self), context.now(), context.endpoint)
        except (OSError, ValueError, SessionLost):
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As ssl.SSLSocket."""
        try:
            octets = super().recv(buflen, flags)
        except ssl.SSLError as fault:
            self._note(fault)
            raise
        self.heard_s, self.peer_ended = time.monotonic(), not octets
        return octets

    def send(self, data: Any, flags: int = 0) -> int:
        """As ssl.SSLSocket."""
        try:
            return super().send(data, flags)
        except ssl.SSLError as fault:
            self._note(fault)
            raise

    def _note(self, fault: ssl.SSLError) -> None:
        """Paho tells it in its log only, and whoever reads that has every packet told in words.

        What is no failure, and an end without a word, have no reason of OpenSSL's.
        """
        if "[SSL" in str(fault):
            self.alert = str(fault)


def context(endpoint: Endpoint, now: Callable[[], datetime] = known_time) -> Context:
    """How the next connection is made; the files are read anew each time, since they are renewed in place.

    Raises:
        SessionLost: which file cannot be used, and why.
    """
    path = endpoint.ca
    try:
        made = Context(ssl.PROTOCOL_TLS_CLIENT)  # chain and host name are verified
        made.load_verify_locations(path)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.verify_flags |= _NO_CHECK_TIME
        made.sslsocket_class = VerifiedSocket
        made.endpoint, made.now = endpoint, now
        path = endpoint.certificate
        x509.load_pem_x509_certificates(path.read_bytes())  # OpenSSL does not tell which of both is wrong
        path = endpoint.key
        made.load_cert_chain(endpoint.certificate, endpoint.key)
    except (OSError, ValueError) as fault:
        raise diagnosis.of_own_files(fault, path, endpoint) from fault
    return made


def alert(endpoint: Endpoint, seconds: float = _ALERT_S, now: Callable[[], datetime] = known_time) -> str:
    """What the broker says to our certificate: a handshake after which we only listen. Empty where it says nothing.

    With TLS 1.3 the broker refuses us after our side of the handshake is done. What MQTT has sent by then is answered
    by a reset, and the reset takes the alert away that went before it.
    """
    try:
        with (
            socket.create_connection((endpoint.host, endpoint.port), seconds) as plain,
            context(endpoint, now).wrap_socket(plain, server_hostname=endpoint.host) as sock,
        ):
            sock.recv(1)
    except ssl.SSLError as fault:
        return str(fault)
    except (OSError, SessionLost):
        pass
    return ""


def judge(chain: Sequence[x509.Certificate], now: datetime, endpoint: Endpoint) -> None:
    """Whether every certificate of the broker's verified chain (its own first) is valid at `now`.

    Raises:
        SessionLost: one is not, in words.
    """
    for n, certificate in enumerate(chain):
        name = certificate.subject.rfc4514_string()
        whose = "the broker's certificate" if n == 0 else f"the authority {name} of the broker's certificate"
        clock = f"by this machine's clock it is {now:%Y-%m-%d %H:%M} UTC: is that right?"
        if now < certificate.not_valid_before_utc:
            cause = f"{whose} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
            raise SessionLost(cause, place=endpoint.place, cure=clock)
        if now > certificate.not_valid_after_utc:
            cause = f"{whose} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
            raise SessionLost(cause, place=endpoint.place, cure=f"renew it at the broker; {clock}")


def _chain(sock: ssl.SSLSocket) -> list[x509.Certificate]:
    """What was verified, up to the authority that we know; public in Python from 3.13 on."""
    public: Any = getattr(sock, "get_verified_chain", None)
    if public is not None:
        return [x509.load_der_x509_certificate(der) for der in public()]
    inner: Any = sock._sslobj  # type: ignore[attr-defined]  # noqa: SLF001
    return [x509.load_der_x509_certificate(c.public_bytes(_DER)) for c in inner.get_verified_chain()]
