"""Reads the golden files: octets that no code of this project made, each with its source in the file."""

from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def lines(name):
    """Fields of each line that is neither empty nor a comment."""
    text = (GOLDEN / name).read_text()
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


STANDARD = {name: bytes.fromhex(octets) for name, octets in lines("standard.txt")}
FRAMES = {fields[0]: bytes.fromhex(fields[1]) for fields in lines("frames.txt")}
