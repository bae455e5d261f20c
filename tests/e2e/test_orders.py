"""A whole box: meters that go and come by signed command while it runs, and are as commanded when it starts again."""

import time

from dcu.headend.keys import commissioning, key_claims, make_key, trust_entry
from dcu.mailbox import Stop
from dcu.relay.envelope import COMMAND, KEYS, seal
from dcu.relay.public_key import Role
from dcu.uplink.field_line import FieldLine
from dcu.wire.verbs import Put
from tests.e2e.conftest import SERIALS

ISS, BOX = "hes.test", "E2E-BOX"
ROLES = {"root-a": Role.ROOT, "root-b": Role.ROOT, "req": Role.REQUEST, "apr": Role.APPROVE}


class HeadEnd:
    """Its keys, and a hand on the box's socket in uplink's place."""

    def __init__(self, directory):
        self.path, self.n = directory / "run" / "uplink.sock", 0
        now_s = int(time.time())
        self.keys = {kid: make_key(directory / f"{kid}.pem", kid) for kid in ROLES}
        entries = [
            trust_entry(key, [ROLES[kid]], f"p-{kid}", now_s - 60, now_s + 86400) for kid, key in self.keys.items()
        ]
        claims = key_claims(iss=ISS, version=1, iat=now_s, exp=now_s + 86400, threshold=2, entries=entries)
        document = seal(claims, KEYS, [self.keys["root-a"], self.keys["root-b"]])
        trust = directory / "trust.json"
        trust.write_bytes(commissioning(ISS, 2, entries[:2], [document]))
        trust.chmod(0o644)

    def order(self, op, **more):
        """The box's verdict."""
        self.n += 1
        now_s = int(time.time())
        with FieldLine(self.path, BOX, Stop()) as line:
            claims = {"v": 1, "typ": "relay", "cmd_id": f"c-{self.n}", "op": op, "iss": ISS, "dcu": BOX}
            claims |= {"jid": line.welcome.epoch, "iat": now_s, "exp": now_s + 600} | more
            document = seal(claims, COMMAND, [self.keys["apr"], self.keys["req"]])
            return line.ask(Put(document, f"dcu/v1/{BOX}/cmd", 1, False))


def knows_the_time(config):
    """No time service is needed here: which meters are here is ordered of a box that knows the time."""
    text = config.read_text()
    config.write_text(text.replace("[uplink]", 'clock = "assumed"\n[uplink]', 1))


def test_a_meter_is_retired_and_added_again_while_the_box_runs_and_over_a_kill(box):
    head_end, gone = HeadEnd(box.directory), SERIALS[2]
    knows_the_time(box.directory / "dcu.toml")
    box.start()
    box.until(lambda: box.conditions().get(gone) == "ok", "the third meter is read")
    assert head_end.order("meter", meter=gone, change="retire").status == "accepted"
    assert sorted(box.conditions()) == sorted(SERIALS[:2])
    box.kill()
    box.start()
    box.until(lambda: sorted(box.conditions()) == sorted(SERIALS[:2]), "it is as commanded after a restart")
    place = {"bus": "pole", "address": 19, "model": "is15959-1ph", "area": "X"}
    assert head_end.order("meter", meter=gone, change="add", secrets="nobody", **place).code.value == "E_METER"
    assert head_end.order("meter", meter=gone, change="add", secrets=gone, **place).status == "accepted"
    box.until(lambda: box.conditions().get(gone) == "ok", "it is read again")
    box.stop()
