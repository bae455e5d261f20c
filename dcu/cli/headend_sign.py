"""`dcu headend show`, `sign`, `verify`, `trace`: a document, its signatures, and what the box answered."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dcu.cli.answers import EXIT_REFUSED, as_json, give_up
from dcu.cli.headend_files import PATH, answer, read_file, write_file
from dcu.errors import OperatorFault
from dcu.headend import keys as keyring
from dcu.headend.external import ExternalSigner, Gets
from dcu.headend.heads import BEHIND, Forked, Heads
from dcu.headend.receipts import Receipt, digest_of, verify_receipt
from dcu.headend.records import entries_of
from dcu.headend.signing import TYPS, sign, signing_input
from dcu.headend.story import told_receipt
from dcu.headend.telling import told
from dcu.relay.envelope import Signer, claims_of, kids_of, open_envelope, payload_of
from dcu.relay.key import FileSigner
from dcu.relay.key_document import TrustStore, open_key_document, read_entry, read_key_document
from dcu.relay.public_key import PublicKey
from dcu.relay.trust import Commissioning


@click.command("show")
@click.argument("file", type=PATH)
@as_json
def show(file: Path, as_json: bool) -> None:
    """Say what the document in FILE would do and who has signed it: to be read before signing."""
    envelope = read_file(file)
    words, kids, claims = told(envelope), list(kids_of(envelope)), claims_of(payload_of(envelope))
    names = f"it bears the names {', '.join(kids)}; nothing of that is verified here"
    facts = {"told": words, "kids": kids, "digest": digest_of(envelope), "claims": claims}
    answer(facts, f"{file}: {words}; {names if kids else 'nobody has signed it'}", as_json=as_json)


@click.command("sign")
@click.argument("file", type=PATH)
@click.option("--key", type=PATH, help="PEM file of the key.")
@click.option("--signer", "tool", help="Command that signs instead, such as a hardware module's; see below.")
@click.option(
    "--signer-gets",
    "gets",
    type=click.Choice([each.value for each in Gets]),
    default=Gets.DIGEST.value,
    show_default=True,
    help="What the command is given: the SHA-256 digest, or the message that it digests itself.",
)
@click.option("--public", type=PATH, help="With --signer: the key's public half, as `dcu headend keys admit` wrote it.")
@click.option("--kid", help="Name of the key in the key document; with --public it is known.")
@as_json
def sign_command(
    file: Path, key: Path | None, tool: str | None, gets: str, public: Path | None, kid: str | None, as_json: bool
) -> None:
    r"""Add one signature to the document in FILE. Each person does this, with their own key.

    \b
    --signer "openssl pkeyutl -sign -inkey asha.pem"
    --signer "pkcs11-tool --sign -m ECDSA --id 01 -i {input} -o {output}"
    --signer "openssl dgst -sha256 -sign asha.pem" --signer-gets message

    The command gets its input on standard input or in the file {input}, and gives the signature on standard output or
    in the file {output}: DER or r || s, as octets, hex or base64. It is taken only where it verifies with --public.
    """
    envelope = read_file(file)
    words = told(envelope)
    signer = _signer(envelope, key, tool, Gets(gets), public, kid)
    signed = sign(envelope, signer)
    write_file(file, signed)
    facts = {"kid": signer.kid, "kids": list(kids_of(signed)), "told": words, "digest": digest_of(signed)}
    answer(facts, f"{signer.kid} signs: {words}", as_json=as_json)


def _signer(
    envelope: bytes, key: Path | None, tool: str | None, gets: Gets, public: Path | None, kid: str | None
) -> Signer:
    if (key is None) == (tool is None):
        raise click.UsageError("give --key, or --signer")
    if tool is None and key is not None:
        if not kid:
            raise click.UsageError("give --kid")
        return FileSigner.load(key, kid)
    if public is None:
        raise click.UsageError("give --public with --signer")
    half = read_entry(keyring.load_entry(public), "entry")
    if kid and kid != half.kid:
        raise click.UsageError(f"{public} is of {half.kid}")
    return ExternalSigner(half.kid, str(tool), half, signing_input(envelope, half.kid), gets)


@click.command("verify")
@click.argument("file", type=PATH)
@click.option("--box", type=PATH, help="Public receipt key of the box: FILE is a receipt.")
@click.option("--trust", type=PATH, help="trust.json or key document: FILE is a document.")
@click.option("--of", "document", type=PATH, help="The document that the receipt must be about.")
@click.option("--state", type=PATH, help="File of the heads of the boxes' journals; made and kept here.")
@click.option("--new-journal", is_flag=True, help="With --state: the box has begun another journal, and that is right.")
@as_json
def verify(
    file: Path,
    box: Path | None,
    trust: Path | None,
    document: Path | None,
    state: Path | None,
    new_journal: bool,
    as_json: bool,
) -> None:
    """Verify a receipt, or the signatures of a document.

    With --state a receipt is refused whose journal does not descend from what was known of that box: a card that was
    restored, copied or written to. The file also knows each box's lease and policy for `dcu headend command --state`.
    """
    if (box is None) == (trust is None):
        raise click.UsageError("give --box for a receipt, or --trust for a document")
    octets = read_file(file)
    if trust is not None:
        _verify_document(octets, trust, as_json=as_json)
        return
    if box is None:
        return
    key = keyring.load_box_key(box)
    receipt = verify_receipt(octets, {key.kid: key})
    if document is not None and not receipt.answers(read_file(document)):
        raise OperatorFault("a receipt of another document", place=str(file))
    if state is not None:
        _note(receipt, state, new_journal=new_journal)
    words = f"{told_receipt(receipt)} (journal {receipt.jid}, {receipt.n}); signature of {key.kid}"
    answer(dict(receipt.claims), words, as_json=as_json)


def _note(receipt: Receipt, state: Path, *, new_journal: bool) -> None:
    heads = Heads.load(state)
    try:
        heads.note(receipt, new_journal=new_journal)
    except Forked as fault:
        give_up(fault, EXIT_REFUSED)
    heads.save(state)
    known = heads.boxes[receipt.dcu]
    if receipt.kind == "lease" and known.behind:
        give_up(
            OperatorFault(f"nothing is signed for this lease yet: {known.behind}", place=receipt.dcu, cure=BEHIND),
            EXIT_REFUSED,
        )


def _verify_document(octets: bytes, trust: Path, *, as_json: bool) -> None:
    now_s = int(time.time())
    claims = claims_of(payload_of(octets))
    if claims.get("typ") == "keys":
        candidate, opened = open_key_document(_roots(trust), octets, now_s)
        facts: Mapping[str, Any] = {"kids": list(opened.kids), "claims": claims, "version": candidate.version}
    else:
        opened = open_envelope(octets, _keys(trust), now_s, set(TYPS.values()))
        facts = {"kids": list(opened.kids), "claims": opened.claims}
    answer(facts, f"signed by {', '.join(opened.kids)}: {told(octets)}", as_json=as_json)


def _roots(path: Path) -> TrustStore:
    octets = read_file(path)
    if octets.startswith(b'{"payload"'):
        return read_key_document(claims_of(payload_of(octets)))
    return Commissioning.load(path).root


def _keys(path: Path) -> Mapping[str, PublicKey]:
    """Keys by a key document, or by what a trust.json brings; whether roots have signed that is not asked here."""
    octets = read_file(path)
    if octets.startswith(b'{"payload"'):
        return read_key_document(claims_of(payload_of(octets))).keys
    commissioned = Commissioning.load(path)
    keys = dict(commissioned.root.keys)
    for document in commissioned.documents:
        claims = claims_of(payload_of(document))
        if claims.get("typ") == "keys":
            keys = dict(read_key_document(claims).keys)
    return keys


@click.command("trace")
@click.argument("journal", type=PATH)
@click.option("--dcu", required=True, help="Box that it is of.")
@click.option("--state", type=PATH, required=True, help="File of the heads of the boxes' journals.")
@as_json
def trace(journal: Path, dcu: str, state: Path, as_json: bool) -> None:
    """Walk a box's whole journal (from `dcu journal --jsonl`): every head that it ever told of must lie on it."""
    heads = Heads.load(state)
    jid, entries = entries_of(journal)
    try:
        last, met = heads.trace(dcu, jid, entries)
    except Forked as fault:
        give_up(fault, EXIT_REFUSED)
    heads.save(state)
    facts = {"dcu": dcu, "jid": jid, "last": last, "heads": met}
    answer(facts, f"{dcu}: {last} entries, one chain; all {met} known heads lie on it", as_json=as_json)
