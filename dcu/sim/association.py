"""One application association of a meter: opening, authentication, ciphering, services (Green Book 9.3, 9.4).

A session is what stands behind one client address on one link: APDU in, APDU out.
"""

import logging
import secrets
from collections.abc import Callable
from enum import Enum
from typing import Final

from dcu.sim import acse, security, xdlms
from dcu.sim.acse import AssociationRequest, Diagnostic, InitiateError
from dcu.sim.axdr import Datum, Tag, octets
from dcu.sim.ciphered import GENERAL_PROTECTION, REQUESTS, Ciphered
from dcu.sim.credentials import Access, Credentials, Mechanism
from dcu.sim.errors import CounterStale, Malformed, Unsecured
from dcu.sim.service import Service
from dcu.sim.xdlms import ActionNormal, Conformance, Reference, Request, Result, ServiceError, Unsupported

log = logging.getLogger(__name__)

CURRENT_ASSOCIATION: Final = bytes([0, 0, 40, 0, 0, 255])
_CHALLENGE_OCTETS: Final = 16
_MIN_PDU: Final = 12
_KNOWN: Final = {acse.RLRQ, xdlms.GET, xdlms.SET, xdlms.ACTION, *REQUESTS}

OpenService = Callable[[int, int, int], Service]


class Phase(Enum):
    """Where the association stands."""

    CLOSED = "closed"
    HLS_PENDING = "HLS pending"
    OPEN = "open"


class _Refusal(Exception):
    """An AARQ that is not accepted: diagnostic, and a ConfirmedServiceError where the InitiateRequest is at fault."""

    def __init__(self, diagnostic: Diagnostic, user_information: bytes = b"") -> None:
        super().__init__(diagnostic.name)
        self.diagnostic = diagnostic
        self.user_information = user_information


