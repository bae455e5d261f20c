"""The story of one command, told from its journal entries; what each state and code is in words."""

import pytest

from dcu.command import CommandRefused, OutputState, Refusal, State
from dcu.headend.chain import Entry
from dcu.headend.story import STATES, story, told_entry, told_receipt
from dcu.headend.telling import missing, rights
from dcu.reading import ClockState
from dcu.relay.canonical import canonical
from dcu.relay.key_document import TrustStore
from dcu.relay.public_key import Role, public_key
from dcu.relay.receipts import UNPROVEN, Account, ReadBack, seal_receipt
from tests.headend.judged import Judge
from tests.headend.test_signing_vectors import BOX, CASES, octets_of

from dcu.headend.keys import make_key  # isort: skip
from dcu.headend.receipts import verify_receipt  # isort: skip
from dcu.relay.envelope import payload_of  # isort: skip

AT = 1_795_419_000
CUT = payload_of(octets_of(CASES["a good disconnect"]))
NOBODY = ((), None, "", None, "")


def entry(n, state, *, kids=("app-1", "req-1"), clock="trusted", **more):
    account = Account(
        "command", "hes.vectors", "c-1", "disconnect", "GXT20931189", b"d" * 32, kids, state.value, **more
    )
    body = canonical({**account.claims, "kids": list(kids), "clock": clock})
    return Entry(n, AT + 60 * n, "command", body, bytes(32))


def people(kid):
    return {"app-1": "binod (app-1)", "req-1": "asha (req-1)"}[kid]


def test_a_disconnect_from_its_signatures_to_what_the_meter_showed():
    looks = [ReadBack(OutputState.DISCONNECTED)] * 2
    told = list(
        story(
            [entry(4, State.PENDING, pol=7), entry(5, State.DISPATCHED), entry(6, State.DONE, readback=looks, pol=7)],
            CUT,
            people,
        )
    )
    assert told[0].startswith("hes.vectors asked to disconnect meter GXT20931189 at VEC-0001, because of arrears")
    assert "case VEC-2026-88121" in told[0] and "permit P-2026-11-23" in told[0]
    assert told[0].endswith("signed by binod (app-1) and asha (req-1).")
    assert told[1] == (
        "2026-11-23 07:34:00 UTC: the box accepted it and let it wait: it could still be taken back [entry 4]."
    )
    assert told[2] == "Policy 7 was in force then."
    assert "never sent a second time [entry 5]" in told[3]
    assert "2026-11-23 07:36:00 UTC: it was carried out [entry 6]." in told[4]
    assert told[5] == "The meter was read back: output disconnected, then output disconnected."


def test_current_behind_a_relay_that_says_it_is_open_is_told():
    look = ReadBack(OutputState.DISCONNECTED, said={"millivolts": 234_100, "milliamperes": 4_200})
    reason = "current flows behind a relay that says it is open"
    told = list(story([entry(4, State.IN_DOUBT, readback=[look] * 2, reason=reason)], CUT, people))
    assert f"({reason})" in told[1]
    seen = "milliamperes 4200, millivolts 234100, output disconnected"
    assert told[2] == f"The meter was read back: {seen}, then {seen}."


def test_a_refusal_says_what_it_means_and_where_to_look():
    refused = entry(4, State.REFUSED, code=Refusal.E_WINDOW, reason="nobody is disconnected now, sun 19:30")
    told = list(story([refused], b"", people))  # its payload is not kept
    assert told[0] == "hes.vectors asked to disconnect GXT20931189, signed by binod (app-1) and asha (req-1)."
    assert "refused it with E_WINDOW: nobody is disconnected at that hour or on that day (nobody" in told[1]
    assert "look at: the policy's hours and closed days" in told[1]


