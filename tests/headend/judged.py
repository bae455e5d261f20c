"""The box of docs/signing/vectors.json: its documents judged by the box's own code, as they are when they come."""

from zoneinfo import ZoneInfo

from dcu.command import Command, CommandRefused, Debit, Operation, Profile, RelaySequence, Restraint, State
from dcu.config.meter_models import shipped
from dcu.meter import Meter
from dcu.reading import ClockState
from dcu.relay.case import Case, Ledger, Moment
from dcu.relay.checks import check_all
from dcu.relay.envelope import COMMAND, KEYS, PERMIT, POLICY, Unforeseen, open_envelope, typ_of
from dcu.relay.key_document import open_key_document, read_key_document, vet_key_document
from dcu.relay.permit import Leave, held_permit, vet_permit
from dcu.relay.policy import compare, read_policy, vet_policy
from dcu.relay.schema import read_command

BOOT, BOOT_S = "boot-1", 500_000
MODEL = shipped()["is15959-1ph"]


class Judge:
    """The box as `members` describe it, `given` otherwise."""

    def __init__(self, members, given=()):
        self.box = members | dict(given)
        self.now = self.box["now"]
        claims = members["keys"] | ({"exp": given["keys_exp"]} if "keys_exp" in given else {})
        self.trust = read_key_document(claims)
        self.policy = read_policy(self.box["policy"]) if self.box["policy"] else None

    @property
    def known_s(self):
        return self.now if ClockState(self.box["clock"]).known else None

    def judge(self, octets):
        """ "accepted", or the code."""
        try:
            if typ_of(octets) == KEYS:
                self._keys(octets)
            else:
                opened = open_envelope(octets, self.trust.keys, self.known_s, {COMMAND, POLICY, PERMIT})
                {COMMAND: self._command, POLICY: self._policy, PERMIT: self._permit}[opened.typ](opened)
        except CommandRefused as refusal:
            return "unforeseen" if isinstance(refusal, Unforeseen) else refusal.code.value
        return "accepted"

    def _keys(self, octets):
        candidate, opened = open_key_document(self.trust, octets, self.known_s)
        vet_key_document(self.trust, candidate, opened, self.known_s, self.trust.version)

    def _policy(self, opened):
        vet = {"above": self.policy.version}
        new = vet_policy(opened, self.trust.keys, self.trust.issuer, self.box["dcu"], self.known_s, **vet)
        voices = 2 if compare(self.policy, new).widens else 1
        vet_policy(opened, self.trust.keys, self.trust.issuer, self.box["dcu"], self.known_s, voices=voices, **vet)

    def _permit(self, opened):
        vet_permit(opened, self.trust.keys, self.trust.issuer, self.box["dcu"], self.box["jid"])

    def _command(self, opened):
        check_all(self._case(opened, read_command(opened.claims)))

    def _case(self, opened, command: Command) -> Case:
        box = self.box
        areas = box["meters"] | box.get("areas", {})
        meters = {serial: Meter(serial, "north", MODEL, 17, area) for serial, area in areas.items()}
        highest, cut = box["sequence"].get(command.meter, (0, 0))
        restraints = [Restraint(kind, meter, "somebody", "why", 60, None) for kind, meter in box.get("restraints", ())]
        pending = box["pending"].get(command.cancels)
        return Case(
            command=command,
            claims=opened.claims,
            digest=opened.digest,
            kids=opened.kids,
            trust=self.trust,
            policy=self.policy,
            policy_fault="none",
            dcu=box["dcu"],
            jid=box["jid"],
            moment=Moment(self.now, ClockState(box["clock"]), box["floor"], BOOT, BOOT_S, heard=True),
            ledger=Ledger(
                known=b"another" if command.cmd_id in box["used"] else None,
                sequence=RelaySequence(highest, cut, box.get("safety", {}).get(command.meter, 0)),
                debits=[self._debit(n, *each) for n, each in enumerate(box.get("debits", ()))],
                debited=False,
                restraints=[each for each in restraints if each.meter in {"", command.meter}],
                leave=self._leave(command),
                cancels=(pending, State.PENDING) if pending is not None else None,
                withdrawn=False,
                withdrawals=0,
                safety_waits=False,
                last_id=box["streams"].get(command.stream),
                ranges=0,
            ),
            leases=frozenset(box["leases"]),
            meter=meters.get(command.meter),
            set_aside=command.meter in box.get("set_aside", ()),
            meters=len(meters),
            zone=ZoneInfo("Asia/Kolkata"),
            carried_out=frozenset(Operation),
        )

    def _debit(self, n, permit, profile, at_s):
        return Debit("hes.vectors", f"d-{n}", Profile(profile), permit, at_s, BOOT, BOOT_S - (self.now - at_s))

    def _leave(self, command):
        """What the permit that a command names says, as `relay.book` finds it."""
        held = {}
        for text in self.box["permits"]:
            box, trust = self.box, self.trust
            permit, signer = held_permit(text.encode(), trust.keys, trust.issuer, box["dcu"], box["jid"], self.now)
            held[permit.id] = (permit, signer)
        found, wanted = [], command.permit
        while wanted in held and len(found) < 2:
            found.append(held[wanted])
            wanted = found[-1][0].of
        if not found:
            return Leave()
        used = sum(permit == command.permit for permit, _, _ in self.box.get("debits", ()))
        return Leave(found[0][0], "", tuple(signer for _, signer in found), used)
