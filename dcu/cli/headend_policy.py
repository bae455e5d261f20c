"""`dcu headend policy`, `policy-template` and `permit`: what bounds every disconnect, drafted and looked at first."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import as_json
from dcu.cli.headend_files import PATH, answer, known_box, out_option, put_draft, read_file, write_file
from dcu.command import CommandRefused, Profile, Refusal
from dcu.errors import OperatorFault
from dcu.headend.lint import Finding, lint
from dcu.headend.signing import permit_claims, policy_claims
from dcu.relay.canonical import Json, parse
from dcu.relay.envelope import claims_of, payload_of
from dcu.relay.policy import read_policy
from dcu.relay.policy.floor import DAY_S


@click.command("policy")
@click.argument("source", type=PATH)
@click.option("--against", type=PATH, help="The policy in force, signed or as its source: what would change.")
@click.option("--out", type=PATH, help="File for the unsigned document; without it the policy is only looked at.")
@as_json
def policy(source: Path, against: Path | None, out: Path | None, as_json: bool) -> None:
    """Look at a policy, and make the unsigned document of it.

    SOURCE is a JSON file with its members (`dcu headend policy-template` writes one), or a document. It says in words
    what becomes more and what less permitted, who has to sign it and when it takes effect; what the box's own floor
    would take away again is refused.
    """
    claims = _claims(source)
    in_force = read_policy(_claims(against)) if against is not None else None
    new = read_policy(claims)
    found = lint(new, in_force, int(time.time()))
    if found.faults:
        raise CommandRefused(Refusal.E_POLICY, f"{source}: {'; '.join(found.faults)}")
    facts = _facts(found, known=in_force is not None)
    if out is not None:
        put_draft(claims, out, as_json=as_json, more=facts)
        return
    lines = [f"{name}: {clause}" for name, clauses in facts.items() for clause in clauses]
    answer(facts, "\n".join(lines), as_json=as_json)


def _facts(found: Finding, *, known: bool) -> dict[str, Sequence[str]]:
    effect = found.effect if known else f"{found.effect}, unless the policy in force permits it: --against says"
    return {
        "permits": found.widens,
        "no longer permits": found.narrows,
        "look twice": found.doubts,
        "effect": (effect,),
    }


@click.command("policy-template")
@click.option("--iss", required=True, help="Name of the head-end.")
@click.option("--dcu", required=True, help="Box that it is for.")
@click.option("--version", "number", default=1, show_default=True, help="Above the version in force.")
@click.option("--area", "areas", multiple=True, required=True, help="Area; repeatable. Prepaid is not live in it.")
@click.option(
    "--meter", "meters", multiple=True, help="SERIAL=AREA; repeatable. SERIAL alone stands in the first area."
)
@click.option("--timezone", default="Asia/Kolkata", show_default=True)
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650), help="How long it holds.")
@click.option("--out", type=PATH, required=True)
@as_json
def policy_template(areas: Sequence[str], meters: Sequence[str], out: Path, as_json: bool, **given: Any) -> None:
    """Write a strict policy's source, to be edited: hours 10 to 14, Monday to Friday; nowhere is prepaid live."""
    now_s = int(time.time())
    placed = {serial: area or areas[0] for serial, _, area in (each.partition("=") for each in meters)}
    claims = policy_claims(
        iss=given["iss"],
        dcu=given["dcu"],
        version=given["number"],
        iat=now_s,
        nbf=now_s,
        exp=now_s + given["days"] * DAY_S,
        timezone=given["timezone"],
        areas={area: {"prepaid_live": False, "since": 0} for area in areas},
        meters=placed,
        hours=dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "10:00-14:00"),
    )
    source = {name: value for name, value in claims.items() if name not in {"v", "typ"}}
    write_file(out, json.dumps(source, indent=1).encode("ascii") + b"\n")
    words = f"{out}: a policy for {len(placed)} meters; edit it, then `dcu headend policy {out} --out FILE`"
    answer(source, words, as_json=as_json)


@click.command("permit")
@click.argument("permit_id", metavar="ID")
@click.option("--iss", required=True, help="Name of the head-end.")
@click.option("--date", required=True, help="Calendar day of the policy's timezone, as 2026-11-23.")
@click.option("--dcu", default="", help="Box that it is for; without it: for the whole city.")
@click.option("--jid", help="Its journal: the epoch in its state message and batches; --state knows it.")
@click.option("--state", type=PATH, help="File of `dcu headend verify --state`: the box's journal.")
@click.option("--profile", type=click.Choice([p.value for p in Profile]), help="Of authority; with --dcu.")
@click.option("--max", "max_n", required=True, type=click.IntRange(0), help="Disconnects on that day.")
@click.option("--of", default="", help="Id of the city's permit that it is a share of; profile prepaid.")
@out_option
@as_json
def permit(
    dcu: str, jid: str | None, state: Path | None, profile: str | None, out: Path, as_json: bool, **given: Any
) -> None:
    """Make an unsigned permit: how many may be disconnected on one day.

    Signed by the role permit; a box's share of the city's total (profile prepaid) by the role planner.
    """
    kind = Profile(profile) if profile else None
    if (kind is None) != (not dcu):
        raise click.UsageError("--dcu and --profile go together; a permit for the whole city has neither")
    if state is not None and dcu:
        jid = jid or known_box(state, dcu).jid
    if bool(dcu) != bool(jid):
        raise click.UsageError("give --jid, or --state, with --dcu; a permit for the whole city is of no journal")
    put_draft(permit_claims(profile=kind, dcu=dcu, jid=jid or "", **given), out, as_json=as_json)


def _claims(source: Path) -> dict[str, Any]:
    """Claims of a policy: from its members in JSON, or from a document."""
    octets = read_file(source)
    members = parse(octets, Refusal.E_JSON)
    if not isinstance(members, dict):
        raise OperatorFault("not a JSON object", place=str(source))
    if members.keys() == {"payload", "signatures"}:
        return dict(claims_of(payload_of(octets)))
    given: dict[str, Json] = {name: value for name, value in members.items() if name not in {"v", "typ"}}
    if "v" in members and (members["v"] != 1 or members.get("typ") != "policy"):
        raise CommandRefused(Refusal.E_SCHEMA, f"{source}: not a policy of version 1")
    try:
        return policy_claims(**given)  # type: ignore[arg-type]
    except (TypeError, AttributeError, ValueError) as fault:
        raise CommandRefused(Refusal.E_SCHEMA, f"{source}: {fault}") from None
