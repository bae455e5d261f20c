"""Opening an association, proving who is at both ends, and releasing it whatever happens.

Order: data link, AARQ, the high-level passes where the client needs them; the meter's serial number is read in this
very association before anything else of it is used (`cosem.py`). Source: Green Book 9.4.4 and 9.2.7.4,
reference/is15959.md 1.2.
"""

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from dcu import obis
from dcu.drivers import acse, challenge, reply
from dcu.drivers.acse import Accepted, Conformance
from dcu.drivers.axdr import encode_length
from dcu.drivers.ciphering import Ciphering
from dcu.drivers.cosem import OpenAssociation
from dcu.drivers.counters import CounterBook
from dcu.drivers.data_link import DataLink
from dcu.drivers.dialogue import Dialogue
from dcu.drivers.security import KEY, SuiteZero, nonce_title
from dcu.errors import (
    AssociationRefused,
    AttributeDenied,
    BusFault,
    DcuError,
    LineFault,
    LinkLost,
    MeterSilent,
    ReplyForged,
    ReplyMalformed,
    ReplyReplayed,
)
from dcu.meter import AssociationSpec, AttributeRef, ClassId, Meter, MethodRef, Purpose

log = logging.getLogger(__name__)

_CHALLENGE: Final = 16
_REPLY_TO_HLS: Final = MethodRef(ClassId.ASSOCIATION_LN, obis.CURRENT_ASSOCIATION, 1)
_GONE: Final = (MeterSilent, LinkLost, BusFault)  # nobody is there to hear a release
_DOUBTFUL: Final = (AssociationRefused, ReplyForged)  # the meter is asked for its counter again


@dataclass(frozen=True, slots=True)
class Caller:
    """Opens associations on one line.

    Attributes:
        data_link: a link to one meter for one client, not open yet; may raise BusFault or LinkLost.
        counters: of the line's meters.
        title: system title of this box, eight octets, its own; each meter's clients have one made of it.
        zone: of the meters' clocks.
        monotonic: seconds that never go back.
        give_way: called before each read exchange; raises Preempted when an urgent errand waits.
        disconnects: the end of a link is told to the meter (HDLC: DISC), and ends its association with it.
    """

    data_link: Callable[[Meter, int], DataLink]
    counters: CounterBook
    title: bytes
    zone: tzinfo
    monotonic: Callable[[], float]
    give_way: Callable[[], None]
    disconnects: bool = False

    @contextmanager
    def associate(self, meter: Meter, purpose: Purpose) -> Iterator[OpenAssociation]:
        """As `ports.Line.associate`."""
        session = self.open(meter, purpose)
        first: BaseException | None = None
        try:
            yield session.association
        except BaseException as fault:
            first = fault
            raise
        finally:
            session.end(first)

    def open(self, meter: Meter, purpose: Purpose) -> "Session":
        """An association that stays open until `Session.end`. Raises as `ports.Line.associate`."""
        spec = meter.model.associations.get(purpose)
        if spec is None:
            raise AssociationRefused(f"model {meter.model.name} has no client to {purpose.value}", place=meter.serial)
        if spec.ciphered and not self.counters.knows(meter.serial, spec.client_sap):
            published = self._published_counter(meter, spec)
            self.counters.learn(meter.serial, spec.client_sap, published, self.monotonic())
        try:
            return Session(self, meter, spec)
        except _DOUBTFUL:
            self.counters.forget(meter.serial, spec.client_sap)
            raise

    def _published_counter(self, meter: Meter, spec: AssociationSpec) -> int | None:
        """The counter that the meter last accepted of this client, by its own word; None where it gives none."""
        if spec.invocation_counter is None:
            return None
        ref = AttributeRef(ClassId.DATA, spec.invocation_counter, 2)
        with self.associate(meter, Purpose.IDENTIFY) as public:
            published = public.get(ref)
        if not isinstance(published, int) or isinstance(published, bool) or not 0 <= published < 1 << 32:
            raise ReplyMalformed(f"{ref}: no invocation counter", place=meter.serial)
        return published


