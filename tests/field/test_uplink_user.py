"""Who may connect to `uplink.sock` on a box where uplink runs as a user of its own."""

import os
from pathlib import Path

import pytest

from dcu.errors import ConfigFault
from dcu.field.main import uplink_uids


@pytest.mark.parametrize(("named", "more"), [("", set()), ("0", {0}), ("root", {0}), ("65001", {65001})])
def test_our_own_user_and_the_one_that_the_unit_names(monkeypatch, named, more):
    monkeypatch.setenv("DCU_UPLINK_USER", named)
    assert uplink_uids() == {os.getuid()} | more


def test_a_user_that_is_not_there_is_told_at_once(monkeypatch):
    monkeypatch.setenv("DCU_UPLINK_USER", "nobody-of-that-name")
    with pytest.raises(ConfigFault, match="no user 'nobody-of-that-name'") as fault:
        uplink_uids()
    assert fault.value.place == "DCU_UPLINK_USER" and "useradd" in fault.value.cure


def test_the_units_run_as_two_users_so_that_uplink_can_read_no_meter_key():
    units = Path(__file__).parents[2] / "systemd"
    field, uplink = ((units / f"dcu-{name}.service").read_text().splitlines() for name in ("field", "uplink"))
    assert "User=dcu" in field and "Environment=DCU_UPLINK_USER=dcu-uplink" in field
    assert "User=dcu-uplink" in uplink and "Group=dcu" in uplink
