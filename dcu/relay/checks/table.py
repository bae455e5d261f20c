"""The check table: which check applies to which operation, when it is accepted and again when it is due. Pure.

`TABLE` is the code: `check_all` walks it from top to bottom and stops at the first refusal. Every cell is written
out; no check applies or is skipped by silence. Numbers and codes are those of reference/command-authority.md 8.
Checks 1 to 8 are the envelope's (`gate`, `envelope`), 9 is `schema`; 23 and 26 to 28 are the journal's transactions
(`docket`), 24 is the waiting in `life`.

A `mode` has no column: it is always judged as a disconnect, and so is a `limit` below the policy's floor and a
`balance` that lowers one (`Case.column`).

"When due" means: the bus has opened the association, read the serial and the relay's state, and is about to send.
Trust, policy, meters, restraints and time are those of that moment; what the command itself was debited is excepted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dcu.command import Operation, Refusal
from dcu.relay.case import Case
from dcu.relay.checks import freshness as fresh
from dcu.relay.checks import meters, safety, voices

Rule = Callable[[Case], None]


class When(Enum):
    """At which of the two judgements a check is made; the value is how `TABLE` writes it."""

    NEVER = "-"
    ACCEPTED = "A"
    DUE = "D"
    BOTH = "B"


COLUMNS: Final = (
    Operation.CONNECT,
    Operation.DISCONNECT,
    Operation.CANCEL,
    Operation.FREEZE,
    Operation.UNFREEZE,
    Operation.READ,
    Operation.RESEND,
    Operation.CLOCK_SET,
    Operation.BALANCE,
    Operation.MESSAGE,
    Operation.LIMIT,
    Operation.METER,
)


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table.

    Attributes:
        number: of command-authority.md 8.
        name: for people.
        codes: every refusal that the rule can raise.
        rule: raises CommandRefused, or says nothing.
        cells: one letter of `When` for each of `COLUMNS`.
    """

    number: int
    name: str
    codes: tuple[Refusal, ...]
    rule: Rule
    cells: str

    def when(self, column: Operation) -> When:
        """The cell of that column."""
        return When(self.cells.replace(" ", "")[COLUMNS.index(column)])


def check_all(case: Case, table: tuple["Check", ...] | None = None) -> None:
    """Walk the table.

    Raises:
        CommandRefused: with the code of the first check that failed.
    """
    stage = When.ACCEPTED if case.evidence is None else When.DUE
    column = case.column
    for check in TABLE if table is None else table:
        if check.when(column) in {stage, When.BOTH}:
            check.rule(case)


UNCONSUMED: Final = frozenset(
    {
        Refusal.E_KID,
        Refusal.E_KEY,
        Refusal.E_TARGET,
        Refusal.E_JID,
        Refusal.E_ID_REUSE,
        Refusal.E_QUORUM,
        Refusal.E_FLOOD,
    }
)
"""Refusals of the table up to the quorum, and for want of room: they leave the id free, as does a command that has not
the schema. One stolen key cannot use up the ids of others, and what finds no room now may find it later.
"""

_R = Refusal

