"""A small share of `make proof`, and the safety page against the code's own table."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from dcu.command import LIFE, State
from tests.proof import city, report, vectors
from tests.proof.parts import WHERE, part
from tests.proof.run import Line, Run

OUTSIDE = {"wycheproof-ecdsa", "wycheproof-jws"}
needs_vectors = pytest.mark.skipif(bool(vectors.there()), reason=vectors.there() or "the vectors are there")


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_vectors if name in OUTSIDE else ()) for name in WHERE])
def test_a_share_of(name, tmp_path):
    lines = part(name)(Run(7, full=False, scratch=tmp_path))
    assert lines
    assert [line for line in lines if not line.good] == []


def test_all_cores_find_what_one_finds(tmp_path):
    alone, together = (Run(7, full, tmp_path) for full in (False, True))
    for n in (0, 1, 5):
        found = list(together.over(city.thief, n))
        assert found == list(alone.over(city.thief, n)) and len(found) == n


def test_the_life_is_drawn_from_the_table():
    drawn = report.life()
    for (before, event), after in LIFE.items():
        arrow = f"{before.value} --> {after.value}: {event.value}".replace(f": {event.value}", "").replace("-->", "@")
        assert f"    {arrow.replace('-', '_').replace('@', '-->')}: {event.value}" in drawn
    assert sum("-->" in line for line in drawn) == len(LIFE) + 3 + len(set(State) - {b for b, _ in LIFE})


def test_a_page_says_what_does_not_hold():
    line = Line("nobody is cut", "10 boxes", "1 | opened", good=False, notes=("because",))
    known = [{**vars_of(line), "part": "p", "seed": 1, "command": "c", "commit": "d", "machine": "m", "seconds": 2}]
    page = report.document(known)
    assert "\n\nNot yet tried in full: mutants, flips," in page
    assert "Not yet tried" not in report.document([known[0] | {"part": name} for name in WHERE])
    assert "| nobody is cut | 10 boxes | 1 / opened | **NO** | p |" in page and "- p: because" in page


def test_two_runs_at_once_lose_nothing_of_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "SAFETY.md")
    monkeypatch.setattr(report, "FIGURES", tmp_path / "safety.json")
    names = [f"p{n:02}" for n in range(40)]

    def keep(name):
        line = Line(f"claim of {name}", "1 box", "0 opened", good=True)
        report.keep(name, [line], order=names, seed=1, seconds=1.0, at="c0ffee")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, names))
    known = json.loads(report.FIGURES.read_text())
    assert [each["part"] for each in known] == names and {each["commit"] for each in known} == {"c0ffee"}
    assert all(f"claim of {name}" in report.table(known) for name in names)
    assert all(f"| claim of {name} |" in report.DOCUMENT.read_text() for name in names)


def vars_of(line):
    return {name: getattr(line, name) for name in line.__slots__}
