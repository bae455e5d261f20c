"""The changes that `mutation` makes, and that it makes them."""

import ast
import gc
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType

from tests.proof import mutation
from tests.proof.mutation_code import renew
from tests.proof.mutation_sites import apply, sites

TEXT = '''"""Words."""
MOST: Final = 3
NAMES = re.compile(r"[a-z]{1,40}")

def judge(number: int = 1, *, code: str = "one two") -> bool:
    """Words."""
    log.info("words %s", number + 1)
    if number < MOST and code not in {"a", "b"}:
        raise CommandRefused(Refusal.E_KEY, f"words {number + 1}")
    self.kept = [each for each in names if each]
    return number is not None
'''

CHANGES = [
    "3 -> 4",
    "3 -> 2",
    "re.compile('[a-z]{1,40}') -> re.compile('[a-z]{2,40}')",
    "re.compile('[a-z]{1,40}') -> re.compile('[a-z]{1,41}')",
    "'[a-z]{1,40}' -> '[a-z]{1,40}X'",
    "1 -> 2",
    "1 -> 0",
    "number < MOST and code not in {'a', 'b'} -> number < MOST or code not in {'a', 'b'}",
    "number < MOST and code not in {'a', 'b'} -> code not in {'a', 'b'}",
    "number < MOST and code not in {'a', 'b'} -> number < MOST",
    "number < MOST -> number <= MOST",
    "code not in {'a', 'b'} -> code in {'a', 'b'}",
    "'a' -> nothing",
    "'b' -> nothing",
    "'a' -> 'aX'",
    "'b' -> 'bX'",
    "raise CommandRefused(Refusal.E_KEY, f'words {number + 1}') -> nothing",
    "Refusal.E_KEY -> Refusal.E_STORE",
    "self.kept = [each for each in names if each] -> nothing",
    "each -> True",
    "return number is not None -> return None",
    "number is not None -> number is None",
]


def test_what_decides_is_changed_and_no_word_of_explanation():
    assert [site.change for site in sites("m.py", TEXT, ast.parse(TEXT))] == CHANGES


def test_each_cell_of_a_table_is_changed():
    text = 'ROWS = (Row("B - A"), Row("D"))'
    found = [site.change for site in sites("m.py", text, ast.parse(text))]
    assert [each for each in found if "nothing" not in each and "DX" not in each] == [
        "'B - A' -> 'A - A'",
        "'B - A' -> 'D - A'",
        "'B - A' -> 'B - -'",
    ]
    assert found[:2] == ["Row('B - A') -> nothing", "Row('D') -> nothing"]


def test_a_living_function_is_changed_where_it_was_imported(tmp_path):
    path = tmp_path / "judged.py"
    path.write_text("LEAST = 2\ndef enough(number):\n    return any(each >= LEAST for each in [number])\n")
    spec = importlib.util.spec_from_file_location("judged", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    enough = module.enough
    living = [
        each for each in gc.get_objects() if type(each) is FunctionType and each.__code__.co_filename == str(path)
    ]

    def changed(change):
        tree = ast.parse(path.read_text())
        site = next(site for site in sites("judged.py", path.read_text(), tree) if site.change == change)
        apply(site, tree)
        return compile(tree, str(path), "exec", dont_inherit=True)

    old = compile(ast.parse(path.read_text()), str(path), "exec", dont_inherit=True)
    assert not renew(old, changed("2 -> 3"), living), "what stands outside of functions is loaded anew"
    assert enough(2) and renew(old, changed("each >= LEAST -> each > LEAST"), living) and not enough(2)


def test_every_reason_belongs_to_a_line_that_is_there():
    assert mutation.stale() == []


def test_what_a_function_made_while_its_module_was_loaded_is_made_anew(tmp_path):
    text = "def most(number):\n    return number + 1\n\nMOST = most(2)\n\ndef least():\n    return 0\n"
    path = tmp_path / "loaded.py"
    path.write_text(text)
    told = "import sys; from tests.proof.mutation_code import run_by_loading; print(run_by_loading(['loaded']))"
    places = subprocess.check_output(
        [sys.executable, "-c", told], text=True, env=os.environ | {"PYTHONPATH": f"{mutation.ROOT}:{tmp_path}"}
    )
    loading = frozenset(place for place in eval(places) if place[0] == str(path))
    assert [name for _, _, name in loading] == ["most"]
    code, made = compile(text, path, "exec"), {}
    exec(code, made)
    living = [made["most"], made["least"]]
    assert not renew(code, compile(text.replace("+ 1", "+ 2"), path, "exec"), living, loading)
    assert renew(code, compile(text.replace("return 0", "return 1"), path, "exec"), living, loading)
    assert made["least"]() == 1


def test_every_module_of_the_relay_that_decides_anything_is_tried():
    room = Path(mutation.ROOM)
    found = {str(path.relative_to(room).with_suffix("")) for path in room.rglob("*.py")}
    assert found - set(mutation.VERIFIER) == {"__init__", "checks/__init__", "policy/__init__", "roster"}
