"""The truth that a run is judged by: what befalls a place on the line befalls the meter that hangs there then."""

from pathlib import Path

import pytest

from tests.soak.faults import DAY_S, HOUR_S, Fault, FaultKind
from tests.soak.run import run_line, scratch
from tests.soak.scenario import Scenario
from tests.soak.world import World

SWAP = Fault(FaultKind.REPLACED, 6 * HOUR_S, HOUR_S, 0)


def one_meter(*faults):
    return Scenario(1, days=1.0, meters=1, period_s=900, faults=faults)


def test_outages_before_and_after_a_replacement_belong_to_two_meters():
    first, second = (Fault(FaultKind.METER_OFF, hour * HOUR_S, 2 * HOUR_S, 0) for hour in (2, 10))
    verdict = run_line(one_meter(first, SWAP, second)).verdict
    assert verdict.mistakes == []
    assert verdict.intervals["meter off"] == 16


@pytest.mark.parametrize("kind", [FaultKind.HUNG, FaultKind.SLOW])
def test_a_mute_place_is_mute_with_another_meter_too(kind):
    with scratch() as name:
        world = World(Path(name), one_meter(Fault(kind, 5 * HOUR_S, 4 * HOUR_S, 0, 1.0), SWAP))
        world.time.pass_to(DAY_S)
        world.close()
    assert [life.mute for life in world.lives] == [[(5 * HOUR_S, 9 * HOUR_S)]] * 2
    assert [life.known_s for life in world.lives] == [0.0, 7 * HOUR_S]
