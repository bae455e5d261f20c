"""`dcu headend` as people use it: keys of their owners in a directory, commands run one after another."""

import json

from click.testing import CliRunner

from dcu.cli.headend import headend

ISS, DCU, JID, METER, AREA = "hes.ranchi", "JH-RNC-0042", "3bc5135d110ca306", "GXT20931188", "JH-RNC"
LEASE = "L-000102030405060708090a0b"

PEOPLE = {
    "root-a": ("root", "esha"),
    "root-b": ("root", "farid"),
    "req": ("request", "asha"),
    "app": ("approve", "binod"),
    "pol-a": ("policy", "chitra"),
    "pol-b": ("policy", "devi"),
    "per": ("permit", "hari"),
}


class Kit:
    """Runs commands in `directory`."""

    def __init__(self, directory):
        self.directory = directory
        for kid, (role, person) in PEOPLE.items():
            self.new(kid, role, person)

    def __call__(self, *words, code=0):
        result = CliRunner().invoke(headend, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result.output

    def json(self, *words, code=0):
        return json.loads(self(*words, "--json", code=code))

    def new(self, kid, role, person, *more, code=0):
        named = ("--kid", kid, "--role", role, "--person", person, "--public", f"{kid}.json")
        return self("keys", "new", f"{kid}.pem", *named, *more, code=code)

    def sign(self, file, *kids):
        for kid in kids:
            self("sign", file, "--key", f"{kid}.pem", "--kid", kid)

    def command(self, op, *words, out="cmd.jws", code=0):
        return self("command", op, *words, "--iss", ISS, "--dcu", DCU, "--jid", JID, "--out", out, code=code)

    def read(self, name):
        return (self.directory / name).read_bytes()

    def key_document(self, out="keys.jws", kids=tuple(PEOPLE)):
        added = [word for kid in kids for word in ("--add", f"{kid}.json")]
        self("keys", "document", "--iss", ISS, *added, "--out", out)
        self.sign(out, "root-a", "root-b")
