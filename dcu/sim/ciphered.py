"""Ciphering of one association of a meter: global and dedicated key, service-specific and general form, both counters.

Source: Green Book 9.2.7.2.4 and 9.5 (tags of the ciphered APDUs), 9.2.3.3.7 (dedicated key).
"""

from typing import Final

from dcu.sim import security, xdlms
from dcu.sim.axdr import Reader, length
from dcu.sim.credentials import Access, Credentials
from dcu.sim.errors import CounterStale, Malformed, Unsecured
from dcu.sim.xdlms import Unsupported

GENERAL_GLO, GENERAL_DED = 0xDB, 0xDC
DED_REQUEST: Final = {0xD0: xdlms.GET, 0xD1: xdlms.SET, 0xD3: xdlms.ACTION}
"""Service-specific dedicated ciphered requests and what they cover."""
DED_RESPONSE: Final = {xdlms.GET_RESPONSE: 0xD4, xdlms.SET_RESPONSE: 0xD5, xdlms.ACTION_RESPONSE: 0xD7}

REQUESTS: Final = {*xdlms.GLO_REQUEST, *DED_REQUEST, GENERAL_GLO, GENERAL_DED}
"""Tags of ciphered requests."""

GENERAL_PROTECTION: Final = 1 << 22
"""Its bit of the conformance block, as `xdlms.Conformance` counts them."""

_OVERHEAD: Final = 1 + 5 + 5 + security.TAG_OCTETS
_TITLE: Final = 8


class Ciphered:
    """What stands between the octets of a client and the services, once its AARQ named a system title.

    Args:
        meter: keys and counters.
        client: address.
        access: what its association must have.
        title: its system title.
    """

    def __init__(self, meter: Credentials, client: int, access: Access, title: bytes) -> None:
        self._meter = meter
        self._client = client
        self._access = access
        self._title = title
        self._dedicated = b""
        self._dedicated_last = -1
        self._form = (False, False)  # of the last request: dedicated, general

    @property
    def overhead(self) -> int:
        """Tag, title, length, security header and tag: what a block must leave free of the client's PDU size."""
        return _OVERHEAD + (1 + _TITLE if self._meter.general else 0)

    def dedicate(self, key: bytes) -> None:
        """Take the key of an InitiateRequest. Raises Malformed when it has not 16 octets."""
        if len(key) != 16:
            raise Malformed(f"a dedicated key of {len(key)} octets")
        self._dedicated, self._dedicated_last = key, -1

    def open_initiate(self, octets: bytes) -> bytes:
        """The InitiateRequest of an AARQ or RLRQ: always under the global key.

        Raises:
            Malformed, Unsecured, CounterStale: see `open`.
        """
        if octets[:1] == bytes([GENERAL_GLO]) and self._meter.general:
            return self._opened(security.covered(octets, self._behind_title(octets)), dedicated=False)
        if octets[:1] != bytes([xdlms.GLO_INITIATE_REQUEST]):
            raise Unsecured("no ciphered InitiateRequest")
        return self._opened(security.covered(octets, 1), dedicated=False)

    def seal_initiate(self, apdu: bytes) -> bytes:
        """An InitiateResponse."""
        body = self._sealed(apdu, b"")
        return bytes([xdlms.GLO_INITIATE_RESPONSE]) + length(len(body)) + body

    def open(self, apdu: bytes) -> bytes:
        """The request inside; its answer goes out in the same form and under the same key.

        Raises:
            Malformed: not what its lengths say, or another service inside than outside.
            Unsecured: a bad tag, another title, or less protected than this association is.
            CounterStale: a counter not above the last.
            Unsupported: a form that this meter does not have, or a key that was not agreed.
        """
        dedicated, general = apdu[0] in {*DED_REQUEST, GENERAL_DED}, apdu[0] in {GENERAL_GLO, GENERAL_DED}
        if (general and not self._meter.general) or (dedicated and not self._dedicated):
            raise Unsupported(f"APDU {apdu[0]:#04x}")
        self._form = (dedicated, general)
        if general:
            return self._opened(security.covered(apdu, self._behind_title(apdu)), dedicated=dedicated)
        plain = self._opened(security.covered(apdu, 1), dedicated=dedicated)
        if plain[:1] != bytes([(DED_REQUEST if dedicated else xdlms.GLO_REQUEST)[apdu[0]]]):
            raise Malformed("another service inside than outside")
        return plain

    def seal(self, answer: bytes) -> bytes:
        """A service response in the form of the request."""
        faults = self._meter.faults
        dedicated, general = self._form
        body = self._sealed(answer, self._dedicated if dedicated else b"")
        if general or faults.wrong_title:
            title = self._meter.system_title
            title = bytes([title[0] ^ 1]) + title[1:] if faults.wrong_title else title
            head = bytes([GENERAL_DED if dedicated else GENERAL_GLO, _TITLE]) + title
        else:
            head = bytes([(DED_RESPONSE if dedicated else xdlms.GLO_RESPONSE)[answer[0]]])
        return head + length(len(body)) + body

    def _opened(self, covered: bytes, *, dedicated: bool) -> bytes:
        """Plaintext; the counter is accepted only with a right tag, and only upwards."""
        key = self._dedicated if dedicated else b""
        counter, plain = security.unprotect(self._meter.keys, self._title, covered, self._access.control, key=key)
        last = self._dedicated_last if dedicated else self._meter.last_counter(self._client)
        if counter <= last and self._meter.counts:
            raise CounterStale(max(0, last))
        if dedicated:
            self._dedicated_last = counter
        else:
            self._meter.accept_counter(self._client, counter)
        return plain

    def _sealed(self, apdu: bytes, key: bytes) -> bytes:
        meter = self._meter
        counter = 0 if meter.faults.lower_counter else meter.next_counter()
        control = security.ENCRYPTED if meter.encrypted_only_replies else self._access.control
        body = security.protect(meter.keys, meter.system_title, counter, apdu, control, key=key)
        return body[:-1] + bytes([body[-1] ^ 1]) if meter.faults.bad_tag else body

    def _behind_title(self, apdu: bytes) -> int:
        reader = Reader(apdu[1:])
        if reader.counted() != self._title:
            raise Unsecured("another system title than that of the AARQ")
        return 2 + len(self._title)
