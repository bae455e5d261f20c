"""README's "Send it a command", word for word: a shell expands it, the kit runs it, only the broker is left out."""

import json
import subprocess
from pathlib import Path

from click.testing import CliRunner

from dcu.cli import main
from dcu.cli.headend_keys import keys_show
from dcu.headend.receipts import digest_of
from dcu.reading import ClockState
from dcu.relay.canonical import from_base64url
from dcu.relay.key import load_signer
from dcu.relay.receipts import Account, seal_receipt

ROOT = Path(__file__).parents[2]
RECORD = r"""dcu() { printf '%s\037' "$@" >> calls; echo >> calls; }"""
BROKER = (" listen ", " send ", "HES=")


def script():
    """The indented lines of the section, without those that need a broker and those that are answers."""
    section = (ROOT / "README.md").read_text().split("## Send it a command")[1].split("\n##")[0]
    lines = [line for line in section.replace("\\\n", "").splitlines() if line.startswith("    ")]
    return [line.strip() for line in lines if not any(word in line for word in BROKER) and ": done" not in line]


def calls(directory):
    subprocess.run(["bash", "-ec", "\n".join([RECORD, *script()])], cwd=directory, check=True, timeout=60)
    return [line.split("\x1f")[:-1] for line in (directory / "calls").read_text().splitlines()]


def answers(signer, n, kind, state, digest=b"", **more):
    """A receipt as the box would give it."""
    account = Account(kind, "hes.ranchi", "", kind, "", digest, (), state, pol=1, more=more)
    clock = ClockState.TRUSTED
    return seal_receipt(
        account, signer, dcu="JH-RNC-0042", jid="3bc5135d110ca306", at_s=1, clock=clock, n=n, chain=bytes([n]) * 32
    )


def test_every_line_does_what_the_text_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        result = CliRunner().invoke(main, list(words))
        assert result.exit_code == 0, (words, result.output)
        return result.output

    wanted = calls(tmp_path)
    assert len(wanted) >= 20 and all(words[0] == "headend" for words in wanted)
    run("headend", "keys", "box", "receipt.key", "--public", "JH-RNC-0042.json")
    signer = load_signer(tmp_path / "receipt.key")
    (tmp_path / "lease.jws").write_bytes(answers(signer, 1, "lease", "given-out", lease="L-" + "0" * 24))
    told = []
    for words in wanted:
        if "receipt.jws" in words:
            digest = from_base64url(digest_of((tmp_path / "cut.jws").read_bytes()))
            (tmp_path / "receipt.jws").write_bytes(answers(signer, 2, "command", "done", digest))
        told.append(run(*words))
    claims = json.loads(run("headend", "show", "cut.jws", "--json"))
    assert claims["kids"] == ["asha-req", "binod-app"]
    assert claims["claims"]["lease"] == "L-" + "0" * 24 and claims["claims"]["pol"] == 1
    run("headend", "verify", "cut.jws", "--trust", "trust.json")
    assert "hari (hari-per) may until" in CliRunner().invoke(keys_show, ["trust.json"]).output
    assert len(json.loads((tmp_path / "trust.json").read_text())["documents"]) == 2
