"""`dcu headend keys`: keys, key documents, and the trust.json that a box is commissioned with."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import as_json
from dcu.cli.headend_files import PATH, Kit, answer, out_option, put_draft, read_file
from dcu.command import CommandRefused, Refusal
from dcu.errors import ConfigFault, DcuError
from dcu.headend import keys as keyring
from dcu.headend.telling import rights, told_key
from dcu.relay.canonical import parse
from dcu.relay.envelope import POLICY, claims_of, open_envelope, payload_of
from dcu.relay.key_document import TrustStore, open_key_document, read_entry, read_key_document, vet_key_document
from dcu.relay.policy.floor import DAY_S
from dcu.relay.public_key import Role
from dcu.relay.trust import Commissioning

_ROLES = click.Choice([role.value for role in keyring.GIVEN_ROLES])
_DAYS = click.IntRange(1, 3650)

_kid = click.option("--kid", required=True, help="Name of the key.")
_roles = click.option("--role", "roles", multiple=True, required=True, type=_ROLES, help="What it may do; repeatable.")
_person = click.option("--person", required=True, help="Who holds it; two keys of one person are one voice.")
_admin = click.option("--admin", default="", help="Who administers it; of a system: billing, witness, planner.")
_days = click.option("--days", default=365, show_default=True, type=_DAYS, help="How long it holds.")
_public = click.option("--public", type=PATH, required=True, help="File for the public half, for a key document.")
_add = click.option("--add", "added", multiple=True, type=PATH, help="File of a public half; repeatable.")


@click.group(cls=Kit)
def keys() -> None:
    """Make keys, and the documents that say who may do what. Private halves stay in files of their owner."""


@keys.command("new")
@click.argument("path", type=PATH)
@_kid
@_roles
@_person
@_admin
@_days
@_public
@as_json
def keys_new(
    path: Path, kid: str, roles: Sequence[str], person: str, admin: str, days: int, public: Path, as_json: bool
) -> None:
    """Make somebody's key in PATH (mode 0600); the public half goes into the next key document."""
    now_s = int(time.time())
    signer = keyring.make_key(path, kid)
    try:
        kinds = [Role(role) for role in roles]
        entry = keyring.trust_entry(signer, kinds, person, now_s - 60, now_s + days * DAY_S, admin=admin)
        _put(public, entry)
    except DcuError:
        path.unlink()  # a key that nobody can admit would only lie about
        raise
    _told_entry(entry, f"{path}: key {kid}; its public half in {public}", as_json=as_json)


@keys.command("admit")
@click.argument("pem", type=PATH)
@_kid
@_roles
@_person
@_admin
@_days
@_public
@as_json
def keys_admit(
    pem: Path, kid: str, roles: Sequence[str], person: str, admin: str, days: int, public: Path, as_json: bool
) -> None:
    """Take a public key that a hardware module exported (PEM, P-256) for a key document."""
    now_s = int(time.time())
    key = keyring.public_half(read_file(pem), kid)
    kinds = [Role(role) for role in roles]
    entry = keyring.trust_entry(key, kinds, person, now_s - 60, now_s + days * DAY_S, admin=admin)
    _put(public, entry)
    _told_entry(entry, f"{public}: public half of {kid}", as_json=as_json)


@keys.command("box")
@click.argument("path", type=PATH)
@click.option("--public", type=PATH, required=True, help="File for the public half, which the head-end keeps.")
@as_json
def keys_box(path: Path, public: Path, as_json: bool) -> None:
    """Make a box's receipt key in PATH (mode 0600)."""
    document = keyring.box_document(keyring.make_key(path))
    _put(public, document)
    answer(document, f"{path}: receipt key {document['kid']}; public half in {public}", as_json=as_json)


@keys.command("document")
@click.option("--iss", required=True, help="Name of the head-end.")
@click.option("--threshold", default=2, show_default=True, help="How many people with root keys sign the next one.")
@_add
@_days
@out_option
@as_json
def keys_document(iss: str, threshold: int, added: Sequence[Path], days: int, out: Path, as_json: bool) -> None:
    """Make the first key document, unsigned: all keys, roots among them. Roots sign it, each by themselves."""
    now_s = int(time.time())
    entries = [keyring.load_entry(path) for path in added]
    claims = keyring.key_claims(
        iss=iss, version=1, iat=now_s, exp=now_s + days * DAY_S, threshold=threshold, entries=entries
    )
    put_draft(claims, out, as_json=as_json)


