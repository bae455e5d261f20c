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
from dcu.drivers import acse, reply, security
from dcu.drivers.acse import Accepted, Conformance
from dcu.drivers.axdr import encode_length
from dcu.drivers.cosem import OpenAssociation
from dcu.drivers.counters import FIRST, CounterBook
from dcu.drivers.data_link import DataLink
from dcu.drivers.dialogue import Dialogue
from dcu.drivers.security import Ciphering, SuiteZero
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
)
from dcu.meter import AssociationSpec, AttributeRef, ClassId, Mechanism, Meter, MethodRef, Purpose

log = logging.getLogger(__name__)

_CHALLENGE: Final = 16
_HIGH_LEVEL: Final = frozenset({Mechanism.HLS_SECRET, Mechanism.HLS_GMAC})
_REPLY_TO_HLS: Final = MethodRef(ClassId.ASSOCIATION_LN, obis.CURRENT_ASSOCIATION, 1)
_GONE: Final = (MeterSilent, LinkLost, BusFault)  # nobody is there to hear a release
_DOUBTFUL: Final = (AssociationRefused, ReplyForged)  # the meter is asked for its counter again


@dataclass(frozen=True, slots=True)
class Caller:
    """Opens associations on one line.

    Attributes:
        data_link: a link to one meter for one client, not open yet; may raise BusFault or LinkLost.
        counters: of the line's meters.
        title: system title of this box, eight octets, its own.
        zone: of the meters' clocks.
        monotonic: seconds that never go back.
        give_way: called before each read exchange; raises Preempted when an urgent errand waits.
    """

    data_link: Callable[[Meter, int], DataLink]
    counters: CounterBook
    title: bytes
    zone: tzinfo
    monotonic: Callable[[], float]
    give_way: Callable[[], None]

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
            self.counters.learn(meter.serial, spec.client_sap, self._published_counter(meter, spec))
        try:
            return Session(self, meter, spec)
        except _DOUBTFUL:
            self.counters.forget(meter.serial, spec.client_sap)
            raise

    def _published_counter(self, meter: Meter, spec: AssociationSpec) -> int:
        """The lowest counter that the meter will accept of this client, by the meter's own word."""
        if spec.invocation_counter is None:
            return FIRST
        ref = AttributeRef(ClassId.DATA, spec.invocation_counter, 2)
        with self.associate(meter, Purpose.IDENTIFY) as public:
            published = public.get(ref)
        if not isinstance(published, int) or isinstance(published, bool) or not 0 <= published < 1 << 32:
            raise ReplyMalformed(f"{ref}: no invocation counter", place=meter.serial)
        return published + 1


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
        if spec.ciphered:
            suite = SuiteZero(meter.secrets.unicast_key, meter.secrets.authentication_key)
            self._ciphering = Ciphering(suite, caller.title, self._next_counter)
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
            if self._accepted and not isinstance(first, _GONE):
                self._release()
        except DcuError as fault:
            log.debug("%s: release failed: %s", self._meter.serial, fault)
        finally:
            self._data_link.close()
            if isinstance(first, _DOUBTFUL):
                self._caller.counters.forget(self._meter.serial, self._spec.client_sap)

    def _next_counter(self) -> int:
        return self._caller.counters.next(self._meter.serial, self._spec.client_sap)

    def _opened(self) -> OpenAssociation:
        self._caller.give_way()
        self._data_link.open()
        dialogue = Dialogue(self._data_link, self._ciphering, self._caller.give_way)
        granted, challenge = self._request(self._data_link, dialogue)
        self._accepted = True
        if self._spec.mechanism in _HIGH_LEVEL:
            self._prove(dialogue, granted.challenge, challenge)
        return self._identified(dialogue, granted)

    def _request(self, data_link: DataLink, dialogue: Dialogue) -> tuple[Accepted, bytes]:
        """AARQ and AARE; what was granted, and our challenge."""
        self._caller.give_way()
        mechanism = self._spec.mechanism
        challenge = secrets.token_bytes(_CHALLENGE) if mechanism in _HIGH_LEVEL else b""
        initiate = acse.initiate_request(acse.PROPOSED, self._meter.model.max_pdu_bytes)
        if self._ciphering is not None:
            initiate = self._ciphering.protect(initiate)
        value = challenge or self._meter.secrets.lls_secret
        title = self._ciphering.title if self._ciphering is not None else b""
        octets = data_link.exchange(acse.aarq(mechanism, initiate, title=title, value=value), once=False)
        if reply.is_exception(octets):
            raise reply.exception(octets)
        granted, initiated = acse.parse_aare(octets, mechanism, ciphered=self._spec.ciphered)
        if self._ciphering is not None:
            self._ciphering.meet(granted.meter_title)
            initiated = self._ciphering.unprotect(initiated)
        conformance, max_pdu = acse.parse_initiate(initiated)
        if not conformance & Conformance.GET:
            raise AssociationRefused("the meter grants no GET to this client", place=self._meter.serial)
        dialogue.max_pdu_bytes = max_pdu
        return Accepted(conformance, max_pdu, granted.meter_title, granted.challenge), challenge

    def _prove(self, dialogue: Dialogue, theirs: bytes, ours: bytes) -> None:
        """Passes 3 and 4: our answer to the meter's challenge, and its answer to ours."""
        ciphering, mechanism = self._ciphering, self._spec.mechanism
        if theirs == ours:
            raise ReplyForged("the meter sent our own challenge back", place=self._meter.serial)
        secret = self._meter.secrets.hls_secret
        answer = security.answer_challenge(mechanism, theirs, secret, ciphering)
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
        security.check_answer(mechanism, ours, proof, secret, ciphering)

    def _identified(self, dialogue: Dialogue, granted: Accepted) -> OpenAssociation:
        """The association; the client that may switch is told at once who the meter is, a reader by its first read."""
        caller, meter = self._caller, self._meter
        association = OpenAssociation(
            dialogue,
            granted.conformance,
            caller.zone,
            caller.monotonic,
            meter.serial,
            expected_serial=meter.serial,
            quirks=meter.model.quirks,
        )
        if self._spec is meter.model.associations.get(Purpose.SWITCH):
            association.identify()
        return association

    def _release(self) -> None:
        initiate = b""
        if self._ciphering is not None:
            initiate = self._ciphering.protect(acse.initiate_request(acse.PROPOSED, self._meter.model.max_pdu_bytes))
        self._data_link.exchange(acse.rlrq(initiate), once=True)
