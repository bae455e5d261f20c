"""What this program carries out: which operations need a meter, which are done by the decision itself. Pure."""

from typing import Final

from dcu.command import Operation
from dcu.relay.deeds import DEEDS

AT_ONCE: Final = frozenset({Operation.CANCEL, Operation.FREEZE, Operation.UNFREEZE, Operation.RESEND, Operation.METER})
"""Done in the transaction that accepts them."""

AT_METER: Final = frozenset(DEEDS) | {Operation.READ}
"""Done by an errand before the meter (`executor`, `on_demand`)."""

CARRIED_OUT: Final = AT_ONCE | AT_METER
"""All others are refused: what cannot be finished is not begun."""
