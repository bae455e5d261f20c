"""docs/signing/vectors.json: made anew it is the same; each document meets the answer that it is published with."""

import base64
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dcu.command import Operation, Refusal
from dcu.headend.refusals import COUNTED, MEANING, cure, meaning
from dcu.headend.telling import MAY
from dcu.relay.schema import OPERATIONS
from tests.headend.judged import Judge

SIGNING = Path(__file__).parents[2] / "docs" / "signing"
FILE = json.loads((SIGNING / "vectors.json").read_text())
CASES = {case["name"]: case for case in FILE["cases"]}
BOX = FILE["box"]

NOT_IN_A_VECTOR = {
    Refusal.E_TOPIC: "how it came, not what it is",
    Refusal.E_RETAINED: "how it came",
    Refusal.E_FLOOD: "how often it came",
    Refusal.E_NOT_PREPAID: "judged on what the meter says, when it is due",
    Refusal.E_UNREACHABLE: "the meter's",
    Refusal.E_STORE: "the card's",
}


def octets_of(case):
    return case["text"].encode() if "text" in case else base64.b64decode(case["base64"])


@pytest.mark.parametrize("name", CASES)
def test_the_box_answers_as_published(name):
    case = CASES[name]
    assert Judge(BOX, case.get("given", {})).judge(octets_of(case)) == case["expect"]


def test_made_anew_it_is_the_same(tmp_path):
    made = tmp_path / "vectors.json"
    subprocess.run([sys.executable, SIGNING / "make_vectors.py", made], check=True, timeout=60)
    assert made.read_bytes() == (SIGNING / "vectors.json").read_bytes()


def test_they_are_many_and_leave_no_code_and_no_operation_out():
    counts = Counter(case["expect"] for case in CASES.values())
    assert len(CASES) == len(FILE["cases"]) >= 200
    assert counts["accepted"] >= 40
    assert {code.value for code in Refusal} - counts.keys() == {code.value for code in NOT_IN_A_VECTOR}
    assert {f"a good {op.value}" for op in Operation} <= CASES.keys()


def test_a_vector_can_fail():
    """The judge does not say what it is asked to: a good one spoilt in one bit is refused."""
    good = bytearray(octets_of(CASES["a good disconnect"]))
    for at in range(20, len(good), 97):
        spoilt = good.copy()
        spoilt[at] ^= 1
        assert Judge(BOX).judge(bytes(spoilt)) != "accepted", at


def test_every_code_has_its_meaning_in_words_and_in_the_document():
    document = (SIGNING.parent / "signing.md").read_text()
    assert MEANING.keys() == set(Refusal)
    for code, (words, look) in MEANING.items():
        assert f"| `{code.value}` | {words} | {look} |" in document, code
        assert (meaning(code.value), cure(code.value)) == (words, look)
    assert (meaning("E_NEW"), cure("E_NEW")) == ("E_NEW", "")
    assert Refusal.E_SIG in COUNTED and Refusal.E_SCHEMA not in COUNTED


def test_the_document_names_each_operation_with_its_members():
    document = (SIGNING.parent / "signing.md").read_text()
    for op, (required, optional) in OPERATIONS.items():
        (row,) = (
            line for line in document.splitlines() if line.startswith(f"| `{op.value}` | ") and line.count("|") == 5
        )
        cells = [set(cell.replace("`", "").replace("-\n", "").split(", ")) - {"-"} for cell in row.split(" | ")[2:]]
        cells[1] = {name.removesuffix(" |") for name in cells[1]} - {"-"}
        assert cells == [required, optional - required], op
    for role, may in MAY.items():
        assert f"| `{role.value}` | {may} |" in document
