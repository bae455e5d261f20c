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