@keys.command("rotate")
@click.argument("document", type=PATH)
@_add
@click.option("--revoke", multiple=True, help="Kid that may sign nothing any more; repeatable.")
@click.option("--threshold", type=int, help="Of the next one; by default as before.")
@_days
@out_option
@as_json
def keys_rotate(
    document: Path,
    added: Sequence[Path],
    revoke: Sequence[str],
    threshold: int | None,
    days: int,
    out: Path,
    as_json: bool,
) -> None:
    """Make the key document that follows DOCUMENT, unsigned: keys added, keys revoked, one version up.

    Where it changes the roots, a threshold of the old ones and a threshold of the new ones sign it.
    """
    now_s = int(time.time())
    old = claims_of(payload_of(read_file(document)))
    entries = [keyring.load_entry(path) for path in added]
    claims = keyring.revised(old, iat=now_s, exp=now_s + days * DAY_S, add=entries, revoke=revoke, threshold=threshold)
    put_draft(claims, out, as_json=as_json)


@keys.command("revoke")
@click.argument("document", type=PATH)
@click.argument("kids", nargs=-1, required=True)
@_days
@out_option
@as_json
@click.pass_context
def keys_revoke(ctx: click.Context, document: Path, kids: Sequence[str], days: int, out: Path, as_json: bool) -> None:
    """Make the key document that follows DOCUMENT and in which KIDS may sign nothing any more, unsigned."""
    ctx.invoke(
        keys_rotate, document=document, added=(), revoke=kids, threshold=None, days=days, out=out, as_json=as_json
    )


@keys.command("commission")
@click.argument("trust", type=PATH)
@click.option("--iss", required=True, help="Name of the head-end.")
@click.option("--threshold", default=2, show_default=True, help="How many people with root keys sign a key document.")
@click.option("--root", "roots", multiple=True, required=True, type=PATH, help="Public half of a root; repeatable.")
@click.option("--document", "documents", multiple=True, type=PATH, help="Signed key document, then policy; repeatable.")
@as_json
def keys_commission(
    trust: Path, iss: str, threshold: int, roots: Sequence[Path], documents: Sequence[Path], as_json: bool
) -> None:
    """Write TRUST, the trust.json that whoever commissions a box puts there: its roots, and its first documents."""
    entries = [keyring.load_entry(path) for path in roots]
    octets = keyring.commissioning(iss, threshold, entries, [read_file(path) for path in documents])
    store, kept = _in_force(Commissioning.parse(octets, str(trust)), int(time.time()))
    keyring.write_public(trust, octets)
    words = f"{trust}: {len(entries)} roots of {iss}, {threshold} of them sign; {kept}"
    answer({"issuer": iss, "threshold": threshold, "keys": sorted(store.keys)}, words, as_json=as_json)


@keys.command("show")
@click.argument("file", type=PATH)
@as_json
def keys_show(file: Path, as_json: bool) -> None:
    """Who may do what by a trust.json, a key document, or one public half, in words."""
    now_s = int(time.time())
    store = _shown(file, now_s)
    lines = [f"head-end {store.issuer}, version {store.version}: any {store.threshold} roots sign the next one"]
    rows = [
        {
            "kid": key.kid,
            "person": key.person,
            "admin": key.admin,
            "roles": sorted(role.value for role in key.roles),
            "words": told_key(key, now_s),
        }
        for key in store.keys.values()
    ]
    facts = {"issuer": store.issuer, "version": store.version, "threshold": store.threshold, "keys": rows}
    answer(facts, "\n".join([*lines, *rights(store, now_s)]), as_json=as_json)


def _shown(file: Path, now_s: int) -> TrustStore:
    octets = read_file(file)
    try:
        members = parse(octets, Refusal.E_JSON, depth=6)
    except CommandRefused as fault:
        raise ConfigFault(fault.cause, place=str(file)) from None
    if isinstance(members, dict) and members.keys() == {"payload", "signatures"}:
        return read_key_document(claims_of(payload_of(octets)))
    if isinstance(members, dict) and "kid" in members:
        key = read_entry(members, "entry")
        return TrustStore("", {key.kid: key})
    return _in_force(Commissioning.load(file), now_s)[0]


def _in_force(commissioned: Commissioning, now_s: int) -> tuple[TrustStore, str]:
    """The trust store that a new box takes from it, and its documents in words. Raises CommandRefused."""
    store, told = commissioned.root, []
    for document in commissioned.documents:
        kind = claims_of(payload_of(document)).get("typ")
        if kind == "keys":
            candidate, opened = open_key_document(store, document, now_s)
            vet_key_document(store, candidate, opened, now_s, above=0)
            store = candidate
            told.append(f"key document {candidate.version} signed by {', '.join(opened.kids)}")
        else:
            opened = open_envelope(document, store.keys, now_s, {POLICY})
            told.append(f"policy signed by {', '.join(opened.kids)}")
    return store, "; ".join(told) or "no documents yet: nobody but the roots is known"


def _put(path: Path, members: dict[str, Any]) -> None:
    keyring.write_public(path, json.dumps(members, sort_keys=True).encode("ascii") + b"\n")


def _told_entry(entry: dict[str, Any], words: str, *, as_json: bool) -> None:
    line = told_key(read_entry(entry, "entry"), int(time.time()))
    answer(entry, f"{words}\n{line}, once a key document that roots have signed names it", as_json=as_json)
