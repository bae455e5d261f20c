"""How much of the wire a backfill uses, in the line's own time."""

import pytest

from bench.backfill_line_use import backfill


@pytest.mark.parametrize(("info", "window"), [(2030, 1), (342, 7), (128, 7)])
def test_a_backfill_of_thirty_days_uses_nine_tenths_of_the_wire(info, window):
    use = backfill(info, window, turnaround_ms=50.0)
    assert use.rows == 2880
    assert use.ratio >= 0.90


def test_what_the_frames_of_the_defaults_cost():
    """The figure can fail: without windows a fifth of the wire is turnaround."""
    assert backfill(128, 1, turnaround_ms=50.0).ratio < 0.85


@pytest.mark.parametrize("baud", [1200, 2400, 9600, 19200])
@pytest.mark.parametrize("window", [1, 7])
def test_a_relay_errand_never_waits_longer_than_a_window(baud, window):
    """However much one answer holds: 8,000 octets of it are asked for at once, and the line is free in between."""
    use = backfill(2030, window, turnaround_ms=50.0, baud=baud, max_pdu=8000, days=2)
    assert use.rows == 192
    request_s = 120 * 10 / baud
    assert use.wait_s <= 2.5 + 7 * 16 * 10 / baud + request_s + 0.1
