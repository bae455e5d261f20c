"""Protection of one association's APDUs: which key and form a request goes out in, and what a reply must be. Pure.

A reply is taken only behind the tag of its key, under the meter's system title, with at least the protection of the
association, a tag that verifies and a counter above the last; everything else is forged, whatever it says. Source:
Green Book 9.2.7.2.4 (service-specific and general ciphering), 9.2.3.3.7 (dedicated key), reference/is15959.md 1.2.
"""

from collections.abc import Callable
from typing import Final

from dcu.drivers import axdr
from dcu.drivers.security import AUTHENTICATED, AUTHENTICATED_ENCRYPTED, ENCRYPTED, TAG, TITLE, SuiteZero
from dcu.errors import ReplyForged, ReplyMalformed, ReplyReplayed
from dcu.meter import AssociationSpec

INITIATE_REQUEST: Final = 0x21
INITIATE_RESPONSE: Final = 0x28

GLOBAL_REQUEST: Final = {0xC0: 0xC8, 0xC1: 0xC9, 0xC3: 0xCB}
"""Tag of the ciphered request (service-specific, global key) by that of the clear one."""

DEDICATED_REQUEST: Final = {0xC0: 0xD0, 0xC1: 0xD1, 0xC3: 0xD3}

GENERAL_GLOBAL: Final = 0xDB
GENERAL_DEDICATED: Final = 0xDC

GLOBAL_RESPONSE: Final = {0xCC: 0xC4, 0xCD: 0xC5, 0xCF: 0xC7}
"""Clear response by the tag that covers it."""

DEDICATED_RESPONSE: Final = {0xD4: 0xC4, 0xD5: 0xC5, 0xD7: 0xC7}

_INITIATE_WITHIN: Final = frozenset({0x08, 0x0E})  # InitiateResponse, or the error in its place
_SERVICE_WITHIN: Final = frozenset({0xC4, 0xC5, 0xC7, 0xD8, 0x0E})  # what general ciphering may cover; all of it proved
_HEADER: Final = 5  # security control and invocation counter
_CONTROLS: Final = frozenset({AUTHENTICATED, ENCRYPTED, AUTHENTICATED_ENCRYPTED})


class _Direction:
    """One encryption key, and the last counter that the meter used under it."""

    __slots__ = ("heard", "suite")

    def __init__(self, suite: SuiteZero, heard: int) -> None:
        self.suite = suite
        self.heard = heard


