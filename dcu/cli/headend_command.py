"""`dcu headend command OP`: the payload of every operation; its options are the members of the box's own schema."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from dcu.cli.answers import as_json as json_option
from dcu.cli.headend_files import PATH, Kit, Moment, decorated, known_box, out_option, put_draft
from dcu.command import Change, Operation, OutputState, Why
from dcu.errors import OperatorFault
from dcu.headend.heads import BEHIND
from dcu.headend.lint import lint_command
from dcu.headend.signing import command_claims
from dcu.relay.policy.floor import LONGEST_LIFE_S
from dcu.relay.schema import OPERATIONS, read_command

SAYS: Final[Mapping[Operation, str]] = {
    Operation.CONNECT: "Give light. One signature, any hour; two after a disconnect for safety.",
    Operation.DISCONNECT: "Disconnect a consumer. Two signatures, a permit, a lease, the policy's hours.",
    Operation.CANCEL: "Take back a command that has not been sent to its meter. One signature.",
    Operation.FREEZE: "No disconnect of METER, or of the whole box, for a day. One signature.",
    Operation.UNFREEZE: "End a freeze before its time. Two signatures.",
    Operation.READ: "Read a profile or an attribute of a meter now.",
    Operation.RESEND: "Send records of a stream once more.",
    Operation.CLOCK_SET: "Set a meter's clock from the box's own.",
    Operation.BALANCE: "Write recharge and balance registers. A lowered balance is judged as a disconnect.",
    Operation.MESSAGE: "Show a text on a meter's display.",
    Operation.LIMIT: "Set a meter's load limiter. Below the policy's floor it is judged as a disconnect.",
    Operation.METER: "Add, replace or retire a meter. Two signatures.",
    Operation.MODE: "Set payment or control mode. Always judged as a disconnect.",
}

_HELP: Final[Mapping[str, str]] = {
    "seq": "Above all earlier ones of this meter's relay.",
    "why": "Reason.",
    "area": "That the meter stands in.",
    "expect": "State of the relay before; another one: refused.",
    "pol": "Version of the policy in force; --state knows it.",
    "lease": "That the box gave out; --state knows it.",
    "permit": "Id of the permit that it is debited to.",
    "case": "File of the case.",
    "notice": "When the written notice was served.",
    "low_credit_at": "When the consumer was told of the low credit.",
    "ledger": "Entry of the wallets' ledger.",
    "ledger_at": "When the witness read that ledger itself.",
    "nbf": "Not before.",
    "text": "At most 64 plain characters.",
    "cancels": "Id of the command.",
    "profile": "Logical name, as 1.0.99.1.0.255.",
    "attribute": "One attribute instead, as 3:1.0.12.7.0.255/2.",
    "since": "By the meter's clock.",
    "until": "By the meter's clock.",
    "most_s": "Leave it alone where it is further away than so many seconds.",
    "recharge": "In the unit of the meter's money registers.",
    "recharged_at": "When.",
    "balance": "In the unit of the meter's money registers.",
    "change": "What is done.",
    "old": "Serial of the meter that is replaced.",
    "secrets": "Entry of the box's secrets.toml.",
}

_MOMENTS: Final = frozenset({"nbf", "notice", "low_credit_at", "ledger_at", "since", "until", "recharged_at"})
_NUMBERS: Final = frozenset(
    {
        "seq",
        "pol",
        "first",
        "last",
        "most_s",
        "recharge",
        "balance",
        "watts",
        "payment_mode",
        "control_mode",
        "address",
        "port",
    }
)
_CHOICES: Final[Mapping[str, type[Why] | type[OutputState] | type[Change]]] = {
    "why": Why,
    "expect": OutputState,
    "change": Change,
}
_FROM_STATE: Final = frozenset({"lease", "pol"})


def _type(member: str) -> Any:
    if member in _MOMENTS:
        return Moment()
    if member in _NUMBERS:
        return int
    kind = _CHOICES.get(member)
    return str if kind is None else click.Choice([each.value for each in kind])


def _option(member: str, *, required: bool) -> Any:
    """An option for one member. What --state can say is asked of it where it is not given."""
    name = f"--{member.replace('_', '-')}"
    needed = required and member not in _FROM_STATE
    return click.option(name, member, type=_type(member), required=needed, help=_HELP.get(member))


def _members(op: Operation) -> list[Any]:
    required, optional = OPERATIONS[op]
    members = sorted(required - {"meter"}) + sorted(optional - {"meter"} - required)
    return [_option(member, required=member in required) for member in members]


def _operation(op: Operation) -> click.Command:
    """The command of one operation."""
    required, optional = OPERATIONS[op]

    def make(as_json: bool, **given: Any) -> None:
        _make(op, as_json=as_json, **given)

    meter = [click.argument("meter", required="meter" in required)] if "meter" in required | optional else []
    common = [
        click.option("--dcu", required=True, help="Box that the command is for."),
        click.option("--iss", required=True, help="Name of the head-end."),
        click.option("--jid", help="Its journal: the epoch in its state message and batches; --state knows it."),
        click.option("--state", type=PATH, help="File of `dcu headend verify --state`: journal, lease and policy."),
        click.option("--cmd-id", default="", help="Id of the command; by default a new one that nobody can guess."),
        click.option(
            "--minutes",
            default=30,
            show_default=True,
            type=click.IntRange(1, LONGEST_LIFE_S // 60),
            help="How long it may live.",
        ),
        out_option,
        json_option,
    ]
    return click.command(op.value, help=SAYS[op])(decorated(make, [*meter, *_members(op), *common]))


def _make(
    op: Operation,
    *,
    dcu: str,
    jid: str | None,
    state: Path | None,
    minutes: int,
    out: Path,
    as_json: bool,
    meter: str | None = None,
    **members: Any,
) -> None:
    now_s = int(time.time())
    required, optional = OPERATIONS[op]
    known = known_box(state, dcu) if state is not None else None
    if known is not None:
        jid = jid or known.jid
        cuts = "pol" in required or members.get("seq") is not None  # whatever names a lease is judged as a disconnect
        if cuts and op is not Operation.CONNECT and known.behind:
            raise OperatorFault(known.behind, place=dcu, cure=BEHIND)
        told = {"lease": known.lease or None, "pol": known.pol} if cuts else {}
        members |= {name: told[name] for name in told if name in required | optional and members.get(name) is None}
    if not jid:
        raise click.UsageError("give --jid, or --state")
    claims = command_claims(op=op, dcu=dcu, jid=jid, meter=meter, iat=now_s, exp=now_s + 60 * minutes, **members)
    faults = lint_command(read_command(claims))
    put_draft(claims, out, as_json=as_json, more={"the box will refuse it": faults} if faults else None)


command = Kit("command", help="Make an unsigned command.")
for _op in Operation:
    command.add_command(_operation(_op))