def test_doubt_is_told_as_doubt():
    entries = [
        entry(4, State.ACCEPTED, clock="untrusted"),
        entry(5, State.DISPATCHED),
        entry(6, State.ACCEPTED, reason="the line was lost"),
        entry(7, State.DISPATCHED),
        entry(8, State.DONE_BY_READBACK, cause=UNPROVEN, readback=[ReadBack()]),
    ]
    told = "\n".join(story(entries, CUT, people))
    assert "(the clock was untrusted)" in told
    assert "surely nothing had been sent, and it waited again (the line was lost) [entry 6]" in told
    assert "who brought that about is not proven [entry 8]" in told
    assert "The meter was read back: could not be read." in told
    assert list(story([], b"", people)) == []


def test_every_state_has_its_words():
    assert {state.value for state in State} <= STATES.keys()


def test_one_line_of_the_journal_even_of_a_damaged_entry():
    line = told_entry(entry(6, State.REFUSED, code=Refusal.E_CAP, reason="3 in the hour"))
    assert "disconnect GXT20931189 c-1: refused E_CAP: 3 in the hour" in line
    assert "7" in told_entry(Entry(7, 1 << 60, "command", b"\xff", b""))


def test_a_receipt_is_told_with_code_reason_readbacks_and_policy(tmp_path):
    signer = make_key(tmp_path / "box.pem")
    keys = {signer.kid: public_key(signer.kid, signer.x, signer.y)}

    def receipt(state, **more):
        account = Account("command", "hes", "c", "connect", "GXT1", b"d" * 32, (), state, **more)
        sealed = seal_receipt(
            account, signer, dcu="D", jid="j", at_s=AT, clock=ClockState.TRUSTED, n=1, chain=bytes(32)
        )
        return told_receipt(verify_receipt(sealed, keys))

    assert receipt("done", readback=[ReadBack(OutputState.CONNECTED)], pol=7) == (
        "connect GXT1: done; read back output connected; policy 7"
    )
    assert receipt("refused", code=Refusal.E_SEQ, reason="seq 1 is not above 4") == (
        "connect GXT1: refused E_SEQ (its sequence number was used, or a later one was, or it is far too high), "
        "seq 1 is not above 4"
    )


# ---- who may do what ----

TRUST = Judge(BOX).trust


def test_who_may_do_what_in_words_valid_ones_first():
    lines = rights(TRUST, AT)
    assert len(lines) == len(TRUST.keys)
    assert (
        "billing (bil-1, administered by kamal) may until 2027-08-25 07:30 UTC: write payments, connect, and"
        in lines[2]
    )
    assert lines[-3:] == [
        "mohan (exp-1) may nothing any more: expired 2026-11-22 07:30 UTC",
        "nila (fut-1) may from 2026-11-24 07:30 UTC: request operations, and connect, freeze or cancel alone",
        "omar (rev-1) may nothing any more: revoked",
    ]


def without(*roles):
    keys = {kid: key for kid, key in TRUST.keys.items() if not key.roles & set(roles)}
    return missing(TrustStore("hes", keys), AT)


def test_what_nobody_can_do_is_said():
    assert missing(TRUST, AT) == []
    assert without(Role.ROOT) == ["nobody can change keys: 0 people hold valid root keys, and 2 sign"]
    assert without(Role.APPROVE) == ["no two independent people can request and approve an operation"]
    assert without(Role.POLICY) == ["no two independent people can make a policy that permits more"]
    assert without(Role.WITNESS) == ["no two independent people can ask for a prepaid disconnect"]
    assert without(Role.PERMIT) == ["nobody can permit a disconnect"]
    assert "no prepaid disconnect is permitted" in without(Role.PLANNER)[0]
    assert len(missing(TRUST, AT + 400 * 86400)) == 6  # all have expired
    one = {kid: key for kid, key in TRUST.keys.items() if kid in {"req-1", "app-asha", "bil-1", "wit-kamal"}}
    assert len(missing(TrustStore("hes", one), AT)) == 6  # one person, one administrator


def test_a_damaged_payload_does_not_stop_the_story():
    with pytest.raises(CommandRefused):
        payload_of(b"{}")
    assert next(iter(story([entry(1, State.REFUSED)], b"\xff", people))).startswith("hes.vectors asked to disconnect")
