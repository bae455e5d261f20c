"""`dcu keys`: who may do what at this box, in words; what holds, what waits, what nobody can do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import answering, as_json, say
from dcu.cli.evidence import known_of
from dcu.cli.work import config_option
from dcu.headend.telling import missing, moment, rights, told_policy
from dcu.relay.envelope import claims_of
from dcu.relay.key_document import TrustStore, index_keys, read_entry
from dcu.relay.policy import read_policy
from dcu.relay.policy.floor import SLOW_S


@click.command()
@config_option
@as_json
@answering
def keys(config_file: Path, *, as_json: bool) -> None:
    """Who may do what at this box, in words: keys, policy or why there is none, what waits, what restrains."""
    with known_of(config_file) as known:
        found = known.authority()
    trust = _trust(found)
    lines = [*_document(trust, found["now"]), *_policy(found), *_restraints(found)]
    cannot = missing(trust, found["now"])
    facts = {
        **{name: value for name, value in found.items() if name not in {"policy", "waiting"}},
        "words": rights(trust, found["now"]),
        "cannot": cannot,
        "policy": claims_of(found["policy"]) if found["policy"] else None,
        "waiting": claims_of(found["waiting"]["payload"]) if _legible(found["waiting"]) else None,
    }
    say(facts, as_json=as_json, text=lambda _: "\n".join([*lines, *cannot]))


def _trust(found: dict[str, Any]) -> TrustStore:
    held = index_keys(read_entry(row, "key") for row in found["keys"])
    return TrustStore(found["issuer"], held, found["threshold"], found["version"], found["exp"])


def _document(trust: TrustStore, now_s: int) -> Iterator[str]:
    if trust.version == 0:
        yield f"head-end {trust.issuer}: no key document yet, only the roots of trust.json"
    else:
        over = "; it has expired, and gives leave for no disconnect" if now_s >= trust.exp else ""
        yield f"head-end {trust.issuer}: key document {trust.version}, until {moment(trust.exp)}{over}"
    yield f"the next one is signed by any {trust.threshold} people with root keys"
    yield from (f"  {line}" for line in rights(trust, now_s))


def _policy(found: dict[str, Any]) -> Iterator[str]:
    if found["policy"]:
        yield f"in force: {told_policy(read_policy(claims_of(found['policy'])))}"
    else:
        yield f"nothing may be disconnected: {found['policy_fault']}"
    waiting = found["waiting"]
    if waiting is None:
        return
    if not _legible(waiting):
        yield "a policy waits that is damaged: it will be refused"
        return
    until = f"until {moment(waiting['seen'] + SLOW_S)}" if waiting["seen"] is not None else "24 h of this box's uptime"
    yield f"waits {until}: {told_policy(read_policy(claims_of(waiting['payload'])))}"


def _restraints(found: dict[str, Any]) -> Iterator[str]:
    for each in found["restraints"]:
        until = moment(each["until"]) if each["until"] is not None else "a day on which the time is known"
        yield f"{each['kind']} of {each['meter'] or 'all meters'} by {each['who']} until {until}: {each['why']}"


def _legible(waiting: dict[str, Any] | None) -> bool:
    return waiting is not None and bool(waiting["payload"])
