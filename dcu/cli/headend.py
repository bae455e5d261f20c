"""`dcu headend`: the head-end engineer's kit: keys, policies, commands, signatures as separate acts, receipts."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import answering, as_json, say
from dcu.cli.headend_listen import listen
from dcu.cli.headend_mqtt import pki, send
from dcu.command import CommandRefused, Operation, OutputState, Refusal, Why
from dcu.errors import DcuError, OperatorFault
from dcu.headend import keys as keyring
from dcu.headend.receipts import digest_of, verify_receipt
from dcu.headend.signing import command_claims, draft, policy_claims, sign, told
from dcu.relay.canonical import parse
from dcu.relay.envelope import COMMAND, MAX_OCTETS, POLICY, claims_of, kids_of, open_envelope, payload_of
from dcu.relay.key import FileSigner
from dcu.relay.public_key import Role
from dcu.relay.trust import TrustStore

_PATH = click.Path(path_type=Path)


class _Kit(click.Group):
    """A group whose commands answer every DcuError in one line, with the exit code of its kind."""

    def invoke(self, ctx: click.Context) -> Any:
        return answering(super().invoke)(ctx)


def _say(as_json: bool, facts: dict[str, Any], words: str) -> None:
    say(facts, as_json=as_json, text=lambda _: words)


@click.group(cls=_Kit)
def headend() -> None:
    """The head-end's side: keys, policies, commands, signatures, receipts."""


@headend.group()
def keys() -> None:
    """Make keys; private halves stay in files of their owner."""


@keys.command("new")
@click.argument("path", type=_PATH)
@click.option("--kid", required=True, help="Name of the key.")
@click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice([r.value for r in keyring.PERSON_ROLES])
)
@click.option("--person", required=True, help="Who holds it; two keys of one person are one voice.")
@click.option("--issuer", required=True, help="Name of the head-end.")
@click.option("--trust", type=_PATH, required=True, help="trust.json to add the public half to.")
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650))
@as_json
def keys_new(
    path: Path, kid: str, roles: Sequence[str], person: str, issuer: str, trust: Path, days: int, as_json: bool
) -> None:
    """Make a person's key in PATH (mode 0600) and add its public half to the trust store."""
    now_s = int(time.time())
    signer = keyring.make_key(path, kid)
    entry = keyring.trust_entry(signer, [Role(role) for role in roles], person, now_s - 60, now_s + days * 86400)
    try:
        keyring.add_to_trust(trust, issuer, entry)
    except DcuError:
        path.unlink()  # a key that nobody trusts would only lie about
        raise
    _say(as_json, entry, f"{path}: key {kid} of {person}, may {' and '.join(roles)}; added to {trust}")


@keys.command("box")
@click.argument("path", type=_PATH)
@click.option("--public", type=_PATH, required=True, help="File for the public half, which the head-end keeps.")
@as_json
def keys_box(path: Path, public: Path, as_json: bool) -> None:
    """Make a box's receipt key in PATH (mode 0600)."""
    document = keyring.box_document(keyring.make_key(path))
    _write(public, json.dumps(document, sort_keys=True).encode("ascii") + b"\n")
    _say(as_json, document, f"{path}: receipt key {document['kid']}; public half in {public}")


@keys.command("show")
@click.argument("trust", type=_PATH)
@as_json
def keys_show(trust: Path, as_json: bool) -> None:
    """Who may do what."""
    store, now_s = TrustStore.load(trust), int(time.time())
    rows = [
        {
            "kid": key.kid,
            "person": key.person,
            "roles": sorted(role.value for role in key.roles),
            "state": "revoked" if key.revoked else "valid" if key.nbf <= now_s < key.exp else "out of date",
        }
        for key in store.keys.values()
    ]
    lines = [f"{row['person']} may {' and '.join(row['roles'])} with {row['kid']} ({row['state']})" for row in rows]
    _say(as_json, {"issuer": store.issuer, "keys": rows}, "\n".join([f"head-end {store.issuer}", *lines]))


@headend.command("policy")
@click.argument("source", type=_PATH)
@click.option("--out", type=_PATH, required=True)
@as_json
def policy_command(source: Path, out: Path, as_json: bool) -> None:
    """Make an unsigned policy from SOURCE, a JSON file with its members (without v and typ)."""
    members = parse(_read(source), Refusal.E_JSON)
    if not isinstance(members, dict):
        raise OperatorFault("not a JSON object", place=str(source))
    members = {name: value for name, value in members.items() if name not in {"v", "typ"}}
    members.setdefault("no_payment_mode_register", [])
    try:
        claims = policy_claims(**members)  # type: ignore[arg-type]
    except (TypeError, AttributeError, ValueError) as fault:
        raise CommandRefused(Refusal.E_SCHEMA, f"{source}: {fault}") from None
    _draft(claims, out, as_json)


