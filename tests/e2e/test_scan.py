"""`dcu scan` and `dcu read` beside the running field process: the line is borrowed and given back."""

from tests.e2e.conftest import SERIALS


def test_a_scan_borrows_the_line_of_the_running_box(box):
    box.start()
    answer = box.dcu("scan", "pole", "--addresses", "16-21", "--answer-ms", "400")
    found = {each["address"]: each for each in answer["found"]}
    assert {address: each["serials"] for address, each in found.items()} == {
        17 + n: [serial] for n, serial in enumerate(SERIALS)
    }
    assert all(each["configured"] for each in found.values())
    assert answer["config"] == ""
    held = box.held(SERIALS[0])
    box.until(lambda: box.held(SERIALS[0]) > held, "polling after the scan")
    [clock] = box.dcu("read", SERIALS[1], "clock")
    assert abs(clock["ahead_s"]) < 120
    box.stop()


def test_the_same_scan_without_a_running_box(box):
    answer = box.dcu("scan", "pole", "--addresses", "17-18", "--answer-ms", "400")
    assert [each["serials"] for each in answer["found"]] == [[SERIALS[0]], [SERIALS[1]]]
    assert "no bus 'south'" in box.dcu("scan", "south", code=1)
