"""Any life of a meter: what it says is what its ledger says, and a meter on that ledger goes on where it ended."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.sim.axdr import i8, u16
from dcu.sim.events import EVENT_LOGS
from dcu.sim.kinds import KINDS
from dcu.sim.metrology import BILLING, BLOCK_LOAD, DAILY_LOAD
from tests.sim.sim_client import NOON, Clock, Talk, meter, plain, raw

LOGS = (BLOCK_LOAD, DAILY_LOAD, BILLING, *EVENT_LOGS)
HAPPENINGS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([1, 899, 900, 5_000, 90_000, 12 * 86_400])),
    st.tuples(st.just("happen"), st.sampled_from([1, 7, 8, 51, 201, 251])),
    st.tuples(st.just("power"), st.booleans()),
    st.tuples(st.just("clock"), st.sampled_from([-7_000, -100, 0, 100, 7_000, 3 * 86_400])),
    st.tuples(st.just("period"), st.sampled_from([900, 1_800, 3_600])),
    st.tuples(st.just("reset"), st.none()),
    st.tuples(st.just("switch"), st.sampled_from([1, 2])),
    st.tuples(st.just("upgrade"), st.sampled_from(["standard", "amended", "vendor"])),
)


def lives(virtual, clock, what, how):
    match what:
        case "pass":
            clock.at += how
            virtual.tick()
        case "happen":
            virtual.happen(how)
        case "power":
            (virtual.power_on if how else virtual.power_off)()
        case "clock":
            virtual.set_clock(how)
        case "period":
            virtual.set_period(how)
        case "upgrade":
            virtual.upgrade(f"V {how}", how)
        case _ if virtual.receive(b"", 0.0) == [] and not virtual._inside.powered:
            pass
        case "reset":
            assert Talk(virtual, 48).open().act(9, "0.0.10.0.1", 1, u16(1)) == 0
        case "switch" if virtual.config.kind != "3ph-ct":
            assert Talk(virtual, 48).open().act(70, "0.0.96.3.10", how, i8(0)) == 0


def says(virtual):
    """Each profile's rows over the wire, the present bill left out: it bears the present time."""
    talk = Talk(virtual, 32).open(pdu=0)
    found = {}
    for name in LOGS:
        rows = [raw(virtual, row) for row in plain(talk.get(7, name.removesuffix(".255")))]
        found[name] = rows[:-1] if name == BILLING else rows
    return found


@given(st.sampled_from(list(KINDS)), st.booleans(), st.lists(HAPPENINGS, max_size=20))
@settings(max_examples=30, deadline=None)
def test_any_life_is_told_and_remembered(kind, repeats, life):
    clock = Clock(NOON)
    with tempfile.TemporaryDirectory() as place:
        config = {"kind": kind, "ciphered": False, "repeats": repeats, "solar_w": 1_500.0, "event_entries": 8}
        virtual = meter(clock, Path(place), **config)
        for what, how in life:
            lives(virtual, clock, what, how)
        virtual.power_on()
        told = says(virtual)
        assert told == {name: virtual.rows(name) for name in LOGS}
        for name in (BLOCK_LOAD, DAILY_LOAD, BILLING):
            stamps = [row[0] for row in told[name]]
            assert repeats or name == BILLING or stamps == sorted(set(stamps)), "no moment twice"
        present = plain(Talk(virtual, 32).open(pdu=0).get(7, "1.0.98.1.0"))[-1]
        virtual.close()
        again = meter(clock, Path(place), **config)
        assert says(again) == told
        assert plain(Talk(again, 32).open(pdu=0).get(7, "1.0.98.1.0"))[-1] == present
        clock.at += 100_000
        again.tick()
        assert again.rows(BLOCK_LOAD)[-1][0] <= again.clock.now()
        again.close()
