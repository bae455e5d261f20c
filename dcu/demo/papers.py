"""The papers of the story: whose keys there are, what the policy says, permits, and the evidence that a cut names.

Policy, box and meters stand in a timezone in which it is noon while the story is told: nobody is disconnected at night,
by a rule that no policy can lift.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from dcu.command import Operation, Profile, Why
from dcu.headend.keys import commissioning, key_claims, make_key, trust_entry
from dcu.headend.signing import command_claims, draft, permit_claims, policy_claims, sign
from dcu.relay.key import FileSigner
from dcu.relay.policy import most_a_day
from dcu.relay.public_key import Role

PEOPLE: Final[Mapping[str, tuple[Role, str, str]]] = {
    "esha-root": (Role.ROOT, "esha", ""),
    "farid-root": (Role.ROOT, "farid", ""),
    "asha-request": (Role.REQUEST, "asha", ""),
    "binod-approve": (Role.APPROVE, "binod", ""),
    "chitra-policy": (Role.POLICY, "chitra", ""),
    "devi-policy": (Role.POLICY, "devi", ""),
    "gita-permit": (Role.PERMIT, "gita", ""),
    "planner": (Role.PLANNER, "planner", "hari"),
    "billing": (Role.BILLING, "billing", "indu"),
    "witness": (Role.WITNESS, "witness", "jaya"),
}
"""Keys of the head-end: name to role, person or system, and who administers the system."""

WAIT_S: Final = 2
LONG_WAIT_S: Final = 5
_DAY_S: Final = 86_400


class Papers:
    """Makes and signs them.

    Args:
        directory: of the stage.
        issuer: the head-end.
        dcu: the box.
        meters: area by serial.
        live: areas in which prepaid is live.

    Attributes:
        zone: in which it is noon; `utc_offset_min` its local time minus UTC.
    """

    def __init__(self, directory: Path, issuer: str, dcu: str, meters: Mapping[str, str], live: frozenset[str]) -> None:
        self._issuer = issuer
        self._dcu = dcu
        self._meters = meters
        self._live = live
        self._now_s = int(time.time())
        keys = directory / "keys"
        keys.mkdir()
        self.signers: dict[str, FileSigner] = {kid: make_key(keys / f"{kid}.pem", kid) for kid in PEOPLE}
        self.zone, self.utc_offset_min, self._date = _noon(self._now_s)
        self.policy = self._policy()

    def write(self, path: Path) -> None:
        """`trust.json`: two roots, the key document that they signed, and the policy that two others signed."""
        entries = [self._entry(kid) for kid in PEOPLE]
        dated = {"iat": self._now_s - 60, "exp": self._now_s + _DAY_S}
        claims = key_claims(iss=self._issuer, version=1, threshold=2, entries=entries, **dated)
        keys = self.signed(claims, "esha-root", "farid-root")
        roots = [entry for entry in entries if entry["roles"] == [Role.ROOT.value]]
        path.write_bytes(commissioning(self._issuer, 2, roots, [keys, self.policy]))
        path.chmod(0o600)

    def permits(self, jid: str) -> list[bytes]:
        """One for arrears, the city's total, and the box's share of that; for that journal of the box."""
        iss, date, dcu, most = self._issuer, self._date, self._dcu, most_a_day(len(self._meters))
        arrears = permit_claims(
            permit_id="P-arrears", iss=iss, date=date, max_n=most, dcu=dcu, jid=jid, profile=Profile.ARREARS
        )
        city = permit_claims(permit_id="T-city", iss=iss, date=date, max_n=6000)
        share = permit_claims(
            permit_id="P-prepaid",
            iss=iss,
            date=date,
            max_n=most,
            dcu=dcu,
            jid=jid,
            profile=Profile.PREPAID,
            of="T-city",
        )
        return [
            self.signed(arrears, "gita-permit"),
            self.signed(city, "gita-permit"),
            self.signed(share, "planner"),
        ]

    def evidence(self, why: Why) -> dict[str, Any]:
        """What a disconnect names besides its meter: by the reason."""
        now_s = int(time.time())
        if why is Why.CREDIT:
            told_s = now_s - 4 * _DAY_S
            return {"permit": "P-prepaid", "low_credit_at": told_s, "ledger": "W-7731", "ledger_at": now_s - 300}
        return {"permit": "P-arrears", "case": "DHN-2026-114", "notice": now_s - 16 * _DAY_S}

    def claims(self, op: Operation, jid: str, **members: Any) -> dict[str, Any]:
        """Of a command that lives for ten minutes."""
        now_s = int(time.time())
        return command_claims(op=op, iss=self._issuer, dcu=self._dcu, jid=jid, iat=now_s, exp=now_s + 600, **members)

    def signed(self, claims: Mapping[str, Any], *kids: str) -> bytes:
        """A document, each signature an act of its own."""
        document = draft(claims)
        for kid in kids:
            document = sign(document, self.signers[kid])
        return document

    def _entry(self, kid: str) -> dict[str, Any]:
        role, person, admin = PEOPLE[kid]
        return trust_entry(self.signers[kid], [role], person, self._now_s - 60, self._now_s + _DAY_S, admin=admin)

    def _policy(self) -> bytes:
        areas = {
            area: {
                "prepaid_live": area in self._live,
                "since": self._now_s - 5 * _DAY_S if area in self._live else 0,
                "profile": "prepaid" if area in self._live else "arrears",
                "reconnect": "close",
                "grace_days": 0,
            }
            for area in sorted(set(self._meters.values()))
        }
        caps = {"hour": 3, "day": 3, "week": 3, "spacing_s": 1}
        claims = policy_claims(
            iss=self._issuer,
            dcu=self._dcu,
            version=1,
            iat=self._now_s,
            nbf=self._now_s,
            exp=self._now_s + _DAY_S,
            timezone=self.zone,
            areas=areas,
            meters=self._meters,
            hours=dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "08:00-18:00"),
            caps={"prepaid": caps | {"wait_s": WAIT_S}, "arrears": caps | {"wait_s": LONG_WAIT_S}},
        )
        return self.signed(claims, "chitra-policy", "devi-policy")


def _noon(now_s: int) -> tuple[str, int, str]:
    """A timezone in which it is about noon, its minutes from UTC, the date; POSIX counts hours west of Greenwich."""
    utc = datetime.fromtimestamp(now_s, UTC)
    west = utc.hour - 12
    local = utc - timedelta(hours=west)
    return f"Etc/GMT{west:+}" if west else "Etc/GMT", -60 * west, local.date().isoformat()
