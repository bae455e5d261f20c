"""The box's own policy: what a valid signature cannot override. Pure.

`document` is its form, `floor` what no policy can lift, `hours` its calendar, `comparison` what a new one changes,
`vet` whether one may come into force and still holds.
"""

from dcu.relay.policy.comparison import Comparison, briefly, compare, early_since
from dcu.relay.policy.document import Area, Caps, Policy, Reconnect, Shield, read_policy
from dcu.relay.policy.floor import most_a_day, usual_caps
from dcu.relay.policy.hours import within_floor
from dcu.relay.policy.vet import SKEW_S, policy_in_force, policy_kept, two_independent, vet_policy

__all__ = [
    "SKEW_S",
    "Area",
    "Caps",
    "Comparison",
    "Policy",
    "Reconnect",
    "Shield",
    "briefly",
    "compare",
    "early_since",
    "most_a_day",
    "policy_in_force",
    "policy_kept",
    "read_policy",
    "two_independent",
    "usual_caps",
    "vet_policy",
    "within_floor",
]