class Session:
    """One association from its first octet to its last, open once it is made.

    Attributes:
        association: what it was opened for.
    """

    association: OpenAssociation

    def __init__(self, caller: Caller, meter: Meter, spec: AssociationSpec) -> None:
        """Connect, associate, authenticate, identify; what fails is released. Raises as `ports.Line.associate`."""
        self._caller = caller
        self._meter = meter
        self._spec = spec
        self._ciphering: Ciphering | None = None
        self._accepted = self._ended = False
        self._dedicated_key = secrets.token_bytes(KEY) if spec.dedicated_key and spec.ciphered else b""
        if spec.ciphered:
            suite = SuiteZero(meter.secrets.unicast_key, meter.secrets.authentication_key)
            now_s = caller.monotonic()
            heard = -1 if spec.counter_restarts else caller.counters.last_heard(meter.serial, spec.client_sap, now_s)
            title = nonce_title(caller.title, meter.serial, spec.client_sap)
            self._ciphering = Ciphering(suite, spec, title, self._next_counter, heard=heard, hear=self._hear)
        self._data_link = caller.data_link(meter, spec.client_sap)
        try:
            self.association = self._opened()
        except BaseException as fault:
            self.end(fault)
            raise

    def keep_alive(self) -> bool:
        """Let the meter's inactivity time-out begin anew; False: the association is gone, or cannot be kept so.

        Raises:
            BusFault: the port is gone.
        """
        if self._ended:
            return False
        try:
            return self._data_link.keep_alive()
        except (LineFault, MeterSilent, LinkLost) as fault:
            log.debug("%s: not kept open: %s", self._meter.serial, fault)
            return False

    def end(self, first: BaseException | None = None) -> None:
        """Release and close: quiet, idempotent, never in the way of `first`, the fault that ends it (None: work done).

        A release is RLRQ where the meter granted the association and may still hear it, then the end of the link.
        """
        if self._ended:
            return
        self._ended = True
        try:
            needless = self._caller.disconnects and not self._meter.model.release
            if self._accepted and not needless and not isinstance(first, _GONE):
                self._release()
        except DcuError as fault:
            log.debug("%s: release failed: %s", self._meter.serial, fault)
        finally:
            self._data_link.close()
            if isinstance(first, _DOUBTFUL):
                self._caller.counters.forget(self._meter.serial, self._spec.client_sap)

    def _hear(self, counter: int) -> None:
        """At once: a parked association may be lost with its line, and never be ended."""
        self._caller.counters.hear(self._meter.serial, self._spec.client_sap, counter)

    def _next_counter(self) -> int:
        return self._caller.counters.next(self._meter.serial, self._spec.client_sap)

    def _opened(self) -> OpenAssociation:
        self._caller.give_way()
        self._data_link.open()
        dialogue = Dialogue(self._data_link, self._ciphering, self._caller.give_way, self._caller.monotonic)
        granted, ours = self._request(dialogue)
        self._accepted = True
        if self._spec.mechanism in challenge.HIGH_LEVEL:
            self._prove(dialogue, granted.challenge, ours)
        return self._identified(dialogue, granted)

    def _request(self, dialogue: Dialogue) -> tuple[Accepted, bytes]:
        """AARQ and AARE; what was granted, and our challenge."""
        self._caller.give_way()
        mechanism = self._spec.mechanism
        ours = secrets.token_bytes(_CHALLENGE) if mechanism in challenge.HIGH_LEVEL else b""
        title = self._ciphering.title if self._ciphering is not None else b""
        value = ours or self._meter.secrets.lls_secret
        octets = self._data_link.exchange(acse.aarq(mechanism, self._initiate(), title=title, value=value), once=False)
        if reply.is_exception(octets):
            raise reply.exception(octets)
        granted, initiated = acse.parse_aare(octets, mechanism, ciphered=self._spec.ciphered)
        if self._ciphering is not None:
            self._ciphering.meet(granted.meter_title)
            initiated = self._initiated(self._ciphering, initiated)
            if self._dedicated_key:
                self._ciphering.dedicate(self._dedicated_key)
        conformance, max_pdu = acse.parse_initiate(initiated)
        if not conformance & Conformance.GET:
            raise AssociationRefused("the meter grants no GET to this client", place=self._meter.serial)
        dialogue.max_pdu_bytes = max_pdu
        return Accepted(conformance, max_pdu, granted.meter_title, granted.challenge), ours

    def _initiated(self, ciphering: Ciphering, octets: bytes) -> bytes:
        """The clear InitiateResponse. A counter that fell may be of a meter that restarted."""
        try:
            return ciphering.unprotect_initiate(octets)
        except ReplyReplayed:
            self._caller.counters.doubt(self._meter.serial, self._spec.client_sap, self._caller.monotonic())
            raise

    def _initiate(self) -> bytes:
        """The InitiateRequest of AARQ and RLRQ, ciphered where the association is."""
        proposed = acse.PROPOSED | (Conformance.GENERAL_PROTECTION if self._spec.general else 0)
        request = acse.initiate_request(proposed, self._meter.model.max_pdu_bytes, self._dedicated_key)
        if self._ciphering is None:
            return request
        return self._ciphering.protect_initiate(request, holds_key=bool(self._dedicated_key))

    def _prove(self, dialogue: Dialogue, theirs: bytes, ours: bytes) -> None:
        """Passes 3 and 4: our answer to the meter's challenge, and its answer to ours."""
        ciphering, mechanism = self._ciphering, self._spec.mechanism
        if challenge.is_reflected(mechanism, theirs, ours):
            raise ReplyForged("the meter sent our own challenge back", place=self._meter.serial)
        secret = self._meter.secrets.hls_secret
        answer = challenge.answer(mechanism, theirs, secret, ciphering)
        request = dialogue.codec.action(_REPLY_TO_HLS, b"\x09" + encode_length(len(answer)) + answer)
        try:
            proof = reply.action_result(request, dialogue.ask(request), "reply to HLS authentication")
        except AttributeDenied as refusal:
            cure = "compare the meter's HLS secret with secrets.toml"
            raise AssociationRefused(
                "the meter does not accept our proof", place=self._meter.serial, cure=cure
            ) from refusal
        if not isinstance(proof, bytes):
            raise ReplyForged("the meter did not prove its identity", place=self._meter.serial)
        challenge.check(mechanism, ours, proof, secret, ciphering)

    def _identified(self, dialogue: Dialogue, granted: Accepted) -> OpenAssociation:
        """The association; the client that may switch is told at once who the meter is, a reader by its first read."""
        caller, meter = self._caller, self._meter
        association = OpenAssociation(
            dialogue,
            granted.conformance,
            caller.zone,
            caller.monotonic,
            meter.serial,
            expected_serial=meter.serial or None,  # without configuration nobody is expected
            quirks=meter.model.quirks,
        )
        if self._spec is meter.model.associations.get(Purpose.SWITCH):
            association.identify()
        return association

    def _release(self) -> None:
        protected = self._ciphering is not None and self._spec.protected_release
        answer = self._data_link.exchange(acse.rlrq(self._initiate() if protected else b""), once=True)
        if not acse.is_release(answer):  # the end of the link ends the association whatever the meter thinks of this
            log.debug("%s: no release response but %s", self._meter.serial, answer[:4].hex())