TABLE: Final[tuple[Check, ...]] = (
    #                                                                connect      freeze       resend       message
    #                                                                | disconnect | unfreeze   | clock-set  | limit
    #                                                                | | cancel   | | read     | | balance  | | meter
    Check(7, "keys", (_R.E_KID, _R.E_KEY), voices.check_keys,       "B B A        A A B        A B B        B B A"),
    Check(7, "dates of keys", (_R.E_KEY,), voices.check_dates_of_keys,
                                                                    "B B A        A A B        A B B        B B A"),
    Check(7, "key document", (_R.E_KEY,), voices.check_key_document,
                                                                    "- B -        - A -        - - B        - - A"),
    Check(10, "target", (_R.E_TARGET,), voices.check_target,        "B B A        A A B        A B B        B B A"),
    Check(10, "journal", (_R.E_JID,), voices.check_journal,         "B B A        A A B        A B B        B B A"),
    Check(11, "id", (_R.E_ID_REUSE,), voices.check_id,              "A A A        A A A        A A A        A A A"),
    Check(12, "restrainer", (_R.E_QUORUM,), voices.check_restrainer,
                                                                    "- - A        A - -        - - -        - - -"),
    Check(12, "asker", (_R.E_QUORUM,), voices.check_asker,          "B - -        - - B        A B -        B B -"),
    Check(12, "billing", (_R.E_QUORUM,), voices.check_billing,      "- - -        - - -        - - B        - - -"),
    Check(12, "two persons", (_R.E_QUORUM,), voices.check_two_persons,
                                                                    "- - -        - A -        - - -        - - A"),
    Check(12, "after safety", (_R.E_QUORUM,), voices.check_after_safety,
                                                                    "B - -        - - -        - - -        - - -"),
    Check(12, "profile", (_R.E_QUORUM,), voices.check_profile_quorum,
                                                                    "- B -        - - -        - - -        - - -"),
    Check(13, "clock", (_R.E_CLOCK,), fresh.check_clock,            "- B -        - A -        - - -        - - A"),
    Check(13, "meters heard", (_R.E_CLOCK,), fresh.check_heard,     "- D -        - - -        - - -        - - -"),
    Check(13, "exact clock", (_R.E_CLOCK,), fresh.check_exact_clock,
                                                                    "- - -        - - -        - B -        - - -"),
    Check(14, "life", (_R.E_TTL,), fresh.check_life,                "B B A        A A B        A B B        B B A"),
    Check(14, "time", (_R.E_EARLY, _R.E_EXPIRED), fresh.check_time, "- B -        - A -        - B -        - - A"),
    Check(14, "time where known", (_R.E_EARLY, _R.E_EXPIRED), fresh.check_time_where_known,
                                                                    "B - A        A - B        A - B        B B -"),
    Check(15, "lease", (_R.E_LEASE,), fresh.check_lease,            "- B -        - - -        - - -        - - -"),
    Check(16, "sequence", (_R.E_SEQ,), fresh.check_sequence_of_disconnect,
                                                                    "- B -        - - -        - - -        - - -"),
    Check(16, "sequence of connect", (_R.E_SEQ,), fresh.check_sequence_of_connect,
                                                                    "B - -        - - -        - - -        - - -"),
    Check(17, "meter", (_R.E_METER,), meters.check_meter,           "B B -        - - B        - B B        B B -"),
    Check(17, "set aside", (_R.E_METER,), meters.check_set_aside,   "- B -        - - B        - B B        B B -"),
    Check(17, "meter if named", (_R.E_METER,), meters.check_meter_if_named,
                                                                    "- - -        A A -        - - -        - - -"),
    Check(17, "change", (_R.E_METER,), meters.check_change,         "- - -        - - -        - - -        - - A"),
    Check(17, "identity", (_R.E_METER,), meters.check_identity,     "D D -        - - D        - D D        D D -"),
    Check(17, "relay", (_R.E_METER,), meters.check_relay,           "D D -        - - -        - - -        - - -"),
    Check(17, "reconnect", (_R.E_METER,), meters.check_reconnect,   "D - -        - - -        - - -        - - -"),
    Check(17, "carried out", (_R.E_POLICY,), safety.check_carried_out,
                                                                    "B B A        A A B        A B B        B B A"),
    Check(18, "frozen", (_R.E_FROZEN,), safety.check_frozen,        "- B -        - - -        - - -        - - -"),
    Check(18, "locked", (_R.E_LOCKED,), safety.check_locked,        "B B -        - - -        - - -        - B -"),
    Check(19, "policy", (_R.E_POLICY,), safety.check_policy,        "- B -        - - -        - - -        - - -"),
    Check(19, "protected", (_R.E_PROTECTED,), safety.check_protected,
                                                                    "- B -        - - -        - - -        - - -"),
    Check(20, "area", (_R.E_AREA,), safety.check_area,              "- B -        - - -        - - -        - - -"),
    Check(20, "area of message", (_R.E_POLICY, _R.E_AREA), safety.check_area_of_message,
                                                                    "- - -        - - -        - - -        B - -"),
    Check(20, "live", (_R.E_NOT_LIVE,), safety.check_live,          "- B -        - - -        - - -        B - -"),
    Check(20, "prepaid", (_R.E_NOT_PREPAID,), safety.check_prepaid, "- D -        - - -        - - -        - - -"),
    Check(20, "notice", (_R.E_NOTICE,), safety.check_notice,        "- B -        - - -        - - -        - - -"),
    Check(20, "grace", (_R.E_GRACE,), safety.check_grace,           "- B -        - - -        - - -        - - -"),
    Check(21, "window", (_R.E_WINDOW,), safety.check_window,        "- B -        - - -        - - -        - - -"),
    Check(22, "permit", (_R.E_PERMIT,), safety.check_permit,        "- B -        - - -        - - -        - - -"),
    Check(22, "caps", (_R.E_CAP,), safety.check_caps,               "- B -        - - -        - - -        - - -"),
    Check(22, "spacing", (_R.E_CAP,), safety.check_spacing,         "- D -        - - -        - - -        - - -"),
    Check(22, "debit", (_R.E_CAP,), safety.check_debit,             "- D -        - - -        - - -        - - -"),
    Check(25, "state", (_R.E_STATE,), meters.check_state,           "D D -        - - -        - - -        - - -"),
    Check(25, "range", (_R.E_STATE, _R.E_FLOOD), meters.check_range,
                                                                    "- - -        - - -        A - -        - - -"),
    Check(25, "fit", (_R.E_STATE,), meters.check_fit,               "- D -        - - -        - D D        - D -"),
    Check(25, "cancelled", (_R.E_STATE, _R.E_FLOOD), meters.check_cancelled,
                                                                    "- - A        - - -        - - -        - - -"),
    Check(25, "withdrawn", (_R.E_STATE,), meters.check_withdrawn,   "- B -        - - -        - - -        - - -"),
)  # fmt: skip

MEANT: Final = tuple(check for check in TABLE if check.number <= 16)
"""What shows that those who may have ordered it, for this box, now, and after whatever it answers."""
