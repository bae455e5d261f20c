"""The whole verification of one command, octets to verdict, without a box around it: what the mutants are shown to."""

from dataclasses import replace
from zoneinfo import ZoneInfo

from dcu.command import CommandRefused, Profile, RelaySequence
from dcu.meter import Meter
from dcu.reading import ClockState
from dcu.relay.case import Case, Ledger, Moment
from dcu.relay.checks import check_all
from dcu.relay.duties import CARRIED_OUT
from dcu.relay.envelope import COMMAND, PERMIT, POLICY, Unforeseen, open_envelope
from dcu.relay.permit import Leave, Permit, vet_permit
from dcu.relay.policy import read_policy, vet_policy
from dcu.relay.schema import read_command
from tests.proof.papers import (
    CUTTERS,
    DATE,
    FLOOR_S,
    LIVE,
    MODEL,
    NOON,
    command_claims,
    evidence_of,
    policy_claims,
    signed,
)
from tests.proof.people import ISS, People

DCU, JID, LEASE = "JH-RNC-0042", "j-7f3a91c2", "L-00c1d4e29b77"
SERIALS = [f"GXT2093{n:04}" for n in range(100)]
EMPTY = Ledger(
    known=None,
    sequence=RelaySequence(),
    debits=(),
    debited=False,
    restraints=(),
    leave=Leave(),
    cancels=None,
    withdrawn=False,
    withdrawals=0,
    safety_waits=False,
    last_id=None,
    ranges=0,
)
PERMITTED = {profile: f"P-{profile.value}" for profile in Profile}


class Verifier:
    """Everything that a box knows at NOON, with leave for everything that is properly signed."""

    def __init__(self, people: People) -> None:
        self.people, self.trust = people, people.trust()
        self.policy = read_policy(policy_claims(DCU, SERIALS))
        self.meters = {serial: Meter(serial, "north", MODEL, n, LIVE) for n, serial in enumerate(SERIALS, 16)}
        signers = {Profile.ARREARS: ("per-1",), Profile.PREPAID: ("plan-1", "per-1")}
        self.leave = {
            PERMITTED[profile]: Leave(
                Permit(PERMITTED[profile], ISS, DCU, DATE, profile, 5, "", JID),
                "",
                tuple(self.trust.keys[kid] for kid in kids),
            )
            for profile, kids in signers.items()
        }

    def command(self, op: str, meter: str, cmd_id: str, *, profile: str = "arrears", seq: int = 7) -> dict:
        """Claims of a command that is in order."""
        numbered = {"seq": seq} if op in {"disconnect", "connect"} else {}
        if op == "message":
            numbered = {"why": "credit", "area": LIVE, "text": f"Balance low {seq}"}
        claims = command_claims(op, DCU, JID, meter, cmd_id, NOON - 60, **numbered)
        if op == "disconnect":
            claims |= evidence_of(profile, NOON, PERMITTED[Profile(profile)], LEASE)
        return claims

    def envelope(self, claims: dict) -> bytes:
        """As those who may sign it would."""
        cuts = claims["op"] == "disconnect"
        profile = "prepaid" if "ledger" in claims else "arrears"
        return signed(self.people, claims, CUTTERS[profile] if cuts else ["req-1"], COMMAND)

    def verdict(self, octets: bytes) -> str:
        """ "accepted", the code of the check that refused, or "unforeseen"."""
        try:
            opened = open_envelope(octets, self.trust.keys, NOON, {COMMAND, POLICY, PERMIT})
            if opened.typ == POLICY:
                vet_policy(opened, self.trust.keys, ISS, DCU, NOON, above=0)
            elif opened.typ == PERMIT:
                vet_permit(opened, self.trust.keys, ISS, DCU, JID)
            else:
                check_all(self._case(opened))
        except Unforeseen:
            return "unforeseen"
        except CommandRefused as refusal:
            return refusal.code.value
        return "accepted"

    def _case(self, opened) -> Case:
        command = read_command(opened.claims)
        return Case(
            command=command,
            claims=opened.claims,
            digest=opened.digest,
            kids=opened.kids,
            trust=self.trust,
            policy=self.policy,
            policy_fault="",
            dcu=DCU,
            jid=JID,
            moment=Moment(NOON, ClockState.TRUSTED, FLOOR_S, "boot", 9999, heard=True),
            ledger=replace(EMPTY, leave=self.leave.get(command.permit or "", Leave())),
            leases=frozenset({LEASE}),
            meter=self.meters.get(command.meter),
            set_aside=False,
            meters=len(SERIALS),
            zone=ZoneInfo("Asia/Kolkata"),
            carried_out=CARRIED_OUT,
        )
