"""What the box says of a command it lived through: its receipts, and the story that its journal tells."""

from dcu.headend.chain import Entry
from dcu.headend.story import story
from dcu.relay.envelope import payload_of
from tests.relay.world import METER, REQUEST, box


def entries(world, cmd_id):
    rows = [Entry(n, at_s, kind, body, b"") for n, (at_s, kind, body) in enumerate(world.store.rows.journal, 1)]
    return [row for row in rows if row.text("cmd_id") == cmd_id]


def test_receipts_carry_readbacks_policy_and_reason_and_the_journal_tells_the_same():
    with box() as world:
        world.wall[METER].connected, world.wall[METER].control = False, 0
        done = world.command("connect", cmd_id="c-done")
        world.put(done)
        world.put(world.command("disconnect", signers=(REQUEST,), cmd_id="c-refused"))
        by_id = {receipt.cmd_id: receipt for receipt in world.receipts() if receipt.kind == "command"}
        assert by_id["c-refused"].code == "E_QUORUM"
        assert [look["output"] for look in by_id["c-done"].claims["readback"]] == ["connected", "connected"]
        assert "request and approve" in by_id["c-refused"].claims["reason"]
        assert [receipt.claims["pol"] for receipt in world.receipts() if receipt.kind == "command"] == [1, 1, 1]
        told = "\n".join(story(entries(world, "c-done"), payload_of(done), str))
        assert f"asked to connect meter {METER}" in told and "signed by req-1." in told
        assert "never sent a second time" in told and "The meter was read back: control 1, output connected" in told
        told = "\n".join(story(entries(world, "c-refused"), b"", str))
        assert "refused it with E_QUORUM: it is not signed by those who may" in told
