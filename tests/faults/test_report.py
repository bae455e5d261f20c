"""What a run writes down of itself: its commit, and rows beside those of other runs."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults import report
from tests.faults.report import Line


def line(row):
    return Line(row, "fault", "injection", "once", 0, 0, "at once", good=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "docs" / "RELIABILITY.md")
    monkeypatch.setattr(report, "FIGURES", tmp_path / "docs" / "reliability.json")
    return tmp_path


def git(directory, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True)


def test_what_runs_write_makes_no_other_commit_of_it_and_anything_else_does(checkout):
    git(checkout, "init", "-q")
    (checkout / "box.py").write_text("1\n")
    report.keep(1, [line(1)], seed=1, command="c", of_commit="x", seconds=1.0)
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "all")
    clean = report.commit()
    report.keep(2, [line(2)], seed=1, command="c", of_commit=clean, seconds=1.0)
    assert report.commit() == clean
    (checkout / "box.py").write_text("2\n")
    assert report.commit() == f"{clean}-dirty"


def test_rows_that_end_at_once_are_all_kept(checkout):
    def keep(row):
        report.keep(row, [line(row)], seed=1, command="c", of_commit="x", seconds=1.0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(1, 41)))
    assert [each["row"] for each in json.loads(report.FIGURES.read_text())] == list(range(1, 41))


def test_a_row_that_is_run_again_takes_the_place_of_the_former(checkout):
    report.keep(5, [line(5), line(5)], seed=1, command="c", of_commit="x", seconds=1.0)
    report.keep(5, [line(5)], seed=2, command="c", of_commit="y", seconds=1.0)
    assert [(each["seed"], each["commit"]) for each in json.loads(report.FIGURES.read_text())] == [(2, "y")]
    assert report.DOCUMENT.read_text().count("| 5 | fault |") == 1
