# ruff: noqa: INP001 - scripts beside their document, no package
"""Makes vectors.json: documents that a box takes and that it refuses, each with the code, from fixed keys.

    python docs/signing/make_vectors.py                 writes vectors.json beside itself
    python docs/signing/make_vectors.py OTHER.json      writes there

The same octets come out on every machine. docs/signing.md says how to use them.
"""

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commands import commands
from documents import documents
from envelopes import envelopes
from parts import BOX

NOTE = "Test vectors of signed documents: see docs/signing.md. The keys are public: nobody may ever trust them."


def cases() -> Iterator[dict[str, Any]]:
    """All vectors: text where the octets are ASCII, else base64."""
    for name, octets, expect, *given in [*envelopes(), *commands(), *documents()]:
        octets_of = {"text": octets.decode()} if octets.isascii() else {"base64": base64.b64encode(octets).decode()}
        otherwise = {"given": given[0]} if given and given[0] else {}
        yield {"name": name, "expect": expect, **otherwise, **octets_of}


def main(target: Path) -> None:
    """Write the file: one vector a line."""
    lines = ",\n".join(json.dumps(case) for case in cases())
    target.write_text(f'{{"note": {json.dumps(NOTE)},\n"box": {json.dumps(BOX)},\n"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("vectors.json"))
