"""The rules of the house that no linter knows."""

import ast
import inspect
import subprocess
from pathlib import Path

import pytest

from dcu import errors
from dcu.command import Warrant
from dcu.errors import DcuError, Fate

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dcu"
SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_file_and_function_sizes(path):
    text = path.read_text()
    assert text.count("\n") <= 350 or "reason for its length:" in text.lower(), "over 350 lines without a reason in it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is over 60 lines"


def test_every_error_names_its_fate_and_says_what_happens_next():
    classes = [
        c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, DcuError) and c is not DcuError
    ]
    assert len(classes) > 20
    for cls in classes:
        assert isinstance(cls.fate, Fate), cls
        assert cls.__doc__ and len(cls.__doc__) > 40, f"{cls.__name__} does not say its fate"


def test_an_error_names_place_cause_and_cure():
    fault = errors.BusFault("no such port", place="/dev/ttyUSB0", cure="plug the adapter in")
    assert str(fault) == "/dev/ttyUSB0: no such port; plug the adapter in"


def test_nobody_else_can_define_a_warrant():
    with pytest.raises(TypeError, match="dcu.relay.warrant"):

        class Forged(Warrant):
            def spend(self, serial, target, data, monotonic_s):
                pass


def test_nothing_that_is_built_or_downloaded_is_in_the_tree():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout of git")
    foreign = {".whl", ".gz", ".so", ".pyc", ".db", ".zip", ".deb"}
    assert [name for name in listed.stdout.split("\0") if Path(name).suffix in foreign] == []