class Association:
    """A session: closed until its AARQ is accepted, then answering services until released.

    Args:
        meter: keys, counters and rules of access of its meter.
        client: client address on the link.
        open_service: what serves an accepted association: client, room for a clear response, conformance.
    """

    def __init__(self, meter: Credentials, client: int, open_service: OpenService) -> None:
        self._meter = meter
        self._client = client
        self._open_service = open_service
        self._phase = Phase.CLOSED
        self._ciphered: Ciphered | None = None
        self._client_title = b""
        self._from_client = b""
        self._from_meter = b""
        self._service: Service | None = None

    def respond(self, apdu: bytes) -> bytes | None:
        """Answer one APDU as it came off the link."""
        if not apdu:
            return None
        take = {acse.AARQ: self._associate, acse.RLRQ: self._release}.get(apdu[0], self._serve)
        try:
            return take(apdu)
        except CounterStale as stale:
            return xdlms.exception(ServiceError.INVOCATION_COUNTER_ERROR, stale.last)
        except (Malformed, Unsupported, Unsecured) as fault:
            log.debug("client %d: %s", self._client, fault)
            if isinstance(fault, Unsecured):
                return xdlms.exception(ServiceError.DECIPHERING_ERROR)
            unknown = isinstance(fault, Unsupported) or apdu[0] not in _KNOWN
            return xdlms.exception(ServiceError.SERVICE_NOT_SUPPORTED if unknown else ServiceError.OTHER_REASON)

    # ---- opening and closing ----------------------------------------------------------------------------------------

    def _associate(self, apdu: bytes) -> bytes:
        self._close()
        access = self._meter.access(self._client)
        context = acse.CONTEXT_CIPHERED if access and access.ciphered else acse.CONTEXT_CLEAR
        try:
            request = acse.parse_aarq(apdu)
            if access is None:
                raise _Refusal(Diagnostic.NO_REASON)
            return self._accept(request, access, context)
        except Malformed:
            return acse.aare(context, Diagnostic.NO_REASON, b"", accepted=False)
        except _Refusal as refusal:
            self._close()
            log.debug("client %d refused: %s", self._client, refusal.diagnostic.name)
            return acse.aare(context, refusal.diagnostic, refusal.user_information, accepted=False)

    def _accept(self, request: AssociationRequest, access: Access, context: int) -> bytes:
        if request.context != context:
            raise _Refusal(Diagnostic.CONTEXT_NOT_SUPPORTED)
        self._authenticate(request, access)
        hls = access.mechanism in {Mechanism.HLS_SECRET, Mechanism.HLS_GMAC}
        if (
            (access.ciphered or hls)
            and len(request.calling_title) != 8
            and access.mechanism is not Mechanism.HLS_SECRET
        ):
            raise _Refusal(Diagnostic.CALLING_TITLE_NOT_RECOGNISED)
        self._client_title = request.calling_title
        if access.ciphered:
            self._ciphered = Ciphered(self._meter, self._client, access, request.calling_title)
        initiate = self._negotiate(request.initiate)
        if self._ciphered:
            initiate = self._ciphered.seal_initiate(initiate)
        self._phase = Phase.HLS_PENDING if hls else Phase.OPEN
        self._from_client = request.authentication
        self._from_meter = secrets.token_bytes(_CHALLENGE_OCTETS) if hls else b""
        return acse.aare(
            context,
            Diagnostic.AUTHENTICATION_REQUIRED if hls else Diagnostic.NULL,
            initiate,
            accepted=True,
            title=self._meter.system_title if self._ciphered or hls else b"",
            mechanism=access.mechanism.value if hls else 0,
            challenge=self._from_meter,
        )

    def _authenticate(self, request: AssociationRequest, access: Access) -> None:
        """Mechanism, and what can be judged at once: the password, or the shape of the challenge."""
        wanted = access.mechanism
        if wanted is Mechanism.NONE:
            if request.mechanism not in {None, 0}:
                raise _Refusal(Diagnostic.MECHANISM_NOT_RECOGNISED)
            return
        if request.mechanism is None:
            raise _Refusal(Diagnostic.MECHANISM_REQUIRED)
        if request.mechanism != wanted.value:
            raise _Refusal(Diagnostic.MECHANISM_NOT_RECOGNISED)
        if wanted is Mechanism.LLS:
            good = security.same(request.authentication, self._meter.keys.lls)
        else:
            good = 8 <= len(request.authentication) <= 64
            good = good and (wanted is not Mechanism.HLS_SECRET or len(request.authentication) % 16 == 0)
        if not good:
            raise _Refusal(Diagnostic.AUTHENTICATION_FAILURE)

    def _negotiate(self, initiate: bytes) -> bytes:
        """Clear InitiateResponse to a maybe ciphered InitiateRequest; opens the service."""
        try:
            if self._ciphered:
                if len(self._client_title) != 8:
                    raise Unsecured("no system title")
                initiate = self._ciphered.open_initiate(initiate)
            proposal = acse.parse_initiate(initiate)
            if self._ciphered and proposal.dedicated_key:
                self._ciphered.dedicate(proposal.dedicated_key)
        except (Malformed, Unsecured, CounterStale) as fault:
            log.debug("client %d: %s", self._client, fault)
            raise _Refusal(Diagnostic.NO_REASON, acse.initiate_error(InitiateError.OTHER)) from fault
        overhead = self._ciphered.overhead if self._ciphered else 0
        offered = xdlms.OFFERED | (GENERAL_PROTECTION if self._ciphered and self._meter.general else 0)
        conformance = proposal.conformance & offered
        error = None
        if proposal.version != 6:
            error = InitiateError.VERSION_TOO_LOW
        elif not conformance & Conformance.GET:
            error = InitiateError.INCOMPATIBLE_CONFORMANCE
        elif 0 < proposal.max_pdu < _MIN_PDU + overhead:
            error = InitiateError.PDU_SIZE_TOO_SHORT
        if error is not None:
            raise _Refusal(Diagnostic.NO_REASON, acse.initiate_error(error))
        room = (proposal.max_pdu or 0xFFFF) - overhead
        self._service = self._open_service(self._client, room, conformance)
        return acse.initiate_response(conformance, self._meter.max_pdu)

    def _release(self, apdu: bytes) -> bytes:
        carried = acse.parse_rlrq(apdu)
        if self._ciphered and self._phase is not Phase.CLOSED and carried:
            self._ciphered.open_initiate(carried)  # a release that fails its security releases nothing
        self._close()
        return acse.rlre()

    def _close(self) -> None:
        self._phase, self._service, self._ciphered = Phase.CLOSED, None, None
        self._from_client = self._from_meter = b""

    # ---- services ---------------------------------------------------------------------------------------------------

    def _serve(self, apdu: bytes) -> bytes:
        if self._phase is Phase.CLOSED or self._service is None:
            return xdlms.exception(ServiceError.OPERATION_NOT_POSSIBLE)
        if len(apdu) > self._meter.max_pdu:
            return xdlms.exception(ServiceError.PDU_TOO_LONG)
        before = self._meter.last_counter(self._client)
        if self._ciphered:
            if apdu[0] not in REQUESTS:
                if apdu[0] in {xdlms.GET, xdlms.SET, xdlms.ACTION}:
                    return xdlms.exception(ServiceError.OPERATION_NOT_POSSIBLE)
                raise Unsupported(f"APDU {apdu[0]:#04x}")
            apdu = self._ciphered.open(apdu)
        request = xdlms.parse_request(apdu)
        if self._phase is Phase.HLS_PENDING:
            answer = self._finish_hls(request, before)
        else:
            answer = self._service.answer(request)
        if not self._ciphered or self._meter.faults.clear_answer or answer[0] not in xdlms.GLO_RESPONSE:
            return answer
        return self._ciphered.seal(answer)

    def _finish_hls(self, request: Request, before: int) -> bytes:
        """Pass 3 and 4: the client's f(challenge) by ACTION on the current association, the meter's in the answer."""
        wanted = Reference(15, CURRENT_ASSOCIATION, 1)
        if not isinstance(request, ActionNormal) or request.reference != wanted:
            return xdlms.exception(ServiceError.OPERATION_NOT_POSSIBLE)
        answer = self._hls_answer(request.parameter, before)
        if answer is None:
            self._phase = Phase.CLOSED  # nothing but a new AARQ helps
            return xdlms.action_response(request.invoke, Result.OTHER_REASON)
        self._phase = Phase.OPEN
        return xdlms.action_response(request.invoke, Result.SUCCESS, octets(answer))

    def _hls_answer(self, proof: Datum, before: int) -> bytes | None:
        """f(challenge of the client), or None where the client's proof is wrong."""
        meter, client = self._meter, self._client
        if proof.tag is not Tag.OCTET_STRING:
            return None
        access = meter.access(client)
        if access and access.mechanism is Mechanism.HLS_SECRET:
            if not security.same(proof.value, security.ecb(meter.keys.hls, self._from_meter)):
                return None
            return security.ecb(meter.keys.hls, self._from_client)
        counter = int.from_bytes(proof.value[1:5], "big")
        expected = security.gmac(meter.keys, self._client_title, counter, self._from_meter)
        # The proof's counter is a nonce of the same key as the APDU's: neither old, nor that of the APDU around it.
        outer = meter.last_counter(client) if self._ciphered else None
        if not security.same(proof.value, expected) or counter <= before or counter == outer:
            return None
        meter.accept_counter(client, max(counter, meter.last_counter(client)))
        return security.gmac(meter.keys, meter.system_title, meter.next_counter(), self._from_client)