class Ciphering:
    """Protection of one association, both ways.

    Args:
        suite: the meter's global keys.
        spec: how the association is protected.
        title: of this client, eight octets.
        next_counter: gives an invocation counter that is committed and was never used; may raise CounterExhausted.
            One count serves the global and the dedicated key, so that no nonce is used twice under either.
        heard: the meter's last counter under its global key, as far as it was heard before; -1 for never.
        hear: told of each that a tag has proved.
    """

    def __init__(
        self,
        suite: SuiteZero,
        spec: AssociationSpec,
        title: bytes,
        next_counter: Callable[[], int],
        *,
        heard: int = -1,
        hear: Callable[[int], None] = lambda _counter: None,
    ) -> None:
        if len(title) != TITLE:
            raise ValueError("a system title has 8 octets")
        self.suite = suite
        self.title = title
        self.next_counter = next_counter
        self._global = self._services = _Direction(suite, heard)
        self._protection = spec.protection
        self._general = spec.general
        self._lax = spec.encrypted_only_replies
        self._tags = GLOBAL_REQUEST
        self._covered = GLOBAL_RESPONSE
        self._general_tag = GENERAL_GLOBAL
        self._meter_title = b""
        self._proved = heard
        self._hear = hear

    @property
    def meter_title(self) -> bytes:
        """System title of the meter, from its AARE; empty before."""
        return self._meter_title

    @property
    def heard(self) -> int:
        """The highest counter of the meter's global key that a tag has proved; as it was given, where none has."""
        return self._proved

    @property
    def overhead(self) -> int:
        """Octets that protection adds to a request, at most."""
        return 1 + 3 + _HEADER + TAG + (1 + TITLE if self._general else 0)

    def meet(self, meter_title: bytes) -> None:
        """Take the meter's system title, which its first ciphered octets need. Raises ReplyForged."""
        if len(meter_title) != TITLE:
            raise ReplyForged(f"a system title has {TITLE} octets, not {len(meter_title)}")
        if meter_title == self.title:
            raise ReplyForged("the meter answers under this box's own system title")
        self._meter_title = meter_title

    def dedicate(self, key: bytes) -> None:
        """From now on services go under `key`, which the meter has of this association's InitiateRequest."""
        self._services = _Direction(self.suite.under(key), -1)
        self._tags, self._covered, self._general_tag = DEDICATED_REQUEST, DEDICATED_RESPONSE, GENERAL_DEDICATED

    # ---- requests ----

    def protect_initiate(self, apdu: bytes, *, holds_key: bool = False) -> bytes:
        """An InitiateRequest, of AARQ or RLRQ: always the global key and the service-specific tag.

        Args:
            apdu: clear.
            holds_key: a dedicated key is in it, which authentication alone would show to the line.
        """
        control = self._protection.value
        return _tagged(
            INITIATE_REQUEST, self._sealed(self._global, apdu, control | ENCRYPTED if holds_key else control)
        )

    def protect(self, apdu: bytes) -> bytes:
        """A service request ciphered as the association is."""
        sealed = self._sealed(self._services, apdu, self._protection.value)
        if not self._general:
            return _tagged(self._tags[apdu[0]], sealed)
        head = bytes([self._general_tag, TITLE]) + self.title
        return head + axdr.encode_length(len(sealed)) + sealed

    def _sealed(self, way: _Direction, apdu: bytes, control: int) -> bytes:
        counter = self.next_counter()
        sealed = way.suite.seal(self.title, counter, apdu, control)
        return bytes([control]) + counter.to_bytes(4, "big") + sealed

    # ---- replies ----

    def unprotect_initiate(self, octets: bytes) -> bytes:
        """The clear InitiateResponse in an AARE's user-information. Raises ReplyForged, as `unprotect`."""
        tag = octets[0] if octets else 0
        if tag not in {INITIATE_RESPONSE, GENERAL_GLOBAL}:
            raise _clear(octets)
        plaintext = self._opened(self._global, octets, general=tag == GENERAL_GLOBAL)
        if not plaintext or plaintext[0] not in _INITIATE_WITHIN:
            raise ReplyForged("no InitiateResponse inside the ciphered user-information")
        return plaintext

    def unprotect(self, apdu: bytes) -> bytes:
        """The clear service response inside.

        Raises:
            ReplyReplayed: a counter not above the last.
            ReplyForged: in clear, under another key or title, less protected than the association, a bad tag, or a
                service inside that is not the one outside.
        """
        tag = apdu[0] if apdu else 0
        covered = self._covered.get(tag)
        if covered is not None:
            plaintext = self._opened(self._services, apdu, general=False)
            if not plaintext or plaintext[0] != covered:
                raise ReplyForged("another service inside the ciphered APDU than outside")
            return plaintext
        if tag != self._general_tag:
            raise _clear(apdu)
        plaintext = self._opened(self._services, apdu, general=True)
        if not plaintext or plaintext[0] not in _SERVICE_WITHIN:
            raise ReplyForged("no response inside the ciphered APDU")
        return plaintext

    def _opened(self, way: _Direction, octets: bytes, *, general: bool) -> bytes:
        at = self._behind_title(octets) if general else 1
        try:
            length, at = axdr.decode_length(octets, at)
        except ReplyMalformed as fault:
            raise ReplyForged("a ciphered APDU that ends early") from fault
        if length != len(octets) - at or length < _HEADER:
            raise ReplyForged("a ciphered APDU whose length is not its length")
        control, counter = octets[at], int.from_bytes(octets[at + 1 : at + _HEADER], "big")
        self._check_control(control)
        plaintext = way.suite.open(self._meter_title, counter, octets[at + _HEADER :], control)
        if counter <= way.heard:
            cure = "the model may say that the meter's counter restarts, if that make is known for it"
            raise ReplyReplayed(f"invocation counter {counter} is not above {way.heard}", cure=cure)
        way.heard = counter
        if way is self._global and control != ENCRYPTED:
            self._proved = counter
            self._hear(counter)
        return plaintext

    def _behind_title(self, octets: bytes) -> int:
        end = 2 + TITLE
        if octets[1:2] != bytes([TITLE]) or octets[2:end] != self._meter_title:
            raise ReplyForged("a ciphered reply under another system title than the meter's")
        return end

    def _check_control(self, control: int) -> None:
        """Suite 0, unicast, not compressed, and nothing of the association's protection missing."""
        wanted = self._protection.value
        if control in _CONTROLS and (control & wanted == wanted or (control == ENCRYPTED and self._lax)):
            return
        raise ReplyForged(f"security control {control:#04x}, where {wanted:#04x} is agreed")


def _tagged(tag: int, body: bytes) -> bytes:
    return bytes([tag]) + axdr.encode_length(len(body)) + body


def _clear(octets: bytes) -> ReplyForged:
    return ReplyForged(f"a reply ({octets[:1].hex() or 'empty'}) that is not ciphered as the association is")