@headend.command("command")
@click.argument("op", type=click.Choice([op.value for op in Operation]))
@click.argument("meter")
@click.option("--iss", required=True, help="Name of the head-end.")
@click.option("--dcu", required=True, help="Box that the command is for.")
@click.option("--jid", required=True, help="Its journal: the epoch in its state message and its batches.")
@click.option("--seq", type=int, help="Above all earlier ones of this meter; with connect and disconnect.")
@click.option("--why", type=click.Choice([why.value for why in Why]))
@click.option("--area")
@click.option("--pol", type=int, help="Version of the policy in force; with disconnect.")
@click.option("--expect", type=click.Choice([state.value for state in OutputState]))
@click.option("--text", help="Of a message.")
@click.option("--minutes", default=30, show_default=True, type=click.IntRange(1, 240), help="How long it may live.")
@click.option("--out", type=_PATH, required=True)
@as_json
def command_command(op: str, meter: str, minutes: int, out: Path, as_json: bool, **members: Any) -> None:
    """Make an unsigned command OP for METER."""
    now_s = int(time.time())
    members["why"] = Why(members["why"]) if members["why"] else None
    members["expect"] = OutputState(members["expect"]) if members["expect"] else None
    claims = command_claims(op=Operation(op), meter=meter, iat=now_s, exp=now_s + 60 * minutes, **members)
    _draft(claims, out, as_json)


@headend.command("show")
@click.argument("file", type=_PATH)
@as_json
def show_command(file: Path, as_json: bool) -> None:
    """Say what the document in FILE would do and who has signed it: to be read before signing."""
    envelope = _read(file)
    words, kids, claims = told(envelope), list(kids_of(envelope)), claims_of(payload_of(envelope))
    names = f"it bears the names {', '.join(kids)}; nothing of that is verified here"
    facts = {"told": words, "kids": kids, "digest": digest_of(envelope), "claims": claims}
    _say(as_json, facts, f"{file}: {words}; {names if kids else 'nobody has signed it'}")


@headend.command("sign")
@click.argument("file", type=_PATH)
@click.option("--key", type=_PATH, required=True, help="PEM file of the key.")
@click.option("--kid", required=True, help="Its name in the trust store.")
@as_json
def sign_command(file: Path, key: Path, kid: str, as_json: bool) -> None:
    """Add one signature to the document in FILE. Each person does this, with their own key."""
    envelope = _read(file)
    words = told(envelope)
    signed = sign(envelope, FileSigner.load(key, kid))
    _write(file, signed)
    _say(as_json, {"kid": kid, "told": words, "digest": digest_of(signed)}, f"{kid} signs: {words}")


@headend.command("verify")
@click.argument("file", type=_PATH)
@click.option("--box", type=_PATH, help="Public receipt key of the box: FILE is a receipt.")
@click.option("--trust", type=_PATH, help="Trust store: FILE is a command or a policy.")
@click.option("--of", "document", type=_PATH, help="The document that the receipt must be about.")
@as_json
def verify_command(file: Path, box: Path | None, trust: Path | None, document: Path | None, as_json: bool) -> None:
    """Verify a receipt, or the signatures of a document."""
    if (box is None) == (trust is None):
        raise click.UsageError("give --box for a receipt, or --trust for a document")
    octets = _read(file)
    if trust is not None:
        opened = open_envelope(octets, TrustStore.load(trust).keys, int(time.time()), {COMMAND, POLICY})
        _say(as_json, {"kids": list(opened.kids), "claims": opened.claims}, f"signed by {', '.join(opened.kids)}")
    elif box is not None:
        key = keyring.load_box_key(box)
        receipt = verify_receipt(octets, {key.kid: key})
        if document is not None and not receipt.answers(_read(document)):
            raise OperatorFault("a receipt of another document", place=str(file))
        words = f"{receipt.op} {receipt.meter}: {receipt.state} {receipt.code}".rstrip()
        _say(as_json, dict(receipt.claims), f"{words} (journal {receipt.jid}, {receipt.n}); signature of {key.kid}")


def _draft(claims: dict[str, Any], out: Path, as_json: bool) -> None:
    envelope = draft(claims)
    _write(out, envelope)
    words = told(envelope)
    _say(as_json, {"told": words, "digest": digest_of(envelope), "claims": claims}, f"{out}: {words}; not signed yet")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4 * MAX_OCTETS).strip()
    except OSError as fault:
        raise OperatorFault(f"cannot be read: {fault.strerror}", place=str(path)) from fault


def _write(path: Path, octets: bytes) -> None:
    try:
        path.write_bytes(octets)
    except OSError as fault:
        raise OperatorFault(f"cannot be written: {fault.strerror}", place=str(path)) from fault


for _command in (listen, send, pki):
    headend.add_command(_command)
