"""The moment before which no true time is: field tells it, and uplink judges the broker's certificate by it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dcu.errors import SessionLost, SocketFault
from dcu.mailbox import Stop
from dcu.uplink.diagnosis import Endpoint
from dcu.uplink.publisher import Dials, Publisher
from dcu.wire.verbs import LAST_SECOND, Welcome, to_answer, to_message
from tests.uplink.world import DCU, Field

LATER = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize("floor", [LATER, datetime(2026, 11, 1, tzinfo=UTC)])
def test_uplink_judges_certificates_by_the_floor_of_field(tmp_path, mocker, floor):
    judged_by = []

    def open_(_endpoint, _terms, _post, now):
        judged_by.append(now())
        stop.set()
        raise SessionLost("far enough")

    mocker.patch("dcu.uplink.publisher.Session.open", side_effect=open_)
    field, stop = Field(tmp_path), Stop()
    field.socket._room = replace(field.socket._room, floor=lambda: floor)
    try:
        publisher = Publisher(
            field.path,
            DCU,
            Endpoint("localhost", 8883, *[tmp_path / "no file"] * 3),
            Dials(),
            lambda _: None,
            stop,
            lambda: None,
        )
        publisher.run()
    finally:
        field.close()
    assert judged_by[0] >= floor
    assert judged_by[0] - max(floor, datetime.now(UTC)) < timedelta(minutes=5)


def test_the_floor_travels_and_is_bounded():
    welcome = Welcome(DCU, "e", "1", floor=int(LATER.timestamp()))
    assert to_answer(to_message(welcome)) == welcome
    for wrong in (-1, LAST_SECOND + 1, 1.5, None, True):
        with pytest.raises(SocketFault, match="floor"):
            to_answer(to_message(welcome) | {"floor": wrong})
